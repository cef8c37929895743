# A worker is killed at the memory limit, and the first process of its container lives on.
pattern=silent_child_oom
service=cart
prepare() {
    app cart "$serve"' & sleep 15; while :; do echo worker begins; tail /dev/zero; echo worker ended with $?; sleep 8; done' \
        'resources: { limits: { memory: 64Mi } }'
    ready cart
}
fault() { :; }
