//! What a client has sent, and what became of it.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// What a client has sent, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DirectFigures {
    /// The node that is connected, if one is.
    pub connected: Option<String>,
    /// Connections that came about.
    pub connections: u64,
    /// Attempts that did not, and connections that ended.
    pub failures: u64,
    /// What the last of those ended with, with its cure.
    pub last_failure: Option<String>,
    /// Envelopes sent; one that is sent again counts again.
    pub sent: u64,
    /// Of those, sent again: after a lost connection, or because there was no room.
    pub sent_again: u64,
    /// Envelopes that are kept.
    pub kept: u64,
    /// Events in them.
    pub kept_events: u64,
    /// Events of kept envelopes that the node could not read.
    pub rejected_events: u64,
    /// Envelopes refused for good, by reason.
    pub refused: BTreeMap<String, u64>,
    /// Answers that there is no room now.
    pub busy: u64,
    /// Envelopes without an answer.
    pub unacknowledged: usize,
}

/// Refusals that have a label of their own; a node could name any number of reasons.
const REASONS_MAX: usize = 16;

/// The books of a client.
#[derive(Debug, Default)]
pub(super) struct Figures(Mutex<DirectFigures>);

impl Figures {
    pub(super) fn snapshot(&self) -> DirectFigures {
        self.books().clone()
    }

    /// Enters something.
    pub(super) fn enter(&self, entry: impl FnOnce(&mut DirectFigures)) {
        entry(&mut self.books());
    }

    /// Enters that an envelope is kept.
    pub(super) fn accept(&self, events: usize) {
        let events = u64::try_from(events).unwrap_or(u64::MAX);
        self.enter(|books| books.kept_events += events);
    }

    /// Enters a refusal.
    pub(super) fn refuse(&self, code: &str) {
        self.enter(|books| {
            let is_known = books.refused.contains_key(code) || books.refused.len() < REASONS_MAX;
            let code = if is_known { code } else { "other" };
            *books.refused.entry(code.to_owned()).or_default() += 1;
        });
    }

    fn books(&self) -> MutexGuard<'_, DirectFigures> {
        // Adding numbers does not panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
