//! Why bytes are not a message, and how often.

use std::collections::BTreeMap;

/// Why bytes are not a message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// No bytes, not even a version.
    #[error("an empty message")]
    Empty,
    /// A version that this build cannot read.
    #[error("version {found} of the wire; this build reads version {known}")]
    UnknownVersion {
        /// The message's first byte.
        found: u8,
        /// The version this build reads.
        known: u8,
    },
    /// Longer than a message may be.
    #[error("a message of {bytes} bytes; at most {bytes_max} are read")]
    TooLarge {
        /// Bytes of the message.
        bytes: usize,
        /// Bytes a message may have.
        bytes_max: usize,
    },
    /// Cut off, not `MessagePack`, or not of the value's shape.
    #[error("a malformed message: {what}")]
    Malformed {
        /// What was found.
        what: String,
    },
    /// A number that a newer peer may know.
    #[error("unknown {field} number {code}: the sender is newer than this build")]
    UnknownCode {
        /// The field.
        field: &'static str,
        /// The number in it.
        code: u32,
    },
    /// More items than a list may hold.
    #[error("{count} {what}; at most {count_max} are read")]
    TooMany {
        /// What there is too much of.
        what: &'static str,
        /// Items in the message.
        count: usize,
        /// Items that are read.
        count_max: usize,
    },
}

impl DecodeError {
    /// Returns the label a refusal is counted under.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::UnknownVersion { .. } => "unknown_version",
            Self::TooLarge { .. } => "too_large",
            Self::Malformed { .. } => "malformed",
            Self::UnknownCode { .. } => "unknown_code",
            Self::TooMany { .. } => "too_many",
        }
    }

    pub(crate) fn malformed(what: impl Into<String>) -> Self {
        Self::Malformed { what: what.into() }
    }
}

impl From<rmp_serde::decode::Error> for DecodeError {
    fn from(error: rmp_serde::decode::Error) -> Self {
        Self::malformed(error.to_string())
    }
}

/// How often bytes were refused, by reason.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Refusals(BTreeMap<&'static str, u64>);

impl Refusals {
    /// Counts one refusal; the label is that of [`DecodeError::reason`] or
    /// [`JsonError::reason`](crate::JsonError::reason).
    pub fn count(&mut self, reason: &'static str) {
        *self.0.entry(reason).or_default() += 1;
    }

    /// Returns the refusals under `reason`.
    #[must_use]
    pub fn get(&self, reason: &str) -> u64 {
        self.0.get(reason).copied().unwrap_or_default()
    }

    /// Returns all refusals.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.values().sum()
    }

    /// Returns every reason that was counted, with its number, sorted by reason.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.0.iter().map(|(reason, count)| (*reason, *count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_counted_by_reason() {
        let mut refusals = Refusals::default();
        for error in [DecodeError::Empty, DecodeError::malformed("x"), DecodeError::Empty] {
            refusals.count(error.reason());
        }
        assert_eq!(refusals.iter().collect::<Vec<_>>(), [("empty", 2), ("malformed", 1)]);
        assert_eq!((refusals.total(), refusals.get("empty"), refusals.get("too_many")), (3, 2, 0));
    }
}
