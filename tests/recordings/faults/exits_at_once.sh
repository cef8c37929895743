# A variable that it needs is missing: it says so, and ends.
pattern=cannot_start
service=cart
fault() { app cart 'echo "INFO starting cart 1.4.2"; sleep 1; echo "FATAL: environment variable DB_URL is not set" >&2; exit 1'; }
