# No node has the labels that a pod asks for.
pattern=unschedulable
service=cart
fault() { app cart 'sleep 1000' 'tty: false' 'nodeSelector: { disk: ssd }'; }
