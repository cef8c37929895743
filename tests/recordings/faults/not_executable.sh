# The program is a text without an interpreter: exec format error.
pattern=cannot_start
service=cart
prepare() { k create configmap program --from-literal=cart='not a program' >/dev/null; }
fault() {
    make <<END
{ apiVersion: apps/v1, kind: Deployment, metadata: { name: cart }, spec: { replicas: 1,
  selector: { matchLabels: { app: cart } }, template: { metadata: { labels: { app: cart } }, spec: {
    volumes: [{ name: program, configMap: { name: program, defaultMode: 493 } }],
    containers: [{ name: cart, image: "$image", command: [/program/cart],
      volumeMounts: [{ name: program, mountPath: /program }] }] } } } }
END
}
