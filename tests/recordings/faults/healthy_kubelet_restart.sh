# The kubelet is restarted: it reads the kernel's log from its beginning, and tells of old kills.
prepare() { app cart "$serve"; ready cart; }
fault() { "$here/cluster.sh" kubelet; }
after() { k wait --for=condition=Ready "node/$node" --timeout 60s >/dev/null; }
