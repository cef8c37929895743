#!/bin/bash
# A real Kubernetes of one node, made from nothing: Debian's kube-apiserver, kubelet, scheduler and
# controllers (1.20.2, built from its source package), etcd, containerd, runc and its bridge.
#
#   cluster.sh build   build and install what is missing: some half an hour the first time
#   cluster.sh serve   start, print the KUBECONFIG, stay until interrupted; then everything is ended
#   cluster.sh kubelet start the kubelet anew, while 'serve' runs
#
# Needs root on Debian 12 with control groups v1, and 4 GB of disk. Pods run the image
# `localhost/tapio/busybox:1`, which is made here; nothing is pulled.
#
#   TAPIO_REAL_DIR   where everything is kept, as for real_apiserver.sh, which this uses
set -euo pipefail

here=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
apiserver=$here/../../collectors/kube/tests/real_apiserver.sh
export TAPIO_REAL_DIR=${TAPIO_REAL_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/tapio-real-apiserver}
dir=$TAPIO_REAL_DIR
# Not below the API server's own, which it empties when it starts.
run=$dir/node
kubeconfig=$dir/run/kubeconfig
node=node-1
programs=(kubelet kube-controller-manager kube-scheduler kube-proxy kubectl)

say() { printf 'cluster: %s\n' "$*" >&2; }
die() { say "$@"; exit 1; }

build() {
    [ "$(id -u)" -eq 0 ] || die "needs root: it makes network and control groups for pods"
    if ! command -v containerd runc busybox conntrack iptables >/dev/null; then
        say "installs containerd, runc, a bridge and busybox"
        apt-get -qq update
        DEBIAN_FRONTEND=noninteractive apt-get -qq install --no-install-recommends -y containerd \
            runc containernetworking-plugins busybox-static conntrack iptables socat >/dev/null
    fi
    "$apiserver" build "${programs[@]}"
    [ -f "$dir/busybox.tar" ] && return
    local root=$dir/image applet
    mkdir -p "$root"/{bin,tmp,etc,dev,proc,sys}
    cp /bin/busybox "$root/bin/busybox"
    for applet in $(busybox --list); do ln -sf busybox "$root/bin/$applet"; done
    rm -f "$root/bin/busybox" && cp /bin/busybox "$root/bin/busybox"
    python3 "$here/image.py" "$root" localhost/tapio/busybox:1 "$dir/busybox.tar"
}

start_process() {
    local name=$1
    shift
    setsid nohup "$@" >>"$run/$name.log" 2>&1 &
    echo $! >"$run/$name.pid"
    disown
}

start_containerd() {
    mkdir -p "$run"/{containerd,cni}
    cat >"$run/containerd.toml" <<END
version = 2
root = "$run/containerd/root"
state = "$run/containerd/state"
[grpc]
  address = "$run/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "localhost/tapio/pause:1"
  disable_apparmor = true
  # In a container or a small virtual machine even root may not lower it.
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "$run/cni"
END
    cat >"$run/cni/10-tapio.conflist" <<END
{ "cniVersion": "0.4.0", "name": "tapio", "plugins": [{ "type": "bridge", "bridge": "tapio0",
  "isGateway": true, "ipMasq": false, "hairpinMode": true, "ipam": { "type": "host-local",
  "ranges": [[{ "subnet": "10.88.7.0/24" }]], "routes": [{ "dst": "0.0.0.0/0" }],
  "dataDir": "$run/ipam" } }] }
END
    start_process containerd containerd -c "$run/containerd.toml"
    until ctr -a "$run/containerd.sock" version >/dev/null 2>&1; do sleep 0.2; done
    ctr -a "$run/containerd.sock" -n k8s.io images import "$dir/busybox.tar" >/dev/null
    # A pause container has only to wait: busybox can.
    ctr -a "$run/containerd.sock" -n k8s.io images tag --force localhost/tapio/busybox:1 \
        localhost/tapio/pause:1 >/dev/null
}

# Short times, so that what a cluster takes minutes for can be recorded in one.
start_kubernetes() {
    cat >"$run/kubelet.yaml" <<END
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication: { anonymous: { enabled: true }, webhook: { enabled: false } }
authorization: { mode: AlwaysAllow }
cgroupDriver: cgroupfs
clusterDNS: [10.88.7.1]
clusterDomain: cluster.local
enableControllerAttachDetach: true
evictionHard: { memory.available: 50Mi }
evictionPressureTransitionPeriod: 10s
failSwapOn: false
healthzPort: 0
imageGCHighThresholdPercent: 100
makeIPTablesUtilChains: false
nodeStatusUpdateFrequency: 2s
podPidsLimit: 64
port: 11250
readOnlyPort: 0
resolvConf: ""
syncFrequency: 2s
volumeStatsAggPeriod: 5s
END
    start_kubelet
    # kube-controller-manager and scheduler serve on ports of their own, which nobody asks.
    start_process controllers "$dir/kube-controller-manager" --kubeconfig "$kubeconfig" \
        --leader-elect=false --port=0 --secure-port=0 --node-monitor-grace-period=10s \
        --node-monitor-period=1s --pod-eviction-timeout=15s
    start_process scheduler "$dir/kube-scheduler" --kubeconfig "$kubeconfig" \
        --leader-elect=false --port=0 --secure-port=0
    start_process proxy "$dir/kube-proxy" --kubeconfig "$kubeconfig" --hostname-override $node \
        --cluster-cidr 10.88.7.0/24 --healthz-bind-address "" --metrics-bind-address 127.0.0.1:11251 \
        --conntrack-max-per-core 0
}

start_kubelet() {
    start_process kubelet "$dir/kubelet" --config "$run/kubelet.yaml" --kubeconfig "$kubeconfig" \
        --container-runtime remote --container-runtime-endpoint "unix://$run/containerd.sock" \
        --hostname-override $node --root-dir "$run/kubelet" --cni-conf-dir "$run/cni"
}

# Ends what was started here, by id; containers go with their shims.
stop() {
    local name pid
    trap - EXIT
    "$dir/kubectl" --kubeconfig "$kubeconfig" delete namespace shop --wait=false \
        >/dev/null 2>&1 || true
    for name in kubelet controllers scheduler proxy; do
        pid=$(cat "$run/$name.pid" 2>/dev/null) && kill "$pid" 2>/dev/null || true
    done
    ctr -a "$run/containerd.sock" -n k8s.io tasks list -q 2>/dev/null | while read -r task; do
        ctr -a "$run/containerd.sock" -n k8s.io tasks delete -f "$task" >/dev/null 2>&1 || true
    done
    for name in containerd apiserver; do
        pid=$(cat "$run/$name.pid" 2>/dev/null) && kill "$pid" 2>/dev/null || true
    done
    "$dir/kube-proxy" --cleanup >/dev/null 2>&1 || true
    ip link delete tapio0 2>/dev/null || true
    grep -o "$run[^ ]*" /proc/mounts | sort -r | while read -r mount; do
        umount -l "$mount" 2>/dev/null || true
    done
}

serve() {
    mkdir -p "$run"
    trap stop EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    setsid "$apiserver" serve >>"$run/apiserver.log" 2>&1 &
    echo $! >"$run/apiserver.pid"
    until "$dir/kubectl" --kubeconfig "$kubeconfig" get --raw /readyz >/dev/null 2>&1; do sleep 0.5; done
    start_containerd
    start_kubernetes
    until "$dir/kubectl" --kubeconfig "$kubeconfig" wait --for=condition=Ready "node/$node" \
        --timeout 5s >/dev/null 2>&1; do sleep 0.5; done
    say "serves one node, KUBECONFIG=$kubeconfig"
}

case ${1:-} in
    build) build ;;
    serve)
        build
        serve
        tail --pid=$$ -f /dev/null &
        wait $!
        ;;
    kubelet)
        kill "$(cat "$run/kubelet.pid")"
        start_kubelet
        ;;
    *) die "build, serve, or kubelet: see the head of $0" ;;
esac
