//! A place: only the fields that are known.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tapio_model::{Place, Text, Workload};

/// Where it happened, as far as its source knows.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Place")]
#[serde(default)]
pub(super) struct PlaceShape {
    /// Cluster name.
    #[serde(skip_serializing_if = "Option::is_none")]
    cluster: Option<String>,
    /// Node (host) name.
    #[serde(skip_serializing_if = "Option::is_none")]
    node: Option<String>,
    /// Namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<String>,
    /// Top owner.
    #[serde(skip_serializing_if = "Option::is_none")]
    workload: Option<WorkloadShape>,
    /// Pod name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pod: Option<String>,
    /// Pod UID.
    #[serde(skip_serializing_if = "Option::is_none")]
    pod_uid: Option<String>,
    /// Container name.
    #[serde(skip_serializing_if = "Option::is_none")]
    container: Option<String>,
    /// Container id, without the runtime's prefix.
    #[serde(skip_serializing_if = "Option::is_none")]
    container_id: Option<String>,
    /// Service name, as in OpenTelemetry's `service.name`.
    #[serde(skip_serializing_if = "Option::is_none")]
    service: Option<String>,
    /// Path of the control group below the hierarchy's mount.
    #[serde(skip_serializing_if = "Option::is_none")]
    cgroup: Option<String>,
}

/// The top owner of what runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Workload")]
struct WorkloadShape {
    /// Kubernetes kind (`Deployment`, ...) or `Unit` for a systemd unit.
    kind: String,
    /// Name within its namespace.
    name: String,
}

impl From<&Place> for PlaceShape {
    fn from(place: &Place) -> Self {
        let text = |text: &Option<Text>| text.as_deref().map(str::to_owned);
        Self {
            cluster: text(&place.cluster),
            node: text(&place.node),
            namespace: text(&place.namespace),
            workload: place.workload.as_ref().map(|workload| WorkloadShape {
                kind: workload.kind.to_string(),
                name: workload.name.to_string(),
            }),
            pod: text(&place.pod),
            pod_uid: text(&place.pod_uid),
            container: text(&place.container),
            container_id: text(&place.container_id),
            service: text(&place.service),
            cgroup: text(&place.cgroup),
        }
    }
}

impl From<PlaceShape> for Place {
    fn from(place: PlaceShape) -> Self {
        Self {
            cluster: place.cluster.map(Text::from),
            node: place.node.map(Text::from),
            namespace: place.namespace.map(Text::from),
            workload: place.workload.map(|workload| Workload {
                kind: workload.kind.into(),
                name: workload.name.into(),
            }),
            pod: place.pod.map(Text::from),
            pod_uid: place.pod_uid.map(Text::from),
            container: place.container.map(Text::from),
            container_id: place.container_id.map(Text::from),
            service: place.service.map(Text::from),
            cgroup: place.cgroup.map(Text::from),
        }
    }
}
