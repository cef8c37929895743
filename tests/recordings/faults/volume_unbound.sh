# A claim names a storage class that nobody serves.
pattern=volume_unbound
service=cart
fault() {
    make <<END
{ apiVersion: v1, kind: PersistentVolumeClaim, metadata: { name: cart-data }, spec: {
  accessModes: [ReadWriteOnce], storageClassName: fast, resources: { requests: { storage: 1Gi } } } }
END
    app cart 'sleep 1000' 'volumeMounts: [{ name: data, mountPath: /data }]' 'volumes: [{ name: data, persistentVolumeClaim: { claimName: cart-data } }]'
}
