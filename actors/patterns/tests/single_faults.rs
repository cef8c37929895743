//! Nothing wrong is no story; one fault is one story, whoever saw it and in whatever order.

use std::{collections::BTreeMap, sync::Arc};

use tapio_engine::{Limits, Ring, Rules, Told};
use tapio_model::{Event, State, Story, StoryId, Text, TraceId, Verdict};
use tapio_patterns::{fixture, patterns};

/// What is everyday: a name, and what was seen.
const EVERYDAY: &[(&str, &str)] = &[
    (
        "a planned rollout",
        "0s shop/web-7d9c8b7f6d-aaaaa@n1%web PodReadiness status=true
         1s svc:shop/web%web RolloutStarted hash=5b6d7c8f9b generation=4 image=web:2
         2s shop/web-5b6d7c8f9b-bbbbb@n2%web PodScheduled
         4s shop/web-5b6d7c8f9b-bbbbb/web@n2%web ContainerStarted
         5s shop/web-5b6d7c8f9b-bbbbb/web@n2%web ProbeFailed probe=readiness msg=\"Readiness probe failed: Get http://10.0.0.3:8080/ready: dial tcp 10.0.0.3:8080: connect: connection refused\" count=2
         6s shop/web-5b6d7c8f9b-bbbbb@n2%web PodReadiness status=false
         9s shop/web-5b6d7c8f9b-bbbbb@n2%web PodReadiness status=true
         9s svc:shop/web EndpointsChanged ready=1 not_ready=1
         10s shop/web-7d9c8b7f6d-aaaaa/web@n1%web ContainerKilling msg=\"Stopping container web\"
         11s shop/web-7d9c8b7f6d-aaaaa/web@n1%web ProbeFailed probe=readiness msg=\"Readiness probe failed: HTTP probe failed with statuscode: 503\"
         11s shop/web-7d9c8b7f6d-aaaaa@n1%web PodReadiness status=false
         12s shop/web-7d9c8b7f6d-aaaaa/web@n1%web ContainerTerminated exit=143 reason=Error
         13s svc:shop/web EndpointsChanged ready=1 not_ready=0",
    ),
    (
        "a rollout without the word of the kubelet",
        "1s svc:shop/web%web RolloutStarted hash=5b6d7c8f9b generation=4
         4s shop/web-5b6d7c8f9b-bbbbb/web@n2%web ContainerStarted
         9s shop/web-5b6d7c8f9b-bbbbb@n2%web PodReadiness status=true
         12s shop/web-7d9c8b7f6d-aaaaa/web@n1%web ContainerTerminated exit=143 reason=Error",
    ),
    (
        "an image pulled at the second attempt",
        "0s shop/web-1/web@n1%web ImagePullFailed reason=Failed msg=\"Failed to pull image \\\"web:2\\\": rpc error: code = Unknown desc = context deadline exceeded\" image=web:2
         1s shop/web-1/web@n1%web ContainerWaiting reason=ErrImagePull
         12s shop/web-1/web@n1%web ObjectEvent reason=Pulled msg=\"Successfully pulled image web:2 in 3s\"
         13s shop/web-1/web@n1%web ContainerStarted",
    ),
    (
        "search lists of a resolver",
        "0s shop/web-1/web@n1%web DnsFailure dns=db.shop.svc.cluster.local.shop.svc.cluster.local rcode=nxdomain
         1ms shop/web-1/web@n1%web DnsFailure dns=api.example.com.shop.svc.cluster.local rcode=nxdomain
         2ms shop/web-1/web@n1%web DnsFailure dns=api.example.com.svc.cluster.local rcode=nxdomain
         3ms shop/web-1/web@n1%web DnsFailure dns=api.example.com.cluster.local rcode=nxdomain
         4ms shop/web-1/web@n1%web DnsFailure dns=github.com.shop.svc.cluster.local rcode=nxdomain
         5ms shop/web-1/web@n1%web DnsFailure dns=github.com.svc.cluster.local. rcode=nxdomain
         6ms shop/web-1/web@n1%web DnsFailure dns=metadata.shop.svc.cluster.local rcode=nxdomain
         7ms shop/web-1/web@n1%web DnsFailure dns=metadata.svc.cluster.local rcode=nxdomain",
    ),
    (
        "a liveness failure without a kill",
        "0s shop/web-1/web@n1%web ProbeFailed probe=liveness msg=\"Liveness probe failed: context deadline exceeded\"
         10s shop/web-1/web@n1%web Log msg=ok",
    ),
    (
        "jobs that complete",
        "0s shop/report-28930-x9k2p/report@n1%CronJob/report ContainerStarted
         4s shop/report-28930-x9k2p/report@n1%CronJob/report ContainerTerminated exit=0 reason=Completed
         4s shop/report-28930-x9k2p@n1%CronJob/report PodReadiness status=false reason=PodCompleted
         5s shop/init-db-k8x2p/init@n1%Job/init-db ContainerStarted
         6s shop/init-db-k8x2p/init@n1%Job/init-db ContainerTerminated exit=0 reason=Completed",
    ),
    (
        "error lines",
        "0s shop/web-1/web@n1%web Log sev=error msg=\"order 17 was rejected: card expired\"
         1s shop/web-1/web@n1%web Log sev=error msg=\"order 18 was rejected: card expired\"
         2s shop/web-1/web@n1%web Exception error=java.lang.IllegalArgumentException msg=\"bad date\"
         3s shop/web-1/web@n1%web Log sev=error msg=\"timeout waiting for lock, trying again\"",
    ),
    (
        "client errors",
        "0s svc:web Span name=\"GET /item\" status=error http=404 span_kind=client trace=4 span=1
         0s svc:item Span name=\"GET /item\" http=404 span_kind=server trace=4 span=2 parent=1
         1s svc:web Span name=\"POST /login\" http=401 span_kind=server trace=5 span=3",
    ),
    (
        "a retry that succeeds",
        "1s svc:shop/pay Span span=3 parent=2 name=charge status=error span_kind=client dur=20ms trace=5
         2s svc:shop/pay Span span=4 parent=2 name=charge status=ok span_kind=client dur=20ms trace=5
         3s svc:shop/web Span span=2 name=checkout status=ok span_kind=server dur=90ms trace=5",
    ),
    (
        "a SYN sent again",
        "0s shop/web-1/web@n1%web SynRetransmit addr=10.0.0.9 port=5432",
    ),
    (
        "a cgroup at its limit for its page cache, and stalls",
        "0s shop/db-1/db@n1%db MemoryLimitReached count=4000
         1s shop/db-1/db@n1%db MemoryLimitReached count=9000
         2s shop/db-1/db@n1%db Pressure resource=memory ratio=0.6
         3s node:n1 Pressure resource=io ratio=0.9
         4s shop/db-1/db@n1%db CpuThrottled ratio=0.7",
    ),
    (
        "a drain",
        "0s node:n1 ObjectEvent reason=NodeNotSchedulable
         1s shop/web-1/web@n1%web ContainerKilling reason=Killing msg=\"Stopping container web\"
         2s shop/web-1/web@n1%web ProbeFailed probe=readiness msg=\"Readiness probe failed: connection refused\"
         2s shop/web-1/web@n1%web ProbeFailed probe=liveness msg=\"Liveness probe failed: connection refused\"
         2s shop/web-1@n1%web PodReadiness status=false
         13s shop/web-1/web@n1%web ContainerTerminated exit=137 reason=Error
         14s svc:shop/web EndpointsChanged ready=2 not_ready=1",
    ),
    (
        "a pod is deleted, its endpoint with it",
        "1s shop/web-1/web@n1%web ContainerKilling reason=Killing msg=\"Stopping container web\"
         2s shop/web-1@n1%web PodReadiness status=false svc=web
         2s svc:shop/web EndpointsChanged ready=0 not_ready=1
         3s shop/web-1/web@n1%web ContainerTerminated exit=143 reason=Error",
    ),
    (
        "a start with slow readiness on a node alone",
        "0s shop/web-1@n1%web PodScheduled
         1s shop/web-1/web@n1%web ContainerStarted
         2s shop/web-1@n1%web PodReadiness status=false
         3s shop/web-1/web@n1%web ProbeFailed probe=startup msg=\"Startup probe failed: HTTP probe failed with statuscode: 503\" count=5
         29s shop/web-1@n1%web PodReadiness status=true",
    ),
    (
        "lines that quote somebody else",
        "0s shop/desk-1/desk@n1%desk StorageFull msg=\"ticket 4711: customer reports No space left on device\"
         1s shop/desk-1/desk@n1%desk ConnectRefused src=app addr=1.2.3.4 port=80 msg=\"see the FAQ: dial tcp 1.2.3.4:80: connect: connection refused\"
         2s shop/desk-1/desk@n1%desk DnsFailure src=app dns=db rcode=timeout msg=\"getaddrinfo EAI_AGAIN db, trying again\"
         3s shop/desk-1/desk@n1%desk ConnectTimeout src=app addr=1.2.3.5 port=80 msg=\"i/o timeout, trying again\"
         4s shop/desk-1/desk@n1%desk Log msg=\"ticket 4711 closed\"",
    ),
    (
        "changes that nobody minds",
        "0s svc:shop/web%web ConfigChanged okind=Secret oname=web-tls change=modified tapio.changed=\"tls.crt, tls.key\"
         1s svc:shop/web%web ConfigChanged okind=ConfigMap oname=web-env change=modified tapio.changed=LOG_LEVEL
         1s svc:shop/web%web PolicyChanged okind=NetworkPolicy oname=web change=modified tapio.changed=spec
         2s svc:shop/web%web ServiceChanged okind=Service oname=web change=modified tapio.changed=ports
         3s svc:shop/web%web EndpointsChanged ready=2 not_ready=0
         4s shop/web-1/web@n1%web SynRetransmit addr=10.0.0.9 port=5432
         5s shop/web-1/web@n1%web ConnectSlow addr=10.0.0.9 port=5432
         6s shop/web-1/web@n1%web TcpRetransmit addr=10.0.0.9 port=5432 count=3
         7s shop/web-1/web@n1%web TcpReset addr=10.0.0.8 port=80
         8s shop/web-1/web@n1%web Log sev=warn msg=\"login of bob: authentication failed\"
         9s shop/web-1/web@n1%web Log sev=error msg=\"order 17 was rejected: unexpected token ]\"
         9s svc:shop/web%web Anomaly anomaly=request_rate how=rose was=3.0 is=9.0",
    ),
    (
        "a read-only mount that a program tries to write",
        "0s shop/web-1/web@n1%web Log sev=warn msg=\"cannot write cache, goes on without: Read-only file system\"",
    ),
];

/// One fault: its name, the root's pattern, and what was seen; any one line may be missing, but
/// not one that begins with `!`: without it nobody could tell.
const FAULTS: &[(&str, &str, &[&str])] = &[
    (
        "a container over its limit",
        "container_oom",
        &[
            "1s shop/db-1/db@n1%db OomKill constraint=memcg pid=4242 proc=postgres svc=db",
            "1200ms shop/db-1/db@n1%db OomKillCounted count=1 svc=db",
            "2s shop/db-1/db@n1%db ContainerTerminated reason=OOMKilled exit=137 svc=db",
            "2500ms shop/db-1/db@n1%db Log src=journal sev=warn msg=\"Memory cgroup out of memory: Killed process 4242 (postgres)\"",
            "3s shop/db-1@n1%db PodReadiness status=false",
            "4s shop/db-1/db@n1%db ContainerWaiting reason=CrashLoopBackOff msg=\"back-off 10s restarting failed container=db\"",
            "5s shop/db-1/db@n1%db ContainerStarted svc=db",
        ],
    ),
    (
        "a container over its limit, by probe, kernel log, counter and status",
        "container_oom",
        &[
            "1s shop/db-1/db@n1%db OomKill constraint=memcg pid=4242 proc=postgres",
            "1001ms shop/db-1/db@n1%db OomKill constraint=memcg pid=4242 proc=postgres msg=\"Memory cgroup out of memory: Killed process 4242 (postgres) anon-rss:32384kB\"",
            "1200ms shop/db-1/db@n1%db OomKillCounted count=1",
            "2s shop/db-1/db@n1%db ContainerTerminated reason=OOMKilled exit=137",
            "1010ms shop/db-1/db@n1%db ProcessExit signal=9 pid=4242 proc=postgres",
        ],
    ),
    (
        "a unit over its limit",
        "container_oom",
        &[
            "1s unit:redis.service@n1 OomKill constraint=memcg pid=42 proc=redis cgroup=/system.slice/redis.service",
            "1200ms unit:redis.service@n1 OomKillCounted count=1 cgroup=/system.slice/redis.service",
            "2s unit:redis.service@n1 UnitFailed result=oom-kill unit=redis.service",
            "3s unit:redis.service@n1 Log src=journal sev=warn msg=\"redis.service: A process of this unit has been killed by the OOM killer.\"",
        ],
    ),
    (
        "a probe kills",
        "liveness_kill",
        &[
            "10s shop/cart-1/cart@n1%cart ContainerKilling reason=Killing msg=\"Container cart failed liveness probe, will be restarted\"",
            "0s shop/cart-1/cart@n1%cart ProbeFailed probe=liveness msg=\"Liveness probe failed: HTTP probe failed with statuscode: 500\" count=3",
            "12s shop/cart-1/cart@n1%cart ContainerTerminated exit=137 reason=Error",
            "13s shop/cart-1/cart@n1%cart ContainerStarted",
            "14s shop/cart-1@n1%cart PodReadiness status=false",
            "15s shop/cart-1/cart@n1%cart ProbeFailed probe=readiness msg=\"Readiness probe failed: connection refused\"",
            "20s shop/cart-1/cart@n1%cart ContainerWaiting reason=CrashLoopBackOff msg=\"Back-off restarting failed container cart\"",
        ],
    ),
    (
        "no such image",
        "image_pull",
        &[
            "1s shop/web-1/web@n1%web ImagePullFailed reason=Failed msg=\"Failed to pull image web:9: rpc error: code = NotFound desc = manifest unknown\" image=web:9",
            "2s shop/web-1/web@n1%web ImagePullFailed reason=Failed msg=\"Error: ErrImagePull\"",
            "3s shop/web-1/web@n1%web ContainerWaiting reason=ErrImagePull msg=\"manifest unknown\"",
            "9s shop/web-1/web@n1%web ContainerWaiting reason=ImagePullBackOff msg=\"Back-off pulling image web:9\"",
            "9s shop/web-1@n1%web PodReadiness status=false",
            "10s svc:shop/web EndpointsChanged ready=0 not_ready=1",
        ],
    ),
    (
        "a secret that is not there",
        "missing_config",
        &[
            "1s shop/web-1/web@n1%web ContainerCreateFailed reason=Failed msg=\"Error: secret \\\"db-password\\\" not found\"",
            "2s shop/web-1/web@n1%web ContainerWaiting reason=CreateContainerConfigError msg=\"secret \\\"db-password\\\" not found\"",
            "3s shop/web-1@n1%web PodReadiness status=false",
        ],
    ),
    (
        "a secret that cannot be mounted",
        "missing_config",
        &[
            "1s shop/web-1@n1%web MountFailed reason=FailedMount msg=\"MountVolume.SetUp failed for volume \\\"creds\\\" : secret \\\"db-password\\\" not found\"",
            "2s shop/web-1/web@n1%web ContainerWaiting reason=ContainerCreating",
            "20s shop/web-1@n1%web MountFailed reason=FailedMount msg=\"Unable to attach or mount volumes: unmounted volumes=[creds], unattached volumes=[creds]: timed out waiting for the condition\"",
        ],
    ),
    (
        "a new version outgrows its limit",
        "container_oom",
        &[
            "4s shop/web-5b6d7c8f9b-bbbbb/web@n2%web OomKill constraint=memcg pid=42 proc=java",
            "0s svc:shop/web%web RolloutStarted hash=5b6d7c8f9b generation=4 image=web:2",
            "2s shop/web-5b6d7c8f9b-bbbbb/web@n2%web ContainerStarted",
            "5s shop/web-5b6d7c8f9b-bbbbb/web@n2%web ContainerTerminated exit=137 reason=OOMKilled",
            "6s shop/web-5b6d7c8f9b-bbbbb/web@n2%web ContainerWaiting reason=CrashLoopBackOff",
            "7s shop/web-7d9c8b7f6d-aaaaa@n1%web PodReadiness status=true",
            "8s svc:shop/web%web RolloutStalled msg=\"ReplicaSet web-5b6d7c8f9b has timed out progressing.\"",
        ],
    ),
    (
        "a node without memory",
        "node_oom",
        &[
            "!1s shop/a-1/a@n1%a OomKill constraint=none pid=1 proc=a msg=\"Out of memory: Killed process 1 (a)\"",
            "2s shop/b-1/b@n1%b OomKill constraint=none pid=2 proc=b msg=\"Out of memory: Killed process 2 (b)\"",
            "3s data/c-1/c@n1%c OomKill constraint=none pid=3 proc=c msg=\"Out of memory: Killed process 3 (c)\"",
            "2s node:n1 NodeOom pid=1 proc=a msg=\"System OOM encountered, victim process: a, pid: 1\"",
            "2s shop/a-1/a@n1%a ContainerTerminated exit=137 reason=OOMKilled",
            "3s shop/b-1/b@n1%b ContainerTerminated exit=137 reason=Error",
            "4s data/c-1/c@n1%c ContainerTerminated exit=137 reason=OOMKilled",
            "2s shop/a-1/a@n1%a OomKillCounted count=1",
            "5s node:n1 NodeCondition condition=MemoryPressure status=true",
        ],
    ),
    (
        "a node's full disk",
        "disk_pressure",
        &[
            "1s node:n1 Log src=journal sev=error msg=\"write /var/lib/x: no space left on device\"",
            "1s node:n1 StorageFull src=journal device=sda1 path=/var msg=\"write /var/lib/containerd: no space left on device\"",
            "!2s node:n1 NodeCondition condition=DiskPressure status=true",
            "6s shop/a-1/a@n1%a Log sev=error msg=\"cannot write\"",
            "3s shop/a-1/a@n1%a StorageFull count=4 msg=\"write /data/x: no space left on device\"",
            "6s shop/b-1/b@n1%b Log sev=error msg=\"cannot write\"",
            "4s shop/b-1/b@n1%b StorageFull count=2 msg=\"ENOSPC: no space left on device, write\"",
            "6s shop/c-1/c@n1%c Log sev=error msg=\"cannot write\"",
            "5s shop/c-1/c@n1%c StorageFull count=9 msg=\"No space left on device\"",
        ],
    ),
    (
        "the callee is killed",
        "container_oom",
        &[
            "1s shop/db-1/db@n1%db OomKill constraint=memcg pid=4242 proc=postgres svc=db",
            "2s shop/db-1/db@n1%db ContainerTerminated reason=OOMKilled exit=137 svc=db",
            "4s shop/db-1/db@n1%db ContainerStarted svc=db",
            "3s shop/api-1/api@n2%api ConnectRefused addr=10.0.0.7 port=5432 peer=db trace=9 svc=api",
            "4s shop/api-1/api@n2%api Log sev=error msg=\"dial tcp 10.0.0.7:5432: connect: connection refused\" trace=9 svc=api",
            "4s shop/api-1/api@n2%api Span span=1 name=\"GET /x\" status=error span_kind=server dur=90ms trace=9 svc=api",
        ],
    ),
    (
        "the name service is down",
        "dns_failure",
        &[
            "1s shop/a-1/a@n1%a DnsFailure dns=db.shop.svc.cluster.local rcode=servfail",
            "2s shop/a-1/a@n1%a DnsFailure dns=db.shop.svc.cluster.local rcode=timeout",
            "2s shop/b-1/b@n1%b DnsFailure dns=db.shop.svc.cluster.local rcode=servfail",
            "1s shop/b-1/b@n1%b DnsFailure dns=db.shop.svc.cluster.local rcode=servfail",
            "2s shop/c-1/c@n2%c DnsFailure dns=db.shop.svc.cluster.local rcode=servfail",
        ],
    ),
    (
        "a policy that cuts a service off",
        "network_policy",
        &[
            "!0s svc:shop/cart%cart PolicyChanged okind=NetworkPolicy oname=deny change=added",
            "1s shop/cart-1/cart@n1%cart SynRetransmit peer=db addr=10.0.0.7 port=5432",
            "4s shop/cart-1/cart@n1%cart SynRetransmit peer=db addr=10.0.0.7 port=5432 count=2",
            "9s shop/cart-1/cart@n1%cart ConnectTimeout peer=db addr=10.0.0.7 port=5432",
            "10s shop/cart-2/cart@n2%cart ConnectTimeout peer=db addr=10.0.0.7 port=5432",
            "12s shop/cart-1/cart@n1%cart Log sev=error msg=\"cannot save\"",
        ],
    ),
    (
        "a certificate that expired",
        "certificate_expired",
        &[
            "1s shop/cart-1/cart@n1%cart Log sev=error count=2 msg=\"Get https://pay.shop.svc:8443: x509: certificate has expired\"",
            "2s shop/cart-2/cart@n2%cart Log sev=error count=2 msg=\"Get https://pay.shop.svc:8443: x509: certificate has expired\"",
            "2s shop/web-1/web@n1%web Exception count=2 error=SSLError msg=\"https://pay.shop.svc:8443 certificate has expired\"",
            "3s shop/web-1/web@n1%web Exception count=2 error=SSLError msg=\"https://pay.shop.svc:8443 certificate has expired\"",
        ],
    ),
];

/// A trace for the whole story, or a trace for each workload, pod, service or node.
#[derive(Debug, Clone, Copy)]
enum Binding {
    Shared,
    ByPlace,
}

fn bound(text: &str, binding: Binding) -> Result<Vec<Event>, fixture::StoryError> {
    let mut events = fixture::events(text)?;
    if matches!(binding, Binding::ByPlace) {
        let mut traces: Vec<String> = Vec::new();
        for event in events.iter_mut().filter(|event| event.trace.binding.is_inferred()) {
            let place = &event.place;
            let scope = place.namespace.as_ref().map(Text::to_string).unwrap_or_default();
            let owner = place.workload.as_ref().map(|owner| format!("{scope} {owner:?}"));
            let home = owner
                .or_else(|| place.pod.as_ref().map(|pod| format!("{scope} {pod}")))
                .or_else(|| place.cgroup.as_ref().map(|path| format!("{:?} {path}", place.node)))
                .or_else(|| place.service.as_ref().map(|name| format!("{scope} {name}")))
                .unwrap_or_else(|| format!("{:?}", place.node));
            let at = traces.iter().position(|known| *known == home).unwrap_or(traces.len());
            if at == traces.len() {
                traces.push(home);
            }
            let mut id = [0x55; 16];
            id[0] = u8::try_from(at).unwrap_or(u8::MAX);
            event.trace.trace_id = TraceId::from_bytes(id);
        }
    }
    Ok(events)
}

fn told(events: Vec<Event>) -> Vec<Story> {
    let limits = Limits::default();
    let mut ring = Ring::new(&Arc::new(Rules::new(&patterns(), limits.clone())));
    for event in events {
        let now = event.time;
        ring.observe(Arc::new(event), now);
    }
    ring.finish(limits.window);
    let mut last: BTreeMap<StoryId, Story> = BTreeMap::new();
    for told in ring.take_told() {
        if let Told::Story(story) = told {
            last.insert(story.id, *story);
        }
    }
    last.into_values().filter(|story| !matches!(story.state, State::Merged { .. })).collect()
}

fn orders(events: &[Event]) -> Vec<Vec<Event>> {
    let mut by_time = events.to_vec();
    by_time.sort_by_key(Event::order);
    let mut late_first = by_time.clone();
    late_first.reverse();
    let (odd, even): (Vec<_>, Vec<_>) =
        by_time.iter().cloned().enumerate().partition(|(at, _)| at % 2 == 1);
    let mixed = odd.into_iter().chain(even).map(|(_, event)| event).collect();
    vec![by_time, late_first, mixed]
}

fn brief(stories: &[Story]) -> Vec<String> {
    stories
        .iter()
        .map(|story| {
            let unknown = if matches!(story.verdict, Verdict::Unknown { .. }) { "?" } else { "" };
            format!("{}{unknown}: {}", story.pattern, story.title)
        })
        .collect()
}

#[test]
fn nothing_wrong_is_no_story() {
    let mut wrong = Vec::new();
    for (name, text) in EVERYDAY {
        for binding in [Binding::Shared, Binding::ByPlace] {
            for (order, events) in orders(&bound(text, binding).unwrap()).into_iter().enumerate() {
                let stories = told(events);
                if !stories.is_empty() {
                    wrong.push(format!("{name} {binding:?} {order}: {:?}", brief(&stories)));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn one_fault_is_one_story() {
    let mut wrong = Vec::new();
    for (name, root, lines) in FAULTS {
        for missing in 0..=lines.len() {
            let is_kept = |at: usize, line: &str| at != missing || line.starts_with('!');
            let kept = lines.iter().enumerate().filter(|(at, line)| is_kept(*at, line));
            let text: Vec<_> = kept.map(|(_, line)| line.trim_start_matches('!')).collect();
            for binding in [Binding::Shared, Binding::ByPlace] {
                let events = bound(&text.join("\n"), binding).unwrap();
                for (order, events) in orders(&events).into_iter().enumerate() {
                    let stories = told(events);
                    let fits = matches!(stories.as_slice(), [story] if *story.pattern == **root);
                    if !fits {
                        let gap = lines.get(missing).copied().unwrap_or("nothing");
                        let gap: String = gap.chars().take(60).collect();
                        wrong.push(format!(
                            "{name} {binding:?} {order} w/o {gap}: {:#?}",
                            brief(&stories)
                        ));
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
