# The kubelet falls silent.
pattern=node_not_ready
service=node-1
prepare() { app cart "$serve"; ready cart; }
fault() { kill -STOP "$(cat "$dir/node/kubelet.pid")"; }
after() { kill -CONT "$(cat "$dir/node/kubelet.pid")"; k wait --for=condition=Ready "node/$node" --timeout 60s >/dev/null; }
