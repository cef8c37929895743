//! A register that follows a log, as [`tapio_engine::Shard`] does.
//!
//! Its owner lets every trace think what is due before it brings the next entry, so no trace closes
//! while events wait for it, and what an entry finds does not depend on which actor runs first.

use std::sync::Arc;

use tapio_engine::{Cut, Live, Rules, Shard};
use tapio_model::Timestamp;

use super::{Registry, Slot};
use crate::{desk::Desk, stats::ShardStats};

impl Registry {
    /// Takes over the traces of a shard without actors: all are passive, and have their alarms.
    pub(crate) fn adopt(rules: Arc<Rules>, desk: Desk, shard: Shard) -> Self {
        let now = shard.now();
        let mut stats = ShardStats::default();
        let directory = shard.into_directory().map(|_, Live { trace, failures }| {
            let alarm = trace.deadline();
            let mut slot = Slot { failures, alarm, ..Slot::new(trace, now) };
            slot.count(&mut stats);
            slot
        });
        Self { directory, stats, is_following: true, ..Self::new(rules, desk) }
    }

    /// Says which log entry is being taken in, after every trace has thought what is due by then.
    pub(crate) fn take_in(&mut self, sequence: u64) {
        debug_assert!(self.is_quiet(), "an entry is taken in by traces that wait for it");
        self.directory.take_in(sequence);
    }

    /// Returns when time is to pass next.
    pub(crate) fn next_deadline(&self) -> Option<Timestamp> {
        self.directory.timers.next()
    }

    /// Writes down what changed since the last cut, as [`Shard::cut`] does. Only while it is quiet.
    pub(crate) fn cut(&mut self, old: Timestamp) -> Cut {
        debug_assert!(self.is_quiet(), "a cut holds whole entries");
        let upto = self.directory.sequence();
        let mut written = Vec::new();
        for id in self.directory.old_residents(old) {
            let Some(slot) = self.directory.live.get(&id) else { continue };
            written.push(slot.cell.borrow().trace.to_state(upto, slot.failures));
            self.directory.written(id);
        }
        Cut {
            processed: upto,
            now: self.directory.now(),
            low: self.directory.low(),
            ledger: self.directory.ledger,
            live_traces: self.directory.live.len() as u64,
            outputs: self.take_outputs(),
            graves: self.directory.take_graves(),
            written,
            gone: self.directory.take_gone(),
            outcomes: self.directory.take_outcomes(),
        }
    }
}
