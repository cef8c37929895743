//! One shard's log: every decision of the memory bus, without a lock or a wait.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use tapio_model::{Level, ShardId};

use crate::{Batch, BusStats, Delivery, Offset, PublishError, Start, SubscribeError};

/// Batches in order of their offsets, from the first that is not acknowledged.
///
/// # Invariant
/// `begin <= every held offset < next`. Offsets in between that are not held were evicted.
#[derive(Debug, Default)]
pub(super) struct Log {
    held: BTreeMap<Offset, Arc<Batch>>,
    /// What no subscription was given yet, in the order in which it is evicted.
    waiting: BTreeSet<(Level, Offset)>,
    begin: Offset,
    next: Offset,
    closed: bool,
    stats: BusStats,
}

impl Log {
    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }

    pub(super) fn close(&mut self) {
        self.closed = true;
    }

    pub(super) fn stats(&self) -> BusStats {
        self.stats
    }

    pub(super) fn append(&mut self, batch: Batch) -> Offset {
        let offset = self.next;
        self.next = after(offset);
        self.stats.accepted_events += count(&batch);
        self.stats.held_events += count(&batch);
        self.waiting.insert((batch.level, offset));
        self.held.insert(offset, Arc::new(batch));
        offset
    }

    /// Evicts what is less urgent than `batch` until that fits, the least urgent first and of
    /// those the oldest. If it cannot fit nothing is evicted, and the refusal is counted.
    ///
    /// # Shape
    /// Looks at no more batches than `batch` has events, for each it looks at has at least one.
    pub(super) fn make_room(&mut self, batch: &Batch, events_max: u64) -> Result<(), PublishError> {
        let mut excess = (self.stats.held_events + count(batch)).saturating_sub(events_max);
        let mut victims = Vec::new();
        for &(level, offset) in &self.waiting {
            if excess == 0 || level >= batch.level {
                break;
            }
            excess = excess.saturating_sub(self.held.get(&offset).map_or(0, |held| count(held)));
            victims.push((level, offset));
        }
        if excess > 0 {
            let [normal, high, critical] = &mut self.stats.refused_events;
            let refused = match batch.level {
                Level::Normal => normal,
                Level::High => high,
                Level::Critical => critical,
            };
            *refused += count(batch);
            return Err(PublishError::Full);
        }
        for (level, offset) in victims {
            self.stats.evicted_events += self.remove(level, offset);
        }
        Ok(())
    }

    /// Returns where a subscription begins.
    pub(super) fn start(&self, shard: ShardId, start: Start) -> Result<Offset, SubscribeError> {
        match start {
            Start::Earliest => Ok(self.begin),
            Start::New => Ok(self.next),
            Start::At(wanted) if wanted < self.begin => {
                Err(SubscribeError::Gone { shard, wanted, earliest: self.begin })
            }
            Start::At(wanted) => Ok(wanted),
        }
    }

    /// Returns the first batch at or after `from`, and notes that it was given out.
    pub(super) fn read(&mut self, from: Offset) -> Option<Delivery> {
        let (&offset, batch) = self.held.range(from..).next()?;
        self.waiting.remove(&(batch.level, offset));
        Some(Delivery { offset, batch: Arc::clone(batch) })
    }

    /// Frees everything up to `offset`, and returns how many events that was.
    pub(super) fn acknowledge(&mut self, offset: Offset) -> u64 {
        // What was not published yet cannot be done with.
        self.begin = self.begin.max(after(offset).min(self.next));
        let mut freed = 0;
        while let Some((&first, batch)) = self.held.first_key_value() {
            if first >= self.begin {
                break;
            }
            let level = batch.level;
            freed += self.remove(level, first);
        }
        self.stats.acknowledged_events += freed;
        freed
    }

    fn remove(&mut self, level: Level, offset: Offset) -> u64 {
        self.waiting.remove(&(level, offset));
        let events = self.held.remove(&offset).map_or(0, |batch| count(&batch));
        self.stats.held_events -= events;
        events
    }
}

/// Returns the offset behind `offset`.
pub(super) fn after(offset: Offset) -> Offset {
    Offset(offset.0.saturating_add(1))
}

fn count(batch: &Batch) -> u64 {
    u64::try_from(batch.events.len()).unwrap_or(u64::MAX)
}
