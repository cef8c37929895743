//! What is written down of traces and incidents.

use serde::{Deserialize, Serialize};
use serde_bytes::ByteArray;
use tapio_model::{
    Entity, Event, Finding, Incarnation, IncidentState, ResolvedState, Timestamp, TraceMemory,
    TraceState, WaitingState,
};

use super::{
    STATE_ITEMS_MAX,
    event::{BodiesV1, read_bodies, write_bodies},
    finding::{FindingV1, read_events, write_events},
    leaf::{Capped, Id16, story_id, trace_id},
    place::EntityV1,
};
use crate::DecodeError;

/// Ids of a state.
type IdsV1 = Capped<Id16, STATE_ITEMS_MAX>;

/// A live trace.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct TraceStateV1<'a> {
    id: Id16,
    incarnation: u32,
    upto: u64,
    opened_at: i64,
    last_at: i64,
    deadline: i64,
    #[serde(default)]
    is_dirty: bool,
    #[serde(default)]
    is_urgent: bool,
    #[serde(default)]
    lost: u32,
    #[serde(default)]
    late: u32,
    #[serde(default)]
    failures: u32,
    #[serde(borrow)]
    events: BodiesV1<'a>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    memory: Option<MemoryV1>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct MemoryV1 {
    #[serde(default)]
    findings: Capped<FindingV1>,
    #[serde(default)]
    cited: IdsV1,
    #[serde(default)]
    past: IdsV1,
    newest: i64,
}

impl From<&TraceState> for TraceStateV1<'_> {
    fn from(trace: &TraceState) -> Self {
        Self {
            id: ByteArray::new(*trace.id.as_bytes()),
            incarnation: trace.incarnation.0,
            upto: trace.upto,
            opened_at: trace.opened_at.as_nanos(),
            last_at: trace.last_at.as_nanos(),
            deadline: trace.deadline.as_nanos(),
            is_dirty: trace.is_dirty,
            is_urgent: trace.is_urgent,
            lost: trace.lost,
            late: trace.late,
            failures: trace.failures,
            events: write_bodies(&trace.events),
            memory: trace.memory.as_ref().map(|memory| MemoryV1 {
                findings: memory.findings.iter().map(FindingV1::from).collect(),
                cited: write_events(&memory.cited),
                past: write_events(&memory.past),
                newest: memory.newest.as_nanos(),
            }),
        }
    }
}

impl TryFrom<TraceStateV1<'_>> for TraceState {
    type Error = DecodeError;

    fn try_from(trace: TraceStateV1<'_>) -> Result<Self, DecodeError> {
        let events = read_bodies(trace.events)?;
        let order = |event: &Event| (event.time, event.id);
        if !events.is_sorted_by_key(|event| order(event)) {
            return Err(DecodeError::malformed("a trace's events are not in order of time"));
        }
        Ok(Self {
            id: trace_id(trace.id),
            incarnation: Incarnation(trace.incarnation),
            upto: trace.upto,
            opened_at: Timestamp::from_nanos(trace.opened_at),
            last_at: Timestamp::from_nanos(trace.last_at),
            deadline: Timestamp::from_nanos(trace.deadline),
            is_dirty: trace.is_dirty,
            is_urgent: trace.is_urgent,
            lost: trace.lost,
            late: trace.late,
            failures: trace.failures,
            events,
            memory: trace.memory.map(TraceMemory::try_from).transpose()?,
        })
    }
}

impl TryFrom<MemoryV1> for TraceMemory {
    type Error = DecodeError;

    fn try_from(memory: MemoryV1) -> Result<Self, DecodeError> {
        let cited = read_events(memory.cited)?;
        if !cited.is_sorted() {
            return Err(DecodeError::malformed("a trace's cited events are not sorted"));
        }
        Ok(Self {
            findings: memory.findings.into_model("findings", Finding::try_from)?,
            cited,
            past: read_events(memory.past)?,
            newest: Timestamp::from_nanos(memory.newest),
        })
    }
}

/// An open incident.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct IncidentStateV1<'a> {
    id: Id16,
    opened_at: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    predecessor: Option<Id16>,
    findings: Capped<FindingV1>,
    #[serde(default)]
    further: u64,
    #[serde(default)]
    entities: Capped<EntityV1, STATE_ITEMS_MAX>,
    #[serde(default)]
    events: IdsV1,
    #[serde(default)]
    owned: IdsV1,
    #[serde(borrow, default)]
    evidence: BodiesV1<'a, STATE_ITEMS_MAX>,
    telling: u32,
    told_at: i64,
    news_at: i64,
    is_dirty: bool,
    is_told: bool,
}

impl From<&IncidentState> for IncidentStateV1<'_> {
    fn from(incident: &IncidentState) -> Self {
        Self {
            id: ByteArray::new(*incident.id.as_bytes()),
            opened_at: incident.opened_at.as_nanos(),
            predecessor: incident.predecessor.map(|id| ByteArray::new(*id.as_bytes())),
            findings: incident.findings.iter().map(FindingV1::from).collect(),
            further: incident.further,
            entities: incident.entities.iter().map(EntityV1::from).collect(),
            events: write_events(&incident.events),
            owned: write_events(&incident.owned),
            evidence: write_bodies(&incident.evidence),
            telling: incident.telling,
            told_at: incident.told_at.as_nanos(),
            news_at: incident.news_at.as_nanos(),
            is_dirty: incident.is_dirty,
            is_told: incident.is_told,
        }
    }
}

impl TryFrom<IncidentStateV1<'_>> for IncidentState {
    type Error = DecodeError;

    fn try_from(incident: IncidentStateV1<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            id: story_id(incident.id),
            opened_at: Timestamp::from_nanos(incident.opened_at),
            predecessor: incident.predecessor.map(story_id),
            findings: incident.findings.into_model("findings", Finding::try_from)?,
            further: incident.further,
            entities: incident.entities.into_model("entities", Entity::try_from)?,
            events: read_events(incident.events)?,
            owned: read_events(incident.owned)?,
            evidence: read_bodies(incident.evidence)?,
            telling: incident.telling,
            told_at: Timestamp::from_nanos(incident.told_at),
            news_at: Timestamp::from_nanos(incident.news_at),
            is_dirty: incident.is_dirty,
            is_told: incident.is_told,
        })
    }
}

/// Incidents that resolved.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct ResolvedV1 {
    resolved: Capped<OneResolvedV1, STATE_ITEMS_MAX>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct OneResolvedV1 {
    entity: EntityV1,
    id: Id16,
    at: i64,
}

impl From<&[ResolvedState]> for ResolvedV1 {
    fn from(resolved: &[ResolvedState]) -> Self {
        let one = |one: &ResolvedState| OneResolvedV1 {
            entity: EntityV1::from(&one.entity),
            id: ByteArray::new(*one.id.as_bytes()),
            at: one.at.as_nanos(),
        };
        Self { resolved: resolved.iter().map(one).collect() }
    }
}

impl TryFrom<ResolvedV1> for Vec<ResolvedState> {
    type Error = DecodeError;

    fn try_from(resolved: ResolvedV1) -> Result<Self, DecodeError> {
        resolved.resolved.into_model("resolved incidents", |one| {
            Ok(ResolvedState {
                entity: one.entity.try_into()?,
                id: story_id(one.id),
                at: Timestamp::from_nanos(one.at),
            })
        })
    }
}

/// A change that waits for what follows from it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct WaitingV1<'a> {
    number: u64,
    finding: FindingV1,
    #[serde(borrow, default)]
    events: BodiesV1<'a>,
    until: i64,
}

impl From<&WaitingState> for WaitingV1<'_> {
    fn from(change: &WaitingState) -> Self {
        Self {
            number: change.number,
            finding: FindingV1::from(&change.finding),
            events: write_bodies(&change.events),
            until: change.until.as_nanos(),
        }
    }
}

impl TryFrom<WaitingV1<'_>> for WaitingState {
    type Error = DecodeError;

    fn try_from(change: WaitingV1<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            number: change.number,
            finding: change.finding.try_into()?,
            events: read_bodies(change.events)?,
            until: Timestamp::from_nanos(change.until),
        })
    }
}
