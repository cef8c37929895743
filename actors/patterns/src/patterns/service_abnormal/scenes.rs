//! The scenes of [`super`].

use crate::Scene;

/// Scenes whose cause is known.
pub(crate) const SCENES: &[Scene] = &[
    Scene::cause(
        "service_abnormal",
        "a service writes what it never wrote, and its caller no longer gets far enough to write",
        r#"15s svc:shop/pay%pay Anomaly anomaly=log_template how=appeared score=90.0 was=0.0 is=0.9 name=charge msg="charge writes charge request failed in 90 % of its last 40 traces; it was 0 %"
         15s svc:shop/web%web Anomaly anomaly=log_template how=vanished score=20.0 was=1.0 is=0.2 name=buy msg="buy no longer writes order placed: 20 % of its last 40 traces; it was 100 %"
         30s svc:shop/pay%pay Anomaly anomaly=log_template how=appeared score=108.0 was=0.0 is=0.9 name=charge msg="charge writes charge request failed in 92 % of its last 80 traces; it was 0 %""#,
    ),
    Scene::cause(
        "service_abnormal",
        "a service uses up its CPU limit, and those who call it are slow",
        r#"15s svc:shop/cart%cart Anomaly src=metrics anomaly=cpu how=rose score=60.0 was=0.2 is=0.99 msg="cart uses 99 % of its cpu limit; 20.0 % is usual"
         15s svc:shop/cart%cart Anomaly anomaly=self_time how=rose score=50.0 was=4.0 is=90.0 name=GetCart msg="GetCart takes 90 ms by itself; it took 4 ms at most"
         30s svc:shop/web%web Anomaly anomaly=self_time how=rose score=12.0 was=9.0 is=40.0 name=buy msg="buy takes 40 ms by itself; it took 9 ms at most""#,
    ),
    Scene::cause(
        "service_abnormal",
        "a service stops calling another, and is taken out",
        r#"15s svc:shop/cart%cart Anomaly anomaly=call how=vanished score=70.0 was=1.0 is=0.0 name=AddItem msg="AddItem no longer calls redis SET: 0 % of its last 30 traces; it was 100 %"
         15s svc:shop/web%web Anomaly anomaly=log_template how=vanished score=20.0 was=1.0 is=0.2 name=buy msg="buy no longer writes order placed: 20 % of its last 40 traces; it was 100 %"
         20s shop/cart-1/cart@n1%cart ProbeFailed probe=readiness count=3 msg="Readiness probe failed: HTTP probe failed with statuscode: 503" trace=2
         21s shop/cart-1@n1%cart PodReadiness status=false reason=ContainersNotReady trace=2
         21s svc:shop/cart%cart EndpointsChanged ready=1 not_ready=1 trace=2"#,
    ),
    Scene::cause(
        "service_abnormal",
        "two that seemed to have nothing to do with each other are seen to be one fault after all",
        r#"15s svc:shop/web%web Anomaly anomaly=log_template how=vanished score=20.0 was=1.0 is=0.2 name=buy msg="buy no longer writes order placed: 20 % of its last 40 traces; it was 100 %" tapio.anomaly.apart=pay
         15s svc:shop/pay%pay Anomaly anomaly=log_template how=appeared score=30.0 was=0.0 is=0.3 name=charge msg="charge writes charge request failed in 30 % of its last 40 traces; it was 0 %" tapio.anomaly.apart=web
         30s svc:shop/pay%pay Anomaly anomaly=log_template how=appeared score=108.0 was=0.0 is=0.9 name=charge msg="charge writes charge request failed in 92 % of its last 80 traces; it was 0 %""#,
    ),
    Scene::cause(
        "cascading_dependency",
        "spans say themselves who failed first, and what it writes then is new",
        r#"0s svc:shop/pay%pay Span name="POST /charge" status=error span_kind=server dur=200ms trace=7 span=2 parent=1 msg="card processor answered 500"
         1ms svc:shop/web%web Span name="POST /buy" status=error span_kind=server dur=300ms trace=7 span=1
         15s svc:shop/pay%pay Anomaly anomaly=log_template how=appeared score=90.0 was=0.0 is=0.9 name=charge msg="charge writes card processor answered in 90 % of its last 40 traces; it was 0 %"
         15s svc:shop/web%web Anomaly anomaly=log_template how=vanished score=30.0 was=1.0 is=0.2 name=buy msg="buy no longer writes order placed: 20 % of its last 40 traces; it was 100 %""#,
    ),
    Scene::cause(
        "bad_rollout",
        "a new version fails, and writes what none before wrote",
        r#"0s shop/x%cart RolloutStarted hash=newer generation=7 image=shop/cart:v7 trace=2
         2s shop/cart-older-aaaaa/cart%cart Log msg=served trace=2
         3s shop/cart-newer-bbbbb/cart%cart Exception msg="NullPointerException" trace=2
         4s shop/cart-newer-bbbbb/cart%cart Exception msg="NullPointerException" trace=2
         15s svc:shop/cart%cart Anomaly anomaly=log_template how=appeared score=90.0 was=0.0 is=0.5 name=AddItem msg="AddItem writes NullPointerException in 50 % of its last 40 traces; it was 0 %"
         30s svc:shop/cart%cart Anomaly anomaly=log_template how=appeared score=90.0 was=0.0 is=0.5 name=AddItem msg="AddItem writes NullPointerException in 50 % of its last 40 traces; it was 0 %""#,
    ),
    Scene::cause(
        "cpu_throttling",
        "its own time rises because it is throttled at its limit",
        r#"0s shop/web-1/web@n1%web CpuThrottled ratio=0.8 count=80 msg="throttled in 80 of 100 periods" trace=2
         9s shop/web-1/web@n1%web ProbeFailed probe=readiness count=3 msg="Readiness probe failed: context deadline exceeded" trace=2
         15s svc:shop/web%web Anomaly anomaly=self_time how=rose score=80.0 was=12.0 is=240.0 name=buy msg="buy takes 240 ms by itself; it took 12 ms at most"
         30s svc:shop/web%web Anomaly anomaly=self_time how=rose score=80.0 was=12.0 is=240.0 name=buy msg="buy takes 240 ms by itself; it took 12 ms at most""#,
    ),
    Scene::cause(
        "noisy_neighbour",
        "its own time rises because it waits for a processor that others have",
        r#"0s shop/web-1/web@n1%web CpuDelayed resource=cpu dur=180ms count=90 msg="web (pid 7) waited 180.0 ms for a processor" trace=2
         9s shop/web-1/web@n1%web ProbeFailed probe=readiness count=3 msg="Readiness probe failed: context deadline exceeded" trace=2
         15s svc:shop/web%web Anomaly anomaly=self_time how=rose score=80.0 was=12.0 is=240.0 name=buy msg="buy takes 240 ms by itself; it took 12 ms at most"
         30s svc:shop/web%web Anomaly anomaly=self_time how=rose score=80.0 was=12.0 is=240.0 name=buy msg="buy takes 240 ms by itself; it took 12 ms at most""#,
    ),
    Scene::cause(
        "traffic_surge",
        "eight times the requests come, and then it is slow",
        r#"0s svc:shop/web%web Anomaly anomaly=request_rate how=rose was=10.0 is=80.0
         15s svc:shop/web%web Anomaly anomaly=self_time how=rose score=80.0 was=12.0 is=240.0 name=buy msg="buy takes 240 ms by itself; it took 12 ms at most""#,
    ),
    Scene::cause(
        "container_oom",
        "a container is killed at its limit, and its callers' lines are missing",
        r#"0s shop/pay-1/pay@n1%pay OomKill constraint=memcg pid=7 proc=pay trace=2
         1s shop/pay-1/pay@n1%pay ContainerTerminated exit=137 reason=OOMKilled trace=2
         15s svc:shop/pay%pay Anomaly anomaly=log_template how=vanished score=50.0 was=1.0 is=0.0 name=charge msg="charge no longer writes charged: 0 % of its last 9 traces; it was 100 %"
         30s svc:shop/pay%pay Anomaly anomaly=log_template how=vanished score=50.0 was=1.0 is=0.0 name=charge msg="charge no longer writes charged: 0 % of its last 9 traces; it was 100 %""#,
    ),
    Scene::unknown(
        "service_abnormal",
        "requests fail by themselves, where nobody sends more and nothing was changed",
        r#"15s svc:shop/pay%pay Anomaly anomaly=error_rate how=rose score=48.0 was=0.002 is=0.25 name="POST /pay" msg="25 % of the requests to POST /pay fail by themselves; it was 0.2 %"
         30s svc:shop/pay%pay Anomaly anomaly=error_rate how=rose score=60.0 was=0.002 is=0.3 name="POST /pay" msg="30 % of the requests to POST /pay fail by themselves; it was 0.2 %""#,
    ),
    Scene::unknown(
        "service_abnormal",
        "two services are unlike themselves, and neither much more than the other",
        r#"15s svc:shop/pay%pay Anomaly anomaly=log_template how=appeared score=90.0 was=0.0 is=0.9 name=charge msg="charge writes retry in 90 % of its last 40 traces; it was 0 %"
         15s svc:shop/web%web Anomaly anomaly=self_time how=rose score=80.0 was=9.0 is=120.0 name=buy msg="buy takes 120 ms by itself; it took 9 ms at most""#,
    ),
    Scene::healthy(
        "a pod and a node use more than they did, and nothing suffers",
        r#"0s shop/web-1@n1%web Anomaly src=metrics anomaly=cpu how=rose score=60.0 was=0.2 is=1.6 msg="shop/web-1 has more cpu: k8s.pod.cpu.usage is 1.60, and 0.20 is usual" trace=2
         0s shop/web-1@n1%web Anomaly src=metrics anomaly=memory how=rose score=60.0 was=90000000.0 is=210000000.0 msg="shop/web-1 has more memory: k8s.pod.memory.usage is 210000000, and 90000000 is usual" trace=2
         15s node:n2 Anomaly src=metrics anomaly=cpu how=rose score=40.0 was=0.2 is=0.8 msg="n2 has more cpu: k8s.node.cpu.utilization is 0.80, and 0.20 is usual" trace=3
         30s node:n2 Anomaly src=metrics anomaly=disk how=rose score=40.0 was=0.3 is=0.7 msg="n2 has more disk: k8s.node.filesystem.utilization is 0.70, and 0.30 is usual" trace=3"#,
    ),
    Scene::healthy(
        "more is asked, and each request is as ever",
        "0s svc:shop/web%web Anomaly anomaly=request_rate how=rose was=10.0 is=30.0
         5s svc:shop/pay%pay Anomaly anomaly=request_rate how=rose was=5.0 is=15.0
         9s shop/web-1/web@n1%web Log msg=\"order placed\" trace=2",
    ),
];
