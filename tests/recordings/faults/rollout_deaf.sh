# A new version of a server does not listen any more, and its client is refused.
pattern=bad_rollout
service=cart
prepare() {
    app cart "$serve"
    ready cart
    app checkout 'while :; do echo | nc -w 2 $CART_SERVICE_HOST 8080 >/dev/null || echo "ERROR cart: request failed"; sleep 1; done'
    ready checkout
}
fault() { app cart 'echo started; sleep 1000'; }
