//! The scenes of [`super`].

use crate::Scene;

/// Scenes whose cause is known.
pub(crate) const SCENES: &[Scene] = &[
    Scene::cause(
        "readiness_lost",
        "the probe asks for a path that is not there, so both replicas are out",
        r#"0s shop/cart-7f6b8d9c4-x2kq9/cart@n1%cart ProbeFailed probe=readiness reason=Unhealthy count=3 msg="Readiness probe failed: HTTP probe failed with statuscode: 404"
         1s shop/cart-7f6b8d9c4-q7w8e/cart@n2%cart ProbeFailed probe=readiness reason=Unhealthy count=3 msg="Readiness probe failed: HTTP probe failed with statuscode: 404"
         1s shop/cart-7f6b8d9c4-x2kq9@n1%cart PodReadiness status=false reason=ContainersNotReady
         2s shop/cart-7f6b8d9c4-q7w8e@n2%cart PodReadiness status=false reason=ContainersNotReady
         2s svc:shop/cart%cart EndpointsChanged ready=0 not_ready=2
         4s shop/front-6d5f9c8b7-k2x4p/front@n1%front ConnectRefused addr=10.96.0.20 port=80 peer=cart error=ECONNREFUSED trace=2
         6s shop/front-6d5f9c8b7-k2x4p/front@n1%front ConnectRefused addr=10.96.0.20 port=80 peer=cart error=ECONNREFUSED trace=2"#,
    ),
    Scene::cause(
        "readiness_lost",
        "one replica of three is out, without a word of its own",
        r#"0s shop/cart-7f6b8d9c4-x2kq9/cart@n1%cart ProbeFailed probe=readiness reason=Unhealthy msg="Readiness probe failed: Get \"http://10.42.0.9/ready\": context deadline exceeded"
         9s shop/cart-7f6b8d9c4-x2kq9/cart@n1%cart ProbeFailed probe=readiness reason=Unhealthy count=2 msg="Readiness probe failed: Get \"http://10.42.0.9/ready\": context deadline exceeded"
         9s svc:shop/cart%cart EndpointsChanged ready=2 not_ready=1"#,
    ),
    Scene::cause(
        "liveness_kill",
        "readiness goes first, and the liveness probe kills",
        r#"0s shop/cart-7f6b8d9c4-x2kq9/cart@n1%cart ProbeFailed probe=readiness reason=Unhealthy count=2 msg="Readiness probe failed: HTTP probe failed with statuscode: 500"
         1s shop/cart-7f6b8d9c4-x2kq9@n1%cart PodReadiness status=false reason=ContainersNotReady
         4s shop/cart-7f6b8d9c4-x2kq9/cart@n1%cart ProbeFailed probe=liveness reason=Unhealthy count=3 msg="Liveness probe failed: HTTP probe failed with statuscode: 500"
         4s shop/cart-7f6b8d9c4-x2kq9/cart@n1%cart ContainerKilling probe=liveness reason=Killing msg="Container cart failed liveness probe, will be restarted"
         6s shop/cart-7f6b8d9c4-x2kq9/cart@n1%cart ContainerTerminated exit=143 reason=Error"#,
    ),
    Scene::cause(
        "container_oom",
        "the probe says no because the database it asks was killed",
        r#"0s shop/db-0/db@n1%StatefulSet/db OomKill constraint=memcg pid=4242 proc=postgres msg="Memory cgroup out of memory: Killed process 4242 (postgres)"
         1s shop/db-0/db@n1%StatefulSet/db ContainerTerminated exit=137 reason=OOMKilled
         2s svc:shop/db%StatefulSet/db EndpointsChanged ready=0 not_ready=1
         2s shop/api-6d5f9c8b7-k2x4p/api@n2%api ConnectRefused addr=10.0.0.7 port=5432 peer=db error=ECONNREFUSED trace=2
         5s shop/api-6d5f9c8b7-k2x4p/api@n2%api ProbeFailed probe=readiness reason=Unhealthy count=3 msg="Readiness probe failed: HTTP probe failed with statuscode: 503" trace=2
         6s shop/api-6d5f9c8b7-k2x4p@n2%api PodReadiness status=false reason=ContainersNotReady trace=2
         6s svc:shop/api%api EndpointsChanged ready=0 not_ready=1 trace=2"#,
    ),
    Scene::cause(
        "dns_failure",
        "the probe says no because the name service fails",
        r#"0s shop/api-6d5f9c8b7-k2x4p/api@n2%api DnsFailure dns=db.shop.svc.cluster.local rcode=servfail count=2
         2s shop/api-6d5f9c8b7-k2x4p/api@n2%api DnsFailure dns=db.shop.svc.cluster.local rcode=servfail
         3s shop/api-6d5f9c8b7-k2x4p/api@n2%api ProbeFailed probe=readiness reason=Unhealthy count=3 msg="Readiness probe failed: HTTP probe failed with statuscode: 503"
         4s shop/api-6d5f9c8b7-k2x4p@n2%api PodReadiness status=false reason=ContainersNotReady"#,
    ),
    Scene::cause(
        "connection_failed",
        "the probe says no before the next attempt to connect is refused",
        r#"0s shop/api-6d5f9c8b7-k2x4p/api@n2%api ProbeFailed probe=readiness reason=Unhealthy count=3 msg="Readiness probe failed: HTTP probe failed with statuscode: 503"
         1s shop/api-6d5f9c8b7-k2x4p@n2%api PodReadiness status=false reason=ContainersNotReady
         6s shop/api-6d5f9c8b7-k2x4p/api@n2%api ConnectRefused addr=10.0.0.7 port=5432 peer=db error=ECONNREFUSED
         9s shop/api-6d5f9c8b7-k2x4p/api@n2%api ConnectRefused addr=10.0.0.7 port=5432 peer=db error=ECONNREFUSED"#,
    ),
    Scene::cause(
        "cannot_start",
        "it is not ready because it ends at every start",
        r#"0s shop/cart-7f6b8d9c4-x2kq9/cart@n1%cart ContainerStarted restarts=2 cid=a1
         1s shop/cart-7f6b8d9c4-x2kq9/cart@n1%cart Log sev=error msg="unknown flag: --prot"
         1s shop/cart-7f6b8d9c4-x2kq9/cart@n1%cart ProbeFailed probe=readiness reason=Unhealthy msg="Readiness probe failed: dial tcp 10.42.0.9:8080: connect: connection refused"
         2s shop/cart-7f6b8d9c4-x2kq9/cart@n1%cart ContainerTerminated exit=2 reason=Error restarts=2 cid=a1
         2s shop/cart-7f6b8d9c4-x2kq9/cart@n1%cart ContainerWaiting reason=CrashLoopBackOff restarts=2 cid=a1
         3s svc:shop/cart%cart EndpointsChanged ready=0 not_ready=1"#,
    ),
    Scene::unknown(
        "readiness_lost",
        "a pod is not ready and no endpoint is left, and no probe was seen",
        "0s shop/cart-7f6b8d9c4-x2kq9@n1%cart PodReadiness status=false reason=ContainersNotReady
         1s svc:shop/cart%cart EndpointsChanged ready=0 not_ready=1",
    ),
    Scene::healthy(
        "every pod of a rollout begins unready",
        r#"0s shop/cart-5b6d7c8f9b-q7w8e@n1%cart PodScheduled
         2s shop/cart-5b6d7c8f9b-q7w8e/cart@n1%cart ContainerStarted restarts=0 hash=5b6d7c8f9b
         4s shop/cart-5b6d7c8f9b-q7w8e/cart@n1%cart ProbeFailed probe=readiness reason=Unhealthy count=4 msg="Readiness probe failed: dial tcp 10.42.0.9:8080: connect: connection refused"
         5s svc:shop/cart%cart EndpointsChanged ready=1 not_ready=1
         14s shop/cart-5b6d7c8f9b-q7w8e@n1%cart PodReadiness status=true hash=5b6d7c8f9b
         14s svc:shop/cart%cart EndpointsChanged ready=2 not_ready=0"#,
    ),
];
