//! A shard that follows a log: taking entries in, writing itself down, reading itself again.

use std::sync::Arc;

use tapio_model::{Event, EventId, Grave, Ledger, Mark, Outcome, Timestamp, TraceId, TraceState};

use super::{Output, Shard};
use crate::{Directory, Rules, Trace};

/// A live trace and how often it has panicked since it last did not.
#[derive(Debug)]
pub struct Live {
    /// The trace.
    pub trace: Trace,
    /// Panics in a row.
    pub failures: u32,
}

/// What a shard was at one moment, as far as it changed since the last cut.
#[derive(Debug, Default)]
pub struct Cut {
    /// The last log entry taken in.
    pub processed: u64,
    /// The shard's time.
    pub now: Timestamp,
    /// The first entry that is needed to have the live traces back.
    pub low: Mark,
    /// The accounts.
    pub ledger: Ledger,
    /// How many traces live.
    pub live_traces: u64,
    /// What was found.
    pub outputs: Vec<Output>,
    /// Traces that are over.
    pub graves: Vec<Grave>,
    /// Live traces, written down so that the log is not needed for them.
    pub written: Vec<TraceState>,
    /// Traces that were written down before and are over.
    pub gone: Vec<TraceId>,
    /// What became of which event, if the rules are audited.
    pub outcomes: Vec<(EventId, Outcome)>,
}

/// A shard as it was written down, before the log was read again.
#[derive(Debug, Default)]
pub struct Restored {
    /// Where reading the log again begins, and the shard's time there.
    pub low: Mark,
    /// Traces that are over.
    pub graves: Vec<Grave>,
    /// Live traces that were written down.
    pub traces: Vec<TraceState>,
}

impl Shard {
    /// Makes an empty shard that follows a log.
    #[must_use]
    pub fn follow(rules: Arc<Rules>) -> Self {
        let mut shard = Self::new(rules);
        shard.directory.follow();
        shard
    }

    /// Makes a shard of what was written down. The log is to be read again from `low` on, with
    /// [`Shard::take_in`] and [`Shard::advance`] just as the first time; [`Shard::end_replay`] ends it.
    #[must_use]
    pub fn restore(rules: Arc<Rules>, restored: Restored) -> Self {
        let Restored { low, graves, traces } = restored;
        let mut shard = Self::new(rules);
        shard.directory.begin_replay(low, graves);
        for mut state in traces {
            // The alarm is set by the state, the events move.
            let events = std::mem::take(&mut state.events);
            let failures = state.failures;
            let trace = Trace::from_state(TraceState { events, ..state.clone() });
            // Booked until the end of the replay, which has the accounts as they were.
            let open = trace.open_events();
            shard.directory.ledger.received += open;
            shard.directory.ledger.open += open;
            shard.directory.restore(&state, Live { trace, failures });
        }
        shard
    }

    /// Ends reading the log again: lets time come as far as it had come, and forgets what was found
    /// and booked on the way, because it was told and booked the first time.
    ///
    /// Returns how many events are open now; `ledger.open` should be as many.
    pub fn end_replay(&mut self, now: Timestamp, ledger: Ledger) -> u64 {
        self.advance(now);
        self.outputs.clear();
        self.directory.end_replay(ledger);
        self.directory.live.values().map(|live| live.trace.open_events()).sum()
    }

    /// Returns the shard's time.
    #[must_use]
    pub const fn now(&self) -> Timestamp {
        self.directory.now()
    }

    /// Takes in the events of one log entry, at the engine's time `now`.
    pub fn take_in(&mut self, sequence: u64, now: Timestamp, events: &[Arc<Event>]) {
        self.advance(now);
        self.directory.take_in(sequence);
        for event in events {
            self.receive(Arc::clone(event));
        }
    }

    /// Writes down what changed since the last cut. Traces that need entries of the log from before
    /// `old` are written down too, so that the log need not be read again for them.
    pub fn cut(&mut self, old: Timestamp) -> Cut {
        let upto = self.directory.sequence();
        let mut written = Vec::new();
        for id in self.directory.old_residents(old) {
            let Some(live) = self.directory.live.get(&id) else { continue };
            written.push(live.trace.to_state(upto, live.failures));
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

    /// Takes the shard apart, for whoever keeps the same traces in another way.
    #[must_use]
    pub fn into_directory(self) -> Directory<Live> {
        self.directory
    }
}
