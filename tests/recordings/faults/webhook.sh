# An admission webhook does not answer, and no pod may be made without it.
pattern=admission_webhook
service=cart
prepare() { app cart "$serve"; ready cart; }
fault() {
    make <<END
{ apiVersion: admissionregistration.k8s.io/v1, kind: ValidatingWebhookConfiguration,
  metadata: { name: pod-policy }, webhooks: [{ name: pods.policy.example, sideEffects: None,
    admissionReviewVersions: [v1], failurePolicy: Fail, timeoutSeconds: 2,
    clientConfig: { url: "https://127.0.0.1:5998/validate" },
    rules: [{ apiGroups: [""], apiVersions: [v1], operations: [CREATE], resources: [pods] }] }] }
END
    k scale deployment/cart --replicas 2 >/dev/null
}
after() { k delete validatingwebhookconfiguration pod-policy >/dev/null; }
