//! Events: read, understood, and in batches.

use std::{borrow::Cow, sync::Arc};

use serde::{Deserialize, Serialize};
use serde_bytes::{ByteArray, Bytes};
use tapio_model::{
    Binding, Class, Event, Impact, Kind, Level, RawEvent, Rule, Severity, ShardId, Source,
    Timestamp, TraceContext,
};

use super::{
    BATCH_EVENTS_MAX, LIST_ITEMS_MAX,
    attributes::AttributesV1,
    code::Coded,
    leaf::{BytesV1, Capped, Id8, Id16, event_id, share, span_id, trace_id},
    place::PlaceV1,
};
use crate::{
    DecodeError, DecodedBatch, EventBatch,
    envelope::{read_body, write_body},
    known,
};

/// An event.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct EventV1 {
    id: Id16,
    time: i64,
    source: u32,
    kind: u32,
    trace: TraceV1,
    #[serde(default)]
    place: PlaceV1,
    #[serde(default = "info")]
    severity: u32,
    #[serde(default)]
    impact: f32,
    #[serde(default = "other")]
    class: u32,
    #[serde(default)]
    attributes: AttributesV1,
}

fn info() -> u32 {
    Severity::Info.code()
}

fn other() -> u32 {
    Class::Other.code()
}

/// A trace context; without a binding it is explicit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct TraceV1 {
    trace_id: Id16,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    span_id: Option<Id8>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    parent_span_id: Option<Id8>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    binding: Option<u32>,
}

impl From<&Event> for EventV1 {
    fn from(event: &Event) -> Self {
        Self {
            id: ByteArray::new(*event.id.as_bytes()),
            time: event.time.as_nanos(),
            source: event.source.code(),
            kind: event.kind.code(),
            trace: TraceV1::from(&event.trace),
            place: PlaceV1::from(&*event.place),
            severity: event.severity.code(),
            impact: event.impact.get(),
            class: event.class.code(),
            attributes: AttributesV1::from(&event.attributes),
        }
    }
}

impl TryFrom<EventV1> for Event {
    type Error = DecodeError;

    fn try_from(event: EventV1) -> Result<Self, DecodeError> {
        Ok(Self {
            id: event_id(event.id),
            time: Timestamp::from_nanos(event.time),
            source: Source::from_code(event.source)?,
            kind: Kind::from_code(event.kind)?,
            trace: event.trace.try_into()?,
            place: known::place(event.place.into()),
            severity: Severity::from_code(event.severity)?,
            impact: Impact::new(share("impact", event.impact)?),
            class: Class::from_code(event.class)?,
            attributes: event.attributes.try_into()?,
        })
    }
}

impl From<&TraceContext> for TraceV1 {
    fn from(trace: &TraceContext) -> Self {
        Self {
            trace_id: ByteArray::new(*trace.trace_id.as_bytes()),
            span_id: trace.span_id.map(|id| ByteArray::new(*id.as_bytes())),
            parent_span_id: trace.parent_span_id.map(|id| ByteArray::new(*id.as_bytes())),
            binding: match trace.binding {
                Binding::Explicit => None,
                Binding::Inferred(rule) => Some(rule.code()),
            },
        }
    }
}

impl TryFrom<TraceV1> for TraceContext {
    type Error = DecodeError;

    fn try_from(trace: TraceV1) -> Result<Self, DecodeError> {
        let binding = match trace.binding {
            None => Binding::Explicit,
            Some(code) => Binding::Inferred(Rule::from_code(code)?),
        };
        Ok(Self {
            trace_id: trace_id(trace.trace_id),
            span_id: trace.span_id.map(span_id),
            parent_span_id: trace.parent_span_id.map(span_id),
            binding,
        })
    }
}

/// What a collector read; the payload is not copied on its way out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct RawEventV1<'a> {
    source: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    trace_id: Option<Id16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    span_id: Option<Id8>,
    time: i64,
    #[serde(borrow)]
    payload: &'a Bytes,
    #[serde(default)]
    metadata: AttributesV1,
}

impl<'a> From<&'a RawEvent> for RawEventV1<'a> {
    fn from(raw: &'a RawEvent) -> Self {
        Self {
            source: raw.source.code(),
            trace_id: raw.trace_id.map(|id| ByteArray::new(*id.as_bytes())),
            span_id: raw.span_id.map(|id| ByteArray::new(*id.as_bytes())),
            time: raw.time.as_nanos(),
            payload: Bytes::new(&raw.payload),
            metadata: AttributesV1::from(&raw.metadata),
        }
    }
}

impl TryFrom<RawEventV1<'_>> for RawEvent {
    type Error = DecodeError;

    fn try_from(raw: RawEventV1<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            source: Source::from_code(raw.source)?,
            trace_id: raw.trace_id.map(trace_id),
            span_id: raw.span_id.map(span_id),
            time: Timestamp::from_nanos(raw.time),
            payload: raw.payload.to_vec(),
            metadata: raw.metadata.try_into()?,
        })
    }
}

/// A batch. Each event is a body of its own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct BatchV1<'a> {
    shard: u16,
    level: u32,
    time: i64,
    #[serde(borrow)]
    events: BodiesV1<'a, BATCH_EVENTS_MAX>,
}

impl From<&EventBatch> for BatchV1<'_> {
    fn from(batch: &EventBatch) -> Self {
        Self {
            shard: batch.shard.number(),
            level: batch.level.code(),
            time: batch.time.as_nanos(),
            events: write_bodies(&batch.events),
        }
    }
}

impl TryFrom<BatchV1<'_>> for DecodedBatch {
    type Error = DecodeError;

    fn try_from(batch: BatchV1<'_>) -> Result<Self, DecodeError> {
        let level = Level::from_code(batch.level)?;
        let bodies = batch.events.into_items("events")?;
        let (mut events, mut rejected) = (Vec::with_capacity(bodies.len()), Vec::new());
        for (index, body) in bodies.iter().enumerate() {
            match read_event(&body.0) {
                Ok(event) => events.push(Arc::new(event)),
                Err(error) => rejected.push((index, error)),
            }
        }
        let shard = ShardId::new(batch.shard);
        let time = Timestamp::from_nanos(batch.time);
        Ok(Self { batch: EventBatch { shard, level, time, events }, rejected })
    }
}

/// Events, each a body of its own.
pub(super) type BodiesV1<'a, const MAX: usize = LIST_ITEMS_MAX> = Capped<BytesV1<'a>, MAX>;

pub(super) fn write_bodies<const MAX: usize>(events: &[Arc<Event>]) -> BodiesV1<'static, MAX> {
    // One buffer grows as far as the largest event, rather than one for each as far as that.
    let mut bytes = Vec::new();
    let body = |event: &Arc<Event>| {
        bytes.clear();
        write_body(&EventV1::from(&**event), &mut bytes);
        BytesV1(Cow::Owned(bytes.as_slice().to_owned()))
    };
    events.iter().map(body).collect()
}

/// Reads events of which none may be missing.
pub(super) fn read_bodies<const MAX: usize>(
    bodies: BodiesV1<'_, MAX>,
) -> Result<Vec<Arc<Event>>, DecodeError> {
    let bodies = bodies.into_items("events")?.into_iter();
    bodies.map(|body| read_event(&body.0).map(Arc::new)).collect()
}

fn read_event(body: &[u8]) -> Result<Event, DecodeError> {
    read_body::<EventV1>(body)?.try_into()
}
