# The name server does not answer.
pattern=dns_failure
service=checkout
fault() { app checkout 'while :; do nslookup cart.shop.svc.cluster.local || echo "ERROR cannot resolve cart.shop.svc.cluster.local"; nslookup db.shop.svc.cluster.local; sleep 2; done' 'tty: false' 'dnsPolicy: None, dnsConfig: { nameservers: [10.88.7.1] }'; }
