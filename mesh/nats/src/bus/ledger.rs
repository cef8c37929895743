//! One shard's book-keeping: every decision of the bus about room, without a lock or a wait.
//!
//! The log itself is the stream's. The ledger knows what this bus put there, what of it was given
//! to a subscription, and what is done with.

use std::collections::{BTreeMap, BTreeSet};

use tapio_bus::{BusStats, Offset, PublishError};
use tapio_model::Level;

/// An envelope that lies in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Held {
    level: Level,
    events: u64,
}

/// What is known of one shard's log.
///
/// # Invariant
/// Every held offset is at or after `begin`. `waiting` and `evicted` have no offset in common, and
/// every offset of `waiting` is held.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    held: BTreeMap<Offset, Held>,
    /// What no subscription was given yet, in the order in which it is evicted.
    waiting: BTreeSet<(Level, Offset)>,
    /// What was evicted and may still be on its way to a subscription.
    evicted: BTreeSet<Offset>,
    /// The first offset that is not acknowledged.
    begin: Offset,
    /// The offset behind the last one seen, published or given.
    seen: Offset,
    /// The offset behind the last one given to a subscription.
    given: Offset,
    /// Events on their way into the log.
    reserved: u64,
    stats: BusStats,
}

impl Ledger {
    pub(super) fn stats(&self) -> BusStats {
        self.stats
    }

    pub(super) fn begin(&self) -> Offset {
        self.begin
    }

    /// Makes room for events, by evicting what is less urgent: the least urgent first, and of
    /// those the oldest. If that is not enough nothing is evicted, and the refusal is counted.
    /// Returns what is evicted, to be deleted from the log.
    pub(super) fn reserve(
        &mut self,
        level: Level,
        events: u64,
        events_max: u64,
    ) -> Result<Vec<Offset>, PublishError> {
        let wanted = self.stats.held_events + self.reserved + events;
        let mut excess = wanted.saturating_sub(events_max);
        let mut victims = Vec::new();
        for &(urgency, offset) in &self.waiting {
            if excess == 0 || urgency >= level {
                break;
            }
            excess = excess.saturating_sub(self.held.get(&offset).map_or(0, |held| held.events));
            victims.push(offset);
        }
        if excess > 0 {
            self.refuse(level, events);
            return Err(PublishError::Full);
        }
        for offset in &victims {
            self.stats.evicted_events += self.remove(*offset);
            self.evicted.insert(*offset);
        }
        self.reserved += events;
        Ok(victims)
    }

    /// Gives back room that was reserved and not used.
    pub(super) fn release(&mut self, events: u64) {
        self.reserved = self.reserved.saturating_sub(events);
    }

    /// Counts events that were refused.
    pub(super) fn refuse(&mut self, level: Level, events: u64) {
        let [normal, high, critical] = &mut self.stats.refused_events;
        let refused = match level {
            Level::Normal => normal,
            Level::High => high,
            Level::Critical => critical,
        };
        *refused += events;
    }

    /// Notes that an envelope lies in the log. Returns the events that are in it now and were not
    /// before: none if it lay there already, or if it was read and acknowledged before its
    /// publisher heard of it.
    pub(super) fn settle(&mut self, offset: Offset, level: Level, events: u64) -> u64 {
        if self.held.contains_key(&offset) || self.evicted.contains(&offset) {
            return 0;
        }
        self.seen = self.seen.max(after(offset));
        self.stats.accepted_events += events;
        if offset < self.begin {
            self.stats.acknowledged_events += events;
            return 0;
        }
        self.stats.held_events += events;
        self.held.insert(offset, Held { level, events });
        // A subscription may have been faster than the acknowledgement to the publisher.
        if offset >= self.given {
            self.waiting.insert((level, offset));
        }
        events
    }

    /// Counts an envelope in a log that is kept whatever is acknowledged.
    pub(super) fn settle_kept(&mut self, events: u64) {
        self.stats.accepted_events += events;
        self.stats.held_events += events;
    }

    /// Says whether a subscription may give out what lies at `offset`, and notes that it does:
    /// from then on it is not evicted.
    pub(super) fn give(&mut self, offset: Offset) -> bool {
        if offset < self.begin || self.evicted.contains(&offset) {
            return false;
        }
        self.given = self.given.max(after(offset));
        self.seen = self.seen.max(self.given);
        if let Some(held) = self.held.get(&offset) {
            self.waiting.remove(&(held.level, offset));
        }
        true
    }

    /// Notes that everything up to `offset` is done with, and returns how many events that was.
    pub(super) fn acknowledge(&mut self, offset: Offset) -> u64 {
        // What was not published yet cannot be done with.
        self.begin = self.begin.max(after(offset).min(self.seen));
        let mut freed = 0;
        while let Some((&first, _)) = self.held.first_key_value() {
            if first >= self.begin {
                break;
            }
            freed += self.remove(first);
        }
        self.evicted = self.evicted.split_off(&self.begin);
        self.stats.acknowledged_events += freed;
        freed
    }

    fn remove(&mut self, offset: Offset) -> u64 {
        let Some(held) = self.held.remove(&offset) else { return 0 };
        self.waiting.remove(&(held.level, offset));
        self.stats.held_events -= held.events;
        held.events
    }
}

/// Returns the offset behind `offset`.
pub(super) fn after(offset: Offset) -> Offset {
    Offset(offset.0.saturating_add(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reserves and settles envelopes of one event each, one after the other from offset 1.
    fn filled(levels: &[Level]) -> Ledger {
        let mut ledger = Ledger::default();
        for (offset, level) in (1..).zip(levels) {
            assert_eq!(ledger.reserve(*level, 1, 100), Ok(Vec::new()));
            ledger.release(1);
            assert_eq!(ledger.settle(Offset(offset), *level, 1), 1);
        }
        ledger
    }

    fn is_balanced(ledger: &Ledger) -> bool {
        let stats = ledger.stats();
        let kept = stats.acknowledged_events + stats.held_events + stats.evicted_events;
        stats.accepted_events == kept
    }

    #[test]
    fn the_least_urgent_goes_first_and_of_those_the_oldest() {
        let mut ledger =
            filled(&[Level::High, Level::Normal, Level::Critical, Level::High, Level::Normal]);
        assert_eq!(ledger.reserve(Level::Normal, 2, 6), Err(PublishError::Full));
        assert_eq!(ledger.reserve(Level::High, 4, 6), Err(PublishError::Full));
        assert_eq!(ledger.stats().evicted_events, 0, "what does not help is not evicted");
        let victims = [2, 5, 1].map(Offset);
        assert_eq!(ledger.reserve(Level::Critical, 4, 6), Ok(victims.to_vec()));
        let stats = ledger.stats();
        assert_eq!((stats.evicted_events, stats.refused_events), (3, [2, 4, 0]));
        assert!(is_balanced(&ledger));
        for victim in victims {
            assert!(!ledger.give(victim), "evicted, and on its way to a subscription");
        }
        assert!(ledger.give(Offset(3)));
    }

    #[test]
    fn what_was_given_out_is_never_evicted() {
        let mut ledger = filled(&[Level::Normal, Level::Normal]);
        assert!(ledger.give(Offset(1)));
        assert_eq!(ledger.reserve(Level::Critical, 2, 2), Err(PublishError::Full));
        assert_eq!(ledger.reserve(Level::Critical, 1, 2), Ok(vec![Offset(2)]));
        // Given before its publisher heard of it.
        assert!(ledger.give(Offset(3)));
        ledger.release(1);
        assert_eq!(ledger.settle(Offset(3), Level::Normal, 1), 1);
        assert_eq!(ledger.reserve(Level::Critical, 1, 2), Err(PublishError::Full));
    }

    #[test]
    fn what_is_on_its_way_takes_room() {
        let mut ledger = Ledger::default();
        assert_eq!(ledger.reserve(Level::Normal, 3, 4), Ok(Vec::new()));
        assert_eq!(ledger.reserve(Level::Critical, 2, 4), Err(PublishError::Full));
        ledger.release(3);
        assert_eq!(ledger.reserve(Level::Critical, 4, 4), Ok(Vec::new()));
    }

    #[test]
    fn an_envelope_counts_once_however_often_it_is_told() {
        let mut ledger = filled(&[Level::Normal]);
        assert_eq!(ledger.settle(Offset(1), Level::Normal, 1), 0, "a repeat");
        assert_eq!(ledger.stats().accepted_events, 1);
        assert!(ledger.give(Offset(2)));
        assert_eq!(ledger.acknowledge(Offset(2)), 1);
        assert_eq!(ledger.settle(Offset(2), Level::Normal, 5), 0, "read before it was told");
        assert_eq!(ledger.stats().acknowledged_events, 6);
        assert!(is_balanced(&ledger));
    }

    #[test]
    fn acknowledging_reaches_no_further_than_what_is_known() {
        let mut ledger = filled(&[Level::Normal]);
        assert_eq!(ledger.acknowledge(Offset(u64::MAX)), 1);
        assert_eq!(ledger.begin(), Offset(2));
        assert_eq!(ledger.settle(Offset(9), Level::Normal, 1), 1);
        assert!(!ledger.give(Offset(1)), "done with");
        assert!(ledger.give(Offset(9)));
        assert!(is_balanced(&ledger));
    }

    #[test]
    fn what_was_evicted_is_forgotten_once_it_is_behind() {
        let mut ledger = filled(&[Level::Normal, Level::Critical]);
        assert_eq!(ledger.reserve(Level::Critical, 1, 2), Ok(vec![Offset(1)]));
        assert_eq!(ledger.evicted.len(), 1);
        assert!(ledger.give(Offset(2)));
        assert_eq!(ledger.acknowledge(Offset(2)), 1);
        assert!(ledger.evicted.is_empty());
    }
}
