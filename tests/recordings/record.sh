#!/bin/bash
# Records real faults, one after another, on the cluster of cluster.sh: what is told here was done
# to a real kernel, a real kubelet and a real API server.
#
#   record.sh [-t TAKE] [FAULT...]   all of faults/ without names; TAKE is put after each name
#
# Each fault of faults/ is a shell file: a comment that says what is broken, the label (`pattern`,
# `service`; no pattern means that nothing is wrong), `prepare`, which brings up what is healthy,
# and `fault`. The rest is the same for all: a recording begins when all is well, and ends some
# seconds after the fault.
#
#   TAPIO            the program, ../../target/debug/tapio without it
#   TAPIO_REAL_DIR   as for cluster.sh
set -euo pipefail

here=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
dir=${TAPIO_REAL_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/tapio-real-apiserver}
tapio=${TAPIO:-$here/../../target/debug/tapio}
export KUBECONFIG=$dir/run/kubeconfig
node=node-1
take=
image=localhost/tapio/busybox:1

say() { printf 'record: %s\n' "$*" >&2; }

# --- what the files of faults/ use -------------------------------------------------------------

k() { "$dir/kubectl" -n shop "$@"; }

# make: applies YAML. What begins with a brace would be taken for JSON.
make() { { echo ---; cat; } | k apply -f - >/dev/null; }

# app NAME COMMAND [CONTAINER [POD [SPEC]]]: a Deployment and its Service on port 8080, each of the
# last three a piece of YAML in flow style for the container, the pod and the Deployment.
app() {
    make <<END
{ apiVersion: v1, kind: Service, metadata: { name: $1 },
  spec: { selector: { app: $1 }, ports: [{ port: 8080 }] } }
---
{ apiVersion: apps/v1, kind: Deployment, metadata: { name: $1 }, spec: {
  selector: { matchLabels: { app: $1 } }, ${5:-replicas: 1}, template: {
    metadata: { labels: { app: $1 } }, spec: { ${4:-restartPolicy: Always},
      terminationGracePeriodSeconds: 1, enableServiceLinks: true, containers: [{ name: $1,
        image: "$image", ${3:-tty: false}, command: [sh, -c, $(jq -Rs . <<<"$2")] }] } } } }
END
}

# ready NAME: waits until a Deployment is.
ready() { k rollout status "deployment/$1" --timeout 60s >/dev/null; }

# pod NAME: the name of the first pod of an app.
pod() { k get pods -l "app=$1" -o jsonpath='{.items[0].metadata.name}'; }

# address NAME: the address of the first pod of an app.
address() { k get pods -l "app=$1" -o jsonpath='{.items[0].status.podIP}'; }

# inside NAME COMMAND...: runs a command in the network of an app's first pod.
inside() {
    local pid
    pid=$(pgrep -f "TAPIO_APP=$1" | head -1)
    nsenter --net --target "$pid" "${@:2}"
}

serve='echo serving on 8080; mkdir -p /tmp/w; echo ok >/tmp/w/index.html; exec httpd -f -p 8080 -h /tmp/w'

# --- recording -----------------------------------------------------------------------------------

now() { date -u +%Y-%m-%dT%H:%M:%S.%3NZ; }

clean() {
    k delete deployments,daemonsets,statefulsets,jobs,pods,services,configmaps,secrets,pvc,resourcequotas \
        --all --force --grace-period 0 >/dev/null 2>&1 || true
    until [ -z "$(k get pods -o name 2>/dev/null)" ]; do sleep 0.5; done
    # What happened before is not told again.
    k delete events --all >/dev/null
    "$dir/kubectl" -n default delete events --all >/dev/null
}

record() {
    local name=$1 file=$here/cluster/$1$take at until
    local pattern= service= seconds=25
    prepare() { :; }
    after() { :; }
    # shellcheck source=/dev/null
    . "$here/faults/$name.sh"
    rm -f "$file.jsonl" "$file.labels.json"
    clean
    prepare
    "$tapio" up --record "$dir/raw.jsonl" --node "$node" --no-otlp --no-journal \
        --no-baseline --store "$dir/stories" >"$dir/told" 2>"$dir/tapio.log" &
    local watching=$!
    until grep -q watching "$dir/tapio.log"; do
        kill -0 $watching || { cat "$dir/tapio.log" >&2; exit 1; }
        sleep 0.1
    done
    sleep 5
    at=$(now)
    fault
    sleep "$seconds"
    until=$(now)
    kill -INT $watching
    wait $watching || true
    after
    "$here/tidy.py" "$name$take" "$dir/raw.jsonl" "$file.jsonl" "$dir"
    rm "$dir/raw.jsonl"
    if [ -n "$pattern" ]; then
        jq -n --arg at "$at" --arg until "$until" --arg service "$service" --arg kind "$name" \
            --arg pattern "$pattern" \
            '{ faults: [{ $at, $until, $service, $kind, $pattern }] }'
    else
        jq -n --arg at "$at" --arg until "$until" '{ fault_free: [[$at, $until]] }'
    fi >"$file.labels.json"
    say "$name$take: $(wc -l <"$file.jsonl") lines; told: $(grep -o 'pattern .*' "$dir/told" |
        sort | uniq -c | tr -s ' \n' ' ')"
    cp "$dir/told" "$dir/told.$name$take"
}

main() {
    while getopts t: option; do
        case $option in
            t) take=.$OPTARG ;;
            *) exit 2 ;;
        esac
    done
    shift $((OPTIND - 1))
    [ $# -gt 0 ] || set -- $(cd "$here/faults" && printf '%s\n' *.sh | sed 's/\.sh$//')
    mkdir -p "$here/cluster"
    rm -f "$dir/raw.jsonl"
    "$dir/kubectl" create namespace shop >/dev/null 2>&1 || true
    local name
    for name in "$@"; do (record "$name"); done
    clean
}

main "$@"
