//! Events that wait to travel together.

use std::{cmp::Reverse, collections::BTreeMap, mem, sync::Arc};

use tapio_model::{Event, Level, ShardId};
use tapio_shard::ShardCount;

/// Events of one shard and one level, in order of arrival.
#[derive(Debug, PartialEq)]
pub(super) struct Group {
    pub(super) shard: ShardId,
    pub(super) level: Level,
    pub(super) events: Vec<Arc<Event>>,
}

/// What events must share to travel together.
type Key = (Reverse<Level>, ShardId);

/// What waits, by shard and level; the most urgent first.
#[derive(Debug)]
pub(super) struct Groups {
    shards: ShardCount,
    events_max: usize,
    held: usize,
    waiting: BTreeMap<Key, Vec<Arc<Event>>>,
}

impl Groups {
    /// Makes groups of at most `events_max` events.
    pub(super) fn new(shards: ShardCount, events_max: usize) -> Self {
        Self { shards, events_max, held: 0, waiting: BTreeMap::new() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.held == 0
    }

    pub(super) fn add(&mut self, event: Event) {
        let shard = self.shards.shard_of(event.trace.trace_id);
        let events = self.waiting.entry((Reverse(event.level()), shard)).or_default();
        events.push(Arc::new(event));
        self.held += 1;
    }

    /// Takes what is full, and whatever is critical.
    pub(super) fn take_due(&mut self) -> Vec<Group> {
        self.take(false)
    }

    /// Takes everything.
    pub(super) fn take_all(&mut self) -> Vec<Group> {
        self.take(true)
    }

    fn take(&mut self, all: bool) -> Vec<Group> {
        let mut groups = Vec::new();
        for (&(Reverse(level), shard), waiting) in &mut self.waiting {
            while waiting.len() >= self.events_max {
                let rest = waiting.split_off(self.events_max);
                groups.push(Group { shard, level, events: mem::replace(waiting, rest) });
            }
            if (all || level == Level::Critical) && !waiting.is_empty() {
                groups.push(Group { shard, level, events: mem::take(waiting) });
            }
        }
        self.held -= groups.iter().map(|group| group.events.len()).sum::<usize>();
        groups
    }
}
