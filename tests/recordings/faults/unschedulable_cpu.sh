# No node has the CPU that a pod asks for.
pattern=unschedulable
service=cart
fault() { app cart 'sleep 1000' 'resources: { requests: { cpu: 64 } }'; }
