# A process is told to end, and begins anew.
prepare() { app cart "echo starting; $serve"; ready cart; }
fault() { k delete pod "$(pod cart)" --wait=false >/dev/null; }
