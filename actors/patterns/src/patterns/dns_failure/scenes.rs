//! The scenes of [`super`].

use crate::Scene;

/// Scenes whose cause is known.
pub(crate) const SCENES: &[Scene] = &[
    Scene::cause(
        "dns_failure",
        "CoreDNS fails names of the cluster, for two services",
        "1s shop/cart-1/cart@n1%cart DnsFailure dns=db.shop.svc.cluster.local rcode=servfail trace=1
         2s shop/cart-1/cart@n1%cart DnsFailure dns=db.shop.svc.cluster.local rcode=timeout trace=1
         2s shop/pay-1/pay@n2%pay DnsFailure dns=cart.shop.svc.cluster.local rcode=servfail trace=2
         3s shop/pay-1/pay@n2%pay Log sev=error msg=\"cannot reach cart\" trace=2",
    ),
    Scene::cause(
        "dns_failure",
        "nobody above CoreDNS answers it",
        "0s kube-system/coredns-6d4b75cb6d-x7k2p/coredns@n1%coredns ConnectTimeout src=app \
            addr=10.0.0.2 port=53 trace=9 msg=\"[ERROR] plugin/errors: 2 api.pay.io. A: read udp \
            10.244.0.5:41122->10.0.0.2:53: i/o timeout\"
         2s kube-system/coredns-6d4b75cb6d-x7k2p/coredns@n1%coredns ConnectTimeout src=app \
            addr=10.0.0.2 port=53 trace=9 msg=\"[ERROR] plugin/errors: 2 github.com. A: read udp \
            10.244.0.5:41123->10.0.0.2:53: i/o timeout\"
         2s shop/cart-1/cart@n1%cart DnsFailure dns=api.pay.io rcode=servfail trace=1
         3s shop/cart-1/cart@n1%cart DnsFailure dns=github.com rcode=servfail trace=1",
    ),
    Scene::cause(
        "dns_failure",
        "a node cannot reach it, and pods of that node ask in vain",
        "0s node:n1 ObjectEvent reason=DNSUnreachable sev=warn trace=9 msg=\"DNS lookup to kubernetes.default is not working\"
         30s node:n1 ObjectEvent reason=DNSUnreachable sev=warn trace=9 msg=\"DNS lookup to kubernetes.default is not working\"
         1s shop/cart-1/cart@n1%cart DnsFailure dns=db.shop.svc.cluster.local rcode=timeout trace=1
         6s shop/cart-1/cart@n1%cart DnsFailure dns=db.shop.svc.cluster.local rcode=timeout trace=1",
    ),
    Scene::cause(
        "container_oom",
        "CoreDNS is killed at its limit",
        "0s kube-system/coredns-1/coredns@n1%coredns OomKill constraint=memcg pid=7 trace=9
         1s kube-system/coredns-1/coredns@n1%coredns ContainerTerminated reason=OOMKilled exit=137 trace=9
         2s shop/cart-1/cart@n1%cart DnsFailure dns=db.shop.svc.cluster.local rcode=timeout trace=1
         7s shop/cart-1/cart@n1%cart DnsFailure dns=db.shop.svc.cluster.local rcode=timeout trace=1",
    ),
    Scene::cause(
        "connection_failed",
        "the name is wrong",
        "0s shop/cart-1/cart@n1%cart DnsFailure dns=dbb.shop.svc.cluster.local rcode=nxdomain
         1s shop/cart-1/cart@n1%cart DnsFailure src=app dns=dbb.shop.svc.cluster.local rcode=nxdomain",
    ),
    Scene::cause(
        "connection_failed",
        "one foreign name fails alone",
        "0s shop/cart-1/cart@n1%cart DnsFailure dns=api.pay.io rcode=servfail
         5s shop/cart-1/cart@n1%cart DnsFailure dns=api.pay.io rcode=servfail count=3",
    ),
    Scene::unknown(
        "dns_failure",
        "an application cannot resolve one foreign name, and nobody saw why",
        "0s shop/cart-1/cart@n1%cart DnsFailure src=app dns=api.pay.io rcode=timeout
         5s shop/cart-1/cart@n1%cart DnsFailure src=app dns=api.pay.io rcode=timeout",
    ),
    Scene::healthy(
        "a walk through the search list, and a lookup that was tried again",
        "0s shop/cart-1/cart@n1%cart DnsFailure dns=api.pay.io.shop.svc.cluster.local rcode=nxdomain
         1ms shop/cart-1/cart@n1%cart DnsFailure dns=api.pay.io.svc.cluster.local rcode=nxdomain
         2s shop/cart-1/cart@n1%cart DnsFailure src=app dns=db rcode=timeout",
    ),
    Scene::cause(
        "cpu_throttling",
        "CoreDNS is throttled at its limit",
        "0s kube-system/coredns-1/coredns@n1%coredns CpuThrottled ratio=0.9 trace=9
         5s kube-system/coredns-1/coredns@n1%coredns CpuThrottled ratio=0.9 trace=9
         6s kube-system/coredns-1@n1%coredns ProbeFailed probe=readiness count=3 trace=9 msg=\"Readiness probe failed: Get http://10.244.0.5:8181/ready: context deadline exceeded\"
         7s shop/cart-1/cart@n1%cart DnsFailure dns=db.shop.svc.cluster.local rcode=timeout trace=1
         12s shop/cart-1/cart@n1%cart DnsFailure dns=db.shop.svc.cluster.local rcode=timeout trace=1",
    ),
    Scene::cause(
        "memory_eviction",
        "CoreDNS is evicted from a node short of memory",
        r#"0s kube-system/coredns-1@n1%coredns PodEvicted reason=Evicted count=1 msg="The node was low on resource: memory. Container coredns was using 120Mi, request is 70Mi." trace=9
         1s kube-system/coredns-1@n1%coredns PodEvicted reason=Evicted msg="The node was low on resource: memory. Container coredns was using 120Mi, request is 70Mi." trace=9
         4s shop/cart-1/cart@n2%cart DnsFailure dns=db.shop.svc.cluster.local rcode=timeout trace=1
         9s shop/cart-1/cart@n2%cart DnsFailure dns=db.shop.svc.cluster.local rcode=timeout trace=1"#,
    ),
    Scene::cause(
        "noisy_neighbour",
        "CoreDNS waits for a processor that a batch job takes",
        r#"0s batch/crunch-1@n1%Job/crunch PodScheduled reason=Scheduled trace=9
         1s kube-system/coredns-1/coredns@n1%coredns CpuDelayed resource=cpu dur=180ms count=90 msg="coredns (pid 7) waited 180.0 ms for a processor" trace=9
         2s kube-system/coredns-1/coredns@n1%coredns ProbeFailed probe=readiness count=3 msg="Readiness probe failed: Get http://10.244.0.5:8181/ready: context deadline exceeded" trace=9
         4s shop/cart-1/cart@n2%cart DnsFailure dns=db.shop.svc.cluster.local rcode=timeout trace=1
         9s shop/cart-1/cart@n2%cart DnsFailure dns=db.shop.svc.cluster.local rcode=timeout trace=1"#,
    ),
];
