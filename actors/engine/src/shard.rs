//! All traces of one shard in one place, without actors: the fast mode, replay and simulation.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use tapio_model::{Event, FindingId, Ledger, Outcome, Timestamp, TraceId};

use crate::{Admission, Directory, Effects, Ending, Found, Grave, Rules, Trace};

/// What a shard hands on: to the incidents, or to the dead letters.
#[derive(Debug, Clone, PartialEq)]
pub enum Output {
    /// A finding, new or amended.
    Found(Box<Found>),
    /// A finding that a better one replaces.
    Retracted(FindingId),
    /// A trace panicked too often; these events of it are cited by no story.
    Dead {
        /// The trace.
        trace: TraceId,
        /// Its events.
        events: Vec<Arc<Event>>,
    },
}

#[derive(Debug)]
struct Live {
    trace: Trace,
    failures: u32,
}

/// All traces of one shard. The same brain as the actors', without the actors.
#[derive(Debug)]
pub struct Shard {
    rules: Arc<Rules>,
    directory: Directory<Live>,
    now: Timestamp,
    outputs: Vec<Output>,
}

impl Shard {
    /// Makes an empty shard.
    #[must_use]
    pub fn new(rules: Arc<Rules>) -> Self {
        Self { rules, directory: Directory::new(), now: Timestamp::MIN, outputs: Vec::new() }
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

    /// Returns when the shard wants to be advanced next.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.directory.timers.next()
    }

    /// Takes an event in at the engine's time `now`, which never goes back: an earlier one counts
    /// as the latest seen.
    pub fn observe(&mut self, event: Arc<Event>, now: Timestamp) -> Outcome {
        self.advance(now);
        let outcome = self.place(event);
        self.directory.ledger.receive(outcome);
        outcome
    }

    fn place(&mut self, event: Arc<Event>) -> Outcome {
        let (rules, now) = (&self.rules, self.now);
        let id = event.trace.trace_id;
        match self.directory.admit(&event, now, rules.limits()) {
            Admission::Refused(outcome) => outcome,
            Admission::Open(incarnation) => {
                let mut trace = Trace::open(id, incarnation, now);
                let outcome = trace.observe(event, now, rules);
                self.directory.timers.set(trace.deadline(), id);
                self.directory.live.insert(id, Live { trace, failures: 0 });
                outcome
            }
            Admission::Live => {
                let Some(live) = self.directory.live.get_mut(&id) else { return Outcome::Late };
                let before = live.trace.deadline();
                let outcome = live.trace.observe(event, now, rules);
                if live.trace.deadline() < before {
                    self.directory.timers.set(live.trace.deadline(), id);
                }
                outcome
            }
        }
    }

    /// Lets every trace think whose time has come by `now`.
    pub fn advance(&mut self, now: Timestamp) {
        self.now = self.now.max(now);
        while let Some((at, traces)) = self.directory.timers.pop(self.now) {
            for trace in traces {
                self.tick(trace, at);
            }
        }
    }

    fn tick(&mut self, id: TraceId, now: Timestamp) {
        let Some(live) = self.directory.live.get_mut(&id) else { return };
        if live.trace.deadline() > now {
            // Not yet: an urgent event had set an earlier alarm, or a failure a later one. One
            // alarm stays set for each deadline, so none is lost.
            return;
        }
        let rules = &self.rules;
        // `Trace::tick` promises to leave the trace whole when a pattern panics.
        match catch_unwind(AssertUnwindSafe(|| live.trace.tick(now, rules))) {
            Ok(effects) => {
                live.failures = 0;
                self.directory.timers.set(live.trace.deadline(), id);
                let grave = effects.closed.then(|| Grave::of(&live.trace, Ending::Closed));
                self.settle(effects, grave, now);
            }
            Err(_panic) => self.fail(id, now),
        }
    }

    fn settle(&mut self, effects: Effects, grave: Option<Grave>, now: Timestamp) {
        let Effects { cited, expired, found, retracted, closed: _ } = effects;
        self.directory.ledger.rebook(Outcome::Open, Outcome::Story, cited);
        self.directory.ledger.rebook(Outcome::Open, Outcome::Expired, expired);
        self.outputs.extend(found.into_iter().map(|found| Output::Found(Box::new(found))));
        self.outputs.extend(retracted.into_iter().map(Output::Retracted));
        if let Some(grave) = grave {
            self.directory.bury(grave, now, self.rules.limits());
        }
    }

    fn fail(&mut self, id: TraceId, now: Timestamp) {
        let limits = self.rules.limits();
        let Some(live) = self.directory.live.get_mut(&id) else { return };
        live.failures += 1;
        if live.failures < limits.tries_max {
            live.trace.back_off(now, live.failures, limits.backoff);
            self.directory.timers.set(live.trace.deadline(), id);
            return;
        }
        let grave = Grave::of(&live.trace, Ending::Quarantined);
        let events = live.trace.take_open_events();
        self.directory.ledger.rebook(Outcome::Open, Outcome::DeadLetter, events.len() as u64);
        self.directory.bury(grave, now, limits);
        self.outputs.push(Output::Dead { trace: id, events });
    }
}
