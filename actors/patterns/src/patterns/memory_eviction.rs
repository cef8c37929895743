//! A node is short of memory, and its kubelet evicts pods before the kernel has to kill.
//!
//! Evidence: pods evicted with the words that the node was low on memory; the node's condition
//! `MemoryPressure`, the kubelet's eviction manager at work.
//! Root: the first of these on the node.
//! Not this: a condition alone (little is left, and nobody has to leave for it); `container_oom` and `node_oom` (the kernel killed; the kubelet did not evict),
//! `disk_pressure` and `pid_exhaustion` (evicted for want of something else), `node_drain` (asked
//! to leave).
//! First look: `kubectl top pods -A --sort-by=memory` for pods on the node, each against its
//! request; the kubelet's reservations.

use tapio_engine::{Draft, Pattern, Spec, View};
use tapio_model::{Event, EvidenceClass, Kind, Text};

use crate::{
    Scene,
    node_state::{self, Eviction, eviction, left, node_of, turned},
    shortage::{Resource, Shortage, is_named},
    witness::{Constraint, constraint, quoted},
};

/// Scenes whose cause is known.
pub(crate) const SCENES: &[Scene] = &[
    Scene::cause(
        "memory_eviction",
        "a node short of memory evicts pods of two workloads",
        "0s node:n1 NodeCondition condition=MemoryPressure status=true reason=KubeletHasInsufficientMemory msg=\"kubelet has insufficient memory available\" trace=1
         0s node:n1 ObjectEvent reason=EvictionThresholdMet count=1 sev=warn msg=\"Attempting to reclaim memory\" trace=1
         1s unit:kubelet.service@n1 NodeCondition src=journal condition=MemoryPressure status=true reason=EvictionThresholdMet msg=\"eviction manager: attempting to reclaim memory\" trace=2
         2s unit:kubelet.service@n1 Log src=journal sev=warn msg=\"eviction manager: must evict pod(s) to reclaim memory\" trace=2
         3s shop/report-1@n1%report PodEvicted reason=TerminationByKubelet msg=\"The node was low on resource: memory. Threshold quantity: 100Mi, available: 64Mi.\" trace=3
         3s shop/report-1/report@n1%report ContainerTerminated exit=137 reason=Error trace=3
         3s shop/report-1@n1%report PodEvicted reason=Evicted msg=\"The node was low on resource: memory. Threshold quantity: 100Mi, available: 64Mi.\" trace=3
         5s shop/cart-1@n1%cart PodEvicted reason=Evicted msg=\"The node was low on resource: memory.\" trace=4
         6s svc:shop/cart%cart EndpointsChanged ready=0 not_ready=1 trace=4",
    ),
    Scene::cause(
        "memory_eviction",
        "an evicted pod alone",
        "0s shop/report-1@n1%report PodEvicted reason=Evicted count=1 msg=\"The node was low on resource: memory. Container report was using 900Mi, which exceeds its request of 0.\"
         1s shop/report-1@n1%report PodEvicted reason=Evicted msg=\"The node was low on resource: memory. Container report was using 900Mi, which exceeds its request of 0.\"",
    ),
    Scene::unknown(
        "memory_eviction",
        "an eviction that does not say for want of what",
        "0s shop/report-1@n1%report PodEvicted src=journal msg=\"Eviction manager: pod is evicted successfully\"
         1s shop/report-1/report@n1%report ContainerTerminated exit=137 reason=Error",
    ),
    Scene::cause(
        "node_oom",
        "the kernel was faster than the kubelet",
        "0s shop/a-1/a@n1%a OomKill constraint=none pid=1 proc=a msg=\"Out of memory: Killed process 1 (a)\" trace=1
         1s shop/a-1/a@n1%a ContainerTerminated exit=137 reason=OOMKilled trace=1
         1s node:n1 NodeOom count=1 pid=1 proc=a msg=\"System OOM encountered, victim process: a, pid: 1\" trace=2
         3s node:n1 NodeCondition condition=MemoryPressure status=true trace=2",
    ),
    Scene::cause(
        "container_oom",
        "a container at its own limit on a node that has room",
        "0s shop/a-1/a@n1%a OomKill constraint=memcg pid=1 proc=a msg=\"Memory cgroup out of memory: Killed process 1 (a)\"
         1s shop/a-1/a@n1%a ContainerTerminated exit=137 reason=OOMKilled",
    ),
    Scene::healthy(
        "a condition that turns good",
        "0s node:n1 NodeCondition condition=MemoryPressure status=false reason=KubeletHasSufficientMemory
         0s node:n1 NodeCondition condition=MemoryPressure status=false reason=NodeHasSufficientMemory count=1",
    ),
];

const SPEC: Spec = Spec {
    slug: "memory_eviction",
    title: "Evicted for want of memory",
    wakes_on: &[Kind::PodEvicted, Kind::NodeCondition],
    leads_to: &[
        "readiness_lost",
        "connection_failed",
        "cascading_dependency",
        "unschedulable",
        "volume_mount",
        "service_abnormal",
        "dns_failure",
    ],
};

const MEMORY: Resource = Resource {
    condition: "MemoryPressure",
    eviction: Eviction::Memory,
    name: "memory",
    attempts: &["EvictionThresholdMet"],
};

/// Finds nodes that evict for want of memory.
#[derive(Debug)]
pub(crate) struct Detector;

impl Pattern for Detector {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn detect(&self, view: &View<'_>) -> Vec<Draft> {
        let short = Shortage::find(view, &MEMORY);
        let decided = short.iter().filter_map(|shortage| decide(view, shortage));
        let unnamed = view.of(Kind::PodEvicted).filter(|event| is_unnamed(view, event));
        decided.chain(unnamed.filter_map(|event| doubt(view, event))).collect()
    }
}

fn decide(view: &View<'_>, shortage: &Shortage<'_>) -> Option<Draft> {
    let killed = kill(view, shortage.node);
    // The kernel killed and the kubelet did nothing: that is the kill's story.
    let is_kills = killed.is_some() && shortage.evicted.is_empty();
    if is_kills || !shortage.is_fought(&MEMORY) {
        return None;
    }
    let draft = shortage
        .draft(view, &MEMORY)?
        .advise(
            "Find the pods on the node that use most above their requests (`kubectl top pods -A \
             --sort-by=memory`), and give them requests they keep to.",
        )
        .advise("Reserve memory for the system, and set the eviction thresholds to leave time.")
        .rule_out("disk_pressure", "the kubelet names memory", &shortage.evicted);
    Some(match killed {
        Some(kill) => draft.step(kill, format!("the kernel killed as well{}", quoted(kill))),
        None => draft
            .rule_out("node_oom", "the kernel killed nobody for want of the node's memory", &[])
            .rule_out("container_oom", "no limit of the pod's own was reached", &[]),
    })
}

/// Finds a kill for want of the node's memory.
fn kill<'a>(view: &View<'a>, node: Option<&Text>) -> Option<&'a Event> {
    let here = |event: &Event| event.place.node.is_none() || event.place.node.as_ref() == node;
    view.events().find(|event| {
        let of_node = event.kind == Kind::NodeOom
            || (event.kind == Kind::OomKill && constraint(event) == Some(Constraint::Node));
        of_node && here(event)
    })
}

/// Says whether nothing seen says for want of what a pod was evicted.
fn is_unnamed(view: &View<'_>, event: &Event) -> bool {
    let pressed = |other: &Event| {
        ["MemoryPressure", "DiskPressure", "PIDPressure"].iter().any(|it| turned(other, it, true))
    };
    eviction(event) == Some(Eviction::Unnamed)
        && !is_named(view, event)
        && view.find(Kind::NodeCondition, pressed).is_none()
}

fn doubt(view: &View<'_>, event: &Event) -> Option<Draft> {
    let node = node_of(view, event);
    let name = node_state::name(node);
    let subject = node_state::subject(node, event)?;
    let pod = event.place.label();
    let draft = Draft::new(subject, EvidenceClass::EventText, event, left(event))
        .touching(&event.place)
        .title(format!("{pod} was evicted from {name}, perhaps for want of memory"))
        .because(format!(
            "The kubelet of {name} evicted {pod} and did not say for want of what{}.",
            quoted(event)
        ))
        .missing("what the node was short of");
    Some(draft.or(
        "disk_pressure",
        "the node was short of disk space",
        "`kubectl describe pod` names the resource; `kubectl describe node` the condition: \
         MemoryPressure, DiskPressure or PIDPressure",
    ))
}

#[cfg(test)]
mod tests {
    use tapio_model::Entity;

    use super::*;

    const EVICTED: &str = "3s shop/report-1@n1%report PodEvicted reason=Evicted msg=\"The node was \
        low on resource: memory. Threshold quantity: 100Mi, available: 64Mi.\"";
    const PRESSED: &str = "1s node:n1 NodeCondition condition=MemoryPressure status=true";

    #[test]
    fn holds_for_the_node_with_its_evicted_pods() {
        let story = format!(
            "{PRESSED}; {EVICTED}; {}; 5s svc:shop/report%report EndpointsChanged ready=0",
            EVICTED.replace("report", "cart")
        );
        let [draft] = &told!(Detector, &story)[..] else { panic!("one node") };
        assert_eq!(
            draft.headline(),
            "Node n1 is short of memory: the kubelet evicted shop/report-1 and 1 more"
        );
        assert_eq!(draft.subject(), &Entity::Node { name: "n1".into() });
        assert_eq!(draft.class(), EvidenceClass::ObjectStatus);
        assert_eq!(draft.evidence().len(), 4);
        assert!(draft.touches().contains(&Entity::Pod { uid: "uid-shop-cart-1".into() }));
        assert!(draft.gaps().is_empty() && draft.doubt().is_none());
    }

    #[test]
    fn an_event_is_weaker_than_a_status() {
        let counted = EVICTED.replace("reason=Evicted", "reason=Evicted count=1");
        let [draft] = &told!(Detector, &counted)[..] else { panic!("one node") };
        assert_eq!(draft.class(), EvidenceClass::EventText);
        assert_eq!(draft.gaps(), ["the node's condition MemoryPressure"].map(Text::from));
    }

    #[test]
    fn evictions_beside_a_kill_are_told_and_pressure_beside_it_is_not() {
        let kill = "0s x/y/z@n1 OomKill constraint=none pid=3";
        assert_eq!(told!(Detector, &format!("{kill}; {PRESSED}")), []);
        let [draft] = &told!(Detector, &format!("{kill}; {EVICTED}"))[..] else {
            panic!("one node")
        };
        assert!(draft.ruled_out().iter().all(|out| out.pattern != "node_oom"));
    }

    #[test]
    fn an_eviction_without_a_word_is_a_doubt() {
        let story = "0s a/b@n1 PodEvicted src=journal msg=\"pod is evicted successfully\"";
        let [draft] = &told!(Detector, story)[..] else { panic!("one pod") };
        assert_eq!(draft.doubt().map(|doubt| doubt.alternative), Some("disk_pressure"));
        let disk = "0s node:n1 NodeCondition condition=DiskPressure status=true";
        assert_eq!(told!(Detector, &format!("{story}; {disk}")), []);
    }

    #[test]
    fn look_alikes_and_health_are_not_it() {
        for story in [
            "0s a/b@n1 PodEvicted reason=Evicted msg=\"The node was low on resource: pids.\"",
            "0s a/b@n1 PodEvicted reason=EvictionByEvictionAPI",
            "0s a/b@n1 PodEvicted reason=Preempted",
            "0s node:n1 NodeCondition condition=MemoryPressure status=false",
            PRESSED,
            "0s a/b/c@n1 OomKill constraint=memcg pid=7",
        ] {
            assert_eq!(told!(Detector, story), [], "{story}");
        }
    }
}
