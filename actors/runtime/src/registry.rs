//! The register of a shard's traces: opens, wakes, restarts, passivates and buries them.

mod log;
mod look;

use std::{cell::RefCell, collections::VecDeque, rc::Rc, sync::Arc};

use actix::{Actor, Addr, dev::SendError};
use tapio_engine::{Admission, Directory, Effects, Output, Rules, Timers, Trace};
use tapio_model::{Ending, Event, Outcome, ShedReason, Timestamp, TraceId};

pub use self::look::TracesOf;
use crate::{
    desk::{Desk, Report},
    stats::ShardStats,
    trace::{Cell, TraceActor, Wake},
};

/// A trace of the register.
#[derive(Debug)]
struct Slot {
    cell: Rc<RefCell<Cell>>,
    /// `None` while the trace is passive.
    addr: Option<Addr<TraceActor>>,
    is_woken: bool,
    failures: u32,
    /// The deadline an alarm was last set for.
    alarm: Timestamp,
    /// What the figures have of it.
    counted: Counted,
}

/// What one trace adds to the figures of its shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Counted {
    actors: u64,
    bytes: u64,
    waiting: u64,
}

impl Slot {
    fn new(trace: Trace, now: Timestamp) -> Self {
        let cell = Cell { trace, inbox: VecDeque::new(), now };
        Self {
            cell: Rc::new(RefCell::new(cell)),
            addr: None,
            is_woken: false,
            failures: 0,
            alarm: Timestamp::MIN,
            counted: Counted::default(),
        }
    }

    /// Brings the figures up to date with this trace: all of it is at hand here, and a walk through
    /// every trace to add them up would hold the shard up.
    fn count(&mut self, stats: &mut ShardStats) {
        let cell = self.cell.borrow();
        let now = Counted {
            actors: u64::from(self.addr.is_some()),
            bytes: cell.trace.bytes() as u64,
            waiting: cell.inbox.len() as u64,
        };
        drop(cell);
        stats.recount(std::mem::replace(&mut self.counted, now), now);
    }
}

impl ShardStats {
    const fn recount(&mut self, before: Counted, now: Counted) {
        self.live_actors = self.live_actors + now.actors - before.actors;
        self.live_bytes = self.live_bytes + now.bytes - before.bytes;
        self.waiting_events = self.waiting_events + now.waiting - before.waiting;
    }
}

/// The traces of one shard and the factory of their actors.
#[derive(Debug)]
pub(crate) struct Registry {
    rules: Arc<Rules>,
    directory: Directory<Slot>,
    desk: Desk,
    stats: ShardStats,
    /// Actors that were woken and have not reported yet.
    woken: usize,
    outputs: Vec<Output>,
    /// Whether the traces follow a log, whose entries come one at a time and are never shed here.
    is_following: bool,
}

impl Registry {
    pub(crate) fn new(rules: Arc<Rules>, desk: Desk) -> Self {
        Self {
            rules,
            directory: Directory::new(),
            desk,
            stats: ShardStats::default(),
            woken: 0,
            outputs: Vec::new(),
            is_following: false,
        }
    }

    pub(crate) fn take_outputs(&mut self) -> Vec<Output> {
        std::mem::take(&mut self.outputs)
    }

    pub(crate) const fn waiting_outputs(&self) -> usize {
        self.outputs.len()
    }

    pub(crate) const fn now(&self) -> Timestamp {
        self.directory.now()
    }

    /// Says whether every trace has taken in what came for it, and thought what was due.
    pub(crate) const fn is_quiet(&self) -> bool {
        self.woken == 0
    }

    /// Takes an event in: into the inbox of its trace, or into another account.
    pub(crate) fn deliver(&mut self, event: Arc<Event>) {
        let id = event.id;
        if let Some(outcome) = self.place(event, self.now()) {
            self.directory.receive(id, outcome, self.rules.is_audited());
        }
    }

    /// Finds an event its place, unless it is booked. `at` is when it came in: earlier than now if
    /// it waited for a trace that closed.
    fn place(&mut self, event: Arc<Event>, at: Timestamp) -> Option<Outcome> {
        let (id, limits) = (event.trace.trace_id, self.rules.limits());
        match self.directory.admit(&event, limits) {
            Admission::Known => return None,
            Admission::Refused(outcome) => {
                if outcome == Outcome::Shed(ShedReason::NodeTraces) {
                    self.directory.refuse(&event, limits);
                }
                return Some(outcome);
            }
            Admission::Live => self.directory.touch(id),
            Admission::Open(incarnation) => {
                let trace = Trace::open(id, incarnation, at);
                self.directory.open(id, Slot::new(trace, self.directory.now()));
            }
        }
        let slot = self.directory.live.get(&id)?;
        let mut cell = slot.cell.borrow_mut();
        if cell.inbox.len() >= limits.mailbox_events_max && !self.is_following {
            cell.trace.note_lost();
            return Some(Outcome::Shed(ShedReason::Mailbox));
        }
        cell.inbox.push_back((event, at));
        drop(cell);
        self.wake(id);
        Some(Outcome::Open)
    }

    /// Wakes the trace's actor, making it first if the trace has none.
    fn wake(&mut self, id: TraceId) {
        let now = self.directory.now();
        let Some(slot) = self.directory.live.get_mut(&id) else { return };
        // An actor that is on its way sees it too.
        slot.cell.borrow_mut().now = now;
        if slot.is_woken {
            slot.count(&mut self.stats);
            return;
        }
        let addr = slot.addr.get_or_insert_with(|| {
            let cell = Rc::clone(&slot.cell);
            TraceActor::new(id, cell, Arc::clone(&self.rules), self.desk.clone()).start()
        });
        let sent = addr.try_send(Wake);
        slot.count(&mut self.stats);
        match sent {
            Ok(()) => {
                slot.is_woken = true;
                self.woken += 1;
            }
            Err(SendError::Full(_)) => {
                self.stats.wakes_refused += 1;
                self.directory.timers.set(now, id);
            }
            // Died without a report, which only a panic outside a handler can do.
            Err(SendError::Closed(_)) => self.restart(id, now),
        }
    }

    /// Lets time pass: wakes every trace whose tick is due.
    pub(crate) fn advance(&mut self, now: Timestamp) {
        self.directory.reach(now);
        while let Some((at, traces)) = self.directory.timers.pop(self.now()) {
            for id in traces {
                let Some(slot) = self.directory.live.get(&id) else { continue };
                let cell = slot.cell.borrow();
                // A later deadline has an alarm of its own.
                let is_due = cell.trace.deadline() <= at || !cell.inbox.is_empty();
                drop(cell);
                if is_due {
                    self.wake(id);
                }
            }
        }
    }

    /// Works off what the trace actors reported.
    pub(crate) fn clear_desk(&mut self) {
        for report in self.desk.clear() {
            match report {
                Report::Rebook { event, outcome } => {
                    self.directory.rebook(event, outcome, self.rules.is_audited());
                }
                Report::Thought { trace, effects } => self.settle(trace, effects),
                Report::Done { trace, has_thought } => self.done(trace, has_thought),
                Report::Died { trace, at } => {
                    self.end_wake();
                    self.restart(trace, at);
                }
            }
        }
    }

    /// Each wake ends in one report: done, closed or died.
    fn end_wake(&mut self) {
        debug_assert!(self.woken > 0, "a report without a wake");
        self.woken = self.woken.saturating_sub(1);
    }

    fn done(&mut self, id: TraceId, has_thought: bool) {
        self.end_wake();
        let now = self.directory.now();
        let Some(slot) = self.directory.live.get_mut(&id) else { return };
        slot.is_woken = false;
        let deadline = slot.cell.borrow().trace.deadline();
        // One alarm a deadline, however often a busy trace is woken before it; one that has passed
        // may have rung while the actor was on its way, and rings again.
        if deadline != slot.alarm || deadline <= now {
            self.directory.timers.set(deadline, id);
            slot.alarm = deadline;
        }
        if has_thought {
            // Nothing to do until the next tick: the state stays, the actor goes.
            slot.addr = None;
        }
        slot.count(&mut self.stats);
    }

    fn settle(&mut self, id: TraceId, effects: Effects) {
        self.directory.book(&effects, self.rules.is_audited());
        let is_over = effects.closed;
        self.outputs.extend(effects.outputs());
        if is_over {
            self.end_wake();
            self.close(id);
        } else if let Some(slot) = self.directory.live.get_mut(&id) {
            slot.failures = 0;
        }
    }

    fn close(&mut self, id: TraceId) {
        let waiting = self.bury(id, Ending::Closed);
        debug_assert!(waiting.is_empty() || !self.is_following, "time passes before events come");
        // What arrived while the trace closed finds its place anew: booked once, as before.
        for (event, at) in waiting {
            let id = event.id;
            if let Some(outcome) = self.place(event, at) {
                self.directory.rebook(id, outcome, self.rules.is_audited());
            }
        }
    }

    /// Takes a trace away that is over. Returns what still waited for it.
    fn bury(&mut self, id: TraceId, ending: Ending) -> VecDeque<(Arc<Event>, Timestamp)> {
        let (limits, upto) = (self.rules.limits(), self.directory.sequence());
        let Some(slot) = self.directory.live.get(&id) else { return VecDeque::new() };
        self.stats.recount(slot.counted, Counted::default());
        let mut cell = slot.cell.borrow_mut();
        let grave = self.directory.grave(&cell.trace, ending, upto, limits);
        let waiting = std::mem::take(&mut cell.inbox);
        drop(cell);
        self.directory.bury(grave, limits);
        waiting
    }

    /// Rebuilds the actor of a trace that panicked at its time `at`: it thinks later, and not more
    /// than `tries_max` times. Events come in meanwhile, which no pattern sees.
    fn restart(&mut self, id: TraceId, at: Timestamp) {
        let (limits, now) = (self.rules.limits(), self.directory.now());
        let Some(slot) = self.directory.live.get_mut(&id) else { return };
        slot.addr = None;
        slot.is_woken = false;
        slot.failures += 1;
        let mut cell = slot.cell.borrow_mut();
        if slot.failures >= limits.tries_max {
            drop(cell);
            self.quarantine(id);
            return;
        }
        self.stats.restarts += 1;
        cell.trace.back_off(at, slot.failures, limits.backoff);
        slot.alarm = cell.trace.deadline();
        self.directory.timers.set(slot.alarm, id);
        let is_due = Timers::due(Directory::<()>::TIMER_BUCKET, slot.alarm) <= now;
        let is_awaited = is_due || !cell.inbox.is_empty();
        drop(cell);
        slot.count(&mut self.stats);
        if is_awaited {
            self.wake(id);
        }
    }

    fn quarantine(&mut self, id: TraceId) {
        let Some(slot) = self.directory.live.get(&id) else { return };
        let cell = Rc::clone(&slot.cell);
        // The grave knows the youngest event, so it is dug before the events are taken.
        let waiting = self.bury(id, Ending::Quarantined);
        let mut events = cell.borrow_mut().trace.take_open_events();
        events.extend(waiting.into_iter().map(|(event, _)| event));
        self.stats.quarantined += 1;
        self.directory.book_dead(&events, self.rules.is_audited());
        self.outputs.push(Output::Dead { trace: id, events });
    }
}
