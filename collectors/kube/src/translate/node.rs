//! Nodes: conditions, taints, cordons, reboots.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::Node;
use tapio_collect::Unbound;
use tapio_model::{Class, Kind, Place, Severity, keys};

use super::{
    Context, Translate,
    seen::{Condition, Seen, turned},
};

/// Conditions that are bad when true, the kubelet's and node-problem-detector's. Of one that is
/// not known nobody can say which is bad.
const PROBLEMS: &[(&str, Class)] = &[
    ("CorruptDockerOverlay2", Class::Storage),
    ("DiskPressure", Class::Storage),
    ("FrequentContainerdRestart", Class::Lifecycle),
    ("FrequentDockerRestart", Class::Lifecycle),
    ("FrequentKubeletRestart", Class::Lifecycle),
    ("FrequentUnregisterNetDevice", Class::Network),
    ("KernelDeadlock", Class::Cpu),
    ("MemoryPressure", Class::Memory),
    ("NetworkUnavailable", Class::Network),
    ("PIDPressure", Class::Other),
    ("ReadonlyFilesystem", Class::Storage),
];

/// Taints that repeat a condition or a cordon, which are told by themselves.
const ECHOES: &[&str] = &[
    "node.kubernetes.io/disk-pressure",
    "node.kubernetes.io/memory-pressure",
    "node.kubernetes.io/network-unavailable",
    "node.kubernetes.io/not-ready",
    "node.kubernetes.io/pid-pressure",
    "node.kubernetes.io/unreachable",
    "node.kubernetes.io/unschedulable",
];

impl Translate for Node {
    fn changes(before: Option<&Self>, after: Option<&Self>, context: &Context<'_>) -> Vec<Unbound> {
        let Some(seen) = Seen::of(before, after, context) else { return Vec::new() };
        let mut told = if seen.is_gone {
            vec![
                happened(&seen, "NodeDeleted", &["deleted"], Severity::Warn)
                    .with(keys::CHANGE, "deleted"),
            ]
        } else {
            let mut told = conditions(&seen);
            told.extend(reboot(&seen));
            told.extend(cordon(&seen));
            told.extend(taints(&seen));
            told
        };
        let place = Place { node: Some(seen.name().into()), ..seen.place() };
        for event in &mut told {
            event.place = place.clone();
        }
        told
    }
}

fn conditions(seen: &Seen<'_, Node>) -> Vec<Unbound> {
    let before = seen.before.and_then(|node| node.status.as_ref()?.conditions.as_deref());
    let after = seen.last.status.as_ref().and_then(|status| status.conditions.as_deref());
    turned(before, after).into_iter().filter_map(|(was, now)| condition(seen, was, &now)).collect()
}

fn condition(
    seen: &Seen<'_, Node>,
    was: Option<&str>,
    condition: &Condition<'_>,
) -> Option<Unbound> {
    let is_ready = condition.name == "Ready";
    // A silent kubelet makes every condition unknown: that the node is not ready says it all.
    if condition.status == "Unknown" && !is_ready {
        return None;
    }
    // When it is heard again they return to what they were.
    if was == Some("Unknown") && !is_ready && !condition.is_true() {
        return None;
    }
    let problem = PROBLEMS.iter().find(|(name, _)| *name == condition.name);
    let is_bad = if is_ready { !condition.is_true() } else { condition.is_true() };
    let is_known = is_ready || problem.is_some();
    // A new node turns good one by one.
    if was.is_none() && !(is_bad && is_known) {
        return None;
    }
    let (severity, impact) = match (is_bad && is_known, is_ready) {
        (true, true) => (Severity::Error, 0.8),
        (true, false) => (Severity::Warn, 0.6),
        (false, _) => (Severity::Info, 0.0),
    };
    let class = problem.map_or(Class::Lifecycle, |(_, class)| *class);
    let event = seen
        .event(Kind::NodeCondition, seen.time(condition.since), &["condition", &condition.turn()])
        .rated(severity, impact, class)
        .with(keys::CORDONED, is_cordoned(seen.last));
    Some(condition.tell(event))
}

/// Tells another boot id: the machine was restarted, whatever the kubelet says of it.
fn reboot(seen: &Seen<'_, Node>) -> Option<Unbound> {
    let boot = |node: &Node| Some(node.status.as_ref()?.node_info.as_ref()?.boot_id.clone());
    let (before, now) = (boot(seen.before?)?, boot(seen.last)?);
    (before != now && !before.is_empty() && !now.is_empty()).then(|| {
        happened(seen, "Rebooted", &["boot", &now], Severity::Error)
            .with(keys::CORDONED, is_cordoned(seen.last))
            .message(format!("boot id changed to {now}"))
    })
}

/// Says whether somebody closed the node to new pods, as one does before maintenance.
fn is_cordoned(node: &Node) -> bool {
    node.spec.as_ref().and_then(|spec| spec.unschedulable) == Some(true)
}

fn cordon(seen: &Seen<'_, Node>) -> Option<Unbound> {
    let (before, now) = (is_cordoned(seen.before?), is_cordoned(seen.last));
    let reason = if now { "NodeNotSchedulable" } else { "NodeSchedulable" };
    let severity = if now { Severity::Warn } else { Severity::Info };
    (before != now).then(|| happened(seen, reason, &["cordon", reason, seen.version()], severity))
}

fn taints(seen: &Seen<'_, Node>) -> Vec<Unbound> {
    let of = |node: &Node| -> BTreeSet<String> {
        let taints = node.spec.iter().filter_map(|spec| spec.taints.as_deref()).flatten();
        taints
            .filter(|taint| !ECHOES.contains(&taint.key.as_str()))
            .map(|taint| format!("{}:{}", taint.key, taint.effect))
            .collect()
    };
    let Some(before) = seen.before.map(of) else { return Vec::new() };
    let now = of(seen.last);
    let tell = |reason: &str, taint: &String| {
        happened(seen, reason, &["taint", reason, taint, seen.version()], Severity::Info)
            .with(keys::CHANGED, taint.as_str())
    };
    let added = now.difference(&before).map(|taint| tell("TaintAdded", taint));
    added.chain(before.difference(&now).map(|taint| tell("TaintRemoved", taint))).collect()
}

fn happened(seen: &Seen<'_, Node>, reason: &str, what: &[&str], severity: Severity) -> Unbound {
    let impact = match severity {
        Severity::Error | Severity::Fatal => 0.8,
        Severity::Warn => 0.4,
        Severity::Trace | Severity::Debug | Severity::Info => 0.1,
    };
    seen.event(Kind::ObjectEvent, seen.time(None), what)
        .rated(severity, impact, Class::Lifecycle)
        .with(keys::REASON, reason)
}
