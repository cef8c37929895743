# A Secret is there, and lacks the key that a container refers to.
pattern=missing_config
service=cart
prepare() { k create secret generic cart-db --from-literal=user=cart >/dev/null; }
fault() { app cart 'sleep 1000' 'env: [{ name: PASSWORD, valueFrom: { secretKeyRef: { name: cart-db, key: password } } }]'; }
