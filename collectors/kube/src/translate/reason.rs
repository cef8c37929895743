//! What an Event's reason and message mean.

use k8s_openapi::api::core::v1::Event;
use tapio_model::{Class, Kind, Severity};

/// What was read of an Event.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Reading<'a> {
    pub(super) kind: Kind,
    pub(super) severity: Severity,
    pub(super) impact: f32,
    pub(super) class: Class,
    /// Which probe it speaks of.
    pub(super) probe: Option<&'static str>,
    /// Whom the kernel killed.
    pub(super) victim: Option<(&'a str, Option<i64>)>,
    /// Which condition of a node it speaks of, and whether it is true.
    pub(super) condition: Option<(&'static str, bool)>,
}

/// How bad the kinds are of which an Event's type does not say it.
const RATINGS: &[(Kind, Severity, f32, Class)] = &[
    (Kind::ContainerCreateFailed, Severity::Error, 0.7, Class::Configuration),
    (Kind::ContainerWaiting, Severity::Warn, 0.5, Class::Lifecycle),
    (Kind::ImagePullFailed, Severity::Error, 0.7, Class::Image),
    (Kind::JobFailed, Severity::Error, 0.6, Class::Lifecycle),
    (Kind::MountFailed, Severity::Error, 0.7, Class::Storage),
    (Kind::NodeOom, Severity::Error, 0.8, Class::Memory),
    (Kind::PodEvicted, Severity::Warn, 0.6, Class::Lifecycle),
    (Kind::ProbeFailed, Severity::Warn, 0.5, Class::Health),
    (Kind::VolumeUnbound, Severity::Error, 0.7, Class::Storage),
];

/// Reads an Event. Its type decides nothing but the severity of what is not known: back-offs,
/// kills and evictions by a taint are all of type Normal.
pub(super) fn read(event: &Event) -> Reading<'_> {
    let reason = event.reason.as_deref().unwrap_or_default();
    let said = event.message.as_deref().unwrap_or_default();
    let is_warning = event.type_.as_deref() == Some("Warning");
    let is_of_node = event.involved_object.kind.as_deref() == Some("Node");
    if let Some(condition) = node_condition(reason).filter(|_| is_of_node) {
        return of_condition(condition);
    }
    let kind = known(reason, said);
    let probe = probe(kind, said);
    // That a probe's failure ends in a kill is news, though the kubelet calls it Normal.
    let is_warning = is_warning || probe.is_some();
    let (kind, severity, impact, class) = match kind {
        Some(kind) => rated(kind, is_warning),
        None => other(reason, is_warning),
    };
    Reading {
        kind,
        severity,
        impact,
        class,
        probe,
        victim: (kind == Kind::NodeOom).then(|| victim(said)).flatten(),
        condition: None,
    }
}

/// Returns the kind of an Event that has one of its own.
fn known(reason: &str, said: &str) -> Option<Kind> {
    let kind = match reason {
        "Unhealthy" | "ProbeError" => Kind::ProbeFailed,
        "Killing" => Kind::ContainerKilling,
        "BackOff" if is_pull(said) => Kind::ImagePullFailed,
        "BackOff" => Kind::ContainerWaiting,
        "Failed" if is_pull(said) => Kind::ImagePullFailed,
        "Failed" | "FailedCreatePodContainer" | "FailedPostStartHook" => {
            Kind::ContainerCreateFailed
        }
        "ErrImageNeverPull" | "InspectFailed" | "InvalidImageName" => Kind::ImagePullFailed,
        "FailedMount" | "FailedMapVolume" => Kind::MountFailed,
        "FailedAttachVolume" | "ProvisioningFailed" | "FailedBinding" | "ClaimLost" => {
            Kind::VolumeUnbound
        }
        "FailedScheduling" if said.contains("unbound immediate PersistentVolumeClaims") => {
            Kind::VolumeUnbound
        }
        "Scheduled" => Kind::PodScheduled,
        "Evicted" | "Preempted" => Kind::PodEvicted,
        "TaintManagerEviction" if !said.starts_with("Cancel") => Kind::PodEvicted,
        "SystemOOM" => Kind::NodeOom,
        "BackoffLimitExceeded" | "DeadlineExceeded" | "PodFailurePolicy" => Kind::JobFailed,
        _ => return None,
    };
    Some(kind)
}

fn is_pull(said: &str) -> bool {
    const MARKS: &[&str] =
        &["pull image", "pulling image", "ErrImage", "ImagePullBackOff", "InvalidImageName"];
    MARKS.iter().any(|mark| said.contains(mark))
}

fn rated(kind: Kind, is_warning: bool) -> (Kind, Severity, f32, Class) {
    let known = RATINGS.iter().copied().find(|(of, ..)| *of == kind);
    known.unwrap_or(if is_warning {
        (kind, Severity::Warn, 0.5, Class::Lifecycle)
    } else {
        (kind, Severity::Info, 0.0, Class::Lifecycle)
    })
}

/// Rates an Event of no kind of its own.
fn other(reason: &str, is_warning: bool) -> (Kind, Severity, f32, Class) {
    let (severity, impact, class) = match reason {
        "FailedCreatePodSandBox" | "NetworkNotReady" => (Severity::Error, 0.6, Class::Network),
        "FailedCreate" => (Severity::Error, 0.6, Class::Rollout),
        "FailedScheduling" => (Severity::Warn, 0.6, Class::Lifecycle),
        "Rebooted" => (Severity::Error, 0.8, Class::Lifecycle),
        "OOMKilling" => (Severity::Warn, 0.6, Class::Memory),
        "ScalingReplicaSet" | "SuccessfulCreate" | "SuccessfulDelete" => {
            (Severity::Info, 0.1, Class::Rollout)
        }
        "Pulling" | "Pulled" => (Severity::Info, 0.0, Class::Image),
        _ if is_warning => (Severity::Warn, 0.4, Class::Other),
        _ => (Severity::Info, 0.0, Class::Other),
    };
    (Kind::ObjectEvent, severity, impact, class)
}

/// Reads the kubelet's and the node controller's words for a node's conditions.
fn node_condition(reason: &str) -> Option<(&'static str, bool)> {
    Some(match reason {
        "NodeReady" => ("Ready", true),
        "NodeNotReady" => ("Ready", false),
        "NodeHasInsufficientMemory" => ("MemoryPressure", true),
        "NodeHasSufficientMemory" => ("MemoryPressure", false),
        "NodeHasDiskPressure" => ("DiskPressure", true),
        "NodeHasNoDiskPressure" => ("DiskPressure", false),
        "NodeHasInsufficientPID" => ("PIDPressure", true),
        "NodeHasSufficientPID" => ("PIDPressure", false),
        _ => return None,
    })
}

fn of_condition<'a>((name, status): (&'static str, bool)) -> Reading<'a> {
    let is_bad = (name == "Ready") != status;
    let (severity, impact) = match (is_bad, name) {
        (true, "Ready") => (Severity::Error, 0.8),
        (true, _) => (Severity::Warn, 0.6),
        (false, _) => (Severity::Info, 0.0),
    };
    let class = match name {
        "MemoryPressure" => Class::Memory,
        "DiskPressure" => Class::Storage,
        _ => Class::Lifecycle,
    };
    Reading {
        kind: Kind::NodeCondition,
        severity,
        impact,
        class,
        probe: None,
        victim: None,
        condition: Some((name, status)),
    }
}

/// Reads `Liveness probe failed: ...` and `Container db failed liveness probe, will be restarted`.
fn probe(kind: Option<Kind>, said: &str) -> Option<&'static str> {
    if !matches!(kind, Some(Kind::ProbeFailed | Kind::ContainerKilling)) {
        return None;
    }
    let said = said.to_ascii_lowercase();
    // The first that is named: what follows is the application's own answer.
    let at = |probe: &&'static str| said.find(&format!("{probe} probe"));
    let named = ["liveness", "readiness", "startup"].into_iter();
    named.filter_map(|probe| Some((at(&probe)?, probe))).min().map(|(_, probe)| probe)
}

/// Reads `System OOM encountered, victim process: db, pid: 42`.
fn victim(said: &str) -> Option<(&str, Option<i64>)> {
    let (_, rest) = said.split_once("victim process: ")?;
    let (name, pid) = rest.rsplit_once(", pid: ").unwrap_or((rest, ""));
    Some((name, pid.trim().parse().ok()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(reason: &str, said: &str) -> Event {
        Event {
            reason: Some(reason.into()),
            message: Some(said.into()),
            type_: Some("Normal".into()),
            ..Event::default()
        }
    }

    #[test]
    fn reason_and_message_give_the_kind() {
        let cases = [
            ("BackOff", "Back-off pulling image \"a\"", Kind::ImagePullFailed),
            ("BackOff", "Back-off restarting failed container", Kind::ContainerWaiting),
            ("Failed", "Failed to pull image \"a\": not found", Kind::ImagePullFailed),
            ("Failed", "Error: ErrImagePull", Kind::ImagePullFailed),
            ("Failed", "Error: configmap \"env\" not found", Kind::ContainerCreateFailed),
            ("TaintManagerEviction", "Marking for deletion Pod a/b", Kind::PodEvicted),
            ("TaintManagerEviction", "Cancelling deletion of Pod a/b", Kind::ObjectEvent),
            ("FailedScheduling", "0/3 nodes are available: 3 Insufficient cpu", Kind::ObjectEvent),
            (
                "FailedScheduling",
                "pod has unbound immediate PersistentVolumeClaims",
                Kind::VolumeUnbound,
            ),
            ("WaitForFirstConsumer", "waiting for first consumer", Kind::ObjectEvent),
            ("NodeNotReady", "Node is not ready", Kind::ObjectEvent),
            ("", "", Kind::ObjectEvent),
        ];
        for (reason, said, want) in cases {
            assert_eq!(read(&event(reason, said)).kind, want, "{reason} {said}");
        }
    }

    #[test]
    fn a_message_names_the_probe_and_the_victim() {
        let probes = [
            ("Unhealthy", "Liveness probe failed: readiness probe said no", Some("liveness")),
            ("Unhealthy", "Readiness probe errored: x", Some("readiness")),
            ("Killing", "Container db failed startup probe, will be restarted", Some("startup")),
            ("Killing", "Stopping container db", None),
            ("Pulled", "Liveness probe", None),
        ];
        for (reason, said, want) in probes {
            assert_eq!(read(&event(reason, said)).probe, want, "{said}");
        }
        let oom = |said| read(&event("SystemOOM", said)).victim.map(|v| (v.0.to_owned(), v.1));
        let said = "System OOM encountered, victim process: a, b, pid: 42";
        assert_eq!(oom(said), Some(("a, b".to_owned(), Some(42))));
        assert_eq!(oom("System OOM encountered"), None);
    }
}
