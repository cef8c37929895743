# A server outgrows its memory limit again and again, and its client is refused meanwhile.
pattern=container_oom
service=cart
prepare() {
    app cart "$serve"' & sleep 12; exec tail /dev/zero' 'resources: { limits: { memory: 64Mi } }'
    ready cart
    app checkout "while :; do echo | nc -w 2 $(address cart) 8080 >/dev/null || echo 'ERROR cart: request failed'; sleep 1; done"
    ready checkout
}
fault() { :; }
