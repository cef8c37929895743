# A second pod wants a port of the node that the first one has.
pattern=unschedulable
service=cart
prepare() { app other "$serve" 'ports: [{ containerPort: 8080, hostPort: 18080 }]'; ready other; }
fault() { app cart "$serve" 'ports: [{ containerPort: 8080, hostPort: 18080 }]'; }
