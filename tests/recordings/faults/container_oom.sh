# A container outgrows its memory limit, and its client is refused.
pattern=container_oom
service=cart
prepare() {
    app cart "$serve"' & sleep 15; exec tail /dev/zero' 'resources: { limits: { memory: 64Mi } }'
    ready cart
}
fault() { :; }
