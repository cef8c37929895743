# A container wants more CPU than its limit, and answers its probe too late.
pattern=cpu_throttling
service=cart
prepare() {
    app cart "$serve"' & sleep 12; i=0; while [ $i -lt 8 ]; do { while :; do :; done; } & i=$((i+1)); done; wait' \
        'resources: { limits: { cpu: 50m } }, readinessProbe: { httpGet: { path: /, port: 8080 }, periodSeconds: 2, timeoutSeconds: 1 }'
    ready cart
}
fault() { :; }
seconds=45
