//! Things that findings touch and incidents join by.

use std::fmt;

use crate::{Place, Text, Workload};

/// A thing in the cluster that a finding is about.
///
/// Names alone never bind: a pod is its UID, a container its id, everything else carries the
/// namespace or node that makes its name unique.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Entity {
    /// A container, by id.
    Container {
        /// Container id.
        id: Text,
    },
    /// A control group of one node.
    Cgroup {
        /// Node name; empty on an unnamed host.
        node: Text,
        /// Path below the hierarchy's mount.
        path: Text,
    },
    /// A pod, by UID.
    Pod {
        /// Pod UID.
        uid: Text,
    },
    /// A workload: Deployment, StatefulSet, DaemonSet, Job, systemd unit.
    Workload {
        /// Namespace, or the node for a systemd unit.
        scope: Text,
        /// Kind.
        kind: Text,
        /// Name.
        name: Text,
    },
    /// A node.
    Node {
        /// Node name.
        name: Text,
    },
    /// A service.
    Service {
        /// Namespace; empty where telemetry does not say.
        namespace: Text,
        /// Service name.
        name: Text,
    },
    /// The edge between a calling service and the one it calls.
    Edge {
        /// Caller.
        from: Text,
        /// Callee.
        to: Text,
    },
    /// A process, while it lives: numbers are given again.
    Process {
        /// Node name; empty on an unnamed host.
        node: Text,
        /// Its number on the node.
        pid: Text,
    },
    /// An object such as a ConfigMap, a Secret or a volume.
    Object {
        /// Namespace.
        namespace: Text,
        /// Kind.
        kind: Text,
        /// Name.
        name: Text,
    },
}

impl Entity {
    /// Returns the container (or, without one, the cgroup) of a place.
    #[must_use]
    pub fn container(place: &Place) -> Option<Self> {
        if let Some(id) = &place.container_id {
            return Some(Self::Container { id: id.clone() });
        }
        let node = place.node.clone().unwrap_or_default();
        place.cgroup.clone().map(|path| Self::Cgroup { node, path })
    }

    /// Returns the pod of a place.
    #[must_use]
    pub fn pod(place: &Place) -> Option<Self> {
        place.pod_uid.clone().map(|uid| Self::Pod { uid })
    }

    /// Returns the workload of a place.
    #[must_use]
    pub fn workload(place: &Place) -> Option<Self> {
        let Workload { kind, name } = place.workload.clone()?;
        let scope = place.namespace.clone().or_else(|| place.node.clone()).unwrap_or_default();
        Some(Self::Workload { scope, kind, name })
    }

    /// Returns a process of a place's node.
    #[must_use]
    pub fn process(place: &Place, pid: i64) -> Self {
        Self::Process { node: place.node.clone().unwrap_or_default(), pid: pid.to_string().into() }
    }

    /// Returns the node of a place.
    #[must_use]
    pub fn node(place: &Place) -> Option<Self> {
        place.node.clone().map(|name| Self::Node { name })
    }

    /// Returns the service of a place.
    #[must_use]
    pub fn service(place: &Place) -> Option<Self> {
        let namespace = place.namespace.clone().unwrap_or_default();
        place.service.clone().map(|name| Self::Service { namespace, name })
    }

    /// Returns container, pod, workload and service of a place: what breaks when one of them does.
    ///
    /// The node is left out on purpose: two faults on one node are two incidents unless a pattern
    /// says that the node itself is at fault.
    #[must_use]
    pub fn of(place: &Place) -> Vec<Self> {
        let all =
            [Self::container(place), Self::pod(place), Self::workload(place), Self::service(place)];
        all.into_iter().flatten().collect()
    }

    /// Returns the narrowest entity of a place, a node at last.
    #[must_use]
    pub fn narrowest(place: &Place) -> Option<Self> {
        Self::of(place).into_iter().next().or_else(|| Self::node(place))
    }

    /// Returns what people look after: the workload of a place, or the narrowest thing known.
    #[must_use]
    pub fn owner(place: &Place) -> Option<Self> {
        Self::workload(place).or_else(|| Self::narrowest(place))
    }

    /// Returns the kind's name: `container`, `cgroup`, `pod`, `workload`, `node`, ...
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Container { .. } => "container",
            Self::Cgroup { .. } => "cgroup",
            Self::Pod { .. } => "pod",
            Self::Workload { .. } => "workload",
            Self::Node { .. } => "node",
            Self::Service { .. } => "service",
            Self::Edge { .. } => "edge",
            Self::Process { .. } => "process",
            Self::Object { .. } => "object",
        }
    }
}

impl fmt::Display for Entity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Container { id } => write!(f, "container {id}"),
            Self::Cgroup { path, .. } => write!(f, "cgroup {path}"),
            Self::Pod { uid } => write!(f, "pod {uid}"),
            Self::Workload { scope, kind, name } => write!(f, "{kind} {scope}/{name}"),
            Self::Node { name } => write!(f, "node {name}"),
            Self::Service { name, .. } => write!(f, "service {name}"),
            Self::Edge { from, to } => write!(f, "{from} -> {to}"),
            Self::Process { node, pid } => write!(f, "process {pid} of {node}"),
            Self::Object { namespace, kind, name } => write!(f, "{kind} {namespace}/{name}"),
        }
    }
}
