# The node's network plugin lost its program: no pod gets a network.
pattern=cni_failure
service=cart
fault() { mv /usr/lib/cni/bridge /usr/lib/cni/bridge.away; app cart "$serve"; }
after() { mv /usr/lib/cni/bridge.away /usr/lib/cni/bridge; }
