//! Events that wait to travel together.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    mem,
    sync::Arc,
    time::Duration,
};

use tapio_model::{Event, Level, ShardId};
use tapio_shard::ShardCount;
use tokio::time::Instant;

/// Events of one shard and one level, in order of arrival.
#[derive(Debug, PartialEq)]
pub(super) struct Group {
    pub(super) key: Key,
    pub(super) events: Vec<Arc<Event>>,
}

/// What events must share to travel together; the most urgent first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    level: Reverse<Level>,
    pub(super) shard: ShardId,
}

impl Key {
    pub(super) fn level(self) -> Level {
        self.level.0
    }
}

/// Events that share a key.
#[derive(Debug)]
struct Waiting {
    /// When the one that waits longest came.
    since: Instant,
    events: Vec<Arc<Event>>,
}

/// What waits, by shard and level.
#[derive(Debug)]
pub(super) struct Groups {
    shards: ShardCount,
    events_max: usize,
    held: usize,
    waiting: BTreeMap<Key, Waiting>,
}

impl Groups {
    /// Makes groups of at most `events_max` events.
    pub(super) fn new(shards: ShardCount, events_max: usize) -> Self {
        Self { shards, events_max, held: 0, waiting: BTreeMap::new() }
    }

    /// Returns how many events wait.
    pub(super) fn held(&self) -> usize {
        self.held
    }

    pub(super) fn add(&mut self, event: Event, now: Instant) {
        let shard = self.shards.shard_of(event.trace.trace_id);
        let key = Key { level: Reverse(event.level()), shard };
        let empty = || Waiting { since: now, events: Vec::new() };
        let waiting = self.waiting.entry(key).or_insert_with(empty);
        if waiting.events.is_empty() {
            waiting.since = now;
        }
        waiting.events.push(Arc::new(event));
        self.held += 1;
    }

    /// Takes the most urgent group that is full, or has waited long enough by `linger`, and whose
    /// key is not `busy`.
    pub(super) fn take_due(
        &mut self,
        now: Instant,
        busy: &BTreeSet<Key>,
        linger: impl Fn(Level) -> Duration,
    ) -> Option<Group> {
        let events_max = self.events_max;
        let is_due = |key: &Key, waiting: &Waiting| {
            let count = waiting.events.len();
            count >= events_max || (count > 0 && now >= waiting.since + linger(key.level()))
        };
        let mut free = self.waiting.iter_mut().filter(|(key, _)| !busy.contains(key));
        let (key, waiting) = free.find(|(key, waiting)| is_due(key, waiting))?;
        let rest = waiting.events.split_off(events_max.min(waiting.events.len()));
        let events = mem::replace(&mut waiting.events, rest);
        self.held -= events.len();
        Some(Group { key: *key, events })
    }

    /// Returns when the next group will have waited long enough, of those whose key is not `busy`.
    pub(super) fn next_due(
        &self,
        busy: &BTreeSet<Key>,
        linger: impl Fn(Level) -> Duration,
    ) -> Option<Instant> {
        let held = self.waiting.iter().filter(|(_, waiting)| !waiting.events.is_empty());
        let free = held.filter(|(key, _)| !busy.contains(key));
        free.map(|(key, waiting)| waiting.since + linger(key.level())).min()
    }

    /// Drops everything, and returns how many events that was.
    pub(super) fn clear(&mut self) -> usize {
        self.waiting.clear();
        mem::take(&mut self.held)
    }
}
