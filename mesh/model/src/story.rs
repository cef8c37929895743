//! What a person reads of an incident.

use std::time::Duration;

use crate::{
    Confidence, Entity, EventId, Evidence, EvidenceClass, RuledOut, Slug, StoryId, Text, Timestamp,
    TraceId, Verdict,
};

/// Where a story stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// Told for the first time.
    Opened,
    /// Told again with more, or better, evidence.
    Amended,
    /// Quiet; it stays resolved.
    Resolved,
    /// Turned out to be part of an older story.
    Merged {
        /// The story that goes on.
        into: StoryId,
    },
}

impl State {
    /// Returns the name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Opened => "opened",
            Self::Amended => "amended",
            Self::Resolved => "resolved",
            Self::Merged { .. } => "merged",
        }
    }

    /// Says whether the story can still change.
    #[must_use]
    pub const fn is_open(self) -> bool {
        matches!(self, Self::Opened | Self::Amended)
    }
}

/// A sentence and the events it rests on.
///
/// # Invariant
/// `events` is not empty: a sentence that cites nothing is not told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sentence {
    /// The sentence.
    pub text: Text,
    /// The events it cites.
    pub events: Vec<EventId>,
}

/// One step of the chain from root to symptom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// What was seen.
    pub evidence: Evidence,
    /// The pattern that used it.
    pub pattern: Slug,
    /// How long after the step before it.
    pub lag: Duration,
}

/// What a person reads of an incident.
#[derive(Debug, Clone, PartialEq)]
pub struct Story {
    /// Identity; stable over amendments.
    pub id: StoryId,
    /// The n-th telling: 0 opens the story.
    pub telling: u32,
    /// Where it stands.
    pub state: State,
    /// When it was opened, by the engine's time.
    pub opened_at: Timestamp,
    /// When this telling was made, by the engine's time.
    pub told_at: Timestamp,
    /// What happened, in one line.
    pub title: Text,
    /// The pattern of the root finding.
    pub pattern: Slug,
    /// Known, or which candidates.
    pub verdict: Verdict,
    /// What happened and what followed.
    pub summary: Vec<Sentence>,
    /// Why.
    pub root_cause: Sentence,
    /// The event it began with.
    pub root_cause_event: EventId,
    /// How sure we are.
    pub confidence: Confidence,
    /// The class of the strongest evidence for the root.
    pub class: EvidenceClass,
    /// From root to symptom, in order of time.
    pub chain: Vec<Link>,
    /// What to do, first things first.
    pub recommendation: Vec<Sentence>,
    /// What was considered and dropped.
    pub ruled_out: Vec<RuledOut>,
    /// Evidence that was expected and not seen.
    pub missing: Vec<Text>,
    /// Events lost on the way (shed, refused) that might have belonged here.
    pub lost: u64,
    /// Events that came late and were let in.
    pub late: u64,
    /// Things it touches.
    pub entities: Vec<Entity>,
    /// Traces it was found in.
    pub trace_ids: Vec<TraceId>,
    /// Events it cites.
    pub event_ids: Vec<EventId>,
    /// Of those, events that another story told first: cited by reference, counted there.
    pub references: Vec<EventId>,
    /// The resolved story that this one follows.
    pub predecessor: Option<StoryId>,
}
