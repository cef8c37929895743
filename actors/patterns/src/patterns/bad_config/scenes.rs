//! The scenes of [`super`].

use crate::Scene;

/// Scenes whose cause is known.
pub(crate) const SCENES: &[Scene] = &[
    Scene::cause(
        "bad_config",
        "two consumers cannot read a value of one ConfigMap",
        "0s shop/x%cart ConfigChanged okind=ConfigMap oname=env change=modified tapio.changed=LOG_LEVEL trace=1
         0s shop/x%pay ConfigChanged okind=ConfigMap oname=env change=modified tapio.changed=LOG_LEVEL trace=2
         5s shop/cart-1/cart@n1%cart ContainerStarted cid=c2 trace=1
         6s shop/cart-1/cart@n1%cart Log sev=error msg=\"bad value of LOG_LEVEL: lound\" cid=c2 trace=1
         7s shop/cart-1/cart@n1%cart ContainerTerminated exit=1 reason=Error cid=c2 trace=1
         6s shop/pay-1/pay@n2%pay ContainerStarted cid=p2 trace=2
         7s shop/pay-1/pay@n2%pay Log sev=error msg=\"LOG_LEVEL is not a level\" cid=p2 trace=2
         8s shop/pay-1/pay@n2%pay ContainerTerminated exit=1 reason=Error cid=p2 trace=2
         9s shop/pay-1/pay@n2%pay ContainerWaiting reason=CrashLoopBackOff trace=2",
    ),
    Scene::cause(
        "bad_config",
        "a Corefile with a slip, and names that do not resolve since",
        "0s kube-system/x%coredns ConfigChanged okind=ConfigMap oname=coredns change=modified tapio.changed=Corefile trace=9
         9s kube-system/coredns-1/coredns@n1%coredns Log sev=error trace=9 \
            msg=\"plugin/reload: Corefile:6 - Error during parsing: Unknown directive 'forwrd'\"
         10s kube-system/coredns-1/coredns@n1%coredns ContainerTerminated exit=1 reason=Error trace=9
         12s shop/cart-1/cart@n1%cart DnsFailure dns=db.shop.svc.cluster.local rcode=timeout trace=1
         17s shop/cart-1/cart@n1%cart DnsFailure dns=db.shop.svc.cluster.local rcode=timeout trace=1",
    ),
    Scene::cause(
        "bad_config",
        "an address was changed, and nobody listens there",
        "0s shop/x%cart ConfigChanged okind=ConfigMap oname=env change=modified tapio.changed=DB_HOST
         5s shop/cart-1/cart@n1%cart ContainerStarted cid=c2
         7s shop/cart-1/cart@n1%cart ConnectRefused addr=10.0.0.8 port=5432 count=3",
    ),
    Scene::cause(
        "bad_rollout",
        "the image changed as well",
        "0s shop/x%cart ConfigChanged okind=ConfigMap oname=env change=modified tapio.changed=LOG_LEVEL
         1s shop/x%cart RolloutStarted hash=newer generation=7 image=shop/cart:v7
         2s shop/cart-older-aaaaa/cart%cart ContainerStarted image=shop/cart:v6
         3s shop/cart-newer-bbbbb/cart%cart Exception msg=\"NullPointerException\"
         4s shop/cart-newer-ccccc/cart%cart Exception msg=\"NullPointerException\"",
    ),
    Scene::cause(
        "missing_config",
        "the object is gone",
        "0s shop/x%cart ConfigChanged okind=ConfigMap oname=env change=deleted
         5s shop/cart-1/cart@n1%cart ContainerCreateFailed reason=Failed msg=\"Error: configmap \\\"env\\\" not found\"
         6s shop/cart-1/cart@n1%cart ContainerWaiting reason=CreateContainerConfigError msg=\"configmap \\\"env\\\" not found\"",
    ),
    Scene::unknown(
        "bad_config",
        "a container ends after the change and does not say why",
        "0s shop/x%cart ConfigChanged okind=ConfigMap oname=env change=modified tapio.changed=LOG_LEVEL
         5s shop/cart-1/cart@n1%cart ContainerStarted cid=c2
         7s shop/cart-1/cart@n1%cart ContainerTerminated exit=1 reason=Error cid=c2",
    ),
    Scene::unknown(
        "bad_config",
        "more requests fail than ever since the change, and nobody says over what",
        r#"0s shop/x%cart ConfigChanged okind=ConfigMap oname=env change=modified tapio.changed=LOG_LEVEL trace=2
         75s svc:shop/cart%cart Anomaly anomaly=error_rate how=rose score=60.0 was=0.002 is=0.3 msg="30 % of the requests to cart fail by themselves; it was 0.2 %"
         75s svc:shop/cart%cart Anomaly anomaly=error_rate how=rose score=60.0 was=0.002 is=0.3 msg="30 % of the requests to cart fail by themselves; it was 0.2 %" tapio.anomaly.of=a trace=2"#,
    ),
    Scene::healthy(
        "a change, restarts, and a complaint about something else",
        "0s shop/x%cart ConfigChanged okind=ConfigMap oname=env change=modified tapio.changed=LOG_LEVEL
         5s shop/cart-2/cart@n1%cart ContainerStarted cid=c2
         8s shop/cart-2@n1%cart PodReadiness status=true
         9s shop/cart-2/cart@n1%cart Exception msg=\"order 17 was rejected: card expired\"",
    ),
    Scene::cause(
        "bad_config",
        "a port was changed, its pods began anew, and a client is refused",
        r#"0s shop/x%cart ConfigChanged okind=ConfigMap oname=env change=modified tapio.changed=LISTEN trace=1
         5s shop/cart-1/cart@n1%cart ContainerStarted cid=c2 trace=1
         7s shop/checkout-6f6bd85769-hzxj9/checkout@n1%checkout ConnectRefused addr=10.96.0.12 port=8080 peer=cart trace=2
         9s shop/checkout-6f6bd85769-hzxj9/checkout@n1%checkout ConnectRefused addr=10.96.0.12 port=8080 peer=cart trace=2"#,
    ),
    Scene::cause(
        "connection_failed",
        "a client is refused after a change that nobody has read yet",
        r#"0s shop/x%cart ConfigChanged okind=ConfigMap oname=env change=modified tapio.changed=LISTEN trace=1
         7s shop/checkout-6f6bd85769-hzxj9/checkout@n1%checkout ConnectRefused addr=10.96.0.12 port=8080 peer=cart trace=2
         9s shop/checkout-6f6bd85769-hzxj9/checkout@n1%checkout ConnectRefused addr=10.96.0.12 port=8080 peer=cart trace=2"#,
    ),
    Scene::cause(
        "bad_config",
        "pods began anew with it, and only then requests fail, with a line that never was",
        r#"0s shop/x%cart ConfigChanged okind=ConfigMap oname=env change=modified tapio.changed=LOG_LEVEL trace=2
         5s shop/cart-1/cart@n1%cart ContainerStarted cid=c2 trace=2
         75s svc:shop/cart%cart Anomaly anomaly=log_template how=appeared score=30.0 msg="a line that never was: cannot price"
         75s svc:shop/cart%cart Anomaly anomaly=error_rate how=rose score=60.0 was=0.002 is=0.3 msg="30 % of the requests to cart fail by themselves; it was 0.2 %"
         75s svc:shop/cart%cart Anomaly anomaly=log_template how=appeared score=30.0 msg="a line that never was: cannot price" tapio.anomaly.of=b trace=2
         75s svc:shop/cart%cart Anomaly anomaly=error_rate how=rose score=60.0 was=0.002 is=0.3 msg="30 % of the requests to cart fail by themselves; it was 0.2 %" tapio.anomaly.of=a trace=2"#,
    ),
    Scene::cause(
        "bad_config",
        "its pods read it again, and only then requests fail, with a line that never was",
        r#"0s shop/x%cart ConfigChanged okind=ConfigMap oname=env change=modified tapio.changed=prices.yaml trace=2
         50s shop/cart-1/cart@n1%cart Log msg="configuration changed, loading prices.yaml" trace=2
         75s svc:shop/cart%cart Anomaly anomaly=log_template how=appeared score=30.0 msg="a line that never was: cannot price"
         75s svc:shop/cart%cart Anomaly anomaly=error_rate how=rose score=60.0 was=0.002 is=0.3 msg="30 % of the requests to cart fail by themselves; it was 0.2 %"
         75s svc:shop/cart%cart Anomaly anomaly=log_template how=appeared score=30.0 msg="a line that never was: cannot price" tapio.anomaly.of=b trace=2
         75s svc:shop/cart%cart Anomaly anomaly=error_rate how=rose score=60.0 was=0.002 is=0.3 msg="30 % of the requests to cart fail by themselves; it was 0.2 %" tapio.anomaly.of=a trace=2"#,
    ),
    Scene::cause(
        "service_abnormal",
        "requests fail with a line that never was before its pods begin anew",
        r#"0s shop/x%cart ConfigChanged okind=ConfigMap oname=env change=modified tapio.changed=LOG_LEVEL trace=2
         75s svc:shop/cart%cart Anomaly anomaly=log_template how=appeared score=30.0 msg="a line that never was: cannot price"
         75s svc:shop/cart%cart Anomaly anomaly=error_rate how=rose score=60.0 was=0.002 is=0.3 msg="30 % of the requests to cart fail by themselves; it was 0.2 %"
         75s svc:shop/cart%cart Anomaly anomaly=log_template how=appeared score=30.0 msg="a line that never was: cannot price" tapio.anomaly.of=b trace=2
         75s svc:shop/cart%cart Anomaly anomaly=error_rate how=rose score=60.0 was=0.002 is=0.3 msg="30 % of the requests to cart fail by themselves; it was 0.2 %" tapio.anomaly.of=a trace=2
         80s shop/cart-1/cart@n1%cart ContainerStarted cid=c2 trace=2"#,
    ),
];
