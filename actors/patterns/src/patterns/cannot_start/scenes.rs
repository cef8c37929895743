//! The scenes of [`super`].

use crate::Scene;

/// Scenes whose cause is known.
pub(crate) const SCENES: &[Scene] = &[
    Scene::cause(
        "cannot_start",
        "a variable is missing, says the last line",
        r#"0s shop/cart-7f6b8d9c4-x2kq9/cart@n2%cart ContainerStarted restarts=0
         1s shop/cart-7f6b8d9c4-x2kq9/cart@n2%cart Log sev=error msg="Environment variable DATABASE_URL is undefined"
         1s shop/cart-7f6b8d9c4-x2kq9/cart@n2%cart ContainerTerminated exit=1 reason=Error restarts=0
         1s shop/cart-7f6b8d9c4-x2kq9/cart@n2%cart ContainerWaiting reason=CrashLoopBackOff msg="back-off 10s restarting failed container=cart"
         2s shop/cart-7f6b8d9c4-x2kq9/cart@n2%cart ContainerWaiting reason=BackOff count=2 msg="Back-off restarting failed container cart in pod cart-7f6b8d9c4-x2kq9_shop"
         2s svc:shop/cart%cart EndpointsChanged ready=0 not_ready=1
         4s shop/front-6d5f9c8b7-k2x4p/front@n1%front ConnectRefused addr=10.96.0.20 port=80 peer=cart error=ECONNREFUSED trace=2
         6s shop/front-6d5f9c8b7-k2x4p/front@n1%front ConnectRefused addr=10.96.0.20 port=80 peer=cart error=ECONNREFUSED trace=2"#,
    ),
    Scene::cause(
        "cannot_start",
        "the executable is not in the image",
        r#"1s shop/cart-7f6b8d9c4-x2kq9/cart@n2%cart ContainerCreateFailed reason=Failed msg="Error: failed to create containerd task: OCI runtime create failed: exec: \"/srv/carts\": stat /srv/carts: no such file or directory"
         1s shop/cart-7f6b8d9c4-x2kq9/cart@n2%cart ContainerTerminated exit=128 reason=StartError msg="exec: \"/srv/carts\": stat /srv/carts: no such file or directory"
         2s shop/cart-7f6b8d9c4-x2kq9/cart@n2%cart ContainerCreateFailed reason=RunContainerError msg="exec: \"/srv/carts\": stat /srv/carts: no such file or directory""#,
    ),
    Scene::cause(
        "cannot_start",
        "an image for another architecture, in the first version there is",
        r#"0s shop/x%cart RolloutStarted generation=1 image=shop/cart:v1 msg="Deployment cart was given a template, generation 1"
         0s shop/x%cart RolloutStarted hash=7f6b8d9c4 image=shop/cart:v1 msg="ReplicaSet cart-7f6b8d9c4 is to run"
         2s shop/cart-7f6b8d9c4-x2kq9/cart@n2%cart ContainerStarted restarts=0 hash=7f6b8d9c4
         2s shop/cart-7f6b8d9c4-x2kq9/cart@n2%cart Log sev=error msg="exec /srv/cart: exec format error"
         2s shop/cart-7f6b8d9c4-x2kq9/cart@n2%cart ContainerTerminated exit=255 reason=Error restarts=0 hash=7f6b8d9c4
         3s shop/cart-7f6b8d9c4-x2kq9/cart@n2%cart ContainerWaiting reason=CrashLoopBackOff restarts=1 hash=7f6b8d9c4"#,
    ),
    Scene::cause(
        "cannot_start",
        "it crashes at every start",
        "0s shop/cart-7f6b8d9c4-x2kq9/cart@n2%cart ContainerStarted restarts=2 cid=a1
         1s shop/cart-7f6b8d9c4-x2kq9/cart@n2%cart ContainerTerminated exit=139 reason=Error restarts=2 cid=a1
         1s shop/cart-7f6b8d9c4-x2kq9/cart@n2%cart ContainerWaiting reason=CrashLoopBackOff restarts=2 cid=a1",
    ),
    Scene::cause(
        "container_oom",
        "killed at every start, for its limit is too low",
        "0s shop/cart-7f6b8d9c4-x2kq9/cart@n2%cart ContainerStarted restarts=3 cid=a1
         1s shop/cart-7f6b8d9c4-x2kq9/cart@n2%cart ContainerTerminated exit=137 reason=OOMKilled limit=16777216 cid=a1
         1s shop/cart-7f6b8d9c4-x2kq9/cart@n2%cart ContainerWaiting reason=CrashLoopBackOff cid=a1
         21s shop/cart-7f6b8d9c4-x2kq9/cart@n2%cart ContainerStarted restarts=4 cid=a2
         22s shop/cart-7f6b8d9c4-x2kq9/cart@n2%cart ContainerTerminated exit=137 reason=OOMKilled limit=16777216 cid=a2",
    ),
    Scene::cause(
        "missing_config",
        "its configuration is not there, so it is never created",
        r#"1s shop/cart-7f6b8d9c4-x2kq9/cart@n2%cart ContainerCreateFailed reason=Failed msg="Error: configmap \"cart-env\" not found"
         2s shop/cart-7f6b8d9c4-x2kq9/cart@n2%cart ContainerCreateFailed reason=CreateContainerConfigError msg="configmap \"cart-env\" not found""#,
    ),
    Scene::cause(
        "connection_failed",
        "it ends at start because nothing listens where it connects to",
        r#"0s shop/api-6d5f9c8b7-k2x4p/api@n2%api ContainerStarted restarts=2
         1s shop/api-6d5f9c8b7-k2x4p/api@n2%api ConnectRefused addr=10.0.0.7 port=5432 peer=db error=ECONNREFUSED
         1s shop/api-6d5f9c8b7-k2x4p/api@n2%api ConnectRefused src=app addr=db port=5432 msg="dial tcp db:5432: connect: connection refused"
         1s shop/api-6d5f9c8b7-k2x4p/api@n2%api ContainerTerminated exit=1 reason=Error restarts=2
         2s shop/api-6d5f9c8b7-k2x4p/api@n2%api ContainerWaiting reason=CrashLoopBackOff"#,
    ),
    Scene::unknown(
        "cannot_start",
        "it ends with exit code 1 and says nothing",
        "0s shop/cart-7f6b8d9c4-x2kq9/cart@n2%cart ContainerStarted restarts=0
         1s shop/cart-7f6b8d9c4-x2kq9/cart@n2%cart ContainerTerminated exit=1 reason=Error restarts=0
         1s shop/cart-7f6b8d9c4-x2kq9/cart@n2%cart ContainerWaiting reason=CrashLoopBackOff",
    ),
    Scene::unknown(
        "cannot_start",
        "one attempt to connect is refused at its only start",
        r#"0s shop/api-6d5f9c8b7-k2x4p/api@n2%api ContainerStarted restarts=0
         1s shop/api-6d5f9c8b7-k2x4p/api@n2%api ConnectRefused src=app addr=10.0.0.7 port=5432 msg="dial tcp 10.0.0.7:5432: connect: connection refused"
         1s shop/api-6d5f9c8b7-k2x4p/api@n2%api ContainerTerminated exit=1 reason=Error restarts=0
         1s shop/api-6d5f9c8b7-k2x4p/api@n2%api ContainerWaiting reason=CrashLoopBackOff"#,
    ),
    Scene::cause(
        "liveness_kill",
        "its startup probe ends every start",
        r#"9s shop/cart-7f6b8d9c4-x2kq9/cart@n2%cart ProbeFailed probe=startup reason=Unhealthy count=3 msg="Startup probe failed: dial tcp 10.42.0.9:8080: connect: connection refused"
         9s shop/cart-7f6b8d9c4-x2kq9/cart@n2%cart ContainerKilling probe=startup reason=Killing msg="Container cart failed startup probe, will be restarted"
         10s shop/cart-7f6b8d9c4-x2kq9/cart@n2%cart ContainerTerminated exit=1 reason=Error restarts=4
         10s shop/cart-7f6b8d9c4-x2kq9/cart@n2%cart ContainerWaiting reason=CrashLoopBackOff restarts=4"#,
    ),
    Scene::unknown(
        "cannot_start",
        "it backs off, and neither end nor last line were seen",
        r#"0s shop/cart-7f6b8d9c4-x2kq9/cart@n2%cart ContainerWaiting reason=BackOff count=9 msg="Back-off restarting failed container cart in pod cart-7f6b8d9c4-x2kq9_shop"
         14s shop/cart-7f6b8d9c4-x2kq9/cart@n2%cart ContainerWaiting reason=BackOff count=1 msg="Back-off restarting failed container cart in pod cart-7f6b8d9c4-x2kq9_shop""#,
    ),
    Scene::healthy(
        "a job that is done, and an init container before its pod",
        "0s shop/db-init-k8x2p/init@n1%Job/db-init ContainerStarted restarts=0
         5s shop/db-init-k8x2p/init@n1%Job/db-init ContainerTerminated sev=info exit=0 reason=Completed
         0s shop/db-0/migrate@n1%StatefulSet/db ContainerStarted restarts=0 trace=2
         3s shop/db-0/migrate@n1%StatefulSet/db ContainerTerminated sev=info exit=0 reason=Completed trace=2
         4s shop/db-0/db@n1%StatefulSet/db ContainerStarted restarts=0 trace=2",
    ),
];
