//! What became of the rows of a recording.

use std::collections::BTreeMap;

/// Rejected rows that are kept to be shown, the first ones.
pub const REJECTED_EXAMPLES_MAX: usize = 5;

/// A row that did not become an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// The file, where a recording has several.
    pub file: Option<String>,
    /// Line (of a text) or row (of a table), counted from 1, header included.
    pub line: u64,
    /// The label it is counted under.
    pub reason: &'static str,
    /// What is wrong with it.
    pub why: String,
}

/// What became of the rows of a recording.
///
/// # Invariant
/// `rows = events + rejected_total()`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ImportAccount {
    /// Rows read, headers and blank lines left out.
    pub rows: u64,
    /// Rows that became an event; some may still wait for their turn.
    pub events: u64,
    /// Rows that did not become an event, by reason.
    pub rejected: BTreeMap<&'static str, u64>,
    /// The first [`REJECTED_EXAMPLES_MAX`] of them.
    pub examples: Vec<Rejected>,
    /// Events that were handed out after a later one, although the importer sorts.
    pub out_of_order: u64,
    /// The most events that were in memory at a time, waiting for their turn.
    pub buffered_events_peak: usize,
}

impl ImportAccount {
    /// Counts a row that became an event.
    pub(crate) const fn accept(&mut self) {
        self.rows += 1;
        self.events += 1;
    }

    /// Counts a row that did not.
    pub(crate) fn reject(&mut self, rejected: Rejected) {
        self.rows += 1;
        *self.rejected.entry(rejected.reason).or_default() += 1;
        if self.examples.len() < REJECTED_EXAMPLES_MAX {
            self.examples.push(rejected);
        }
    }

    /// Returns the rows that did not become an event, whatever the reason.
    #[must_use]
    pub fn rejected_total(&self) -> u64 {
        self.rejected.values().sum()
    }

    /// Says whether every row is accounted for.
    #[must_use]
    pub fn balances(&self) -> bool {
        self.rows == self.events + self.rejected_total()
    }
}

/// How far a recording has been read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// Bytes read.
    pub bytes_read: u64,
    /// Bytes there are, if that is known: a stream does not say.
    pub bytes_total: Option<u64>,
}
