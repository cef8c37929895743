//! The scenes of [`super`].

use crate::Scene;

/// Scenes whose cause is known.
pub(crate) const SCENES: &[Scene] = &[
    Scene::cause(
        "cascading_dependency",
        "a leaf fails by itself, in two traces",
        r#"1s svc:shop/pay Span name="POST /charge" status=error span_kind=server dur=900ms span=4 parent=3 trace=5 msg="no free connection"
         1100ms svc:shop/cart Span name="POST pay" status=error span_kind=client peer=pay dur=950ms span=3 parent=2 trace=5
         1200ms svc:shop/cart Span name="POST /order" status=error span_kind=server dur=970ms span=2 parent=1 trace=5
         1300ms svc:shop/front Span name="POST /order" status=error span_kind=server dur=990ms span=1 trace=5
         3s svc:shop/pay Span name="POST /charge" status=error span_kind=server dur=900ms span=4 parent=3 trace=6 msg="no free connection"
         3100ms svc:shop/cart Span name="POST pay" status=error span_kind=client peer=pay dur=950ms span=3 parent=2 trace=6
         3200ms svc:shop/cart Span name="POST /order" status=error span_kind=server dur=970ms span=2 trace=6"#,
    ),
    Scene::cause(
        "cascading_dependency",
        "a callee works on after its callers gave up",
        r#"5s svc:shop/front Span name="GET /" status=error span_kind=server dur=5s span=1 trace=5
         5s svc:shop/front Span name="GET stock" status=error span_kind=client peer=stock dur=4900ms span=2 parent=1 trace=5
         14s svc:shop/stock Span name="GET /stock" status=ok span_kind=server dur=13s span=3 parent=2 trace=5"#,
    ),
    Scene::cause(
        "cascading_dependency",
        "a database without spans answers with errors",
        r#"1s svc:shop/cart Span name=SELECT status=error span_kind=client peer=db dur=90ms span=3 parent=2 trace=5 msg="FATAL: too many connections for role cart"
         2s svc:shop/cart Span name="GET /cart" status=error span_kind=server dur=95ms span=2 parent=1 trace=5
         2s svc:shop/front Span name="GET /" status=error span_kind=server dur=99ms span=1 trace=5"#,
    ),
    Scene::cause(
        "container_oom",
        "the leaf was killed by the kernel",
        r#"0s shop/db-0/db@n1%StatefulSet/db OomKill svc=db constraint=memcg pid=4242 proc=postgres msg="Memory cgroup out of memory: Killed process 4242 (postgres)"
         1s shop/db-0/db@n1%StatefulSet/db ContainerTerminated svc=db exit=137 reason=OOMKilled
         2s svc:shop/cart Span name=SELECT status=error span_kind=client peer=db dur=90ms span=3 parent=2 trace=5 msg="server closed the connection unexpectedly"
         2s svc:shop/cart Span name="GET /cart" status=error span_kind=server dur=95ms span=2 parent=1 trace=5
         2s svc:shop/front Span name="GET /" status=error span_kind=server dur=99ms span=1 trace=5"#,
    ),
    Scene::cause(
        "connection_failed",
        "the callee was never reached, and the network saw why",
        r#"0s shop/cart-7f6b8d9c4-x2kq9/cart@n2%cart ConnectTimeout svc=cart addr=10.0.0.9 port=8080 peer=pay error=ETIMEDOUT
         1s shop/cart-7f6b8d9c4-x2kq9/cart@n2%cart SynRetransmit svc=cart addr=10.0.0.9 port=8080 peer=pay count=3
         1s svc:shop/cart Span name="POST pay" status=error span_kind=client peer=pay dur=3s span=2 parent=1 trace=5
         1s svc:shop/cart Span name="POST /order" status=error span_kind=server dur=3s span=1 parent=4 trace=5
         2s svc:shop/front Span name="POST /order" status=error span_kind=server dur=4s span=4 trace=5"#,
    ),
    Scene::cause(
        "bad_rollout",
        "the leaf has a new version that fails where the old one works",
        r#"0s shop/x%pay RolloutStarted generation=4 image=shop/pay:v4
         0s shop/x%pay RolloutStarted hash=5b6d7c8f9b image=shop/pay:v4
         2s shop/pay-7f6b8d9c4-x2kq9/pay@n1%pay Log svc=pay msg="charged"
         3s shop/pay-5b6d7c8f9b-q7w8e/pay@n2%pay Exception svc=pay msg="KeyError: currency"
         4s shop/pay-5b6d7c8f9b-q7w8e/pay@n2%pay Exception svc=pay msg="KeyError: currency"
         4s shop/pay-5b6d7c8f9b-q7w8e/pay@n2%pay Span svc=pay name="POST /charge" status=error span_kind=server dur=9ms span=3 parent=2 trace=5
         4s svc:shop/cart Span name="POST pay" status=error span_kind=client peer=pay http=500 dur=12ms span=2 parent=1 trace=5
         4s svc:shop/cart Span name="POST /order" status=error span_kind=server dur=19ms span=1 trace=5"#,
    ),
    Scene::cause(
        "readiness_lost",
        "the callee took itself out of its service",
        r#"0s shop/pay-6d5f9c8b7-k2x4p/pay@n1%pay ProbeFailed probe=readiness reason=Unhealthy count=3 msg="Readiness probe failed: HTTP probe failed with statuscode: 503"
         1s shop/pay-6d5f9c8b7-k2x4p@n1%pay PodReadiness status=false reason=ContainersNotReady
         1s svc:shop/pay%pay EndpointsChanged ready=0 not_ready=1
         3s svc:shop/cart Span name="POST pay" status=error span_kind=client peer=pay error=ECONNREFUSED dur=2ms span=2 parent=1 trace=5
         3s svc:shop/cart Span name="POST /order" status=error span_kind=server dur=19ms span=1 trace=5"#,
    ),
    Scene::cause(
        "image_pull",
        "the callee never came up",
        r#"0s shop/pay-6d5f9c8b7-k2x4p/pay@n1%pay ImagePullFailed reason=Failed image=shop/pay:v9 msg="Failed to pull image \"shop/pay:v9\": rpc error: code = NotFound desc = manifest unknown"
         1s shop/pay-6d5f9c8b7-k2x4p/pay@n1%pay ImagePullFailed reason=ImagePullBackOff image=shop/pay:v9 msg="Back-off pulling image \"shop/pay:v9\""
         1s svc:shop/pay%pay EndpointsChanged ready=0 not_ready=1
         3s svc:shop/cart Span name="POST pay" status=error span_kind=client peer=pay error=ECONNREFUSED dur=2ms span=2 parent=1 trace=5
         3s svc:shop/cart Span name="POST /order" status=error span_kind=server dur=19ms span=1 trace=5"#,
    ),
    Scene::unknown(
        "cascading_dependency",
        "two leaves of one request fail at once",
        r#"1s svc:shop/pay Span name="POST /charge" status=error span_kind=server dur=9ms span=3 parent=1 trace=5
         1s svc:shop/stock Span name="POST /take" status=error span_kind=server dur=9ms span=4 parent=1 trace=5
         2s svc:shop/cart Span name="POST /order" status=error span_kind=server dur=30ms span=1 trace=5"#,
    ),
    Scene::healthy(
        "an attempt that is made good, and a mistake of the caller",
        r#"1s svc:shop/pay Span name="POST /charge" status=error span_kind=server dur=9ms span=3 parent=2 trace=5
         2s svc:shop/pay Span name="POST /charge" status=ok span_kind=server dur=9ms span=4 parent=2 trace=5
         2s svc:shop/cart Span name="POST /order" status=ok span_kind=server dur=30ms span=2 trace=5
         3s svc:shop/stock Span name="GET /item/0" status=error http=404 span_kind=server dur=3ms span=6 parent=5 trace=6
         3s svc:shop/cart Span name="GET /item/0" http=404 span_kind=client dur=5ms span=5 trace=6"#,
    ),
];
