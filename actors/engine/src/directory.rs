//! Which traces of a shard live, which have closed, and what may come in.

mod log;

use std::{collections::VecDeque, sync::Arc};

use ahash::AHashMap;
use tapio_model::{
    Ending, Event, EventId, Grave, Incarnation, Ledger, Mark, Outcome, ShedReason, Timestamp,
    TraceContext, TraceId,
};

use self::log::Residents;
use crate::{Effects, Limits, Timers, Trace};

/// What is to be done with an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// Its trace lives.
    Live,
    /// Its trace is to be opened.
    Open(Incarnation),
    /// It does not come in.
    Refused(Outcome),
    /// It came in before, and what became of it is booked: the log is being read again.
    Known,
}

/// The traces of one shard: `T` is the trace itself, or the address of its actor.
///
/// Whoever keeps the traces asks [`Directory::admit`] first and books every outcome in `ledger`.
#[derive(Debug)]
pub struct Directory<T> {
    /// The live traces.
    pub live: AHashMap<TraceId, T>,
    /// What became of the events so far.
    pub ledger: Ledger,
    /// When which trace wants to think.
    pub timers: Timers,
    past: AHashMap<TraceId, Grave>,
    // Ends of the past, oldest first: the order in which it is forgotten.
    forget: VecDeque<(Timestamp, TraceId)>,
    mark: Mark,
    residents: Option<Residents>,
    /// Graves since the last look, if the log is followed.
    fresh: Vec<Grave>,
    /// What became of which event since the last look, if the rules are audited.
    outcomes: Vec<(EventId, Outcome)>,
    is_replaying: bool,
}

impl<T> Directory<T> {
    /// How late a trace may tick. Half of what `settle` needs to feel prompt.
    pub const TIMER_BUCKET: std::time::Duration = std::time::Duration::from_millis(50);

    /// Makes an empty directory.
    #[must_use]
    pub fn new() -> Self {
        Self {
            live: AHashMap::new(),
            ledger: Ledger::default(),
            timers: Timers::new(Self::TIMER_BUCKET),
            past: AHashMap::new(),
            forget: VecDeque::new(),
            mark: Mark { sequence: 0, now: Timestamp::MIN },
            residents: None,
            fresh: Vec::new(),
            outcomes: Vec::new(),
            is_replaying: false,
        }
    }

    /// Returns the present, as far as the shard knows it.
    #[must_use]
    pub const fn now(&self) -> Timestamp {
        self.mark.now
    }

    /// Lets the present come as far as `now`. It never goes back.
    pub fn reach(&mut self, now: Timestamp) {
        self.mark.now = self.mark.now.max(now);
    }

    /// Says which log entry is being taken in, after time has passed as far as the entry's.
    pub fn take_in(&mut self, sequence: u64) {
        self.mark.sequence = self.mark.sequence.max(sequence);
    }

    /// Decides whether an event comes in.
    #[must_use]
    pub fn admit(&self, event: &Event, limits: &Limits) -> Admission {
        let TraceContext { trace_id, binding, .. } = event.trace;
        let now = self.mark.now;
        if self.is_replaying && self.is_known(trace_id) {
            return Admission::Known;
        }
        let past = || self.past.get(&trace_id).filter(|grave| grave.until > now);
        if self.live.contains_key(&trace_id) {
            // A later life does not know what an earlier one has seen: see below.
            let is_old =
                |grave: &Grave| grave.ending == Ending::Closed && event.time <= grave.newest;
            if binding.is_inferred() && past().is_some_and(is_old) {
                return Admission::Refused(Outcome::Late);
            }
            return Admission::Live;
        }
        if event.time < now.before(limits.late_horizon) {
            return Admission::Refused(Outcome::Late);
        }
        let incarnation = match past() {
            None => Incarnation::default(),
            Some(past) => match past.ending {
                Ending::Quarantined => return Admission::Refused(Outcome::DeadLetter),
                Ending::Refused => {
                    return Admission::Refused(Outcome::Shed(ShedReason::NodeTraces));
                }
                // An explicit trace lives once. An inferred one lives again, for news only: a
                // repeat of what its last life has seen would tell that life's story twice.
                Ending::Closed if !binding.is_inferred() || event.time <= past.newest => {
                    return Admission::Refused(Outcome::Late);
                }
                Ending::Closed => past.incarnation.next(),
            },
        };
        // What is read again came in once: it found room then.
        if self.live.len() >= limits.node_traces_max && !self.is_replaying {
            return Admission::Refused(Outcome::Shed(ShedReason::NodeTraces));
        }
        Admission::Open(incarnation)
    }

    /// Books a new event under `outcome`.
    pub fn receive(&mut self, event: EventId, outcome: Outcome, is_audited: bool) {
        self.ledger.receive(outcome);
        if is_audited && outcome != Outcome::Open {
            self.outcomes.push((event, outcome));
        }
    }

    /// Books what a trace's thought means for its events.
    pub fn book(&mut self, effects: &Effects, is_audited: bool) {
        self.ledger.rebook(Outcome::Open, Outcome::Story, effects.cited);
        self.ledger.rebook(Outcome::Open, Outcome::Expired, effects.expired);
        if is_audited {
            let cited = effects.found.iter().flat_map(|found| &found.events);
            self.outcomes.extend(cited.map(|event| (event.id, Outcome::Story)));
            let expired = effects.expired_events.iter();
            self.outcomes.extend(expired.map(|event| (*event, Outcome::Expired)));
        }
    }

    /// Books open events that nobody could think about.
    pub fn book_dead(&mut self, events: &[Arc<Event>], is_audited: bool) {
        self.ledger.rebook(Outcome::Open, Outcome::DeadLetter, events.len() as u64);
        if is_audited {
            self.outcomes.extend(events.iter().map(|event| (event.id, Outcome::DeadLetter)));
        }
    }

    /// Books that an event thought to be open turned out otherwise.
    pub fn rebook(&mut self, event: EventId, outcome: Outcome, is_audited: bool) {
        self.ledger.rebook(Outcome::Open, outcome, 1);
        if is_audited && outcome != Outcome::Open {
            self.outcomes.push((event, outcome));
        }
    }

    /// Remembers a trace that is over, and forgets those past the horizon or the limit.
    pub fn bury(&mut self, grave: Grave, limits: &Limits) {
        self.live.remove(&grave.trace);
        if let Some(residents) = &mut self.residents {
            residents.leave(grave.trace);
            self.fresh.push(grave);
        }
        self.inter(grave);
        self.forget_past(limits);
    }

    /// Turns a trace away at the limit of traces. Where the log is followed that is remembered, so
    /// that it is turned away again when the log is read again, and never let in half.
    pub fn refuse(&mut self, event: &Event, limits: &Limits) {
        if self.residents.is_none() {
            return;
        }
        // When exactly the past is forgotten does not show.
        let before = self.past.get(&event.trace.trace_id).filter(|it| it.until > self.mark.now);
        let grave = Grave {
            trace: event.trace.trace_id,
            incarnation: before.map(|grave| grave.incarnation).unwrap_or_default(),
            newest: event.time.min(self.mark.now),
            ending: Ending::Refused,
            upto: self.mark.sequence,
            // Not for long: there may be room again soon.
            until: self.mark.now.after(limits.window),
        };
        self.bury(grave, limits);
    }

    fn inter(&mut self, grave: Grave) {
        self.forget.push_back((grave.until, grave.trace));
        self.past.insert(grave.trace, grave);
    }

    /// Makes a grave for a trace that ends now and has known the log up to the entry `upto`.
    #[must_use]
    pub fn grave(&self, trace: &Trace, ending: Ending, upto: u64, limits: &Limits) -> Grave {
        Grave {
            trace: trace.id(),
            incarnation: trace.incarnation(),
            // A clock far ahead must not make all that follows look like repeats.
            newest: trace.newest().min(self.mark.now),
            ending,
            upto,
            until: self.mark.now.after(limits.late_horizon),
        }
    }

    fn forget_past(&mut self, limits: &Limits) {
        // What may be read again must be known then, so it outlives its time by the log's length.
        let (horizon, low) = match &self.residents {
            None => (self.mark.now, u64::MAX),
            Some(residents) => residents.low().map_or((self.mark.now, u64::MAX), |low| {
                (low.now.min(self.mark.now), low.sequence)
            }),
        };
        while let Some((until, trace)) = self.forget.front().copied() {
            let grave = self.past.get(&trace);
            let is_over = until <= horizon
                || self.past.len() > limits.node_closed_max
                    && grave.is_none_or(|grave| grave.upto < low);
            if !is_over {
                return;
            }
            self.forget.pop_front();
            // A trace that lived again has a younger entry further back.
            if grave.is_some_and(|grave| grave.until == until) {
                self.past.remove(&trace);
            }
        }
    }
}

impl<T> Default for Directory<T> {
    fn default() -> Self {
        Self::new()
    }
}
