# The namespace's quota has no room for another pod.
pattern=quota_refused
service=cart
prepare() {
    app cart "$serve"
    ready cart
    k create quota pods --hard=pods=1 >/dev/null
}
fault() { k scale deployment/cart --replicas 3 >/dev/null; }
