# A node is cordoned and uncordoned.
prepare() { app cart "$serve"; ready cart; }
fault() { k cordon $node >/dev/null; sleep 5; k uncordon $node >/dev/null; }
