//! Which metrics are watched, and what a step of each is.

use crate::level::Yardstick;

/// What a metric is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    /// A pod or a container of it.
    Pod,
    /// A node.
    Node,
}

/// What a metric measures.
#[derive(Debug, Clone, Copy)]
pub(super) struct Quantity {
    pub(super) scope: Scope,
    pub(super) resource: &'static str,
    pub(super) is_counter: bool,
    pub(super) yardstick: Yardstick,
}

/// By what the names of metrics of a pod and of a node begin.
///
/// # Source
/// OpenTelemetry semantic conventions, system and Kubernetes metrics; Collector, kubeletstats and
/// hostmetrics receivers.
const SCOPES: [(&str, Scope); 5] = [
    ("k8s.pod.", Scope::Pod),
    ("k8s.container.", Scope::Pod),
    ("container.", Scope::Pod),
    ("k8s.node.", Scope::Node),
    ("system.", Scope::Node),
];

/// Resources by the word that follows; bytes and shares of a disk are told apart by their yardstick.
const RESOURCES: [(&str, &str); 5] = [
    ("cpu", "cpu"),
    ("memory", "memory"),
    ("network", "network"),
    ("filesystem", "disk"),
    ("disk", "disk"),
];

/// What a resource's use is called, whether it is a counter, and how much more of it anybody would
/// notice: cores, shares and bytes.
const MEASURES: [(&str, bool, f64); 8] = [
    ("utilization", false, 0.1),
    ("usage", false, 0.1),
    ("working_set", false, MEBIBYTES_32),
    ("rss", false, MEBIBYTES_32),
    ("io", true, KIBIBYTES_64),
    ("errors", true, 1.0),
    ("dropped", true, 1.0),
    ("operations", true, 50.0),
];

const MEBIBYTES_32: f64 = 33_554_432.0;

const KIBIBYTES_64: f64 = 65_536.0;

impl Quantity {
    /// Reads the name of a metric; nothing if it is none that is watched.
    pub(super) fn of(name: &str) -> Option<Self> {
        let (rest, scope) =
            SCOPES.iter().find_map(|(begin, scope)| Some((name.strip_prefix(begin)?, *scope)))?;
        let (word, measure) = rest.split_once('.')?;
        let (_, resource) = RESOURCES.iter().find(|(known, _)| *known == word)?;
        let (_, is_counter, more) = MEASURES.iter().find(|(known, ..)| *known == measure)?;
        let is_bytes = measure == "usage" && *resource != "cpu";
        let more = if is_bytes { MEBIBYTES_32 } else { *more };
        // Memory seldom doubles, and seldom moves at all.
        let times = if *resource == "memory" { 1.5 } else { 2.0 };
        let yardstick = Yardstick { times, more, is_count: false };
        Some(Self { scope, resource, is_counter: *is_counter, yardstick })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_is_known_by_its_name() {
        let cases = [
            ("k8s.pod.cpu.usage", Some((Scope::Pod, "cpu", false))),
            ("container.memory.working_set", Some((Scope::Pod, "memory", false))),
            ("k8s.pod.network.io", Some((Scope::Pod, "network", true))),
            ("k8s.node.cpu.utilization", Some((Scope::Node, "cpu", false))),
            ("k8s.node.filesystem.usage", Some((Scope::Node, "disk", false))),
            ("system.disk.io", Some((Scope::Node, "disk", true))),
            ("system.network.errors", Some((Scope::Node, "network", true))),
            // A share of a limit is watched as such.
            ("k8s.pod.cpu_limit_utilization", None),
            ("k8s.pod.memory.available", None),
            ("system.processes.count", None),
            ("cpu", None),
            ("", None),
        ];
        for (name, want) in cases {
            let told = Quantity::of(name).map(|it| (it.scope, it.resource, it.is_counter));
            assert_eq!(told, want, "{name}");
        }
    }
}
