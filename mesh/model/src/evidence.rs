//! Events that a pattern used.

use crate::{EventId, Kind, Source, Text, Timestamp};

/// How strong evidence is by its nature, strongest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EvidenceClass {
    /// Events merely happened together.
    CoOccurrence,
    /// The template of a log line.
    LogTemplate,
    /// The text of an event that a system component wrote.
    EventText,
    /// The status of an object, or of a span.
    ObjectStatus,
    /// The kernel said so, and identity and order match.
    KernelProof,
}

impl EvidenceClass {
    /// Every class, weakest first.
    pub const ALL: [Self; 5] = [
        Self::CoOccurrence,
        Self::LogTemplate,
        Self::EventText,
        Self::ObjectStatus,
        Self::KernelProof,
    ];

    /// Returns the name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::CoOccurrence => "co_occurrence",
            Self::LogTemplate => "log_template",
            Self::EventText => "event_text",
            Self::ObjectStatus => "object_status",
            Self::KernelProof => "kernel_proof",
        }
    }
}

/// What an event is to a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Where it began.
    Root,
    /// A step between root and symptom, or another witness of the root.
    Step,
    /// What somebody notices.
    Symptom,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 3] = [Self::Root, Self::Step, Self::Symptom];

    /// Returns the name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::Step => "step",
            Self::Symptom => "symptom",
        }
    }
}

/// An event that a pattern used, with the words that say what it shows.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Evidence {
    /// When it happened.
    pub time: Timestamp,
    /// The event.
    pub event: EventId,
    /// What it is to the finding.
    pub role: Role,
    /// Who saw it.
    pub source: Source,
    /// What happened.
    pub kind: Kind,
    /// Where, for people.
    pub place: Text,
    /// What it shows, for people: one line.
    pub text: Text,
}
