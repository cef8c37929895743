//! The scenes of [`super`].

use crate::Scene;

/// Scenes whose cause is known.
pub(crate) const SCENES: &[Scene] = &[
    Scene::cause(
        "connection_failed",
        "nothing listens on the port that two pods call",
        r#"0s shop/cart-7f6b8d9c4-x2kq9/cart@n2%cart ConnectRefused addr=10.0.0.9 port=8081 peer=pay error=ECONNREFUSED pid=77
         1s shop/cart-7f6b8d9c4-x2kq9/cart@n2%cart ConnectRefused src=app addr=pay port=8081 error=ECONNREFUSED msg="dial tcp pay:8081: connect: connection refused"
         2s shop/cart-7f6b8d9c4-q7w8e/cart@n1%cart ConnectRefused addr=10.0.0.9 port=8081 peer=pay error=ECONNREFUSED pid=99"#,
    ),
    Scene::cause(
        "connection_failed",
        "packets to one peer are dropped in silence",
        r#"0s shop/cart-7f6b8d9c4-x2kq9/cart@n2%cart SynRetransmit addr=10.0.0.9 port=8080 peer=pay count=2
         4s shop/cart-7f6b8d9c4-x2kq9/cart@n2%cart SynRetransmit addr=10.0.0.9 port=8080 peer=pay
         7s shop/cart-7f6b8d9c4-x2kq9/cart@n2%cart ConnectTimeout addr=10.0.0.9 port=8080 peer=pay error=ETIMEDOUT
         8s shop/cart-7f6b8d9c4-x2kq9/cart@n2%cart ConnectTimeout src=app addr=pay port=8080 error=ETIMEDOUT msg="dial tcp pay:8080: i/o timeout""#,
    ),
    Scene::cause(
        "connection_failed",
        "a name that does not exist",
        r#"0s shop/cart-7f6b8d9c4-x2kq9/cart@n2%cart DnsFailure sev=warn dns=paid.shop.svc.cluster.local rcode=nxdomain
         1s shop/cart-7f6b8d9c4-x2kq9/cart@n2%cart DnsFailure src=app dns=paid.shop.svc.cluster.local rcode=nxdomain msg="dial tcp: lookup paid.shop.svc.cluster.local on 10.96.0.10:53: no such host"
         4s shop/cart-7f6b8d9c4-x2kq9/cart@n2%cart DnsFailure src=app dns=paid.shop.svc.cluster.local rcode=nxdomain msg="dial tcp: lookup paid.shop.svc.cluster.local on 10.96.0.10:53: no such host""#,
    ),
    Scene::cause(
        "connection_failed",
        "requests fail because a connection is refused",
        r#"0s shop/cart-7f6b8d9c4-x2kq9/cart@n2%cart ConnectRefused svc=cart addr=10.0.0.9 port=8081 peer=pay error=ECONNREFUSED
         1s shop/cart-7f6b8d9c4-x2kq9/cart@n2%cart ConnectRefused svc=cart addr=10.0.0.9 port=8081 peer=pay error=ECONNREFUSED
         1s svc:shop/cart Span name="POST pay" status=error span_kind=client peer=pay error=ECONNREFUSED dur=2ms span=2 parent=1 trace=9
         1s svc:shop/cart Span name="POST /order" status=error span_kind=server dur=5ms span=1 parent=4 trace=9
         2s svc:shop/front Span name="POST /order" status=error span_kind=server dur=9ms span=4 trace=9"#,
    ),
    Scene::cause(
        "container_oom",
        "the peer was killed at its limit, so nothing listens",
        r#"0s shop/pay-6d5f9c8b7-k2x4p/pay@n1%pay OomKill constraint=memcg pid=42 proc=java msg="Memory cgroup out of memory: Killed process 42 (java)"
         1s shop/pay-6d5f9c8b7-k2x4p/pay@n1%pay ContainerTerminated exit=137 reason=OOMKilled
         1s svc:shop/pay%pay EndpointsChanged ready=0 not_ready=1
         2s shop/cart-7f6b8d9c4-x2kq9/cart@n2%cart ConnectRefused src=app addr=pay port=8080 error=ECONNREFUSED msg="dial tcp pay:8080: connect: connection refused" trace=2
         3s shop/cart-7f6b8d9c4-x2kq9/cart@n2%cart ConnectRefused src=app addr=pay port=8080 error=ECONNREFUSED msg="dial tcp pay:8080: connect: connection refused" trace=2"#,
    ),
    Scene::cause(
        "readiness_lost",
        "the peer is not ready, so its service refuses",
        r#"0s shop/pay-6d5f9c8b7-k2x4p/pay@n1%pay ProbeFailed probe=readiness reason=Unhealthy count=3 msg="Readiness probe failed: HTTP probe failed with statuscode: 503"
         1s shop/pay-6d5f9c8b7-k2x4p@n1%pay PodReadiness status=false reason=ContainersNotReady
         1s svc:shop/pay%pay EndpointsChanged ready=0 not_ready=1
         3s shop/cart-7f6b8d9c4-x2kq9/cart@n2%cart ConnectRefused addr=10.96.0.33 port=80 peer=pay error=ECONNREFUSED trace=2
         5s shop/cart-7f6b8d9c4-x2kq9/cart@n2%cart ConnectRefused addr=10.96.0.33 port=80 peer=pay error=ECONNREFUSED trace=2"#,
    ),
    Scene::cause(
        "cascading_dependency",
        "the connection stands, and the peer answers with errors",
        r#"1s svc:shop/pay Span name="POST /charge" status=error span_kind=server http=500 dur=20ms span=3 parent=2 trace=9 msg="no free connection"
         1s svc:shop/cart Span name="POST pay" status=error span_kind=client peer=pay http=500 dur=22ms span=2 parent=1 trace=9
         2s svc:shop/cart Span name="POST /order" status=error span_kind=server http=502 dur=30ms span=1 trace=9"#,
    ),
    Scene::cause(
        "disk_full",
        "the peer is a database whose disk turned read-only",
        r#"0s node:n1 FilesystemReadOnly device=sdb1 msg="EXT4-fs (sdb1): Remounting filesystem read-only"
         0s node:n1 IoError device=sdb msg="Buffer I/O error on dev sdb1, logical block 77, lost sync page write"
         1s data/db-0/db@n1%StatefulSet/db FilesystemReadOnly src=app error=EROFS msg="could not write to file pg_wal/xlogtemp.77: Read-only file system" trace=2
         2s data/db-0/db@n1%StatefulSet/db FilesystemReadOnly src=app error=EROFS msg="PANIC: could not write to file pg_wal/xlogtemp.77: Read-only file system" trace=2
         3s data/db-0/db@n1%StatefulSet/db ContainerTerminated exit=134 reason=Error trace=2
         3s svc:data/db%StatefulSet/db EndpointsChanged ready=0 not_ready=1 trace=2
         4s shop/cart-7f6b8d9c4-x2kq9/cart@n2%cart ConnectRefused addr=db.data port=5432 src=app error=ECONNREFUSED msg="dial tcp db.data:5432: connect: connection refused" trace=3
         5s shop/cart-7f6b8d9c4-x2kq9/cart@n2%cart ConnectRefused addr=db.data port=5432 src=app error=ECONNREFUSED msg="dial tcp db.data:5432: connect: connection refused" trace=3"#,
    ),
    Scene::unknown(
        "connection_failed",
        "applications time out, and nobody saw the packets",
        r#"0s shop/cart-7f6b8d9c4-x2kq9/cart@n2%cart ConnectTimeout src=app addr=pay port=8080 error=ETIMEDOUT msg="dial tcp pay:8080: i/o timeout"
         9s shop/cart-7f6b8d9c4-x2kq9/cart@n2%cart ConnectTimeout src=app addr=pay port=8080 error=ETIMEDOUT msg="dial tcp pay:8080: i/o timeout""#,
    ),
    Scene::healthy(
        "a SYN sent twice, a walk through the search list, one line of an application",
        r#"0s shop/cart-7f6b8d9c4-x2kq9/cart@n2%cart SynRetransmit addr=10.0.0.9 port=8080 peer=pay
         1s shop/cart-7f6b8d9c4-x2kq9/cart@n2%cart DnsFailure sev=warn impact=0.3 dns=api.example.com.shop.svc.cluster.local rcode=nxdomain
         1s shop/cart-7f6b8d9c4-x2kq9/cart@n2%cart DnsFailure sev=warn impact=0.3 dns=api.example.com.svc.cluster.local rcode=nxdomain
         1s shop/cart-7f6b8d9c4-x2kq9/cart@n2%cart DnsFailure sev=warn impact=0.3 dns=api.example.com.cluster.local rcode=nxdomain
         2s shop/cart-7f6b8d9c4-x2kq9/cart@n2%cart ConnectRefused src=app addr=pay port=8080 error=ECONNREFUSED msg="dial tcp pay:8080: connect: connection refused, trying again""#,
    ),
    Scene::cause(
        "network_policy",
        "a policy of the peer lets nobody in",
        r#"0s shop/x%cart PolicyChanged okind=NetworkPolicy oname=deny-ingress change=added trace=1
         4s shop/checkout-1/checkout@n1%checkout SynRetransmit addr=10.96.0.12 port=8080 peer=cart count=3 trace=2
         9s shop/checkout-1/checkout@n1%checkout ConnectTimeout addr=10.96.0.12 port=8080 peer=cart trace=2"#,
    ),
    Scene::cause(
        "connection_failed",
        "a policy of the peer changed, and callers are refused: a policy drops in silence",
        r#"0s shop/x%cart PolicyChanged okind=NetworkPolicy oname=deny-ingress change=added trace=1
         4s shop/checkout-6f6bd85769-hzxj9/checkout@n1%checkout ConnectRefused addr=10.96.0.12 port=8080 peer=cart trace=2
         9s shop/checkout-6f6bd85769-hzxj9/checkout@n1%checkout ConnectRefused addr=10.96.0.12 port=8080 peer=cart trace=2"#,
    ),
    Scene::cause(
        "selector_mismatch",
        "the Service's port was changed, and another trace tells who is refused",
        r#"0s svc:shop/cart%cart ServiceChanged okind=Service oname=cart change=modified tapio.changed=ports trace=1
         4s shop/checkout-6f6bd85769-hzxj9/checkout@n1%checkout ConnectRefused addr=10.96.0.12 port=8080 peer=cart trace=2
         9s shop/checkout-6f6bd85769-hzxj9/checkout@n1%checkout ConnectRefused addr=10.96.0.12 port=8080 peer=cart trace=2"#,
    ),
];
