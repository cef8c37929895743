//! What may be read of a register's traces while they live.

use std::sync::Arc;

use ahash::AHashMap;
use tapio_model::{Entity, Place, TraceId, TraceState};

use super::Registry;
use crate::stats::ShardStats;

/// Events that one question after an entity may look at: about a millisecond's worth.
const LOOK_EVENTS_MAX: usize = 50_000;

/// Traces that something takes part in.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TracesOf {
    /// The traces, in order of id.
    pub traces: Vec<TraceId>,
    /// Whether there may be more: not every trace was looked at, or more were found than asked for.
    pub is_truncated: bool,
}

impl Registry {
    pub(crate) fn stats(&self) -> ShardStats {
        ShardStats {
            ledger: self.directory.ledger,
            live_traces: self.directory.live.len() as u64,
            ..self.stats
        }
    }

    /// Returns a live trace as it is; events of the last entry may still wait for it.
    pub(crate) fn trace(&self, id: TraceId) -> Option<TraceState> {
        let slot = self.directory.live.get(&id)?;
        let cell = slot.cell.borrow();
        let last = self.directory.sequence();
        let upto = if cell.inbox.is_empty() { last } else { last.saturating_sub(1) };
        Some(cell.trace.to_state(upto, slot.failures))
    }

    /// Returns at most `limit` live traces with an event at `entity`.
    ///
    /// There is no index: keeping one would cost every event more than the rare question costs.
    /// Places are shared by the thousand, so each is compared once.
    pub(crate) fn traces_of(&self, entity: &Entity, limit: usize) -> TracesOf {
        let mut places: AHashMap<*const Place, bool> = AHashMap::new();
        let mut found = TracesOf::default();
        let mut looked = 0;
        for (id, slot) in &self.directory.live {
            let cell = slot.cell.borrow();
            looked += cell.trace.events().len();
            if looked > LOOK_EVENTS_MAX || found.traces.len() >= limit {
                found.is_truncated = true;
                break;
            }
            let takes_part = cell.trace.events().iter().any(|event| {
                let key = Arc::as_ptr(&event.place);
                *places.entry(key).or_insert_with(|| is_at(&event.place, entity))
            });
            if takes_part {
                found.traces.push(*id);
            }
        }
        found.traces.sort_unstable();
        found
    }
}

fn is_at(place: &Place, entity: &Entity) -> bool {
    Entity::node(place).is_some_and(|node| node == *entity) || Entity::of(place).contains(entity)
}
