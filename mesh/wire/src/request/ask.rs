//! A request.

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use tapio_model::{
    Entity, Event, Handoff, Op, Owned, Refusal, RefusalReason, Request, ShardId, StoryId,
    Timestamp, TraceId,
};

use super::form::{Form, Leaf};
use crate::{
    DecodeError, VERSION,
    envelope::{open, seal},
    v1::{BATCH_EVENTS_MAX, Capped, TextV1},
};

/// Bytes a request may have.
///
/// # Source
/// What a NATS server carries unless configured otherwise.
pub const REQUEST_BYTES_MAX: usize = 1 << 20;
/// Things that may be asked about at once.
pub const RELATED_ENTITIES_MAX: usize = 256;
/// Stories that are listed unless the request says how many.
const LIST_LIMIT: u32 = 50;

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
struct RequestShape {
    /// In JSON only, and then 1; the envelope has a byte for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<u32>,
    op: TextV1,
    #[serde(skip_serializing_if = "Option::is_none")]
    story: Option<Leaf<StoryId>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace: Option<Leaf<TraceId>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    entity: Option<Leaf<Entity>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    list: Option<ListShape>,
    #[serde(skip_serializing_if = "is_empty")]
    entities: Capped<Leaf<Entity>, RELATED_ENTITIES_MAX>,
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<Leaf<Timestamp>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    shard: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    node: Option<TextV1>,
    #[serde(skip_serializing_if = "is_empty")]
    events: Capped<Leaf<Arc<Event>>, BATCH_EVENTS_MAX>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deadline_ms: Option<u64>,
    #[serde(skip_serializing_if = "is_empty")]
    shards: Capped<u16>,
}

/// Which open stories.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
struct ListShape {
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<u32>,
}

fn is_empty<T, const MAX: usize>(list: &Capped<T, MAX>) -> bool {
    list.items().is_empty()
}

/// Encodes a request; a deadline is rounded down to whole milliseconds.
#[must_use]
pub fn encode_request(request: &Request, form: Form) -> Vec<u8> {
    let mut shape = RequestShape::from(request);
    match form {
        Form::MessagePack => seal(&shape),
        Form::Json => {
            shape.version = Some(VERSION.into());
            write_json(&shape)
        }
    }
}

/// Decodes a request of either form.
///
/// # Errors
/// The [`Refusal`] to answer with.
pub fn decode_request(bytes: &[u8]) -> Result<Request, Refusal> {
    if bytes.len() > REQUEST_BYTES_MAX {
        let text =
            format!("a request of {} bytes; at most {REQUEST_BYTES_MAX} are read", bytes.len());
        return Err(Refusal::new(RefusalReason::TooLarge, text));
    }
    let shape: RequestShape = match Form::of(bytes) {
        Form::MessagePack => open(bytes)?,
        Form::Json => read_json(bytes)?,
    };
    shape.try_into()
}

fn read_json(bytes: &[u8]) -> Result<RequestShape, Refusal> {
    #[derive(Deserialize)]
    struct Head {
        version: Option<u64>,
    }
    let shape: Result<RequestShape, _> = serde_json::from_slice(bytes);
    let version = match &shape {
        Ok(shape) => shape.version.map(u64::from),
        // Another version may have other shapes: that is the reason to give, then.
        Err(_) => serde_json::from_slice::<Head>(bytes).ok().and_then(|head| head.version),
    };
    match version {
        Some(version) if version != u64::from(VERSION) => {
            let text = format!("version {version} of the protocol; this node reads {VERSION}");
            Err(Refusal::new(RefusalReason::UnknownVersion, text))
        }
        Some(_) | None => shape.map_err(|error| malformed(&error.to_string())),
    }
}

pub(super) fn write_json(shape: &impl Serialize) -> Vec<u8> {
    #[expect(
        clippy::expect_used,
        reason = "memory takes every write, and no map here has a key that is not text"
    )]
    serde_json::to_vec(shape).expect("a message is written to memory")
}

fn malformed(what: &str) -> Refusal {
    Refusal::new(RefusalReason::Malformed, format!("a malformed request: {what}"))
}

impl From<DecodeError> for Refusal {
    fn from(error: DecodeError) -> Self {
        let reason = match &error {
            DecodeError::UnknownVersion { .. } => RefusalReason::UnknownVersion,
            DecodeError::TooLarge { .. } | DecodeError::TooMany { .. } => RefusalReason::TooLarge,
            DecodeError::Empty
            | DecodeError::Malformed { .. }
            | DecodeError::UnknownCode { .. } => RefusalReason::Malformed,
        };
        Self::new(reason, error.to_string())
    }
}

impl From<&Request> for RequestShape {
    fn from(request: &Request) -> Self {
        let mut shape = Self {
            op: TextV1(request.op.name().into()),
            deadline_ms: request
                .deadline
                .map(|deadline| u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX)),
            shards: request.shards.iter().map(|shard| shard.number()).collect(),
            ..Self::default()
        };
        match &request.op {
            Op::Story(id) => shape.story = Some(Leaf(*id)),
            Op::Trace(id) | Op::WhoOwns(Owned::Trace(id)) => shape.trace = Some(Leaf(*id)),
            Op::Entity(entity) | Op::WhoOwns(Owned::Entity(entity)) => {
                shape.entity = Some(Leaf(entity.clone()));
            }
            Op::List { limit } => shape.list = Some(ListShape { limit: Some(*limit) }),
            Op::Related { entities, at } => {
                shape.entities = entities.iter().cloned().map(Leaf).collect();
                shape.at = at.map(Leaf);
            }
            Op::Deliver { events } => shape.events = events.iter().cloned().map(Leaf).collect(),
            Op::WhoOwns(Owned::Shard(shard)) | Op::Handoff(Handoff::Shard(shard)) => {
                shape.shard = Some(shard.number());
            }
            Op::Handoff(Handoff::Node(node)) => shape.node = Some(TextV1::from(node)),
        }
        shape
    }
}

impl TryFrom<RequestShape> for Request {
    type Error = Refusal;

    fn try_from(mut shape: RequestShape) -> Result<Self, Refusal> {
        let deadline = shape.deadline_ms.map(Duration::from_millis);
        let shards = std::mem::take(&mut shape.shards).into_items("shards")?;
        let shards = shards.into_iter().map(ShardId::new).collect();
        Ok(Self { op: read_op(shape)?, deadline, shards })
    }
}

fn read_op(shape: RequestShape) -> Result<Op, Refusal> {
    let op = shape.op.0.clone();
    match op.as_str() {
        "query" => read_query(shape),
        "related" => {
            let entities: Vec<_> = shape.entities.into_items("entities")?;
            if entities.is_empty() {
                return Err(malformed("`related` wants one or more `entities`"));
            }
            let entities = entities.into_iter().map(|Leaf(entity)| entity).collect();
            Ok(Op::Related { entities, at: shape.at.map(|Leaf(at)| at) })
        }
        "who_owns" => match (shape.trace, shape.entity, shape.shard) {
            (Some(Leaf(id)), None, None) => Ok(Op::WhoOwns(Owned::Trace(id))),
            (None, Some(Leaf(entity)), None) => Ok(Op::WhoOwns(Owned::Entity(entity))),
            (None, None, Some(shard)) => Ok(Op::WhoOwns(Owned::Shard(ShardId::new(shard)))),
            _ => Err(malformed("`who_owns` wants one of `trace`, `entity`, `shard`")),
        },
        "deliver" => {
            let events: Vec<_> = shape.events.into_items("events")?;
            if events.is_empty() {
                return Err(malformed("`deliver` wants one or more `events`"));
            }
            Ok(Op::Deliver { events: events.into_iter().map(|Leaf(event)| event).collect() })
        }
        "handoff" => match (shape.shard, shape.node) {
            (Some(shard), None) => Ok(Op::Handoff(Handoff::Shard(ShardId::new(shard)))),
            (None, Some(node)) => Ok(Op::Handoff(Handoff::Node(node.into()))),
            _ => Err(malformed("`handoff` wants one of `shard`, `node`")),
        },
        "" => Err(malformed("it does not say its `op`")),
        // What was sent is quoted, and must not make the answer large.
        unknown => {
            let quoted: String = unknown.chars().take(40).collect();
            Err(Refusal::new(RefusalReason::UnknownOp, format!("unknown op {quoted:?}")))
        }
    }
}

fn read_query(shape: RequestShape) -> Result<Op, Refusal> {
    match (shape.story, shape.trace, shape.entity, shape.list) {
        (Some(Leaf(id)), None, None, None) => Ok(Op::Story(id)),
        (None, Some(Leaf(id)), None, None) => Ok(Op::Trace(id)),
        (None, None, Some(Leaf(entity)), None) => Ok(Op::Entity(entity)),
        (None, None, None, Some(list)) => Ok(Op::List { limit: list.limit.unwrap_or(LIST_LIMIT) }),
        _ => Err(malformed("`query` wants one of `story`, `trace`, `entity`, `list`")),
    }
}
