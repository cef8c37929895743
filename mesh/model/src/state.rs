//! What a trace, a closed trace and an incident are when they are written down.
//!
//! The engine makes these of its own state and its own state of these; `tapio-wire` gives them bytes.

use std::sync::Arc;

use crate::{Entity, Event, EventId, Finding, Incarnation, StoryId, Timestamp, TraceId};

/// A place in a shard's log, and the engine's time there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Mark {
    /// Sequence of the log entry.
    pub sequence: u64,
    /// The shard's `now` at that entry.
    pub now: Timestamp,
}

/// A live trace, written down.
///
/// # Invariant
/// It has taken in its events of every log entry up to `upto`, and of none after it.
#[derive(Debug, Clone, PartialEq)]
pub struct TraceState {
    /// Identity.
    pub id: TraceId,
    /// Which life.
    pub incarnation: Incarnation,
    /// The last log entry it knows of.
    pub upto: u64,
    /// When it was opened, by the engine's time.
    pub opened_at: Timestamp,
    /// When its last event came, by the engine's time.
    pub last_at: Timestamp,
    /// When it wants to think next.
    pub deadline: Timestamp,
    /// Whether there is something to think about.
    pub is_dirty: bool,
    /// Whether one of its events is critical and not thought about yet.
    pub is_urgent: bool,
    /// Events turned away.
    pub lost: u32,
    /// Events that came late and were let in.
    pub late: u32,
    /// How often it has panicked since it last did not.
    pub failures: u32,
    /// Its events, in order of (time, id).
    pub events: Vec<Arc<Event>>,
    /// What it found, if anything ever left the window or was found.
    pub memory: Option<TraceMemory>,
}

/// What few traces have: findings, and a past.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TraceMemory {
    /// Findings that hold.
    pub findings: Vec<Finding>,
    /// Events held that a finding has cited, sorted.
    pub cited: Vec<EventId>,
    /// Ids of events that left the window, oldest first.
    pub past: Vec<EventId>,
    /// Every event ever held is at most this young.
    pub newest: Timestamp,
}

/// Why a trace is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Ending {
    /// Its window closed.
    Closed,
    /// It panicked too often; whatever still comes for it is a dead letter.
    Quarantined,
    /// It was turned away at the limit of traces; whatever still comes for it is turned away too.
    Refused,
}

/// What is remembered of a trace that is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grave {
    /// The trace.
    pub trace: TraceId,
    /// Which life ended.
    pub incarnation: Incarnation,
    /// The time of its youngest event.
    pub newest: Timestamp,
    /// How it ended.
    pub ending: Ending,
    /// The last log entry that belongs to this life or an earlier one.
    pub upto: u64,
    /// Until when it is remembered, by the engine's time.
    pub until: Timestamp,
}

/// An open incident, written down.
#[derive(Debug, Clone, PartialEq)]
pub struct IncidentState {
    /// Its story.
    pub id: StoryId,
    /// When it was opened, by the engine's time.
    pub opened_at: Timestamp,
    /// The resolved story that it follows.
    pub predecessor: Option<StoryId>,
    /// What was found, in order of identity and begin.
    pub findings: Vec<Finding>,
    /// Tellings of findings beyond the limit, counted only.
    pub further: u64,
    /// What it touches, told or not.
    pub entities: Vec<Entity>,
    /// Events by which it is found again.
    pub events: Vec<EventId>,
    /// Events that are its own: no other story counts them.
    pub owned: Vec<EventId>,
    /// Events that its next telling brings along: nobody who reads stories has them yet.
    pub evidence: Vec<Arc<Event>>,
    /// The last telling.
    pub telling: u32,
    /// When it was last told.
    pub told_at: Timestamp,
    /// When it last had news.
    pub news_at: Timestamp,
    /// Whether it has news that were not told.
    pub is_dirty: bool,
    /// Whether it was told at all: one that may belong to an incident elsewhere waits for the answer.
    pub is_told: bool,
}

/// A resolved incident that a new one may name as predecessor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolvedState {
    /// What it touched.
    pub entity: Entity,
    /// Its story.
    pub id: StoryId,
    /// When it was resolved, by the engine's time.
    pub at: Timestamp,
}

/// A change that waits for what follows from it.
#[derive(Debug, Clone, PartialEq)]
pub struct WaitingState {
    /// By which its shard tells it from the others that wait.
    pub number: u64,
    /// What was found.
    pub finding: Finding,
    /// The events it rests on, as far as they came with it.
    pub events: Vec<Arc<Event>>,
    /// Until when it waits, by the engine's time.
    pub until: Timestamp,
}
