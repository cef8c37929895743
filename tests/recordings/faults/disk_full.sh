# The disk that a container writes to is full.
pattern=disk_full
service=cart
prepare() {
    mkdir -p /run/cart-data && mount -t tmpfs -o size=2m cart-data /run/cart-data
    app cart 'while :; do head -c 200000 /dev/zero >>/data/journal || echo "ERROR cannot write /data/journal: No space left on device"; sleep 2; done' \
        'volumeMounts: [{ name: data, mountPath: /data }]' 'volumes: [{ name: data, hostPath: { path: /run/cart-data } }]'
    ready cart
}
fault() { :; }
after() { clean; umount /run/cart-data; }
