//! A reply.

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use tapio_model::{
    Answer, Coverage, Ending, Entity, Epoch, Event, Finding, Incarnation, Item, Owner, Part,
    Refusal, RefusalReason, Reply, ShardAnswer, ShardId, Story, StoryId, Text, Timestamp, TraceId,
    TraceReport,
};

use super::{
    ask::write_json,
    form::{Form, Leaf},
};
use crate::{
    DecodeError, VERSION,
    envelope::{open, seal},
    v1::{Capped, TextV1},
};

/// Encodes a reply, in the form of its request.
#[must_use]
pub fn encode_reply(reply: &Reply, form: Form) -> Vec<u8> {
    let mut shape = ReplyShape::from(reply);
    match form {
        Form::MessagePack => seal(&shape),
        Form::Json => {
            shape.version = Some(VERSION.into());
            write_json(&shape)
        }
    }
}

/// Decodes a reply of the form that nodes use.
///
/// # Errors
/// [`DecodeError`].
pub fn decode_reply(bytes: &[u8]) -> Result<Reply, DecodeError> {
    open::<ReplyShape>(bytes)?.try_into()
}

/// All three kinds in one flat map: `error` marks a refusal, `node` a part.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
struct ReplyShape {
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    complete: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    shards: Option<CoverageShape>,
    #[serde(skip_serializing_if = "Option::is_none")]
    results: Option<Capped<ItemShape>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    omitted: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    took_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    coordinator: Option<TextV1>,
    #[serde(skip_serializing_if = "Option::is_none")]
    node: Option<TextV1>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parts: Option<Capped<PartShape>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<ErrorShape>,
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
struct CoverageShape {
    answered: Capped<u16>,
    stale: Capped<u16>,
    missing: Capped<u16>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct ErrorShape {
    code: TextV1,
    text: TextV1,
    #[serde(default)]
    cure: TextV1,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct PartShape {
    shard: u16,
    epoch: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    moved: Option<MovedShape>,
    #[serde(default)]
    results: Capped<ItemShape>,
    #[serde(default)]
    omitted: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct MovedShape {
    #[serde(default)]
    owner: Option<TextV1>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum ItemShape {
    Story(Leaf<Box<Story>>),
    Trace(Box<TraceShape>),
    Incident { id: Leaf<StoryId>, opened_at: Leaf<Timestamp>, touches: Capped<Leaf<Entity>> },
    Owner { shard: u16, owner: Option<TextV1>, epoch: Option<u64> },
    Accepted { shard: u16, events: u64 },
    Released { shard: u16 },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct TraceShape {
    id: Leaf<TraceId>,
    incarnation: u32,
    /// `live`, or how it ended: `closed`, `quarantined`, `refused`.
    state: TextV1,
    opened_at: Leaf<Timestamp>,
    last_at: Leaf<Timestamp>,
    events_total: u64,
    #[serde(default)]
    events: Capped<Leaf<Arc<Event>>>,
    #[serde(default)]
    findings: Capped<Leaf<Finding>>,
    #[serde(default)]
    stories: Capped<Leaf<StoryId>>,
}

impl From<&Reply> for ReplyShape {
    fn from(reply: &Reply) -> Self {
        match reply {
            Reply::Answer(answer) => Self {
                complete: Some(answer.is_complete()),
                shards: Some(CoverageShape::from(&answer.shards)),
                results: Some(answer.results.iter().map(ItemShape::from).collect()),
                omitted: Some(answer.omitted),
                took_ms: Some(answer.took.div_duration_f64(Duration::from_millis(1))),
                coordinator: Some(TextV1::from(&answer.coordinator)),
                ..Self::default()
            },
            Reply::Part(part) => Self {
                node: Some(TextV1::from(&part.node)),
                parts: Some(part.shards.iter().map(PartShape::from).collect()),
                ..Self::default()
            },
            Reply::Refused(refusal) => Self {
                error: Some(ErrorShape {
                    code: TextV1(refusal.reason.code().into()),
                    text: TextV1::from(&refusal.text),
                    cure: TextV1(refusal.reason.cure().into()),
                }),
                ..Self::default()
            },
        }
    }
}

impl TryFrom<ReplyShape> for Reply {
    type Error = DecodeError;

    fn try_from(shape: ReplyShape) -> Result<Self, DecodeError> {
        if let Some(error) = shape.error {
            let reason = RefusalReason::from_code(&error.code.0);
            return Ok(Self::Refused(Refusal { reason, text: error.text.into() }));
        }
        if let Some(node) = shape.node {
            let parts = shape.parts.unwrap_or_default();
            let shards = parts.into_model("parts", ShardAnswer::try_from)?;
            return Ok(Self::Part(Part { node: node.into(), shards }));
        }
        let (Some(shards), Some(took_ms), Some(coordinator)) =
            (shape.shards, shape.took_ms, shape.coordinator)
        else {
            return Err(DecodeError::malformed("neither an answer, nor a part, nor an error"));
        };
        let results = shape.results.unwrap_or_default();
        let took = Duration::try_from_secs_f64(took_ms / 1e3)
            .map_err(|error| DecodeError::malformed(format!("took_ms {took_ms}: {error}")))?;
        Ok(Self::Answer(Answer {
            shards: shards.try_into()?,
            results: results.into_model("results", Item::try_from)?,
            omitted: shape.omitted.unwrap_or_default(),
            took,
            coordinator: coordinator.into(),
        }))
    }
}

impl From<&Coverage> for CoverageShape {
    fn from(coverage: &Coverage) -> Self {
        let list = |shards: &[ShardId]| shards.iter().map(|shard| shard.number()).collect();
        Self {
            answered: list(&coverage.answered),
            stale: list(&coverage.stale),
            missing: list(&coverage.missing),
        }
    }
}

impl TryFrom<CoverageShape> for Coverage {
    type Error = DecodeError;

    fn try_from(shape: CoverageShape) -> Result<Self, DecodeError> {
        let list = |shards: Capped<u16>| shards.into_model("shards", |it| Ok(ShardId::new(it)));
        Ok(Self {
            answered: list(shape.answered)?,
            stale: list(shape.stale)?,
            missing: list(shape.missing)?,
        })
    }
}

impl From<&ShardAnswer> for PartShape {
    fn from(answer: &ShardAnswer) -> Self {
        let (shard, epoch, moved, results, omitted) = match answer {
            ShardAnswer::Known { shard, epoch, results, omitted } => {
                (shard, epoch, None, results.iter().map(ItemShape::from).collect(), *omitted)
            }
            ShardAnswer::Moved { shard, owner, epoch } => {
                let owner = owner.as_ref().map(TextV1::from);
                (shard, epoch, Some(MovedShape { owner }), Capped::default(), 0)
            }
        };
        Self { shard: shard.number(), epoch: epoch.0, moved, results, omitted }
    }
}

impl TryFrom<PartShape> for ShardAnswer {
    type Error = DecodeError;

    fn try_from(shape: PartShape) -> Result<Self, DecodeError> {
        let (shard, epoch) = (ShardId::new(shape.shard), Epoch(shape.epoch));
        if let Some(moved) = shape.moved {
            return Ok(Self::Moved { shard, owner: moved.owner.map(Text::from), epoch });
        }
        let results = shape.results.into_model("results", Item::try_from)?;
        Ok(Self::Known { shard, epoch, results, omitted: shape.omitted })
    }
}

impl From<&Item> for ItemShape {
    fn from(item: &Item) -> Self {
        match item {
            Item::Story(story) => Self::Story(Leaf(story.clone())),
            Item::Trace(trace) => Self::Trace(Box::new(TraceShape::from(&**trace))),
            Item::Incident { id, opened_at, touches } => Self::Incident {
                id: Leaf(*id),
                opened_at: Leaf(*opened_at),
                touches: touches.iter().cloned().map(Leaf).collect(),
            },
            Item::Owner { shard, owner } => Self::Owner {
                shard: shard.number(),
                owner: owner.as_ref().map(|owner| TextV1::from(&owner.node)),
                epoch: owner.as_ref().map(|owner| owner.epoch.0),
            },
            Item::Accepted { shard, events } => {
                Self::Accepted { shard: shard.number(), events: *events }
            }
            Item::Released { shard } => Self::Released { shard: shard.number() },
        }
    }
}

impl TryFrom<ItemShape> for Item {
    type Error = DecodeError;

    fn try_from(shape: ItemShape) -> Result<Self, DecodeError> {
        Ok(match shape {
            ItemShape::Story(Leaf(story)) => Self::Story(story),
            ItemShape::Trace(trace) => Self::Trace(Box::new((*trace).try_into()?)),
            ItemShape::Incident { id, opened_at, touches } => Self::Incident {
                id: id.0,
                opened_at: opened_at.0,
                touches: touches.into_model("entities", |Leaf(entity)| Ok(entity))?,
            },
            ItemShape::Owner { shard, owner, epoch } => Self::Owner {
                shard: ShardId::new(shard),
                owner: owner.map(|node| Owner {
                    node: node.into(),
                    epoch: Epoch(epoch.unwrap_or_default()),
                }),
            },
            ItemShape::Accepted { shard, events } => {
                Self::Accepted { shard: ShardId::new(shard), events }
            }
            ItemShape::Released { shard } => Self::Released { shard: ShardId::new(shard) },
        })
    }
}

impl From<&TraceReport> for TraceShape {
    fn from(trace: &TraceReport) -> Self {
        Self {
            id: Leaf(trace.id),
            incarnation: trace.incarnation.0,
            state: TextV1(write_state(trace.ended).into()),
            opened_at: Leaf(trace.opened_at),
            last_at: Leaf(trace.last_at),
            events_total: trace.events_total,
            events: trace.events.iter().cloned().map(Leaf).collect(),
            findings: trace.findings.iter().cloned().map(Leaf).collect(),
            stories: trace.stories.iter().copied().map(Leaf).collect(),
        }
    }
}

impl TryFrom<TraceShape> for TraceReport {
    type Error = DecodeError;

    fn try_from(shape: TraceShape) -> Result<Self, DecodeError> {
        Ok(Self {
            id: shape.id.0,
            incarnation: Incarnation(shape.incarnation),
            ended: read_state(&shape.state.0)?,
            opened_at: shape.opened_at.0,
            last_at: shape.last_at.0,
            events_total: shape.events_total,
            events: shape.events.into_model("events", |Leaf(event)| Ok(event))?,
            findings: shape.findings.into_model("findings", |Leaf(finding)| Ok(finding))?,
            stories: shape.stories.into_model("stories", |Leaf(id)| Ok(id))?,
        })
    }
}

const fn write_state(ended: Option<Ending>) -> &'static str {
    match ended {
        None => "live",
        Some(Ending::Closed) => "closed",
        Some(Ending::Quarantined) => "quarantined",
        Some(Ending::Refused) => "refused",
    }
}

fn read_state(state: &str) -> Result<Option<Ending>, DecodeError> {
    match state {
        "live" => Ok(None),
        "closed" => Ok(Some(Ending::Closed)),
        "quarantined" => Ok(Some(Ending::Quarantined)),
        "refused" => Ok(Some(Ending::Refused)),
        unknown => Err(DecodeError::malformed(format!("a trace in state {unknown:?}"))),
    }
}
