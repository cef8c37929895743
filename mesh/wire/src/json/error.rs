//! Why a line of JSON is not an event.

use tapio_model::{Class, Kind, Rule, Severity, Source};

/// Why a line of JSON is not an event, and what to write instead.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum JsonError {
    /// Longer than a line may be.
    #[error("the line has {bytes} bytes, at most {bytes_max} are read: shorten its attributes")]
    TooLarge {
        /// Bytes of the line.
        bytes: usize,
        /// Bytes a line may have.
        bytes_max: usize,
    },
    /// Not JSON, or not of an event's shape.
    #[error("{what}: write one JSON object a line, with at least `time`, `source` and `kind`")]
    Malformed {
        /// What the parser found, and where.
        what: String,
    },
    /// No event kind has this name.
    #[error("unknown kind {name:?}: write one of {}", kinds())]
    UnknownKind {
        /// What was written.
        name: String,
    },
    /// No source has this name.
    #[error("unknown source {name:?}: write one of {}", list(Source::ALL.iter().map(|s| s.name())))]
    UnknownSource {
        /// What was written.
        name: String,
    },
    /// No severity has this name.
    #[error(
        "unknown severity {name:?}: write one of {}",
        list(Severity::ALL.iter().map(|s| s.name()))
    )]
    UnknownSeverity {
        /// What was written.
        name: String,
    },
    /// No class has this name.
    #[error("unknown class {name:?}: write one of {}", list(Class::ALL.iter().map(|c| c.name())))]
    UnknownClass {
        /// What was written.
        name: String,
    },
    /// Neither `explicit` nor `inferred(RULE)`.
    #[error(
        "unknown binding {name:?}: write explicit, or inferred(RULE) with RULE one of {}",
        list(Rule::ALL.iter().map(|r| r.name()))
    )]
    UnknownBinding {
        /// What was written.
        name: String,
    },
    /// Not a time, or one outside 1677 to 2262.
    #[error(
        "bad time {text}: write RFC 3339 such as \"2026-11-21T04:00:00.123456789Z\", or whole \
         nanoseconds since 1970"
    )]
    BadTime {
        /// What was written.
        text: String,
    },
    /// Not an id of the field's length.
    #[error("bad {field} {text:?}: write {digits} hexadecimal digits")]
    BadId {
        /// The field.
        field: &'static str,
        /// What was written.
        text: String,
        /// Digits the field has.
        digits: usize,
    },
    /// An impact that is not a share.
    #[error("bad impact {impact}: write a number from 0 (nobody notices) to 1 (something is down)")]
    BadImpact {
        /// What was written.
        impact: f32,
    },
}

impl JsonError {
    /// Returns the label a refusal is counted under.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "too_large",
            Self::Malformed { .. } => "malformed",
            Self::UnknownKind { .. } => "unknown_kind",
            Self::UnknownSource { .. } => "unknown_source",
            Self::UnknownSeverity { .. } => "unknown_severity",
            Self::UnknownClass { .. } => "unknown_class",
            Self::UnknownBinding { .. } => "unknown_binding",
            Self::BadTime { .. } => "bad_time",
            Self::BadId { .. } => "bad_id",
            Self::BadImpact { .. } => "bad_impact",
        }
    }
}

fn kinds() -> String {
    list(Kind::ALL.iter().map(|kind| kind.name()))
}

fn list(names: impl Iterator<Item = &'static str>) -> String {
    names.collect::<Vec<_>>().join(", ")
}
