//! What became of every envelope.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// What became of every envelope.
///
/// # Invariant
/// `received = kept + refused + busy + leaving + lost + in_flight`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ServeFigures {
    /// Streams opened.
    pub streams: u64,
    /// Streams that are open.
    pub streams_open: u64,
    /// Streams that were ended here, by reason: bytes that are no message, more envelopes than
    /// granted, no room for another stream.
    pub broken_streams: BTreeMap<&'static str, u64>,
    /// Envelopes received.
    pub received: u64,
    /// Envelopes that are kept and acknowledged.
    pub kept: u64,
    /// Events in them.
    pub kept_events: u64,
    /// Events that could not be read, by reason; the others of their envelopes are kept.
    pub rejected_events: BTreeMap<&'static str, u64>,
    /// Envelopes refused for good, by reason.
    pub refused: BTreeMap<&'static str, u64>,
    /// Envelopes whose client was told to come back with them.
    pub busy: u64,
    /// Envelopes whose client was sent to another node.
    pub leaving: u64,
    /// Envelopes whose client was gone, or whose time was over, before the sink had answered.
    pub lost: u64,
    /// Envelopes on their way to the sink.
    pub in_flight: u64,
}

/// The books of a server.
#[derive(Debug, Default)]
pub(super) struct Account(Mutex<ServeFigures>);

impl Account {
    pub(super) fn snapshot(&self) -> ServeFigures {
        self.books().clone()
    }

    /// Enters something.
    pub(super) fn enter(&self, entry: impl FnOnce(&mut ServeFigures)) {
        entry(&mut self.books());
    }

    fn books(&self) -> MutexGuard<'_, ServeFigures> {
        // Adding numbers does not panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts one more under `reason`.
pub(super) fn count(reasons: &mut BTreeMap<&'static str, u64>, reason: &'static str, more: u64) {
    *reasons.entry(reason).or_default() += more;
}
