//! The scenes of [`super`].

use crate::Scene;

/// Scenes whose cause is known.
pub(crate) const SCENES: &[Scene] = &[
    Scene::cause(
        "node_not_ready",
        "a kubelet falls silent, and the callers of its pods wait",
        "0s node:n1 NodeCondition condition=Ready status=false sev=error impact=0.8 reason=NodeStatusUnknown msg=\"Kubelet stopped posting node status.\" trace=1
         1s node:n1 NodeCondition condition=Ready status=false sev=error impact=0.8 reason=NodeNotReady count=1 msg=\"Node n1 status is now: NodeNotReady\" trace=1
         1s shop/cart-1@n1%cart PodReadiness condition=Ready status=false trace=2
         1s shop/cart-1%cart ObjectEvent reason=NodeNotReady count=1 sev=warn msg=\"Node is not ready\" trace=2
         2s svc:shop/cart%cart EndpointsChanged ready=0 not_ready=1 trace=2
         3s shop/api-1/api@n2%api SynRetransmit peer=cart addr=10.0.0.7 port=80 count=3 trace=3
         9s shop/api-1/api@n2%api ConnectTimeout peer=cart addr=10.0.0.7 port=80 trace=3",
    ),
    Scene::cause(
        "node_not_ready",
        "a container runtime hangs",
        "0s unit:kubelet.service@n1 NodeCondition src=journal condition=Ready status=false sev=error impact=0.8 reason=PLEGNotHealthy msg=\"Skipping pod synchronization: PLEG is not healthy: pleg was last seen active 3m5s ago; threshold is 3m0s\" trace=1
         5s unit:kubelet.service@n1 NodeCondition src=journal condition=Ready status=false sev=error impact=0.8 reason=PLEGNotHealthy msg=\"Skipping pod synchronization: PLEG is not healthy: pleg was last seen active 3m10s ago; threshold is 3m0s\" trace=1
         6s node:n1 NodeCondition condition=Ready status=false sev=error impact=0.8 reason=KubeletNotReady msg=\"PLEG is not healthy: pleg was last seen active 3m5s ago; threshold is 3m0s\" trace=2
         6s node:n1 NodeCondition condition=Ready status=false sev=error impact=0.8 reason=NodeNotReady count=1 msg=\"Node n1 status is now: NodeNotReady\" trace=2",
    ),
    Scene::cause(
        "node_not_ready",
        "a container runtime in a restart loop",
        "0s unit:containerd.service@n1 UnitFailed unit=containerd.service result=exit-code exit=1 trace=1
         4s unit:containerd.service@n1 UnitFailed unit=containerd.service result=exit-code reason=RestartLoop count=3 trace=1
         9s node:n1 NodeCondition condition=Ready status=false sev=error impact=0.8 reason=KubeletNotReady msg=\"container runtime is down\" trace=2
         9s node:n1 NodeCondition condition=Ready status=false sev=error impact=0.8 reason=NodeNotReady count=1 trace=2",
    ),
    Scene::unknown(
        "node_not_ready",
        "a node that comes and goes",
        "0s node:n1 NodeCondition condition=Ready status=false sev=error impact=0.8 reason=NodeStatusUnknown msg=\"Kubelet stopped posting node status.\"
         9s node:n1 NodeCondition condition=Ready status=true reason=KubeletReady
         25s node:n1 NodeCondition condition=Ready status=false sev=error impact=0.8 reason=NodeStatusUnknown msg=\"Kubelet stopped posting node status.\"",
    ),
    Scene::cause(
        "node_reboot",
        "a node that was restarted is not ready meanwhile",
        "0s node:n1 NodeCondition condition=Ready status=false sev=error impact=0.8 reason=NodeStatusUnknown msg=\"Kubelet stopped posting node status.\"
         20s node:n1 ObjectEvent reason=Rebooted sev=error impact=0.8 msg=\"boot id changed to 7d1f\"
         20s node:n1 ObjectEvent reason=Starting count=1 msg=\"Starting kubelet.\"
         21s node:n1 NodeCondition condition=Ready status=true reason=KubeletReady",
    ),
    Scene::healthy(
        "a node joins",
        "0s node:n5 ObjectEvent reason=Starting count=1 msg=\"Starting kubelet.\"
         1s node:n5 NodeCondition condition=Ready status=false sev=error impact=0.8 reason=KubeletNotReady msg=\"container runtime status check may not have completed yet\"
         1s node:n5 ObjectEvent reason=RegisteredNode count=1 msg=\"Node n5 event: Registered Node n5 in Controller\"
         12s node:n5 NodeCondition condition=Ready status=true reason=KubeletReady
         12s node:n5 NodeCondition condition=Ready status=true reason=NodeReady count=1",
    ),
    Scene::healthy(
        "a kubelet is upgraded",
        "0s unit:kubelet.service@n1 UnitChanged change=stopped unit=kubelet.service trace=1
         2s unit:kubelet.service@n1 UnitChanged change=started unit=kubelet.service trace=1
         2s node:n1 ObjectEvent reason=Starting count=1 msg=\"Starting kubelet.\" trace=2
         3s node:n1 NodeCondition condition=Ready status=false sev=error impact=0.8 reason=NodeNotReady count=1 msg=\"Node n1 status is now: NodeNotReady\" trace=2
         13s node:n1 NodeCondition condition=Ready status=true reason=NodeReady count=1 trace=2",
    ),
    Scene::healthy(
        "a node is scaled away",
        "0s node:n1 ObjectEvent reason=NodeNotSchedulable sev=warn
         0s node:n1 ObjectEvent reason=TaintAdded tapio.changed=\"ToBeDeletedByClusterAutoscaler:NoSchedule\"
         20s node:n1 NodeCondition condition=Ready status=false sev=error impact=0.8 reason=NodeStatusUnknown msg=\"Kubelet stopped posting node status.\"
         25s node:n1 ObjectEvent reason=NodeDeleted change=deleted sev=warn",
    ),
    Scene::cause(
        "cni_failure",
        "a network plugin that is not ready",
        "0s node:n1 NodeCondition condition=Ready status=false sev=error impact=0.8 reason=KubeletNotReady msg=\"container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady message:Network plugin returns error: cni plugin not initialized\" trace=1
         0s node:n1 NodeCondition condition=Ready status=false sev=error impact=0.8 reason=NodeNotReady count=1 msg=\"Node n1 status is now: NodeNotReady\" trace=1
         1s shop/a-1@n1%a ObjectEvent reason=FailedCreatePodSandBox sev=error count=3 msg=\"Failed to create pod sandbox: cni plugin not initialized\" trace=2
         9s shop/a-1@n1%a ObjectEvent reason=FailedCreatePodSandBox sev=error count=4 msg=\"Failed to create pod sandbox: cni plugin not initialized\" trace=2",
    ),
    Scene::cause(
        "node_not_ready",
        "the node of CoreDNS is lost, and names time out elsewhere",
        r#"0s node:n1 NodeCondition condition=Ready status=false sev=error impact=0.8 reason=NodeStatusUnknown msg="Kubelet stopped posting node status." trace=1
         1s node:n1 NodeCondition condition=Ready status=false sev=error impact=0.8 reason=NodeNotReady count=1 msg="Node n1 status is now: NodeNotReady" trace=1
         1s kube-system/coredns-1@n1%coredns PodReadiness condition=Ready status=false trace=2
         1s kube-system/coredns-1%coredns ObjectEvent reason=NodeNotReady count=1 sev=warn msg="Node is not ready" trace=2
         2s svc:kube-system/kube-dns%coredns EndpointsChanged ready=0 not_ready=1 trace=2
         4s shop/cart-1/cart@n2%cart DnsFailure dns=db.shop.svc.cluster.local rcode=timeout trace=3
         9s shop/cart-1/cart@n2%cart DnsFailure dns=db.shop.svc.cluster.local rcode=timeout trace=3"#,
    ),
    Scene::cause(
        "node_not_ready",
        "a node is lost, and a policy of a caller happened to change as well",
        r#"0s node:n1 NodeCondition condition=Ready status=false sev=error impact=0.8 reason=NodeStatusUnknown msg="Kubelet stopped posting node status." trace=1
         1s node:n1 NodeCondition condition=Ready status=false sev=error impact=0.8 reason=NodeNotReady count=1 msg="Node n1 status is now: NodeNotReady" trace=1
         1s shop/cart-1@n1%cart PodReadiness condition=Ready status=false trace=2
         1s shop/cart-1%cart ObjectEvent reason=NodeNotReady count=1 sev=warn msg="Node is not ready" trace=2
         2s svc:shop/cart%cart EndpointsChanged ready=0 not_ready=1 trace=2
         2s shop/x%api PolicyChanged okind=NetworkPolicy oname=allow change=modified trace=3
         3s shop/api-1/api@n2%api SynRetransmit peer=cart addr=10.0.0.7 port=80 count=3 trace=3
         9s shop/api-1/api@n2%api ConnectTimeout peer=cart addr=10.0.0.7 port=80 trace=3"#,
    ),
];
