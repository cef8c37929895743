//! What leaves a shard: to other shards, to readers of stories, to the dead letters, to an audit.

use std::sync::Arc;

use crate::{
    Event, EventId, Finding, FindingId, IncidentState, Outcome, ShardId, Story, StoryId, Timestamp,
    TraceId,
};

/// One thing that a shard has to say to the incidents of another.
#[derive(Debug, Clone, PartialEq)]
pub enum Sent {
    /// A finding, new or amended.
    Found {
        /// The finding.
        finding: Box<Finding>,
        /// Events of its evidence that no finding cited before.
        events: Vec<Arc<Event>>,
    },
    /// A finding that a better one replaces.
    Retracted(FindingId),
    /// An incident that is given away to an older one.
    Handed {
        /// What it was.
        incident: Box<IncidentState>,
        /// Where it goes.
        into: StoryId,
    },
    /// An incident that should be given away to an older one.
    Join {
        /// The younger one, which the receiver may have.
        story: StoryId,
        /// The older one.
        into: StoryId,
        /// The shard that has the older one.
        shard: ShardId,
    },
}

impl Sent {
    /// Returns the events it brings along.
    #[must_use]
    pub fn events(&self) -> &[Arc<Event>] {
        match self {
            Self::Found { events, .. } => events,
            Self::Handed { incident, .. } => &incident.evidence,
            Self::Retracted(_) | Self::Join { .. } => &[],
        }
    }
}

/// What a shard has to say to the incidents of another, by one commit.
#[derive(Debug, Clone, PartialEq)]
pub struct Findings {
    /// The shard that says it.
    pub from: ShardId,
    /// Its commit. The receiver takes each in once, in order.
    pub commit: u64,
    /// The sender's time.
    pub now: Timestamp,
    /// What it says.
    pub sent: Vec<Sent>,
}

/// A telling of a story, as it is published: with the evidence that was not published before.
#[derive(Debug, Clone, PartialEq)]
pub struct Telling {
    /// The story.
    pub story: Box<Story>,
    /// Events that it or its earlier tellings cite and that this telling brings.
    pub evidence: Vec<Arc<Event>>,
}

/// Why something is a dead letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DeadReason {
    /// The bytes of a whole batch could not be read.
    BadBatch,
    /// One event of a batch could not be read.
    BadEvent,
    /// The trace made its patterns panic too often.
    Poison,
    /// Taking the batch in ended the process too often.
    Crash,
    /// A message from another shard could not be read.
    BadFindings,
}

impl DeadReason {
    /// Every reason.
    pub const ALL: [Self; 5] =
        [Self::BadBatch, Self::BadEvent, Self::Poison, Self::Crash, Self::BadFindings];

    /// Returns the name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::BadBatch => "bad_batch",
            Self::BadEvent => "bad_event",
            Self::Poison => "poison",
            Self::Crash => "crash",
            Self::BadFindings => "bad_findings",
        }
    }
}

/// Something that could not be processed, kept with the reason and the bytes as they came.
#[derive(Debug, Clone, PartialEq)]
pub struct DeadLetter {
    /// The shard that gave up.
    pub shard: ShardId,
    /// The log entry it came with; the last one taken in, for a trace that panicked.
    pub sequence: u64,
    /// When it was given up, by the engine's time.
    pub at: Timestamp,
    /// Why.
    pub reason: DeadReason,
    /// Why, in words.
    pub detail: crate::Text,
    /// The trace, if it is one's.
    pub trace: Option<TraceId>,
    /// The events, as far as they could be read.
    pub events: Vec<Arc<Event>>,
    /// The bytes as they came, where they could not be read.
    pub original: Vec<u8>,
}

/// What became of which event, in runs that are audited.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Audit {
    /// The shard.
    pub shard: ShardId,
    /// The owner's epoch.
    pub epoch: u64,
    /// The commit.
    pub commit: u64,
    /// The last log entry taken in.
    pub processed: u64,
    /// Events and what became of them: final outcomes only.
    pub outcomes: Vec<(EventId, Outcome)>,
}
