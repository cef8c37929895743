# The command is not in the image.
pattern=cannot_start
service=cart
fault() {
    make <<END
{ apiVersion: apps/v1, kind: Deployment, metadata: { name: cart }, spec: { replicas: 1,
  selector: { matchLabels: { app: cart } }, template: { metadata: { labels: { app: cart } }, spec: {
    containers: [{ name: cart, image: "$image", command: [/bin/cart-server] }] } } } }
END
}
