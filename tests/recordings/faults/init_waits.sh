# An init container waits for a service that nobody serves.
pattern=init_deadlock
service=cart
prepare() { k create service clusterip db --tcp 5432 >/dev/null; }
fault() {
    app cart "$serve" 'tty: false' "initContainers: [{ name: wait-for-db, image: \"$image\", command: [sh, -c, 'until nc -w 1 \$DB_SERVICE_HOST 5432; do echo waiting for db; sleep 2; done'] }]"
}
