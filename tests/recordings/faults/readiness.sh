# A pod that was ready is so no more: what its probe looks for is gone.
pattern=readiness_lost
service=cart
prepare() { app cart "$serve" 'readinessProbe: { httpGet: { path: /index.html, port: 8080 }, periodSeconds: 1, failureThreshold: 2 }'; ready cart; sleep 60; }
fault() { k exec "$(pod cart)" -- rm /tmp/w/index.html; }
