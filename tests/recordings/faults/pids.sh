# A container has as many processes as it may.
pattern=pid_exhaustion
service=cart
prepare() { app cart 'sleep 15; i=0; while [ $i -lt 100 ]; do sleep 100 & i=$((i+1)); done; echo all started; wait'; ready cart; }
fault() { :; }
