# A pod uses more local disk than it may, and is evicted.
pattern=disk_pressure
service=cart
prepare() {
    app cart 'sleep 15; head -c 30000000 /dev/zero >/cache/all; sleep 1000' \
        'volumeMounts: [{ name: cache, mountPath: /cache }]' 'volumes: [{ name: cache, emptyDir: { sizeLimit: 4Mi } }]'
    ready cart
}
fault() { :; }
seconds=60
