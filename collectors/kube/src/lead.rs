//! Who watches: the holder of a Lease. The decisions, without the requests.

mod lease;

use std::time::Duration;

use crate::Rule;

pub(crate) use lease::{Elector, Led};

/// Whether we are the one that watches.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum LeadState {
    /// Nobody is chosen: every instance watches.
    #[default]
    Alone,
    /// Another one does.
    Following {
        /// Who.
        leader: String,
    },
    /// We do.
    Leading,
    /// We may not even ask, so nobody of us watches; the rule to add, or switch `lead` off.
    Refused(Rule),
    /// The server does not answer; it said this.
    Unreachable(String),
}

/// A Lease, as far as it matters.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct View {
    /// Which write made it.
    pub(crate) version: String,
    /// Who holds it; empty if nobody does.
    pub(crate) holder: String,
}

/// One instance that would lead.
///
/// # Invariant
/// Of candidates whose clocks run equally fast at most one leads at any time: a leader counts from
/// when it *sent* its last successful write and stops after two thirds of `ttl`; the others count
/// from when they *saw* that write and wait for all of it.
#[derive(Debug)]
pub(crate) struct Candidate {
    me: String,
    ttl: Duration,
    seen: Option<(View, Duration)>,
    until: Option<Duration>,
}

impl Candidate {
    pub(crate) const fn new(me: String, ttl: Duration) -> Self {
        Self { me, ttl, seen: None, until: None }
    }

    /// Takes note of the Lease, which is not there or as `view` says; returns whether to write it.
    pub(crate) fn see(&mut self, view: Option<View>, now: Duration) -> bool {
        let Some(view) = view else {
            (self.seen, self.until) = (None, None);
            return true;
        };
        let is_mine = view.holder == self.me;
        if !is_mine {
            self.until = None;
        }
        let is_free = is_mine || view.holder.is_empty();
        let since = match &self.seen {
            Some((known, since)) if *known == view => *since,
            Some(_) | None => now,
        };
        self.seen = Some((view, since));
        is_free || now.saturating_sub(since) >= self.ttl
    }

    /// Takes note that the write that was sent then, on what was seen last, was accepted.
    pub(crate) fn hold(&mut self, sent: Duration) {
        self.until = Some(sent + self.ttl * 2 / 3);
    }

    /// Takes note that we let go.
    pub(crate) const fn release(&mut self) {
        self.until = None;
    }

    /// Returns how long we lead yet without another write.
    pub(crate) fn leads_for(&self, now: Duration) -> Option<Duration> {
        self.until.filter(|until| *until > now).map(|until| until.saturating_sub(now))
    }

    /// Returns who else held the Lease when it was seen last.
    pub(crate) fn leader(&self) -> Option<&str> {
        self.seen.as_ref().map(|(view, _)| view.holder.as_str())
    }
}

#[cfg(test)]
mod tests;
