# A new version ends at every start, beside pods of the old one.
pattern=bad_rollout
service=cart
prepare() { app cart "$serve" 'tty: false' 'restartPolicy: Always' 'replicas: 2'; ready cart; }
fault() { app cart 'echo "INFO starting cart 2.0.0"; sleep 1; echo "panic: nil pointer dereference in checkout.go:212" >&2; exit 2' 'tty: false' 'restartPolicy: Always' 'replicas: 2'; }
