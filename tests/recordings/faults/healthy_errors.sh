# Errors of every day.
prepare() { app cart 'while :; do echo "ERROR payment declined for order $RANDOM"; echo "WARN slow query: 120 ms"; sleep 1; done'; ready cart; }
fault() { :; }
