//! The scenes of [`super`].

use crate::Scene;

/// Scenes whose cause is known.
pub(crate) const SCENES: &[Scene] = &[
    Scene::cause(
        "bad_rollout",
        "new pods throw what old ones do not, and callers see it",
        r#"1s shop/x%cart RolloutStarted generation=7 image=shop/cart:v7 msg="Deployment cart was given a template, generation 7"
         1s shop/x%cart RolloutStarted hash=5b6d7c8f9b image=shop/cart:v7 msg="ReplicaSet cart-5b6d7c8f9b is to run"
         3s shop/cart-5b6d7c8f9b-q7w8e/cart@n2%cart ContainerStarted restarts=0 hash=5b6d7c8f9b
         4s shop/cart-7f6b8d9c4-x2kq9/cart@n1%cart Log svc=cart msg="GET /cart 200"
         5s shop/cart-5b6d7c8f9b-q7w8e/cart@n2%cart Exception svc=cart error=java.lang.NullPointerException msg="NullPointerException: price"
         7s shop/cart-5b6d7c8f9b-q7w8e/cart@n2%cart Exception svc=cart error=java.lang.NullPointerException msg="NullPointerException: price"
         7s shop/cart-5b6d7c8f9b-q7w8e/cart@n2%cart Span svc=cart name="GET /cart" status=error span_kind=server dur=20ms span=3 parent=2 trace=9
         8s svc:shop/front Span name="GET /" status=error span_kind=server dur=90ms span=1 trace=9
         8s svc:shop/front Span name="GET cart" status=error span_kind=client peer=cart dur=80ms span=2 parent=1 http=500 trace=9"#,
    ),
    Scene::cause(
        "bad_rollout",
        "a new version panics at start, and its rollout stalls",
        r#"1s shop/x%cart RolloutStarted generation=7 image=shop/cart:v7 msg="Deployment cart was given a template, generation 7"
         1s shop/x%cart RolloutStarted hash=5b6d7c8f9b image=shop/cart:v7 msg="ReplicaSet cart-5b6d7c8f9b is to run"
         3s shop/cart-5b6d7c8f9b-q7w8e/cart@n2%cart ContainerStarted restarts=0 hash=5b6d7c8f9b
         4s shop/cart-5b6d7c8f9b-q7w8e/cart@n2%cart Log sev=error msg="panic: assignment to entry in nil map"
         4s shop/cart-5b6d7c8f9b-q7w8e/cart@n2%cart ContainerTerminated exit=2 reason=Error restarts=0 hash=5b6d7c8f9b
         4s shop/cart-5b6d7c8f9b-q7w8e/cart@n2%cart ContainerWaiting reason=CrashLoopBackOff hash=5b6d7c8f9b
         24s shop/x%cart RolloutStalled condition=Progressing status=false reason=ProgressDeadlineExceeded msg="ReplicaSet \"cart-5b6d7c8f9b\" has timed out progressing.""#,
    ),
    Scene::cause(
        "image_pull",
        "the new version was never pushed",
        r#"1s shop/x%cart RolloutStarted generation=7 image=shop/cart:v7 msg="Deployment cart was given a template, generation 7"
         1s shop/x%cart RolloutStarted hash=5b6d7c8f9b image=shop/cart:v7 msg="ReplicaSet cart-5b6d7c8f9b is to run"
         3s shop/cart-5b6d7c8f9b-q7w8e/cart@n2%cart ImagePullFailed reason=Failed image=shop/cart:v7 msg="Failed to pull image \"shop/cart:v7\": rpc error: code = NotFound desc = manifest unknown"
         3s shop/cart-5b6d7c8f9b-q7w8e/cart@n2%cart ImagePullFailed reason=ErrImagePull image=shop/cart:v7 hash=5b6d7c8f9b msg="manifest unknown"
         4s shop/cart-7f6b8d9c4-x2kq9/cart@n1%cart Log msg="GET /cart 200"
         24s shop/x%cart RolloutStalled condition=Progressing status=false reason=ProgressDeadlineExceeded msg="ReplicaSet \"cart-5b6d7c8f9b\" has timed out progressing.""#,
    ),
    Scene::cause(
        "missing_config",
        "the new version asks for a Secret that is not there",
        r#"1s shop/x%cart RolloutStarted generation=7 image=shop/cart:v7 msg="Deployment cart was given a template, generation 7"
         1s shop/x%cart RolloutStarted hash=5b6d7c8f9b image=shop/cart:v7 msg="ReplicaSet cart-5b6d7c8f9b is to run"
         3s shop/cart-5b6d7c8f9b-q7w8e/cart@n2%cart ContainerCreateFailed reason=Failed msg="Error: secret \"cart-key\" not found"
         3s shop/cart-5b6d7c8f9b-q7w8e/cart@n2%cart ContainerCreateFailed reason=CreateContainerConfigError hash=5b6d7c8f9b msg="secret \"cart-key\" not found"
         24s shop/x%cart RolloutStalled condition=Progressing status=false reason=ProgressDeadlineExceeded msg="ReplicaSet \"cart-5b6d7c8f9b\" has timed out progressing.""#,
    ),
    Scene::cause(
        "container_oom",
        "the new version outgrows its limit",
        r#"1s shop/x%cart RolloutStarted generation=7 image=shop/cart:v7 msg="Deployment cart was given a template, generation 7"
         1s shop/x%cart RolloutStarted hash=5b6d7c8f9b image=shop/cart:v7 msg="ReplicaSet cart-5b6d7c8f9b is to run"
         3s shop/cart-5b6d7c8f9b-q7w8e/cart@n2%cart ContainerStarted restarts=0 hash=5b6d7c8f9b
         5s shop/cart-5b6d7c8f9b-q7w8e/cart@n2%cart OomKill constraint=memcg pid=42 proc=java msg="Memory cgroup out of memory: Killed process 42 (java)"
         6s shop/cart-5b6d7c8f9b-q7w8e/cart@n2%cart ContainerTerminated exit=137 reason=OOMKilled hash=5b6d7c8f9b
         6s shop/cart-5b6d7c8f9b-q7w8e/cart@n2%cart ContainerWaiting reason=CrashLoopBackOff hash=5b6d7c8f9b"#,
    ),
    Scene::cause(
        "liveness_kill",
        "the new version starts too slowly for its probe",
        r#"1s shop/x%cart RolloutStarted generation=7 image=shop/cart:v7 msg="Deployment cart was given a template, generation 7"
         1s shop/x%cart RolloutStarted hash=5b6d7c8f9b image=shop/cart:v7 msg="ReplicaSet cart-5b6d7c8f9b is to run"
         3s shop/cart-5b6d7c8f9b-q7w8e/cart@n2%cart ContainerStarted restarts=0 hash=5b6d7c8f9b
         4s shop/cart-7f6b8d9c4-x2kq9/cart@n1%cart Log msg="GET /cart 200"
         20s shop/cart-5b6d7c8f9b-q7w8e/cart@n2%cart ProbeFailed probe=liveness reason=Unhealthy count=3 msg="Liveness probe failed: dial tcp 10.42.0.9:8080: connect: connection refused"
         20s shop/cart-5b6d7c8f9b-q7w8e/cart@n2%cart ContainerKilling probe=liveness reason=Killing msg="Container cart failed liveness probe, will be restarted"
         22s shop/cart-5b6d7c8f9b-q7w8e/cart@n2%cart ContainerTerminated exit=143 reason=Error hash=5b6d7c8f9b"#,
    ),
    Scene::cause(
        "connection_failed",
        "old and new pods fail alike: nothing listens where they connect to",
        r#"1s shop/x%cart RolloutStarted generation=7 image=shop/cart:v7 msg="Deployment cart was given a template, generation 7"
         1s shop/x%cart RolloutStarted hash=5b6d7c8f9b image=shop/cart:v7 msg="ReplicaSet cart-5b6d7c8f9b is to run"
         2s shop/cart-7f6b8d9c4-x2kq9/cart@n1%cart ConnectRefused addr=10.0.0.7 port=5432 peer=db error=ECONNREFUSED
         2s shop/cart-7f6b8d9c4-x2kq9/cart@n1%cart Log sev=error msg="could not load the cart: connection refused"
         4s shop/cart-5b6d7c8f9b-q7w8e/cart@n2%cart ConnectRefused addr=10.0.0.7 port=5432 peer=db error=ECONNREFUSED
         4s shop/cart-5b6d7c8f9b-q7w8e/cart@n2%cart Log sev=error msg="could not load the cart: connection refused""#,
    ),
    Scene::unknown(
        "bad_rollout",
        "new pods end because a connection is refused, and no old ones are seen",
        r#"1s shop/x%cart RolloutStarted generation=7 image=shop/cart:v7 msg="Deployment cart was given a template, generation 7"
         1s shop/x%cart RolloutStarted hash=5b6d7c8f9b image=shop/cart:v7 msg="ReplicaSet cart-5b6d7c8f9b is to run"
         3s shop/cart-5b6d7c8f9b-q7w8e/cart@n2%cart ContainerStarted restarts=0 hash=5b6d7c8f9b
         4s shop/cart-5b6d7c8f9b-q7w8e/cart@n2%cart ConnectRefused src=app addr=10.0.0.7 port=5432 msg="dial tcp 10.0.0.7:5432: connect: connection refused"
         4s shop/cart-5b6d7c8f9b-q7w8e/cart@n2%cart ContainerTerminated exit=1 reason=Error restarts=0 hash=5b6d7c8f9b"#,
    ),
    Scene::unknown(
        "bad_rollout",
        "requests fail after a rollout, and nobody knows in which pods",
        r#"1s shop/x%cart RolloutStarted generation=7 image=shop/cart:v7 msg="Deployment cart was given a template, generation 7"
         1s shop/x%cart RolloutStarted hash=5b6d7c8f9b image=shop/cart:v7 msg="ReplicaSet cart-5b6d7c8f9b is to run"
         3s svc:shop/cart%cart Span name="GET /cart" status=error span_kind=server dur=20ms span=11
         5s svc:shop/cart%cart Span name="GET /cart" status=error span_kind=server dur=20ms span=12"#,
    ),
    Scene::healthy(
        "a new version writes the errors of every day, and there is none to compare it with",
        r#"1s shop/x%cart RolloutStarted hash=5b6d7c8f9b image=shop/cart:v7 msg="ReplicaSet cart-5b6d7c8f9b is to run"
         3s shop/cart-5b6d7c8f9b-q7w8e/cart@n2%cart ContainerStarted restarts=0 hash=5b6d7c8f9b
         4s shop/cart-5b6d7c8f9b-q7w8e/cart@n2%cart Log sev=error msg="ERROR payment declined for order 1142"
         5s shop/cart-5b6d7c8f9b-q7w8e/cart@n2%cart Log sev=error msg="ERROR payment declined for order 22954"
         6s shop/cart-5b6d7c8f9b-q7w8e/cart@n2%cart Log sev=error msg="ERROR payment declined for order 10316""#,
    ),
    Scene::healthy(
        "a rollout as planned",
        r#"1s shop/x%cart RolloutStarted generation=7 image=shop/cart:v7 msg="Deployment cart was given a template, generation 7"
         1s shop/x%cart RolloutStarted hash=5b6d7c8f9b image=shop/cart:v7 msg="ReplicaSet cart-5b6d7c8f9b is to run"
         3s shop/cart-5b6d7c8f9b-q7w8e/cart@n2%cart ContainerStarted restarts=0 hash=5b6d7c8f9b
         4s shop/cart-5b6d7c8f9b-q7w8e/cart@n2%cart ProbeFailed probe=readiness reason=Unhealthy count=2 msg="Readiness probe failed: dial tcp 10.42.0.9:8080: connect: connection refused"
         9s shop/cart-5b6d7c8f9b-q7w8e@n2%cart PodReadiness status=true hash=5b6d7c8f9b
         9s svc:shop/cart%cart EndpointsChanged ready=2 not_ready=0
         10s shop/cart-7f6b8d9c4-x2kq9/cart@n1%cart ContainerKilling reason=Killing msg="Stopping container cart"
         12s shop/cart-7f6b8d9c4-x2kq9/cart@n1%cart ContainerTerminated sev=info exit=143 reason=Error hash=7f6b8d9c4
         12s svc:shop/cart%cart EndpointsChanged ready=1 not_ready=0"#,
    ),
    Scene::unknown(
        "bad_rollout",
        "more requests fail than ever since the rollout, and nobody says in which pods",
        r#"0s shop/x%cart RolloutStarted generation=7 image=shop/cart:v7 msg="Deployment cart was given a template, generation 7" trace=2
         75s svc:shop/cart%cart Anomaly anomaly=error_rate how=rose score=60.0 was=0.002 is=0.3 name="GET /cart" msg="30 % of the requests to GET /cart fail by themselves; it was 0.2 %"
         75s svc:shop/cart%cart Anomaly anomaly=error_rate how=rose score=60.0 was=0.002 is=0.3 name="GET /cart" msg="30 % of the requests to GET /cart fail by themselves; it was 0.2 %" tapio.anomaly.of=a trace=2
         90s svc:shop/cart%cart Anomaly anomaly=error_rate how=rose score=60.0 was=0.002 is=0.3 name="GET /cart" msg="30 % of the requests to GET /cart fail by themselves; it was 0.2 %"
         90s svc:shop/cart%cart Anomaly anomaly=error_rate how=rose score=60.0 was=0.002 is=0.3 name="GET /cart" msg="30 % of the requests to GET /cart fail by themselves; it was 0.2 %" tapio.anomaly.of=b trace=2"#,
    ),
    Scene::unknown(
        "service_abnormal",
        "a service fails, and another one was rolled out",
        r#"0s shop/x%cart RolloutStarted generation=7 image=shop/cart:v7 msg="Deployment cart was given a template, generation 7" trace=2
         75s svc:shop/pay%pay Anomaly anomaly=error_rate how=rose score=60.0 was=0.002 is=0.3 name="POST /pay" msg="30 % of the requests to POST /pay fail by themselves; it was 0.2 %"
         90s svc:shop/pay%pay Anomaly anomaly=error_rate how=rose score=60.0 was=0.002 is=0.3 name="POST /pay" msg="30 % of the requests to POST /pay fail by themselves; it was 0.2 %""#,
    ),
    Scene::cause(
        "bad_rollout",
        "the new version does not listen, and a client is refused",
        r#"0s shop/x%cart RolloutStarted generation=7 image=shop/cart:v7 msg="Deployment cart was given a template, generation 7" trace=1
         0s shop/x%cart RolloutStarted hash=5b6d7c8f9b image=shop/cart:v7 msg="ReplicaSet cart-5b6d7c8f9b is to run" trace=1
         2s shop/cart-5b6d7c8f9b-q7w8e/cart@n2%cart ContainerStarted restarts=0 hash=5b6d7c8f9b trace=1
         3s shop/cart-5b6d7c8f9b-q7w8e@n2%cart PodReadiness status=true hash=5b6d7c8f9b trace=1
         3s shop/cart-7f6b8d9c4-x2kq9/cart@n1%cart ContainerKilling sev=info reason=Killing msg="Stopping container cart" trace=1
         4s shop/checkout-6f6bd85769-hzxj9/checkout@n1%checkout ConnectRefused addr=10.96.0.12 port=8080 peer=cart trace=2
         5s shop/checkout-6f6bd85769-hzxj9/checkout@n1%checkout ConnectRefused addr=10.96.0.12 port=8080 peer=cart trace=2
         9s shop/checkout-6f6bd85769-hzxj9/checkout@n1%checkout ConnectRefused addr=10.96.0.12 port=8080 peer=cart trace=2"#,
    ),
    Scene::cause(
        "bad_rollout",
        "the client's probe learns a moment later whom the address belongs to",
        r#"0s shop/x%cart RolloutStarted generation=7 image=shop/cart:v7 msg="Deployment cart was given a template, generation 7" trace=1
         0s shop/x%cart RolloutStarted hash=5b6d7c8f9b image=shop/cart:v7 msg="ReplicaSet cart-5b6d7c8f9b is to run" trace=1
         2s shop/cart-5b6d7c8f9b-q7w8e/cart@n2%cart ContainerStarted restarts=0 hash=5b6d7c8f9b trace=1
         3s shop/cart-5b6d7c8f9b-q7w8e@n2%cart PodReadiness status=true hash=5b6d7c8f9b trace=1
         3s shop/cart-7f6b8d9c4-x2kq9/cart@n1%cart ContainerKilling sev=info reason=Killing msg="Stopping container cart" trace=1
         4s shop/checkout-6f6bd85769-hzxj9/checkout@n1%checkout ConnectRefused addr=10.96.0.12 port=8080 trace=2
         5s shop/checkout-6f6bd85769-hzxj9/checkout@n1%checkout ConnectRefused addr=10.96.0.12 port=8080 trace=2
         9s shop/checkout-6f6bd85769-hzxj9/checkout@n1%checkout ConnectRefused addr=10.96.0.12 port=8080 peer=cart trace=2
         9s shop/checkout-6f6bd85769-hzxj9/checkout@n1%checkout ConnectRefused src=app msg="nc: can't connect to remote host (10.96.0.12): Connection refused" trace=2"#,
    ),
    Scene::cause(
        "connection_failed",
        "a client was refused by the old version as well",
        r#"0s shop/checkout-6f6bd85769-hzxj9/checkout@n1%checkout ConnectRefused addr=10.96.0.12 port=8080 peer=cart trace=2
         1s shop/checkout-6f6bd85769-hzxj9/checkout@n1%checkout ConnectRefused addr=10.96.0.12 port=8080 peer=cart trace=2
         6s shop/x%cart RolloutStarted generation=7 image=shop/cart:v7 msg="Deployment cart was given a template, generation 7" trace=1
         6s shop/x%cart RolloutStarted hash=5b6d7c8f9b image=shop/cart:v7 msg="ReplicaSet cart-5b6d7c8f9b is to run" trace=1
         8s shop/cart-5b6d7c8f9b-q7w8e/cart@n2%cart ContainerStarted restarts=0 hash=5b6d7c8f9b trace=1
         9s shop/cart-5b6d7c8f9b-q7w8e@n2%cart PodReadiness status=true hash=5b6d7c8f9b trace=1
         9s shop/cart-7f6b8d9c4-x2kq9/cart@n1%cart ContainerKilling sev=info reason=Killing msg="Stopping container cart" trace=1
         10s shop/checkout-6f6bd85769-hzxj9/checkout@n1%checkout ConnectRefused addr=10.96.0.12 port=8080 peer=cart trace=2
         11s shop/checkout-6f6bd85769-hzxj9/checkout@n1%checkout ConnectRefused addr=10.96.0.12 port=8080 peer=cart trace=2"#,
    ),
    Scene::cause(
        "connection_failed",
        "another client was refused by the old version",
        r#"0s shop/orders-1/orders@n1%orders ConnectRefused addr=10.96.0.12 port=9090 peer=cart trace=3
         6s shop/x%cart RolloutStarted generation=7 image=shop/cart:v7 msg="Deployment cart was given a template, generation 7" trace=1
         6s shop/x%cart RolloutStarted hash=5b6d7c8f9b image=shop/cart:v7 msg="ReplicaSet cart-5b6d7c8f9b is to run" trace=1
         8s shop/cart-5b6d7c8f9b-q7w8e/cart@n2%cart ContainerStarted restarts=0 hash=5b6d7c8f9b trace=1
         9s shop/cart-5b6d7c8f9b-q7w8e@n2%cart PodReadiness status=true hash=5b6d7c8f9b trace=1
         9s shop/cart-7f6b8d9c4-x2kq9/cart@n1%cart ContainerKilling sev=info reason=Killing msg="Stopping container cart" trace=1
         10s shop/checkout-6f6bd85769-hzxj9/checkout@n1%checkout ConnectRefused addr=10.96.0.12 port=8080 peer=cart trace=2
         11s shop/checkout-6f6bd85769-hzxj9/checkout@n1%checkout ConnectRefused addr=10.96.0.12 port=8080 peer=cart trace=2"#,
    ),
    Scene::cause(
        "connection_failed",
        "a client that begins after the rollout asks at a port where nobody listens",
        r#"0s shop/x%cart RolloutStarted generation=7 image=shop/cart:v7 msg="Deployment cart was given a template, generation 7" trace=1
         0s shop/x%cart RolloutStarted hash=5b6d7c8f9b image=shop/cart:v7 msg="ReplicaSet cart-5b6d7c8f9b is to run" trace=1
         2s shop/cart-5b6d7c8f9b-q7w8e/cart@n2%cart ContainerStarted restarts=0 hash=5b6d7c8f9b trace=1
         3s shop/cart-5b6d7c8f9b-q7w8e@n2%cart PodReadiness status=true hash=5b6d7c8f9b trace=1
         3s shop/cart-7f6b8d9c4-x2kq9/cart@n1%cart ContainerKilling sev=info reason=Killing msg="Stopping container cart" trace=1
         8s shop/x%checkout RolloutStarted generation=1 msg="Deployment checkout was given a template, generation 1" trace=2
         9s shop/checkout-6f6bd85769-hzxj9/checkout@n1%checkout ContainerStarted restarts=0 trace=2
         10s shop/checkout-6f6bd85769-hzxj9/checkout@n1%checkout ConnectRefused addr=10.96.0.12 port=9090 peer=cart trace=2
         11s shop/checkout-6f6bd85769-hzxj9/checkout@n1%checkout ConnectRefused addr=10.96.0.12 port=9090 peer=cart trace=2"#,
    ),
    Scene::cause(
        "connection_failed",
        "the first version of a server never listened",
        r#"0s shop/x%cart RolloutStarted generation=1 image=shop/cart:v1 msg="Deployment cart was given a template, generation 1" trace=1
         2s shop/cart-5b6d7c8f9b-q7w8e/cart@n2%cart ContainerStarted restarts=0 hash=5b6d7c8f9b trace=1
         4s shop/checkout-6f6bd85769-hzxj9/checkout@n1%checkout ConnectRefused addr=10.96.0.12 port=8080 peer=cart trace=2
         9s shop/checkout-6f6bd85769-hzxj9/checkout@n1%checkout ConnectRefused addr=10.96.0.12 port=8080 peer=cart trace=2"#,
    ),
    Scene::cause(
        "connection_failed",
        "packets to the new version are dropped: it would refuse if it did not listen",
        r#"0s shop/x%cart RolloutStarted generation=7 image=shop/cart:v7 msg="Deployment cart was given a template, generation 7" trace=1
         0s shop/x%cart RolloutStarted hash=5b6d7c8f9b image=shop/cart:v7 msg="ReplicaSet cart-5b6d7c8f9b is to run" trace=1
         2s shop/cart-5b6d7c8f9b-q7w8e/cart@n2%cart ContainerStarted restarts=0 hash=5b6d7c8f9b trace=1
         3s shop/cart-5b6d7c8f9b-q7w8e@n2%cart PodReadiness status=true hash=5b6d7c8f9b trace=1
         3s shop/cart-7f6b8d9c4-x2kq9/cart@n1%cart ContainerKilling sev=info reason=Killing msg="Stopping container cart" trace=1
         4s shop/checkout-6f6bd85769-hzxj9/checkout@n1%checkout SynRetransmit addr=10.96.0.12 port=8080 peer=cart count=3 trace=2
         9s shop/checkout-6f6bd85769-hzxj9/checkout@n1%checkout ConnectTimeout addr=10.96.0.12 port=8080 peer=cart trace=2"#,
    ),
    Scene::cause(
        "connection_failed",
        "another server was rolled out",
        r#"0s shop/x%mail RolloutStarted generation=7 image=shop/mail:v7 msg="Deployment mail was given a template, generation 7" trace=1
         0s shop/x%mail RolloutStarted hash=5b6d7c8f9b image=shop/mail:v7 msg="ReplicaSet mail-5b6d7c8f9b is to run" trace=1
         2s shop/mail-5b6d7c8f9b-q7w8e/mail@n2%mail ContainerStarted restarts=0 hash=5b6d7c8f9b trace=1
         3s shop/mail-5b6d7c8f9b-q7w8e@n2%mail PodReadiness status=true hash=5b6d7c8f9b trace=1
         3s shop/mail-7f6b8d9c4-x2kq9/mail@n1%mail ContainerKilling sev=info reason=Killing msg="Stopping container mail" trace=1
         4s shop/checkout-6f6bd85769-hzxj9/checkout@n1%checkout ConnectRefused addr=10.96.0.12 port=8080 peer=cart trace=2
         9s shop/checkout-6f6bd85769-hzxj9/checkout@n1%checkout ConnectRefused addr=10.96.0.12 port=8080 peer=cart trace=2"#,
    ),
    Scene::cause(
        "container_oom",
        "the new version is killed at its limit, and a client is refused meanwhile",
        r#"0s shop/x%cart RolloutStarted generation=7 image=shop/cart:v7 msg="Deployment cart was given a template, generation 7" trace=1
         0s shop/x%cart RolloutStarted hash=5b6d7c8f9b image=shop/cart:v7 msg="ReplicaSet cart-5b6d7c8f9b is to run" trace=1
         2s shop/cart-5b6d7c8f9b-q7w8e/cart@n2%cart ContainerStarted restarts=0 hash=5b6d7c8f9b trace=1
         3s shop/cart-5b6d7c8f9b-q7w8e@n2%cart PodReadiness status=true hash=5b6d7c8f9b trace=1
         3s shop/cart-7f6b8d9c4-x2kq9/cart@n1%cart ContainerKilling sev=info reason=Killing msg="Stopping container cart" trace=1
         4s shop/cart-5b6d7c8f9b-q7w8e/cart@n2%cart OomKill svc=cart constraint=memcg pid=42 proc=java msg="Memory cgroup out of memory: Killed process 42 (java)" trace=1
         5s shop/cart-5b6d7c8f9b-q7w8e/cart@n2%cart ContainerTerminated exit=137 reason=OOMKilled hash=5b6d7c8f9b trace=1
         6s shop/checkout-6f6bd85769-hzxj9/checkout@n1%checkout ConnectRefused addr=10.96.0.12 port=8080 peer=cart trace=2
         9s shop/checkout-6f6bd85769-hzxj9/checkout@n1%checkout ConnectRefused addr=10.96.0.12 port=8080 peer=cart trace=2"#,
    ),
    Scene::cause(
        "connection_failed",
        "a client was refused while pods changed places, and not since",
        r#"0s shop/x%cart RolloutStarted generation=7 image=shop/cart:v7 msg="Deployment cart was given a template, generation 7" trace=1
         0s shop/x%cart RolloutStarted hash=5b6d7c8f9b image=shop/cart:v7 msg="ReplicaSet cart-5b6d7c8f9b is to run" trace=1
         1s shop/cart-7f6b8d9c4-x2kq9/cart@n1%cart ContainerKilling sev=info reason=Killing msg="Stopping container cart" trace=1
         2s shop/checkout-6f6bd85769-hzxj9/checkout@n1%checkout ConnectRefused addr=10.96.0.12 port=8080 peer=cart trace=2
         3s shop/checkout-6f6bd85769-hzxj9/checkout@n1%checkout ConnectRefused addr=10.96.0.12 port=8080 peer=cart trace=2
         12s shop/cart-5b6d7c8f9b-q7w8e/cart@n2%cart ContainerStarted restarts=0 hash=5b6d7c8f9b trace=1"#,
    ),
    Scene::unknown(
        "connection_failed",
        "after a rollout an application gets no answer, and nobody saw the packets",
        r#"0s shop/x%cart RolloutStarted generation=7 image=shop/cart:v7 msg="Deployment cart was given a template, generation 7" trace=1
         0s shop/x%cart RolloutStarted hash=5b6d7c8f9b image=shop/cart:v7 msg="ReplicaSet cart-5b6d7c8f9b is to run" trace=1
         2s shop/cart-5b6d7c8f9b-q7w8e/cart@n2%cart ContainerStarted restarts=0 hash=5b6d7c8f9b trace=1
         3s shop/cart-5b6d7c8f9b-q7w8e@n2%cart PodReadiness status=true hash=5b6d7c8f9b trace=1
         3s shop/cart-7f6b8d9c4-x2kq9/cart@n1%cart ContainerKilling sev=info reason=Killing msg="Stopping container cart" trace=1
         4s shop/checkout-6f6bd85769-hzxj9/checkout@n1%checkout ConnectTimeout src=app addr=cart port=8080 msg="dial tcp cart:8080: i/o timeout" trace=2
         9s shop/checkout-6f6bd85769-hzxj9/checkout@n1%checkout ConnectTimeout src=app addr=cart port=8080 msg="dial tcp cart:8080: i/o timeout" trace=2"#,
    ),
];
