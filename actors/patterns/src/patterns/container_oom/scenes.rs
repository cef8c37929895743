//! The scenes of [`super`].

use crate::Scene;

/// Scenes whose cause is known.
pub(crate) const SCENES: &[Scene] = &[
    Scene::cause(
        "container_oom",
        "a database at its limit: kernel, cgroup, kubelet and a caller saw it",
        r#"0s shop/db-0/db@n1%StatefulSet/db MemoryLimitReached count=12 limit=268435456
         1s shop/db-0/db@n1%StatefulSet/db OomKill constraint=memcg memcg=/kubepods/burstable/podd0/db pid=4242 proc=postgres rss=261120 msg="Memory cgroup out of memory: Killed process 4242 (postgres) anon-rss:261120kB"
         1s shop/db-0/db@n1%StatefulSet/db ProcessExit sev=warn signal=9 pid=4242 proc=postgres init=true
         1200ms shop/db-0/db@n1%StatefulSet/db OomKillCounted count=1 limit=268435456
         2s shop/db-0/db@n1%StatefulSet/db ContainerTerminated exit=137 reason=OOMKilled limit=268435456
         2s shop/db-0@n1%StatefulSet/db PodReadiness status=false reason=ContainersNotReady
         2s shop/db-0/db@n1%StatefulSet/db ContainerWaiting reason=CrashLoopBackOff msg="back-off 10s restarting failed container=db pod=db-0_shop"
         3s svc:shop/db%StatefulSet/db EndpointsChanged ready=0 not_ready=1
         4s shop/api-6d5f9c8b7-k2x4p/api@n2%api ConnectRefused addr=10.0.0.7 port=5432 peer=db error=ECONNREFUSED trace=2
         5s shop/api-6d5f9c8b7-k2x4p/api@n2%api ConnectRefused src=app addr=db port=5432 msg="dial tcp db:5432: connect: connection refused" trace=2
         6s shop/api-6d5f9c8b7-k2x4p/api@n2%api ConnectRefused src=app addr=db port=5432 msg="dial tcp db:5432: connect: connection refused" trace=2"#,
    ),
    Scene::cause(
        "container_oom",
        "only the API was watched, and the container was killed again and again",
        r#"0s shop/cart-7f6b8d9c4-x2kq9/cart@n2%cart ContainerTerminated exit=137 reason=OOMKilled limit=268435456 restarts=0 hash=7f6b8d9c4
         0s shop/cart-7f6b8d9c4-x2kq9@n2%cart PodReadiness status=false reason=ContainersNotReady hash=7f6b8d9c4
         0s shop/cart-7f6b8d9c4-x2kq9/cart@n2%cart ContainerWaiting reason=CrashLoopBackOff hash=7f6b8d9c4
         9s shop/cart-7f6b8d9c4-x2kq9/cart@n2%cart ContainerWaiting reason=BackOff count=3 msg="Back-off restarting failed container cart in pod cart-7f6b8d9c4-x2kq9_shop"
         20s shop/cart-7f6b8d9c4-x2kq9/cart@n2%cart ContainerTerminated exit=137 reason=OOMKilled limit=268435456 restarts=2 count=2 hash=7f6b8d9c4 cid=5b5b
         25s shop/cart-7f6b8d9c4-x2kq9/cart@n2%cart ContainerStarted restarts=2 hash=7f6b8d9c4 cid=6c6c"#,
    ),
    Scene::cause(
        "container_oom",
        "the kernel knows the container by its id, the kubelet by its pod",
        r#"0s cgroup:/kubepods.slice/kubepods-burstable.slice/cri-containerd-4a4a.scope@n2 OomKill cid=4a4a constraint=memcg pid=42 proc=java msg="Memory cgroup out of memory: Killed process 42 (java)" trace=2
         1s cgroup:/kubepods.slice/kubepods-burstable.slice/cri-containerd-4a4a.scope@n2 OomKillCounted cid=4a4a count=1 limit=268435456 trace=2
         2s shop/cart-7f6b8d9c4-x2kq9/cart@n2%cart ContainerTerminated exit=137 reason=OOMKilled limit=268435456 cid=4a4a
         2s shop/cart-7f6b8d9c4-x2kq9@n2%cart PodReadiness status=false reason=ContainersNotReady"#,
    ),
    Scene::cause(
        "container_oom",
        "a unit at its limit, by kernel and systemd",
        r#"1s unit:redis.service@n1 OomKill constraint=memcg pid=42 proc=redis-server cgroup=/system.slice/redis.service msg="Memory cgroup out of memory: Killed process 42 (redis-server)"
         1200ms unit:redis.service@n1 OomKillCounted count=1 cgroup=/system.slice/redis.service
         2s unit:redis.service@n1 UnitFailed result=oom-kill unit=redis.service msg="redis.service: Failed with result 'oom-kill'.""#,
    ),
    Scene::cause(
        "node_oom",
        "the node ran out: the status of the victim says OOMKilled too",
        r#"1s shop/cart-7f6b8d9c4-x2kq9/cart@n2%cart OomKill constraint=none pid=4242 proc=java msg="Out of memory: Killed process 4242 (java) anon-rss:901120kB"
         1s shop/cart-7f6b8d9c4-x2kq9/cart@n2%cart OomKillCounted count=1
         2s shop/cart-7f6b8d9c4-x2kq9/cart@n2%cart ContainerTerminated exit=137 reason=OOMKilled
         2s node:n2 NodeOom reason=SystemOOM pid=4242 proc=java msg="System OOM encountered, victim process: java, pid: 4242" trace=2"#,
    ),
    Scene::cause(
        "liveness_kill",
        "exit code 137, sent by the kubelet",
        r#"0s shop/cart-7f6b8d9c4-x2kq9/cart@n2%cart MemoryLimitReached count=3 limit=268435456
         2s shop/cart-7f6b8d9c4-x2kq9/cart@n2%cart ProbeFailed probe=liveness reason=Unhealthy count=3 msg="Liveness probe failed: Get \"http://10.42.0.9/live\": context deadline exceeded"
         2s shop/cart-7f6b8d9c4-x2kq9/cart@n2%cart ContainerKilling probe=liveness reason=Killing msg="Container cart failed liveness probe, will be restarted"
         32s shop/cart-7f6b8d9c4-x2kq9/cart@n2%cart ContainerTerminated exit=137 reason=Error
         33s shop/cart-7f6b8d9c4-x2kq9/cart@n2%cart ContainerStarted restarts=1 cid=5b5b"#,
    ),
    Scene::cause(
        "silent_child_oom",
        "a worker is killed at the limit, and its container runs on",
        r#"1s shop/web-5b6d7c8f9b-q7w8e/web@n1%web OomKill constraint=memcg memcg=/kubepods/burstable/podw/web pid=77 proc=gunicorn msg="Memory cgroup out of memory: Killed process 77 (gunicorn)"
         1s shop/web-5b6d7c8f9b-q7w8e/web@n1%web ProcessExit sev=warn signal=9 pid=77 proc=gunicorn init=false
         1200ms shop/web-5b6d7c8f9b-q7w8e/web@n1%web OomKillCounted count=1
         2s shop/web-5b6d7c8f9b-q7w8e/web@n1%web Log sev=error msg="Worker (pid:77) was sent SIGKILL! Perhaps out of memory?""#,
    ),
    Scene::unknown(
        "container_oom",
        "exit code 137, and nobody saw who sent it",
        "0s shop/cart-7f6b8d9c4-x2kq9/cart@n2%cart MemoryLimitReached count=3 limit=268435456
         1s shop/cart-7f6b8d9c4-x2kq9/cart@n2%cart ContainerTerminated exit=137 reason=Error
         1s shop/cart-7f6b8d9c4-x2kq9/cart@n2%cart ContainerWaiting reason=CrashLoopBackOff
         12s shop/cart-7f6b8d9c4-x2kq9/cart@n2%cart ContainerStarted restarts=1 cid=5b5b",
    ),
    Scene::unknown(
        "container_oom",
        "the counter of kills rose, and nobody saw the victim or an end",
        "0s shop/cart-7f6b8d9c4-x2kq9/cart@n2%cart MemoryLimitReached count=3 limit=268435456
         1s shop/cart-7f6b8d9c4-x2kq9/cart@n2%cart OomKillCounted count=1 limit=268435456",
    ),
    Scene::healthy(
        "a page cache that fills its limit, and a job that is done",
        "0s shop/db-0/db@n1%StatefulSet/db MemoryLimitReached count=4000 limit=268435456
         1s shop/db-0/db@n1%StatefulSet/db MemoryLimitReached count=9000 limit=268435456
         2s shop/db-0/db@n1%StatefulSet/db Pressure resource=memory ratio=0.3
         3s shop/report-28930-x9k2p/report@n1%CronJob/report ContainerTerminated exit=0 reason=Completed trace=2",
    ),
];
