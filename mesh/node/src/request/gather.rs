//! Makes one list of what several shards found.

use std::collections::BTreeMap;

use tapio_model::{Item, Op, ShardId, StoryId, TraceId};
use tapio_wire::trim_results;

use super::Gathered;

/// Results that one answer has.
pub(super) const RESULTS_MAX: usize = 1_000;

/// What makes two results the same; their order is that of the answer.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Story(StoryId),
    Incident(StoryId),
    Trace(TraceId),
    Owner(ShardId),
    Accepted(ShardId),
    Released(ShardId),
}

impl Key {
    fn of(item: &Item) -> Self {
        match item {
            Item::Story(story) => Self::Story(story.id),
            Item::Incident { id, .. } => Self::Incident(*id),
            Item::Trace(trace) => Self::Trace(trace.id),
            Item::Owner { shard, .. } => Self::Owner(*shard),
            Item::Accepted { shard, .. } => Self::Accepted(*shard),
            Item::Released { shard } => Self::Released(*shard),
        }
    }
}

/// Returns every result once, stories first and oldest first, and how many were left out.
///
/// Two shards know one story while a merge moves it: the later telling is the one to read.
pub(super) fn merge(op: &Op, gathered: &mut Gathered) -> (Vec<Item>, u64) {
    let mut merged: BTreeMap<Key, Item> = BTreeMap::new();
    for item in std::mem::take(&mut gathered.results).into_iter().flat_map(|(_, items)| items) {
        let key = Key::of(&item);
        if merged.get(&key).is_none_or(|known| is_later(&item, known)) {
            merged.insert(key, item);
        }
    }
    let mut results: Vec<_> = merged.into_values().collect();
    let limit = if let Op::List { limit } = op {
        usize::try_from(*limit).unwrap_or(RESULTS_MAX).min(RESULTS_MAX)
    } else {
        RESULTS_MAX
    };
    let left_out = trim_results(&mut results, limit);
    (results, gathered.omitted + left_out)
}

fn is_later(item: &Item, known: &Item) -> bool {
    match (item, known) {
        (Item::Story(item), Item::Story(known)) => item.telling > known.telling,
        (Item::Trace(item), Item::Trace(known)) => item.incarnation > known.incarnation,
        _ => false,
    }
}
