# A ConfigMap gets content that cannot be read, and its reader is started anew.
pattern=bad_config
service=cart
reader='. /config/settings 2>/tmp/why || { echo "ERROR cannot read /config/settings: $(cat /tmp/why)"; exit 1; }; grep -qE "^port=[0-9]+$" /config/settings || { echo "ERROR invalid configuration: settings: port must be a number"; exit 1; }; '
prepare() {
    k create configmap cart-config --from-literal=settings=port=8080 >/dev/null
    app cart "$reader$serve" 'volumeMounts: [{ name: config, mountPath: /config }]' 'volumes: [{ name: config, configMap: { name: cart-config } }]'
    ready cart
}
fault() {
    k create configmap cart-config --from-literal=settings=port=eighty --dry-run=client -o yaml | k replace -f - >/dev/null
    k delete pod "$(pod cart)" --grace-period 1 --wait=false >/dev/null
}
