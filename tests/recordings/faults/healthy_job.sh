# A job does its work.
fault() { k create job report --image "$image" -- sh -c 'echo reading 4000 rows; sleep 3; echo done' >/dev/null; }
