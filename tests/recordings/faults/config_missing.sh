# A container refers to a ConfigMap that is not there.
pattern=missing_config
service=cart
fault() { app cart 'sleep 1000' 'envFrom: [{ configMapRef: { name: cart-settings } }]'; }
