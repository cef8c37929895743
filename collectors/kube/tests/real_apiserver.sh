#!/bin/bash
# Runs the cluster suite (tests/cluster) on a real API server, made from nothing.
#
# No registry carries a control plane that is ready to run, but Debian 12's source package
# `kubernetes` (1.20.2) builds a kube-apiserver with Debian's Go 1.19 in some ten minutes, and
# Debian has an etcd. Both run on 127.0.0.1 and are ended when this script ends, whatever happens.
#
#   real_apiserver.sh                 build what is missing, start, run the suite, stop
#   real_apiserver.sh build [NAME...] only build, and other programs of that source, too
#   real_apiserver.sh serve           start, print the KUBECONFIG, stay until interrupted
#   real_apiserver.sh kill-apiserver  kill -9 and start again (the suite asks for these three,
#   real_apiserver.sh kill-etcd       while 'serve' or the suite runs)
#   real_apiserver.sh rebuild-etcd    as kill-etcd, with an empty store that counts from 1
#
# Arguments after `--` go to the suite: real_apiserver.sh -- --exact rules
#
# Needs Debian 12 (amd64 or arm64), 3 GB of disk. As root it installs what is missing with apt-get;
# as another user it says what to install. Environment:
#   TAPIO_REAL_DIR   where everything is kept (default ~/.cache/tapio-real-apiserver)
#   TAPIO_REAL_PORT  port of the API server; etcd takes the next two (default 16443)
#   TAPIO_REAL_BUILD_SECS, TAPIO_REAL_SUITE_SECS   limits in seconds (defaults 3600 and 1800)
#
# Not part of CI: the build is too slow for every run.
set -euo pipefail

dir=${TAPIO_REAL_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/tapio-real-apiserver}
port=${TAPIO_REAL_PORT:-16443}
build_secs=${TAPIO_REAL_BUILD_SECS:-3600}
suite_secs=${TAPIO_REAL_SUITE_SECS:-1800}
ready_secs=120
script=$(readlink -f "${BASH_SOURCE[0]}")
binary=$dir/kube-apiserver
etcd=$dir/etcd
run=$dir/run
etcd_url=http://127.0.0.1:$((port + 1))
peer_url=http://127.0.0.1:$((port + 2))

say() { printf 'real_apiserver: %s\n' "$*" >&2; }
die() { say "$@"; exit 1; }

# --- build -----------------------------------------------------------------------------------

packages_to_build=(ca-certificates dpkg-dev golang-1.19-go jq make patch rsync)
packages_to_run=(curl openssl)

install_packages() {
    local missing=() package
    for package in "$@"; do
        dpkg-query --show --showformat '${Status}' "$package" 2>/dev/null \
            | grep -q 'ok installed' || missing+=("$package")
    done
    [ ${#missing[@]} -eq 0 ] && return
    [ "$(id -u)" -eq 0 ] || die "not root; install first: ${missing[*]}"
    say "installs ${missing[*]}"
    apt-get -qq update
    DEBIAN_FRONTEND=noninteractive apt-get -qq install --no-install-recommends -y "${missing[@]}"
}

# Asks Debian, with lists of its own: those of the system stay as they are.
own_apt() {
    apt-get -qq -o "Dir::Etc::sourcelist=$dir/apt/source.list" -o Dir::Etc::sourceparts=- \
        -o "Dir::State::lists=$dir/apt/lists" -o "Dir::Cache=$dir/apt/cache" \
        -o APT::Sandbox::User=root "$@"
}

# Fetches the source, and etcd without installing it: that would start one for the whole system.
fetch() {
    local key=/usr/share/keyrings/debian-archive-keyring.gpg
    mkdir -p "$dir/apt/lists/partial" "$dir/apt/cache/archives/partial"
    printf "%s [signed-by=$key] http://deb.debian.org/debian bookworm main\n" deb deb-src \
        >"$dir/apt/source.list"
    own_apt update
    rm -rf "$dir/source"
    mkdir "$dir/source"
    (cd "$dir/source" && own_apt download etcd-server && own_apt source --only-source kubernetes)
    dpkg-deb --fsys-tarfile "$dir"/source/etcd-server_*.deb | tar -xO ./usr/bin/etcd >"$etcd.new"
    chmod +x "$etcd.new"
    mv "$etcd.new" "$etcd"
}

build() {
    local missing=() name
    for name in kube-apiserver "$@"; do [ -x "$dir/$name" ] || missing+=("$name"); done
    [ ${#missing[@]} -eq 0 ] && [ -x "$etcd" ] && return
    install_packages "${packages_to_build[@]}"
    mkdir -p "$dir"
    fetch
    [ ${#missing[@]} -eq 0 ] && return
    say "builds ${missing[*]} in $dir: some ten minutes each, with one core"
    local tree
    tree=$(find "$dir/source" -mindepth 1 -maxdepth 1 -type d -name 'kubernetes-*')
    mkdir -p "$tree/.go/src/k8s.io" "$dir/home"
    ln -s ../../.. "$tree/.go/src/k8s.io/kubernetes"
    # Its makefiles want a GOPATH; one package at a time keeps it within 1.3 GB.
    env -i PATH="/usr/lib/go-1.19/bin:$PATH" HOME="$dir/home" GOPATH="$tree/.go" \
        GOCACHE="$dir/gocache" GOMAXPROCS=1 GOFLAGS=-p=1 CGO_ENABLED=0 \
        nice -n 15 timeout "$build_secs" make -C "$tree" WHAT="${missing[*]/#/cmd/}" \
        >"$dir/build.log" 2>&1 || die "the build failed: $dir/build.log"
    for name in "${missing[@]}"; do
        cp "$tree/_output/bin/$name" "$dir/$name.new"
        mv "$dir/$name.new" "$dir/$name"
    done
    rm -rf "$dir/source" "$dir/gocache" "$dir/home" "$dir/apt"
}

# --- serve -----------------------------------------------------------------------------------

make_credentials() {
    openssl req -x509 -newkey rsa:2048 -nodes -days 3650 -subj /CN=tapio-test-ca \
        -keyout "$run/ca.key" -out "$run/ca.crt" 2>/dev/null
    openssl req -newkey rsa:2048 -nodes -subj /CN=kube-apiserver \
        -keyout "$run/server.key" -out "$run/server.csr" 2>/dev/null
    openssl x509 -req -in "$run/server.csr" -CA "$run/ca.crt" -CAkey "$run/ca.key" \
        -CAcreateserial -days 3650 -out "$run/server.crt" \
        -extfile <(printf 'subjectAltName=IP:127.0.0.1,DNS:localhost') 2>/dev/null
    openssl genrsa -out "$run/accounts.key" 2048 2>/dev/null
    local token
    token=$(openssl rand -hex 16)
    printf '%s,admin,admin,system:masters\n' "$token" >"$run/tokens.csv"
    cat >"$run/kubeconfig" <<END
apiVersion: v1
kind: Config
current-context: real
contexts: [{ name: real, context: { cluster: real, user: admin } }]
clusters:
  - name: real
    cluster: { server: "https://127.0.0.1:$port", certificate-authority: "$run/ca.crt" }
users: [{ name: admin, user: { token: "$token" } }]
END
}

# Starts a process that is ended with this script, and notes its id. The descriptor of the lock is
# not for it.
start_process() {
    local name=$1
    shift
    nohup "$@" >>"$run/$name.log" 2>&1 9>&- &
    echo $! >"$run/$name.pid"
    # Or bash reports each that is killed.
    disown
}

start_etcd() {
    start_process etcd "$etcd" --data-dir "$run/etcd" --name real --log-level error \
        --listen-client-urls "$etcd_url" --advertise-client-urls "$etcd_url" \
        --listen-peer-urls "$peer_url" --initial-advertise-peer-urls "$peer_url" \
        --initial-cluster "real=$peer_url"
}

start_apiserver() {
    start_process apiserver "$binary" --etcd-servers "$etcd_url" \
        --bind-address 127.0.0.1 --secure-port "$port" \
        --tls-cert-file "$run/server.crt" --tls-private-key-file "$run/server.key" \
        --token-auth-file "$run/tokens.csv" --authorization-mode RBAC \
        --service-account-issuer https://127.0.0.1 \
        --service-account-key-file "$run/accounts.key" \
        --service-account-signing-key-file "$run/accounts.key" \
        --service-cluster-ip-range 10.0.0.0/24 --disable-admission-plugins ServiceAccount \
        --kubelet-preferred-address-types InternalIP
}

# Ends a process of ours at once: it is to be surprised.
kill_process() {
    local pid
    pid=$(cat "$run/$1.pid" 2>/dev/null) || return 0
    # The id may be somebody else's by now.
    case $(readlink "/proc/$pid/exe" 2>/dev/null) in
        */etcd | */kube-apiserver) ;;
        *) return 0 ;;
    esac
    kill -9 "$pid" 2>/dev/null || true
    # What has ended has no program any more, even before its parent asks.
    while readlink "/proc/$pid/exe" >/dev/null 2>&1; do sleep 0.1; done
}

await_ready() {
    local end=$((SECONDS + ready_secs)) token
    token=$(cut -d, -f1 "$run/tokens.csv")
    until [ "$(curl -s --noproxy '*' --max-time 5 --cacert "$run/ca.crt" \
        -H "Authorization: Bearer $token" "https://127.0.0.1:$port/readyz")" = ok ]; do
        [ $SECONDS -lt $end ] || die "not ready within $ready_secs s: $run/apiserver.log"
        sleep 0.2
    done
}

stop() {
    kill_process apiserver
    kill_process etcd
    rm -rf "$run/etcd"
}

serve() {
    install_packages "${packages_to_run[@]}"
    mkdir -p "$run"
    exec 9>"$dir/lock"
    flock -n 9 || die "runs already: $dir/lock"
    (: <"/dev/tcp/127.0.0.1/$port") 2>/dev/null && die "port $port is taken: set TAPIO_REAL_PORT"
    rm -rf "${run:?}"/*
    make_credentials
    trap stop EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    start_etcd
    start_apiserver
    await_ready
    say "serves Kubernetes $("$binary" --version | cut -d' ' -f2), KUBECONFIG=$run/kubeconfig"
}

suite() {
    local root
    root=$(cd "$(dirname "$script")/../../.." && pwd)
    cd "$root"
    # One test at a time: some of them kill the server.
    KUBECONFIG=$run/kubeconfig TAPIO_REAL_APISERVER=$script TAPIO_REAL_DIR=$dir \
        TAPIO_REAL_PORT=$port timeout --foreground "$suite_secs" \
        cargo test -p tapio-collect-kube --test cluster -- --nocapture --test-threads 1 "$@" 9>&-
}

command=suite
case ${1:-} in
    build | serve | kill-apiserver | kill-etcd | rebuild-etcd) command=$1 && shift ;;
    '' | --) ;;
    *) die "what is '$1'? See the head of $script" ;;
esac
[ "${1:-}" = -- ] && shift

case $command in
    build) build "$@" ;;
    serve)
        build
        serve
        # Ends with this script, however that ends.
        tail --pid=$$ -f /dev/null 9>&- &
        wait $!
        ;;
    kill-apiserver)
        kill_process apiserver
        start_apiserver
        await_ready
        ;;
    kill-etcd)
        kill_process etcd
        start_etcd
        await_ready
        ;;
    rebuild-etcd)
        kill_process apiserver
        kill_process etcd
        rm -rf "$run/etcd"
        start_etcd
        start_apiserver
        await_ready
        ;;
    suite)
        build
        serve
        suite "$@"
        ;;
esac
