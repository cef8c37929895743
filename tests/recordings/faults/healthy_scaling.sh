# More pods, then fewer.
prepare() { app cart "$serve"; ready cart; }
fault() { k scale deployment/cart --replicas 4 >/dev/null; ready cart; k scale deployment/cart --replicas 1 >/dev/null; }
