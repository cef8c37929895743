# A volume is made of a Secret that is not there.
pattern=missing_config
service=cart
fault() { app cart 'sleep 1000' 'volumeMounts: [{ name: tls, mountPath: /tls }]' 'volumes: [{ name: tls, secret: { secretName: cart-tls } }]'; }
seconds=45
