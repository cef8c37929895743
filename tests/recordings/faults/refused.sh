# A client asks at a port where nobody listens.
pattern=connection_failed
service=checkout
prepare() { app cart "$serve"; ready cart; }
fault() { app checkout "while :; do nc -w 2 $(address cart) 9090 </dev/null || echo 'ERROR cart: request failed'; sleep 1; done"; }
