# A new version takes over from the old one.
prepare() { app cart "$serve" 'readinessProbe: { httpGet: { path: /, port: 8080 }, periodSeconds: 1 }'; ready cart; }
fault() { app cart "echo version 2; $serve" 'readinessProbe: { httpGet: { path: /, port: 8080 }, periodSeconds: 1 }'; ready cart; }
