//! The two forms, and the parts that look different in each.

use std::sync::Arc;

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{DeserializeOwned, Error as _},
};
use serde_bytes::ByteArray;
use serde_json::Value;
use tapio_model::{Entity, Event, EventId, Finding, Story, StoryId, Text, Timestamp, TraceId};

use super::FindingJson;
use crate::{
    DecodeError,
    json::{EventJson, StoryJson, time_from_value, time_to_text},
    v1::{EntityV1, EventV1, FindingV1, StoryV1},
};

/// How a request is written, and so its reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Between nodes.
    MessagePack,
    /// For everybody else.
    Json,
}

impl Form {
    /// Returns the form of a message: one that begins with `{` is JSON.
    ///
    /// White space before it is JSON too: a person typed it, and no version has its number.
    #[must_use]
    pub fn of(message: &[u8]) -> Self {
        match message.first() {
            Some(b'{' | b' ' | b'\t' | b'\r' | b'\n') => Self::Json,
            Some(_) | None => Self::MessagePack,
        }
    }
}

/// Something with one shape for machines and one for people.
pub(super) trait Shaped: Sized {
    /// As `MessagePack`.
    type Machine: Serialize + DeserializeOwned;
    /// As JSON.
    type People: Serialize + DeserializeOwned;

    fn machine(&self) -> Self::Machine;
    fn people(&self) -> Self::People;
    fn from_machine(shape: Self::Machine) -> Result<Self, DecodeError>;
    fn from_people(shape: Self::People) -> Result<Self, String>;
}

/// Writes and reads the shape that the form asks for.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Leaf<T>(pub(super) T);

impl<T: Shaped> Serialize for Leaf<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            self.0.people().serialize(serializer)
        } else {
            self.0.machine().serialize(serializer)
        }
    }
}

impl<'de, T: Shaped> Deserialize<'de> for Leaf<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            T::from_people(T::People::deserialize(deserializer)?)
                .map(Self)
                .map_err(D::Error::custom)
        } else {
            let shape = T::Machine::deserialize(deserializer)?;
            T::from_machine(shape).map(Self).map_err(D::Error::custom)
        }
    }
}

macro_rules! id {
    ($($id:ident)+) => {$(
        impl Shaped for $id {
            type Machine = ByteArray<16>;
            type People = String;

            fn machine(&self) -> ByteArray<16> {
                ByteArray::new(*self.as_bytes())
            }
            fn people(&self) -> String {
                self.to_string()
            }
            fn from_machine(shape: ByteArray<16>) -> Result<Self, DecodeError> {
                Ok(Self::from_bytes(shape.into_array()))
            }
            fn from_people(shape: String) -> Result<Self, String> {
                shape.parse().map_err(|error| format!("{shape:?} is {error}"))
            }
        }
    )+};
}

id! { StoryId TraceId EventId }

impl Shaped for Timestamp {
    type Machine = i64;
    type People = Value;

    fn machine(&self) -> i64 {
        self.as_nanos()
    }
    fn people(&self) -> Value {
        time_to_text(*self).into()
    }
    fn from_machine(shape: i64) -> Result<Self, DecodeError> {
        Ok(Self::from_nanos(shape))
    }
    fn from_people(shape: Value) -> Result<Self, String> {
        time_from_value(&shape).map_err(|error| error.to_string())
    }
}

impl Shaped for Arc<Event> {
    type Machine = EventV1;
    type People = EventJson;

    fn machine(&self) -> EventV1 {
        EventV1::from(&**self)
    }
    fn people(&self) -> EventJson {
        EventJson::from(&**self)
    }
    fn from_machine(shape: EventV1) -> Result<Self, DecodeError> {
        shape.try_into().map(Self::new)
    }
    fn from_people(shape: EventJson) -> Result<Self, String> {
        let (id, trace) = shape
            .id
            .zip(shape.trace)
            .ok_or("an event that is delivered says its `id` and its `trace`")?;
        Ok(Self::new(shape.into_event(id, trace)))
    }
}

impl Shaped for Finding {
    type Machine = FindingV1;
    type People = FindingJson;

    fn machine(&self) -> FindingV1 {
        FindingV1::from(self)
    }
    fn people(&self) -> FindingJson {
        FindingJson::from(self)
    }
    fn from_machine(shape: FindingV1) -> Result<Self, DecodeError> {
        shape.try_into()
    }
    fn from_people(_: FindingJson) -> Result<Self, String> {
        Err("the JSON of a finding is for people: read MessagePack".into())
    }
}

impl Shaped for Box<Story> {
    type Machine = StoryV1;
    type People = StoryJson;

    fn machine(&self) -> StoryV1 {
        StoryV1::from(&**self)
    }
    fn people(&self) -> StoryJson {
        StoryJson::from(&**self)
    }
    fn from_machine(shape: StoryV1) -> Result<Self, DecodeError> {
        shape.try_into().map(Self::new)
    }
    fn from_people(_: StoryJson) -> Result<Self, String> {
        Err("the JSON of a story is for people: read MessagePack".into())
    }
}

impl Shaped for Entity {
    type Machine = EntityV1;
    type People = EntityShape;

    fn machine(&self) -> EntityV1 {
        EntityV1::from(self)
    }
    fn people(&self) -> EntityShape {
        let text = |text: &Text| text.to_string();
        match self {
            Self::Container { id } => EntityShape::Container { id: text(id) },
            Self::Cgroup { node, path } => {
                EntityShape::Cgroup { node: text(node), path: text(path) }
            }
            Self::Pod { uid } => EntityShape::Pod { uid: text(uid) },
            Self::Workload { scope, kind, name } => {
                EntityShape::Workload { scope: text(scope), kind: text(kind), name: text(name) }
            }
            Self::Node { name } => EntityShape::Node { name: text(name) },
            Self::Service { namespace, name } => {
                EntityShape::Service { namespace: text(namespace), name: text(name) }
            }
            Self::Edge { from, to } => EntityShape::Edge { from: text(from), to: text(to) },
            Self::Process { node, pid } => {
                EntityShape::Process { node: text(node), pid: text(pid) }
            }
            Self::Object { namespace, kind, name } => EntityShape::Object {
                namespace: text(namespace),
                kind: text(kind),
                name: text(name),
            },
        }
    }
    fn from_machine(shape: EntityV1) -> Result<Self, DecodeError> {
        shape.try_into()
    }
    fn from_people(shape: EntityShape) -> Result<Self, String> {
        Ok(match shape {
            EntityShape::Container { id } => Self::Container { id: id.into() },
            EntityShape::Cgroup { node, path } => {
                Self::Cgroup { node: node.into(), path: path.into() }
            }
            EntityShape::Pod { uid } => Self::Pod { uid: uid.into() },
            EntityShape::Workload { scope, kind, name } => {
                Self::Workload { scope: scope.into(), kind: kind.into(), name: name.into() }
            }
            EntityShape::Node { name } => Self::Node { name: name.into() },
            EntityShape::Service { namespace, name } => {
                Self::Service { namespace: namespace.into(), name: name.into() }
            }
            EntityShape::Edge { from, to } => Self::Edge { from: from.into(), to: to.into() },
            EntityShape::Process { node, pid } => {
                Self::Process { node: node.into(), pid: pid.into() }
            }
            EntityShape::Object { namespace, kind, name } => {
                Self::Object { namespace: namespace.into(), kind: kind.into(), name: name.into() }
            }
        })
    }
}

/// A thing, in words; every field that makes it unique is its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum EntityShape {
    Container {
        id: String,
    },
    Cgroup {
        #[serde(default)]
        node: String,
        path: String,
    },
    Pod {
        uid: String,
    },
    Workload {
        #[serde(default)]
        scope: String,
        kind: String,
        name: String,
    },
    Node {
        name: String,
    },
    Service {
        #[serde(default)]
        namespace: String,
        name: String,
    },
    Edge {
        from: String,
        to: String,
    },
    Process {
        #[serde(default)]
        node: String,
        pid: String,
    },
    Object {
        #[serde(default)]
        namespace: String,
        kind: String,
        name: String,
    },
}
