# A liveness probe asks for a page that is not there.
pattern=liveness_kill
service=cart
fault() { app cart "$serve" 'livenessProbe: { httpGet: { path: /healthz, port: 8080 }, periodSeconds: 2, failureThreshold: 2, initialDelaySeconds: 2 }'; }
