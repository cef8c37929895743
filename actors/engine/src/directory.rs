//! Which traces of a shard live, which have closed, and what may come in.

use std::collections::VecDeque;

use ahash::AHashMap;
use tapio_model::{
    Event, Incarnation, Ledger, Outcome, ShedReason, Timestamp, TraceContext, TraceId,
};

use crate::{Limits, Timers};

/// What is to be done with an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// Its trace lives.
    Live,
    /// Its trace is to be opened.
    Open(Incarnation),
    /// It does not come in.
    Refused(Outcome),
}

/// Why a trace is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Its window closed.
    Closed,
    /// It panicked too often; whatever still comes for it is a dead letter.
    Quarantined,
}

#[derive(Debug, Clone, Copy)]
struct Past {
    incarnation: Incarnation,
    until: Timestamp,
    newest: Timestamp,
    ending: Ending,
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
    past: AHashMap<TraceId, Past>,
    // Ends of the past, oldest first: the order in which it is forgotten.
    forget: VecDeque<(Timestamp, TraceId)>,
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
        }
    }

    /// Decides whether an event comes in.
    #[must_use]
    pub fn admit(&self, event: &Event, now: Timestamp, limits: &Limits) -> Admission {
        let TraceContext { trace_id, binding, .. } = event.trace;
        if self.live.contains_key(&trace_id) {
            return Admission::Live;
        }
        if event.time < now.before(limits.late_horizon) {
            return Admission::Refused(Outcome::Late);
        }
        let incarnation = match self.past.get(&trace_id) {
            None => Incarnation::default(),
            Some(past) if past.ending == Ending::Quarantined => {
                return Admission::Refused(Outcome::DeadLetter);
            }
            // An explicit trace lives once. An inferred one lives again, for news only: a repeat
            // of what its last life has seen would tell that life's story twice.
            Some(past) if !binding.is_inferred() || event.time <= past.newest => {
                return Admission::Refused(Outcome::Late);
            }
            Some(past) => past.incarnation.next(),
        };
        if self.live.len() >= limits.node_traces_max {
            return Admission::Refused(Outcome::Shed(ShedReason::NodeTraces));
        }
        Admission::Open(incarnation)
    }

    /// Remembers a trace that is over, and forgets those past the horizon or the limit.
    pub fn bury(&mut self, grave: Grave, now: Timestamp, limits: &Limits) {
        let Grave { trace, incarnation, newest, ending } = grave;
        self.live.remove(&trace);
        let until = now.after(limits.late_horizon);
        // A clock far ahead must not make all that follows look like repeats.
        let newest = newest.min(now);
        self.past.insert(trace, Past { incarnation, until, newest, ending });
        self.forget.push_back((until, trace));
        self.forget_past(now, limits);
    }

    fn forget_past(&mut self, now: Timestamp, limits: &Limits) {
        while let Some((until, trace)) = self.forget.front().copied() {
            if until > now && self.past.len() <= limits.node_closed_max {
                return;
            }
            self.forget.pop_front();
            // A trace that lived again has a younger entry further back.
            if self.past.get(&trace).is_some_and(|past| past.until == until) {
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

/// What is remembered of a trace that is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grave {
    /// The trace.
    pub trace: TraceId,
    /// Which life ended.
    pub incarnation: Incarnation,
    /// The time of its youngest event.
    pub newest: Timestamp,
    /// How it ended.
    pub ending: Ending,
}

impl Grave {
    /// Returns what is to be remembered of `trace`.
    #[must_use]
    pub fn of(trace: &crate::Trace, ending: Ending) -> Self {
        Self { trace: trace.id(), incarnation: trace.incarnation(), newest: trace.newest(), ending }
    }
}
