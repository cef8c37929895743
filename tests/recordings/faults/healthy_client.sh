# A client asks and is answered.
prepare() {
    app cart "$serve"
    ready cart
    app checkout 'while :; do echo | nc -w 2 $CART_SERVICE_HOST 8080 >/dev/null && echo "order placed"; sleep 1; done'
    ready checkout
}
fault() { :; }
