//! All traces of one shard in one place, without actors: the fast mode, replay and simulation.

mod log;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use tapio_model::{
    Ending, Entity, Event, FindingId, Ledger, Outcome, ShedReason, Timestamp, TraceId,
};

pub use self::log::{Cut, Live, Restored};
use crate::{Admission, Directory, Effects, Found, Rules, Timers, Trace};

/// What a shard hands on: to the incidents, or to the dead letters.
#[derive(Debug, Clone, PartialEq)]
pub enum Output {
    /// A finding, new or amended.
    Found(Box<Found>),
    /// A finding that a better one replaces, and its anchor.
    Retracted(FindingId, Entity),
    /// A trace panicked too often; these events of it are cited by no story.
    Dead {
        /// The trace.
        trace: TraceId,
        /// Its events.
        events: Vec<Arc<Event>>,
    },
}

/// All traces of one shard. The same brain as the actors', without the actors.
#[derive(Debug)]
pub struct Shard {
    rules: Arc<Rules>,
    directory: Directory<Live>,
    outputs: Vec<Output>,
}

impl Shard {
    /// Makes an empty shard.
    #[must_use]
    pub fn new(rules: Arc<Rules>) -> Self {
        Self { rules, directory: Directory::new(), outputs: Vec::new() }
    }

    /// Returns the accounts.
    #[must_use]
    pub const fn ledger(&self) -> &Ledger {
        &self.directory.ledger
    }

    /// Returns how many traces live.
    #[must_use]
    pub fn live_traces(&self) -> usize {
        self.directory.live.len()
    }

    /// Returns about how many bytes the live traces hold, shared places left out.
    #[must_use]
    pub fn live_bytes(&self) -> usize {
        self.directory.live.values().map(|live| live.trace.bytes()).sum()
    }

    /// Takes what was found since the last call.
    pub fn take_outputs(&mut self) -> Vec<Output> {
        std::mem::take(&mut self.outputs)
    }

    /// Says whether something was found since the outputs were last taken.
    #[must_use]
    pub const fn has_outputs(&self) -> bool {
        !self.outputs.is_empty()
    }

    /// Returns when the shard wants to be advanced next.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.directory.timers.next()
    }

    /// Takes an event in at the engine's time `now`, which never goes back: an earlier one counts
    /// as the latest seen.
    pub fn observe(&mut self, event: Arc<Event>, now: Timestamp) -> Outcome {
        self.advance(now);
        self.receive(event).unwrap_or(Outcome::Duplicate)
    }

    /// Takes an event in now, and books it unless it is booked.
    fn receive(&mut self, event: Arc<Event>) -> Option<Outcome> {
        let id = event.id;
        let outcome = self.place(event)?;
        self.directory.receive(id, outcome, self.rules.is_audited());
        Some(outcome)
    }

    fn place(&mut self, event: Arc<Event>) -> Option<Outcome> {
        let (rules, now) = (&self.rules, self.directory.now());
        let id = event.trace.trace_id;
        match self.directory.admit(&event, rules.limits()) {
            Admission::Known => None,
            Admission::Refused(outcome) => {
                if outcome == Outcome::Shed(ShedReason::NodeTraces) {
                    self.directory.refuse(&event, rules.limits());
                }
                Some(outcome)
            }
            Admission::Open(incarnation) => {
                let mut trace = Trace::open(id, incarnation, now);
                let outcome = trace.observe(event, now, rules);
                self.directory.timers.set(trace.deadline(), id);
                self.directory.open(id, Live { trace, failures: 0 });
                Some(outcome)
            }
            Admission::Live => {
                self.directory.touch(id);
                let live = self.directory.live.get_mut(&id)?;
                let before = live.trace.deadline();
                let outcome = live.trace.observe(event, now, rules);
                if live.trace.deadline() < before {
                    self.directory.timers.set(live.trace.deadline(), id);
                }
                Some(outcome)
            }
        }
    }

    /// Lets every trace think whose time has come by `now`.
    pub fn advance(&mut self, now: Timestamp) {
        self.directory.reach(now);
        while let Some((at, traces)) = self.directory.timers.pop(self.directory.now()) {
            for trace in traces {
                self.tick(trace, at);
            }
        }
    }

    fn tick(&mut self, id: TraceId, now: Timestamp) {
        let Some(live) = self.directory.live.get_mut(&id) else { return };
        if Timers::due(Directory::<()>::TIMER_BUCKET, live.trace.deadline()) > now {
            // Not yet: an urgent event had set an earlier alarm, or a failure a later one. One
            // alarm stays set for each deadline, so none is lost; and none but its own ends the
            // wait, because a trace that was read again has no others.
            return;
        }
        let rules = &self.rules;
        // `Trace::tick` promises to leave the trace whole when a pattern panics.
        match catch_unwind(AssertUnwindSafe(|| live.trace.tick(now, rules))) {
            Ok(effects) => {
                live.failures = 0;
                self.directory.timers.set(live.trace.deadline(), id);
                let is_over = effects.closed;
                self.settle(effects);
                if is_over {
                    self.bury(id, Ending::Closed);
                }
            }
            Err(_panic) => self.fail(id, now),
        }
    }

    fn settle(&mut self, effects: Effects) {
        self.directory.book(&effects, self.rules.is_audited());
        self.outputs.extend(effects.outputs());
    }

    fn bury(&mut self, id: TraceId, ending: Ending) {
        let (limits, upto) = (self.rules.limits(), self.directory.sequence());
        let Some(live) = self.directory.live.get(&id) else { return };
        let grave = self.directory.grave(&live.trace, ending, upto, limits);
        self.directory.bury(grave, limits);
    }

    fn fail(&mut self, id: TraceId, now: Timestamp) {
        let limits = self.rules.limits();
        let Some(live) = self.directory.live.get_mut(&id) else { return };
        live.failures += 1;
        if live.failures < limits.tries_max {
            live.trace.back_off(now, live.failures, limits.backoff);
            let deadline = live.trace.deadline();
            self.directory.timers.set(deadline, id);
            return;
        }
        let events = live.trace.clone().take_open_events();
        self.directory.book_dead(&events, self.rules.is_audited());
        self.bury(id, Ending::Quarantined);
        self.outputs.push(Output::Dead { trace: id, events });
    }
}
