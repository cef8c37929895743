//! What several patterns ask of a node: which of its conditions turned, who prepares it to leave,
//! and why pods left it.

use std::time::Duration;

use tapio_engine::{Draft, View};
use tapio_model::{Entity, Event, EvidenceClass, Kind, Source, Text, keys};

use crate::witness::{not_before, quoted, spot, truth};

/// How long before a node's trouble its cordon still explains it.
const PLANNED: Duration = Duration::from_secs(600);

/// Why a pod was made to leave its node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Eviction {
    /// The node was short of memory.
    Memory,
    /// The node was short of disk space or inodes.
    Storage,
    /// The pod used more disk space than its own limit.
    OwnStorage,
    /// The node was short of process ids.
    Processes,
    /// The node bears a taint that the pod does not tolerate, or is gone.
    Taint,
    /// Somebody asked for it through the API: a drain.
    Request,
    /// The node is shutting down.
    Shutdown,
    /// A pod of higher priority took its room.
    Preemption,
    /// The kubelet did it and does not say for want of what.
    Unnamed,
}

/// Words of the kubelet, with what they mean; the first that fits decides.
const WORDS: &[(&str, Eviction)] = &[
    ("low on resource: memory", Eviction::Memory),
    ("low on resource: [MemoryPressure", Eviction::Memory),
    ("had condition: [MemoryPressure", Eviction::Memory),
    ("low on resource: pids", Eviction::Processes),
    ("had condition: [PIDPressure", Eviction::Processes),
    ("low on resource: ephemeral-storage", Eviction::Storage),
    ("low on resource: inodes", Eviction::Storage),
    ("low on resource: nodefs", Eviction::Storage),
    ("low on resource: imagefs", Eviction::Storage),
    ("low on resource: [DiskPressure", Eviction::Storage),
    ("had condition: [DiskPressure", Eviction::Storage),
    ("ephemeral local storage usage exceeds", Eviction::OwnStorage),
    ("exceeded its local ephemeral storage limit", Eviction::OwnStorage),
    ("Usage of EmptyDir volume", Eviction::OwnStorage),
    ("node shutdown", Eviction::Shutdown),
    ("shutting down", Eviction::Shutdown),
];

/// Reasons of Events and of the disruption's notice.
const REASONS: &[(&str, Eviction)] = &[
    ("TaintManagerEviction", Eviction::Taint),
    ("DeletionByTaintManager", Eviction::Taint),
    ("DeletionByPodGC", Eviction::Taint),
    ("NodeLost", Eviction::Taint),
    ("EvictionByEvictionAPI", Eviction::Request),
    ("Shutdown", Eviction::Shutdown),
    ("NodeShutdown", Eviction::Shutdown),
    ("Terminated", Eviction::Shutdown),
    ("Preempted", Eviction::Preemption),
    ("Preempting", Eviction::Preemption),
    ("PreemptionByScheduler", Eviction::Preemption),
];

/// Reasons by which a node is prepared to leave.
const PLANS: &[&str] = &[
    "NodeNotSchedulable",
    "ScaleDown",
    "Shutdown",
    "SpotInterruption",
    "TerminationNotice",
    "PreemptScheduled",
];

/// What taints of autoscalers, termination handlers and people who maintain nodes have in their
/// names, in lower case.
const PLANNED_TAINTS: &[&str] = &[
    "tobedeleted",
    "karpenter.sh/disrupt",
    "termination",
    "reclaim",
    "spot-itn",
    "preempt",
    "drain",
    "maintenance",
    "upgrade",
];

/// Returns the reason the source gave, or nothing.
pub(crate) fn reason(event: &Event) -> &str {
    event.attributes.text(keys::REASON).unwrap_or_default()
}

/// Says whether a condition of a node turned to `status`.
pub(crate) fn turned(event: &Event, condition: &str, status: bool) -> bool {
    event.kind == Kind::NodeCondition
        && event.attributes.text(keys::CONDITION) == Some(condition)
        && truth(event, keys::STATUS).unwrap_or(true) == status
}

/// Says why a pod was made to leave; `None` if it was not.
pub(crate) fn eviction(event: &Event) -> Option<Eviction> {
    if event.kind != Kind::PodEvicted {
        return None;
    }
    let (said, why) = (event.message(), reason(event));
    let worded = WORDS.iter().find(|(words, _)| said.contains(words));
    let given = worded.or_else(|| REASONS.iter().find(|(reason, _)| *reason == why));
    Some(given.map_or(Eviction::Unnamed, |(_, eviction)| *eviction))
}

/// Says whether an event is of a node itself, and of nothing on it.
pub(crate) fn is_of_node(event: &Event) -> bool {
    event.place.node.is_some() && event.place.pod.is_none() && event.place.pod_uid.is_none()
}

/// Returns the node of an event: its own, else what another event says of its pod.
pub(crate) fn node_of<'a>(view: &View<'a>, event: &'a Event) -> Option<&'a Text> {
    let told = || {
        let mut mine = view.events().filter(|other| other.place.is_same_pod(&event.place));
        mine.find_map(|other| other.place.node.as_ref())
    };
    event.place.node.as_ref().or_else(told)
}

/// Says whether an event tells that a node is prepared to leave.
fn is_plan(event: &Event) -> bool {
    let taint = || {
        let taint = event.attributes.text(keys::CHANGED).unwrap_or_default().to_ascii_lowercase();
        PLANNED_TAINTS.iter().any(|name| taint.contains(name))
    };
    event.kind == Kind::ObjectEvent
        && is_of_node(event)
        && (PLANS.contains(&reason(event)) || (reason(event) == "TaintAdded" && taint()))
}

/// Finds who prepared the node to leave before an event, if nobody took it back before.
///
/// A cordon leaves the window soon; that it is taken back after the event tells of it as well.
pub(crate) fn plan_before<'a>(
    view: &View<'a>,
    node: Option<&Text>,
    event: &Event,
) -> Option<&'a Event> {
    let here = |other: &Event| other.place.node.as_ref() == node && is_of_node(other);
    let is_end = |other: &Event| reason(other) == "NodeSchedulable" && here(other);
    let is_before = |other: &Event| other.time <= event.time;
    let turns = view.of(Kind::ObjectEvent).filter(|it| here(it) && (is_plan(it) || is_end(it)));
    let (before, after): (Vec<_>, Vec<_>) = turns.partition(|turn| is_before(turn));
    let before = before.last().copied();
    let plan = before.filter(|turn| is_plan(turn) && event.time.distance(turn.time) <= PLANNED);
    let undone = after.first().copied().filter(|turn| is_end(turn));
    plan.or(undone.filter(|_| before.is_none()))
}

/// Returns the node as what a finding is about, else the narrowest thing that the event names.
pub(crate) fn subject(node: Option<&Text>, event: &Event) -> Option<Entity> {
    let node = node.map(|name| Entity::Node { name: name.clone() });
    node.or_else(|| Entity::narrowest(&event.place))
}

/// Names a node: `Node n1`.
pub(crate) fn name(node: Option<&Text>) -> String {
    node.map_or_else(|| "A node".to_owned(), |node| format!("Node {node}"))
}

/// Ranks an event by who wrote it. What an object's status says and what an Event says of it differ
/// in that only Events are counted.
pub(crate) fn class(event: &Event) -> EvidenceClass {
    match event.source {
        Source::Kernel | Source::Network => EvidenceClass::KernelProof,
        Source::Cgroup | Source::Metrics => EvidenceClass::ObjectStatus,
        Source::Kubernetes if event.attributes.get(keys::COUNT).is_none() => {
            EvidenceClass::ObjectStatus
        }
        Source::Kubernetes | Source::Journal => EvidenceClass::EventText,
        Source::App | Source::Otlp => EvidenceClass::LogTemplate,
    }
}

/// Says whether an event tells that a service has fewer endpoints, or none.
pub(crate) fn has_fewer_endpoints(event: &Event) -> bool {
    let number = |key| event.attributes.int(key);
    event.kind == Kind::EndpointsChanged
        && (number(keys::ENDPOINTS_READY) == Some(0)
            || number(keys::ENDPOINTS_NOT_READY).is_some_and(|out| out > 0))
}

/// Cites what the pods that a finding touches, and their services, suffered since its root.
pub(crate) fn cite_consequences(
    view: &View<'_>,
    draft: Draft,
    root: &Event,
    is_mine: impl Fn(&Event) -> bool,
) -> Draft {
    let later = view.events().filter(|event| not_before(event, root));
    later.fold(draft, |draft, event| {
        let is_unready =
            event.kind == Kind::PodReadiness && truth(event, keys::STATUS) == Some(false);
        if is_unready && is_mine(event) {
            let text = format!("{} is not ready", spot(&event.place));
            draft.touching(&event.place).symptom(event, text)
        } else if has_fewer_endpoints(event) {
            let ready = event.attributes.int(keys::ENDPOINTS_READY).unwrap_or_default();
            let text = format!("{} has {ready} ready endpoints", spot(&event.place));
            draft.touching(&event.place).symptom(event, text)
        } else if event.kind == Kind::PodEvicted && is_mine(event) {
            draft.touching(&event.place).symptom(event, left(event))
        } else {
            draft
        }
    })
}

/// Says that a pod left, in the words of who sent it away.
pub(crate) fn left(event: &Event) -> String {
    let reason = event.attributes.text(keys::REASON).unwrap_or("evicted");
    format!("{} had to leave ({reason}){}", spot(&event.place), quoted(event))
}

/// Names the pods of some events: `shop/a-1 and 2 more`.
pub(crate) fn pods(events: &[&Event]) -> String {
    let mut names: Vec<String> = Vec::new();
    for event in events {
        let name = event.place.label();
        if !names.contains(&name) {
            names.push(name);
        }
    }
    match names.as_slice() {
        [] => "nobody".to_owned(),
        [one] => one.clone(),
        [one, more @ ..] => format!("{one} and {} more", more.len()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::fixture::events;

    #[test]
    fn an_eviction_says_why() {
        let cases = [
            ("msg=\"The node was low on resource: memory. Threshold quantity\"", Eviction::Memory),
            ("msg=\"The node was low on resource: ephemeral-storage.\"", Eviction::Storage),
            ("msg=\"The node was low on resource: pids.\"", Eviction::Processes),
            (
                "reason=Evicted msg=\"Pod ephemeral local storage usage exceeds the total limit of \
                 containers 1Gi. \"",
                Eviction::OwnStorage,
            ),
            (
                "reason=TerminationByKubelet msg=\"Pod was terminated in response to imminent \
                 node shutdown.\"",
                Eviction::Shutdown,
            ),
            ("reason=EvictionByEvictionAPI msg=\"Eviction API: evicting\"", Eviction::Request),
            ("reason=TaintManagerEviction", Eviction::Taint),
            ("reason=Preempted", Eviction::Preemption),
            ("reason=Evicted", Eviction::Unnamed),
        ];
        for (words, want) in cases {
            let told = events(&format!("0s a/b PodEvicted {words}")).unwrap();
            assert_eq!(eviction(&told[0]), Some(want), "{words}");
        }
        let other = events("0s a/b PodScheduled reason=TaintManagerEviction").unwrap();
        assert_eq!(eviction(&other[0]), None);
    }

    #[test]
    fn a_plan_holds_until_it_is_taken_back() {
        let plans = [
            ("reason=NodeNotSchedulable", true),
            ("reason=TaintAdded tapio.changed=\"ToBeDeletedByClusterAutoscaler:NoSchedule\"", true),
            ("reason=TaintAdded tapio.changed=\"dedicated=db:NoSchedule\"", false),
            ("reason=Starting", false),
        ];
        for (words, want) in plans {
            for (more, want) in [
                ("", want),
                ("; 2s node:n1 ObjectEvent reason=NodeSchedulable", false),
                ("; 2s node:n2 ObjectEvent reason=NodeSchedulable", want),
                ("; 40s node:n1 ObjectEvent reason=NodeSchedulable", true),
            ] {
                let story = format!(
                    "1s node:n1 ObjectEvent {words}{more}; 9s node:n1 NodeCondition condition=Ready \
                     status=false"
                );
                let mut told: Vec<_> = events(&story).unwrap().into_iter().map(Arc::new).collect();
                told.sort_by_key(|event| event.order());
                let view = View::new(&told, told[0].time);
                let down = view.of(Kind::NodeCondition).next().unwrap();
                let plan = plan_before(&view, down.place.node.as_ref(), down);
                assert_eq!(plan.is_some(), want, "{story}");
            }
        }
    }

    #[test]
    fn a_list_of_pods_is_short() {
        let told = events("0s a/b PodEvicted; 0s a/c PodEvicted; 0s a/b PodEvicted").unwrap();
        let all: Vec<_> = told.iter().collect();
        assert_eq!(pods(&all), "a/b and 1 more");
        assert_eq!(pods(&all[..1]), "a/b");
        assert_eq!(pods(&[]), "nobody");
    }
}
