//! Places and the things in them.

use serde::{Deserialize, Serialize};
use tapio_model::{Entity, Place, Text, Workload};

use super::leaf::TextV1;
use crate::DecodeError;

/// A place: only the fields that are known.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct PlaceV1 {
    #[serde(skip_serializing_if = "Option::is_none")]
    cluster: Option<TextV1>,
    #[serde(skip_serializing_if = "Option::is_none")]
    node: Option<TextV1>,
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<TextV1>,
    #[serde(skip_serializing_if = "Option::is_none")]
    workload: Option<WorkloadV1>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pod: Option<TextV1>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pod_uid: Option<TextV1>,
    #[serde(skip_serializing_if = "Option::is_none")]
    container: Option<TextV1>,
    #[serde(skip_serializing_if = "Option::is_none")]
    container_id: Option<TextV1>,
    #[serde(skip_serializing_if = "Option::is_none")]
    service: Option<TextV1>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cgroup: Option<TextV1>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct WorkloadV1 {
    kind: TextV1,
    name: TextV1,
}

impl From<&Place> for PlaceV1 {
    fn from(place: &Place) -> Self {
        let text = |text: &Option<Text>| text.as_ref().map(TextV1::from);
        Self {
            cluster: text(&place.cluster),
            node: text(&place.node),
            namespace: text(&place.namespace),
            workload: place.workload.as_ref().map(|workload| WorkloadV1 {
                kind: TextV1::from(&workload.kind),
                name: TextV1::from(&workload.name),
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

impl From<PlaceV1> for Place {
    fn from(place: PlaceV1) -> Self {
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

/// A thing: its type's number, and the texts that make it unique.
///
/// `name` is the id, path, UID, name, number or callee; `scope` the node, namespace or caller that `name`
/// is unique in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct EntityV1 {
    r#type: u32,
    #[serde(default, skip_serializing_if = "TextV1::is_empty")]
    scope: TextV1,
    #[serde(default, skip_serializing_if = "TextV1::is_empty")]
    kind: TextV1,
    name: TextV1,
}

impl From<&Entity> for EntityV1 {
    fn from(entity: &Entity) -> Self {
        let none = &Text::default();
        let (r#type, scope, kind, name) = match entity {
            Entity::Container { id } => (1, none, none, id),
            Entity::Cgroup { node, path } => (2, node, none, path),
            Entity::Pod { uid } => (3, none, none, uid),
            Entity::Workload { scope, kind, name } => (4, scope, kind, name),
            Entity::Node { name } => (5, none, none, name),
            Entity::Service { namespace, name } => (6, namespace, none, name),
            Entity::Edge { from, to } => (7, from, none, to),
            Entity::Object { namespace, kind, name } => (8, namespace, kind, name),
            Entity::Process { node, pid } => (9, node, none, pid),
        };
        Self { r#type, scope: scope.into(), kind: kind.into(), name: name.into() }
    }
}

impl TryFrom<EntityV1> for Entity {
    type Error = DecodeError;

    fn try_from(entity: EntityV1) -> Result<Self, DecodeError> {
        let (scope, kind, name) = (entity.scope.0, entity.kind.0, entity.name.0);
        Ok(match entity.r#type {
            1 => Self::Container { id: name },
            2 => Self::Cgroup { node: scope, path: name },
            3 => Self::Pod { uid: name },
            4 => Self::Workload { scope, kind, name },
            5 => Self::Node { name },
            6 => Self::Service { namespace: scope, name },
            7 => Self::Edge { from: scope, to: name },
            8 => Self::Object { namespace: scope, kind, name },
            9 => Self::Process { node: scope, pid: name },
            code => return Err(DecodeError::UnknownCode { field: "entity type", code }),
        })
    }
}
