//! What became of the events a pump took.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use tapio_model::Level;

/// What a pump has taken, published and lost.
///
/// # Invariant
/// `received_events = published_events + shed_events + closed_events + refused_events`, and what
/// the pump holds at the moment; after [`super::Pump::drain`] it holds nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pumped {
    /// Events taken from the outlets.
    pub received_events: u64,
    /// Events the bus accepted.
    pub published_events: u64,
    /// Events lost because the bus was full, by level in the order of [`Level::ALL`].
    pub shed_events: [u64; Level::ALL.len()],
    /// Events lost because the bus was closed.
    pub closed_events: u64,
    /// Events lost because the bus could never take them: a shard it lacks, a batch too large.
    pub refused_events: u64,
}

impl Pumped {
    /// Returns the events shed at `level`.
    #[must_use]
    pub fn shed(&self, level: Level) -> u64 {
        let by_level = Level::ALL.iter().zip(self.shed_events);
        by_level.filter(|(known, _)| **known == level).map(|(_, events)| events).sum()
    }

    /// Returns the events that were lost, for whatever reason.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.shed_events.iter().sum::<u64>() + self.closed_events + self.refused_events
    }
}

/// The running figures behind [`Pumped`].
#[derive(Debug, Default)]
pub(super) struct Counters {
    received: AtomicU64,
    published: AtomicU64,
    shed: [AtomicU64; Level::ALL.len()],
    closed: AtomicU64,
    refused: AtomicU64,
}

impl Counters {
    pub(super) fn received(&self, events: usize) {
        add(&self.received, events);
    }

    pub(super) fn published(&self, events: usize) {
        add(&self.published, events);
    }

    pub(super) fn shed(&self, level: Level, events: usize) {
        let known = Level::ALL.iter().zip(&self.shed).find(|(known, _)| **known == level);
        if let Some((_, count)) = known {
            add(count, events);
        }
    }

    pub(super) fn closed(&self, events: usize) {
        add(&self.closed, events);
    }

    /// Counts refused events and says whether they are the first.
    pub(super) fn refused(&self, events: usize) -> bool {
        add(&self.refused, events) == 0
    }

    pub(super) fn snapshot(&self) -> Pumped {
        Pumped {
            received_events: self.received.load(Relaxed),
            published_events: self.published.load(Relaxed),
            shed_events: self.shed.each_ref().map(|count| count.load(Relaxed)),
            closed_events: self.closed.load(Relaxed),
            refused_events: self.refused.load(Relaxed),
        }
    }
}

fn add(count: &AtomicU64, events: usize) -> u64 {
    count.fetch_add(u64::try_from(events).unwrap_or(u64::MAX), Relaxed)
}
