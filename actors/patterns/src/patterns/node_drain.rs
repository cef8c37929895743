//! Pods were asked to leave their node, and a service had nobody left to serve: a drain, a spot
//! reclaim, a scale-down or a shutdown without enough replicas beside.
//!
//! Evidence: an eviction through the API, the notice of a shutdown, or a taint after a cordon; and
//! a service of these pods that lost its last endpoint. With another pod at work a drain is no
//! incident.
//! Root: the first such eviction.
//! Not this: `node_not_ready` (nobody cordoned the node, and it fell silent), `memory_eviction` and
//! `disk_pressure` (the kubelet evicts, for want of something), a rollout (pods are replaced, not
//! evicted).
//! First look: who drained it (audit log, autoscaler), then `kubectl get pdb` and the replicas of
//! the workload.

use std::collections::BTreeMap;

use tapio_engine::{Draft, Pattern, Spec, View};
use tapio_model::{Event, Kind, Text, keys};

use crate::{
    Scene,
    node_state::{self, Eviction, class, eviction, left, node_of, plan_before, pods, reason},
    witness::{not_before, quoted, spot},
};

/// Scenes whose cause is known.
pub(crate) const SCENES: &[Scene] = &[
    Scene::cause(
        "node_drain",
        "a drain takes the only pod of a service",
        "0s node:n1 ObjectEvent reason=NodeNotSchedulable sev=warn trace=1
         1s shop/cart-1@n1%cart PodEvicted reason=EvictionByEvictionAPI msg=\"Eviction API: evicting\" trace=2
         1s shop/cart-1/cart@n1%cart ContainerKilling reason=Killing count=1 sev=info msg=\"Stopping container cart\" trace=2
         2s svc:shop/cart%cart EndpointsChanged ready=0 not_ready=0 sev=info impact=0.0 trace=2
         5s shop/api-1/api@n2%api ConnectRefused peer=cart addr=10.0.0.7 port=80 count=4 trace=3
         6s shop/api-1/api@n2%api ConnectRefused peer=cart addr=10.0.0.7 port=80 count=9 trace=3
         20s svc:shop/cart%cart EndpointsChanged ready=1 not_ready=0 sev=info impact=0.0 trace=2",
    ),
    Scene::cause(
        "node_drain",
        "a spot node is shut down with the last pod on it",
        "0s node:n1 ObjectEvent reason=Shutdown count=1 msg=\"Shutdown manager detected shutdown event\" trace=1
         1s node:n1 NodeCondition condition=Ready status=false sev=error impact=0.8 reason=KubeletNotReady msg=\"node is shutting down\" trace=1
         2s shop/cart-1@n1%cart PodEvicted reason=TerminationByKubelet msg=\"Pod was terminated in response to imminent node shutdown.\" trace=2
         3s svc:shop/cart%cart EndpointsChanged ready=0 not_ready=0 trace=2",
    ),
    Scene::unknown(
        "node_drain",
        "a taint sends the last pod away, and nobody says which",
        "0s shop/cart-1@n1%cart PodEvicted reason=DeletionByTaintManager msg=\"Taint manager: deleting due to NoExecute taint\"
         1s shop/cart-1%cart PodEvicted reason=TaintManagerEviction count=1 msg=\"Marking for deletion Pod shop/cart-1\"
         2s svc:shop/cart%cart EndpointsChanged ready=0 not_ready=0",
    ),
    Scene::cause(
        "node_not_ready",
        "nobody cordoned the node that its pods are sent away from",
        "0s node:n1 NodeCondition condition=Ready status=false sev=error impact=0.8 reason=NodeStatusUnknown msg=\"Kubelet stopped posting node status.\"
         1s shop/cart-1%cart ObjectEvent reason=NodeNotReady count=1 msg=\"Node is not ready\"
         5s shop/cart-1@n1%cart PodEvicted reason=DeletionByTaintManager msg=\"Taint manager: deleting due to NoExecute taint\"
         6s svc:shop/cart%cart EndpointsChanged ready=0 not_ready=0",
    ),
    Scene::cause(
        "memory_eviction",
        "a kubelet that is short of memory sends the last pod away",
        "0s node:n1 NodeCondition condition=MemoryPressure status=true reason=KubeletHasInsufficientMemory trace=1
         0s node:n1 ObjectEvent reason=EvictionThresholdMet count=1 sev=warn msg=\"Attempting to reclaim memory\" trace=1
         1s shop/cart-1@n1%cart PodEvicted reason=Evicted msg=\"The node was low on resource: memory. Threshold quantity: 100Mi, available: 64Mi.\" trace=2
         2s svc:shop/cart%cart EndpointsChanged ready=0 not_ready=1 trace=2",
    ),
    Scene::healthy(
        "a drain with a second pod at work",
        "0s node:n1 ObjectEvent reason=NodeNotSchedulable sev=warn trace=1
         1s shop/cart-1@n1%cart PodEvicted reason=EvictionByEvictionAPI msg=\"Eviction API: evicting\" trace=2
         1s shop/cart-1/cart@n1%cart ContainerKilling reason=Killing count=1 sev=info msg=\"Stopping container cart\" trace=2
         2s svc:shop/cart%cart EndpointsChanged ready=1 not_ready=0 sev=info impact=0.0 trace=2
         9s shop/cart-3@n2%cart PodScheduled reason=Scheduled trace=2
         12s shop/cart-3/cart@n2%cart ContainerStarted trace=2
         15s svc:shop/cart%cart EndpointsChanged ready=2 not_ready=0 sev=info impact=0.0 trace=2
         16s node:n1 ObjectEvent reason=NodeDeleted change=deleted sev=warn trace=1",
    ),
    Scene::healthy(
        "a taint moves one of two pods",
        "0s shop/cart-1@n1%cart PodEvicted reason=DeletionByTaintManager msg=\"Taint manager: deleting due to NoExecute taint\"
         2s svc:shop/cart%cart EndpointsChanged ready=1 not_ready=0",
    ),
];

const SPEC: Spec = Spec {
    slug: "node_drain",
    title: "Drained without replicas beside",
    wakes_on: &[Kind::PodEvicted],
    leads_to: &[
        "readiness_lost",
        "connection_failed",
        "cascading_dependency",
        "unschedulable",
        "volume_mount",
        "service_abnormal",
    ],
};

/// Finds services that a drain left without a pod.
#[derive(Debug)]
pub(crate) struct Detector;

impl Pattern for Detector {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn detect(&self, view: &View<'_>) -> Vec<Draft> {
        let mut nodes: BTreeMap<Option<&Text>, Vec<&Event>> = BTreeMap::new();
        for event in view.of(Kind::PodEvicted).filter(|event| is_sent(event)) {
            nodes.entry(node_of(view, event)).or_default().push(event);
        }
        nodes.into_iter().filter_map(|(node, sent)| draft(view, node, &sent)).collect()
    }
}

/// Says whether a pod was sent away for the node's sake, and for want of nothing.
fn is_sent(event: &Event) -> bool {
    let why = eviction(event);
    matches!(why, Some(Eviction::Request | Eviction::Shutdown | Eviction::Taint))
}

/// Says whether an event tells that a service which served before has nobody left.
fn is_out(event: &Event) -> bool {
    event.kind == Kind::EndpointsChanged && event.attributes.int(keys::ENDPOINTS_READY) == Some(0)
}

fn draft(view: &View<'_>, node: Option<&Text>, sent: &[&Event]) -> Option<Draft> {
    let root = *sent.first()?;
    let is_of = |out: &Event| {
        let mut owners = sent.iter().map(|event| &event.place);
        // An empty service may name no workload; its trace does.
        out.place.workload.is_none() || owners.any(|owner| owner.is_same_workload(&out.place))
    };
    let outs: Vec<_> = view
        .of(Kind::EndpointsChanged)
        .filter(|out| is_out(out) && is_of(out) && not_before(out, root))
        .collect();
    let out = *outs.first()?;
    let by_taint = sent.iter().all(|event| eviction(event) == Some(Eviction::Taint));
    let plan = plan_before(view, node, root);
    // A node that fell silent taints itself: that is its own story.
    let is_silent = |event: &Event| reason(event) == "NodeNotReady";
    if by_taint && plan.is_none() && view.events().any(is_silent) {
        return None;
    }
    let (gone, name) = (pods(sent), node_state::name(node));
    let service = spot(&out.place);
    let draft = Draft::new(node_state::subject(node, root)?, class(root), root, left(root))
        .touching(&root.place)
        .title(format!("{name} was drained: {service} lost its last endpoint"))
        .because(format!(
            "{gone} was asked to leave {name}, and {service} had no other pod that served{}.",
            quoted(root)
        ))
        .advise(format!(
            "Give {service} a second replica on another node and a PodDisruptionBudget, so that a \
             drain waits."
        ))
        .advise(
            "Check the graceful stop: preStop, and a new pod that is ready before the old goes.",
        )
        .rule_out(
            "memory_eviction",
            "the node was short of nothing: the pod was asked to go",
            sent,
        );
    let draft = sent
        .iter()
        .fold(draft, |draft, event| draft.touching(&event.place).step(event, left(event)));
    let draft = outs.iter().fold(draft, |draft, out| {
        draft.touching(&out.place).symptom(out, format!("{} has no endpoint", spot(&out.place)))
    });
    let draft = match plan {
        Some(plan) => draft.step(plan, format!("the node was prepared to leave{}", quoted(plan))),
        None => draft,
    };
    if by_taint && plan.is_none() {
        return Some(draft.missing("which taint it was, and who set it").or(
            "node_not_ready",
            "the node stopped answering and was tainted for it",
            "`kubectl describe node NODE`: not-ready and unreachable are the node's fault, any other \
             taint is somebody's",
        ));
    }
    Some(draft.rule_out("node_not_ready", "the node did not fail: pods were asked to leave", sent))
}

#[cfg(test)]
mod tests {
    use tapio_model::Entity;

    use super::*;

    const SENT: &str = "1s shop/cart-1@n1%cart PodEvicted reason=EvictionByEvictionAPI";
    const OUT: &str = "2s svc:shop/cart%cart EndpointsChanged ready=0 not_ready=0";

    #[test]
    fn a_service_without_a_pod_is_an_incident() {
        let plan = "0s node:n1 ObjectEvent reason=NodeNotSchedulable";
        let [draft] = &told!(Detector, &format!("{plan}; {SENT}; {OUT}"))[..] else {
            panic!("one node")
        };
        assert_eq!(draft.headline(), "Node n1 was drained: deployment cart lost its last endpoint");
        assert_eq!(draft.evidence().len(), 3);
        let service = Entity::Service { namespace: "shop".into(), name: "cart".into() };
        assert!(draft.touches().contains(&service) && draft.doubt().is_none());
    }

    #[test]
    fn a_taint_of_unknown_origin_is_a_doubt() {
        let tainted = SENT.replace("EvictionByEvictionAPI", "TaintManagerEviction");
        let [draft] = &told!(Detector, &format!("{tainted}; {OUT}"))[..] else {
            panic!("one node")
        };
        assert_eq!(draft.doubt().map(|doubt| doubt.alternative), Some("node_not_ready"));
        let planned = format!(
            "0s node:n1 ObjectEvent reason=TaintAdded tapio.changed=\"spot-itn:NoExecute\"; \
             {tainted}; {OUT}"
        );
        assert!(told!(Detector, &planned)[0].doubt().is_none());
    }

    #[test]
    fn look_alikes_and_health_are_not_it() {
        let silent = format!(
            "0s shop/cart-1%cart ObjectEvent reason=NodeNotReady; {}; {OUT}",
            SENT.replace("EvictionByEvictionAPI", "TaintManagerEviction")
        );
        let rollout = format!("1s shop/cart-1/cart@n1%cart ContainerKilling; {OUT}");
        let starved = format!(
            "1s shop/cart-1@n1%cart PodEvicted reason=Evicted msg=\"The node was low on resource: \
             memory.\"; {OUT}"
        );
        for story in [
            SENT,
            &format!("{SENT}; {}", OUT.replace("ready=0 not", "ready=1 not")),
            &format!(
                "0s svc:shop/cart%cart EndpointsChanged ready=0; {}",
                SENT.replace("1s", "9s")
            ),
            &format!("{SENT}; {}", OUT.replace("%cart", "%other")),
            &silent,
            &rollout,
            &starved,
        ] {
            assert_eq!(told!(Detector, story), [], "{story}");
        }
    }
}
