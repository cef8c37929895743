//! A pattern that held inside one trace.

use std::fmt;

use crate::{Entity, EventId, Evidence, EvidenceClass, Text, Timestamp, TraceId};

/// A pattern's name: its file, its metric label, its anchor in the docs.
pub type Slug = Text;

/// Which life of an inferred trace: after it closed, its next event opens the next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Incarnation(pub u32);

impl Incarnation {
    /// Returns the next life.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.wrapping_add(1))
    }
}

/// How sure we are, 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Confidence(f64);

impl Confidence {
    /// Makes a confidence; anything outside 0 to 1 is clamped, and not-a-number is 0.
    #[must_use]
    pub const fn new(confidence: f64) -> Self {
        if confidence.is_nan() { Self(0.0) } else { Self(confidence.clamp(0.0, 1.0)) }
    }

    /// Returns the number.
    #[must_use]
    pub const fn get(self) -> f64 {
        self.0
    }
}

impl fmt::Display for Confidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.0} %", self.0 * 100.0)
    }
}

/// What may have happened.
#[derive(Debug, Clone, PartialEq)]
pub struct Hypothesis {
    /// The pattern that would explain it.
    pub pattern: Slug,
    /// In words.
    pub text: Text,
    /// How sure we are of this one.
    pub confidence: Confidence,
}

/// Whether the cause is known.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// The evidence decides.
    Cause,
    /// The deciding evidence is missing: these are the candidates, best first.
    Unknown {
        /// What it may be; at least two.
        hypotheses: Vec<Hypothesis>,
        /// What to look at to tell them apart.
        check: Text,
    },
}

/// An alternative that was considered, and the evidence against it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RuledOut {
    /// The pattern that would have explained it.
    pub pattern: Slug,
    /// Why it does not.
    pub because: Text,
    /// The events that say so; empty if it is their absence that does.
    pub events: Vec<EventId>,
}

/// Identity of a finding: amendments of one finding share it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FindingId {
    /// The trace it was found in.
    pub trace: TraceId,
    /// Which life of that trace.
    pub incarnation: Incarnation,
    /// The pattern that held.
    pub pattern: Slug,
    /// What it is about.
    pub subject: Entity,
}

/// A pattern that held inside one trace.
///
/// # Invariant
/// `evidence` is sorted and not empty, and holds exactly one [`Role::Root`](crate::Role::Root),
/// whose event is `root`.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    /// Identity.
    pub id: FindingId,
    /// The thing by which the finding's incident is found: it stays while the finding is amended.
    pub anchor: Entity,
    /// The event it began with.
    pub root: EventId,
    /// The events it rests on, in order of time.
    pub evidence: Vec<Evidence>,
    /// The class of the strongest evidence.
    pub class: EvidenceClass,
    /// Things it touches: findings that share one join one incident.
    pub touches: Vec<Entity>,
    /// Patterns whose findings this one causes.
    pub leads_to: Vec<Slug>,
    /// Known, or which candidates.
    pub verdict: Verdict,
    /// How sure the trace is.
    pub confidence: Confidence,
    /// What happened, in one line.
    pub title: Text,
    /// Why it happened, in one sentence.
    pub root_cause: Text,
    /// What to do, one step an entry.
    pub recommendation: Vec<Text>,
    /// What was considered and dropped.
    pub ruled_out: Vec<RuledOut>,
    /// Evidence that was expected and not seen, in words.
    pub missing: Vec<Text>,
    /// Events that came too late, were shed or were refused by this trace while it watched.
    pub lost: u64,
    /// Late events that were still let in.
    pub late: u64,
    /// Members of the trace at the last evaluation.
    pub trace_events: u64,
}

impl Finding {
    /// Returns when the evidence begins.
    #[must_use]
    pub fn begins_at(&self) -> Timestamp {
        self.evidence.first().map_or(Timestamp::ZERO, |evidence| evidence.time)
    }

    /// Returns when the evidence ends.
    #[must_use]
    pub fn ends_at(&self) -> Timestamp {
        self.evidence.last().map_or(Timestamp::ZERO, |evidence| evidence.time)
    }
}
