//! The register of a shard's traces: opens, wakes, restarts, passivates and buries them.

use std::{cell::RefCell, collections::VecDeque, rc::Rc, sync::Arc};

use actix::{Actor, Addr, dev::SendError};
use tapio_engine::{Admission, Directory, Effects, Ending, Grave, Output, Rules, Trace};
use tapio_model::{Event, Ledger, Outcome, ShedReason, Timestamp, TraceId};

use crate::{
    desk::{Desk, Report},
    trace::{Cell, TraceActor, Wake},
};

/// A trace of the register.
#[derive(Debug)]
struct Slot {
    cell: Rc<RefCell<Cell>>,
    /// `None` while the trace is passive or backing off.
    addr: Option<Addr<TraceActor>>,
    is_woken: bool,
    failures: u32,
    /// Not before this time after a panic.
    retry_at: Timestamp,
    /// The deadline an alarm was last set for.
    alarm: Timestamp,
}

/// Figures of one shard, or of several added up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ShardStats {
    /// The accounts.
    pub ledger: Ledger,
    /// Traces that live.
    pub live_traces: u64,
    /// Of those, traces that have an actor at the moment; the others are passive.
    pub live_actors: u64,
    /// About how many bytes they hold, shared places left out.
    pub live_bytes: u64,
    /// Events that wait in the inboxes of their traces.
    pub waiting_events: u64,
    /// Actors that were rebuilt after a panic.
    pub restarts: u64,
    /// Traces that panicked too often.
    pub quarantined: u64,
    /// Wakes that a mailbox refused; the events were kept.
    pub wakes_refused: u64,
}

impl ShardStats {
    /// Adds another shard's figures.
    pub fn add(&mut self, other: &Self) {
        self.ledger.add(&other.ledger);
        self.live_traces += other.live_traces;
        self.live_actors += other.live_actors;
        self.live_bytes += other.live_bytes;
        self.waiting_events += other.waiting_events;
        self.restarts += other.restarts;
        self.quarantined += other.quarantined;
        self.wakes_refused += other.wakes_refused;
    }
}

/// The traces of one shard and the factory of their actors.
#[derive(Debug)]
pub(crate) struct Registry {
    rules: Arc<Rules>,
    directory: Directory<Slot>,
    desk: Desk,
    now: Timestamp,
    stats: ShardStats,
    /// Actors that were woken and have not reported yet.
    woken: usize,
    outputs: Vec<Output>,
}

impl Registry {
    pub(crate) fn new(rules: Arc<Rules>, desk: Desk) -> Self {
        Self {
            rules,
            directory: Directory::new(),
            desk,
            now: Timestamp::MIN,
            stats: ShardStats::default(),
            woken: 0,
            outputs: Vec::new(),
        }
    }

    pub(crate) fn stats(&self) -> ShardStats {
        let mut stats = ShardStats {
            ledger: self.directory.ledger,
            live_traces: self.directory.live.len() as u64,
            ..self.stats
        };
        for slot in self.directory.live.values() {
            let cell = slot.cell.borrow();
            stats.live_actors += u64::from(slot.addr.is_some());
            stats.live_bytes += cell.trace.bytes() as u64;
            stats.waiting_events += cell.inbox.len() as u64;
        }
        stats
    }

    pub(crate) fn take_outputs(&mut self) -> Vec<Output> {
        std::mem::take(&mut self.outputs)
    }

    pub(crate) fn waiting_outputs(&self) -> usize {
        self.outputs.len()
    }

    pub(crate) const fn now(&self) -> Timestamp {
        self.now
    }

    /// Says whether every trace has thought what was due.
    pub(crate) const fn is_quiet(&self) -> bool {
        self.woken == 0
    }

    /// Takes an event in: into the inbox of its trace, or into another account.
    pub(crate) fn deliver(&mut self, event: Arc<Event>) {
        let outcome = self.place(event, self.now);
        self.directory.ledger.receive(outcome);
    }

    /// `at` is when the event came in: earlier than now if it waited for a trace that closed.
    fn place(&mut self, event: Arc<Event>, at: Timestamp) -> Outcome {
        let (id, limits) = (event.trace.trace_id, self.rules.limits());
        match self.directory.admit(&event, self.now, limits) {
            Admission::Refused(outcome) => return outcome,
            Admission::Live => {}
            Admission::Open(incarnation) => {
                let cell = Cell {
                    trace: Trace::open(id, incarnation, at),
                    inbox: VecDeque::new(),
                    now: self.now,
                };
                let slot = Slot {
                    cell: Rc::new(RefCell::new(cell)),
                    addr: None,
                    is_woken: false,
                    failures: 0,
                    retry_at: Timestamp::MIN,
                    alarm: Timestamp::MIN,
                };
                self.directory.live.insert(id, slot);
            }
        }
        let Some(slot) = self.directory.live.get(&id) else { return Outcome::Late };
        let mut cell = slot.cell.borrow_mut();
        if cell.inbox.len() >= limits.mailbox_events_max {
            cell.trace.note_lost();
            return Outcome::Shed(ShedReason::Mailbox);
        }
        cell.inbox.push_back((event, at));
        drop(cell);
        self.wake(id);
        Outcome::Open
    }

    /// Wakes the trace's actor, making it first if the trace has none.
    fn wake(&mut self, id: TraceId) {
        let Some(slot) = self.directory.live.get_mut(&id) else { return };
        // An actor that is on its way sees it too.
        slot.cell.borrow_mut().now = self.now;
        if slot.is_woken || self.now < slot.retry_at {
            return;
        }
        let addr = slot.addr.get_or_insert_with(|| {
            let cell = Rc::clone(&slot.cell);
            TraceActor::new(id, cell, Arc::clone(&self.rules), self.desk.clone()).start()
        });
        match addr.try_send(Wake) {
            Ok(()) => {
                slot.is_woken = true;
                self.woken += 1;
            }
            Err(SendError::Full(_)) => {
                self.stats.wakes_refused += 1;
                self.directory.timers.set(self.now, id);
            }
            // Died without a report, which only a panic outside a handler can do.
            Err(SendError::Closed(_)) => self.restart(id),
        }
    }

    /// Lets time pass: wakes every trace whose tick is due.
    pub(crate) fn advance(&mut self, now: Timestamp) {
        self.now = self.now.max(now);
        while let Some((at, traces)) = self.directory.timers.pop(self.now) {
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
                Report::Rebook(outcome) => self.directory.ledger.rebook(Outcome::Open, outcome, 1),
                Report::Thought { trace, effects } => self.settle(trace, effects),
                Report::Done { trace, has_thought } => self.done(trace, has_thought),
                Report::Died { trace } => {
                    self.end_wake();
                    self.restart(trace);
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
        let Some(slot) = self.directory.live.get_mut(&id) else { return };
        slot.is_woken = false;
        let deadline = slot.cell.borrow().trace.deadline();
        // One alarm a deadline, however often a busy trace is woken before it; one that has passed
        // may have rung while the actor was on its way, and rings again.
        if deadline != slot.alarm || deadline <= self.now {
            self.directory.timers.set(deadline, id);
            slot.alarm = deadline;
        }
        if has_thought {
            // Nothing to do until the next tick: the state stays, the actor goes.
            slot.addr = None;
        }
    }

    fn settle(&mut self, id: TraceId, effects: Effects) {
        let Effects { cited, expired, found, retracted, closed } = effects;
        self.directory.ledger.rebook(Outcome::Open, Outcome::Story, cited);
        self.directory.ledger.rebook(Outcome::Open, Outcome::Expired, expired);
        self.outputs.extend(found.into_iter().map(|found| Output::Found(Box::new(found))));
        self.outputs.extend(retracted.into_iter().map(Output::Retracted));
        if closed {
            self.end_wake();
            self.close(id);
        } else if let Some(slot) = self.directory.live.get_mut(&id) {
            slot.failures = 0;
        }
    }

    fn close(&mut self, id: TraceId) {
        let Some(slot) = self.directory.live.get(&id) else { return };
        let mut cell = slot.cell.borrow_mut();
        let (grave, waiting) =
            (Grave::of(&cell.trace, Ending::Closed), std::mem::take(&mut cell.inbox));
        drop(cell);
        self.directory.bury(grave, self.now, self.rules.limits());
        // What arrived while the trace closed finds its place anew: booked once, as before.
        for (event, at) in waiting {
            let outcome = self.place(event, at);
            self.directory.ledger.rebook(Outcome::Open, outcome, 1);
        }
    }

    /// Rebuilds the actor of a trace that panicked: later, and not more than `tries_max` times.
    fn restart(&mut self, id: TraceId) {
        let limits = self.rules.limits();
        let Some(slot) = self.directory.live.get_mut(&id) else { return };
        slot.addr = None;
        slot.is_woken = false;
        slot.failures += 1;
        let mut cell = slot.cell.borrow_mut();
        if slot.failures < limits.tries_max {
            self.stats.restarts += 1;
            cell.trace.back_off(self.now, slot.failures, limits.backoff);
            slot.retry_at = cell.trace.deadline();
            slot.alarm = slot.retry_at;
            self.directory.timers.set(slot.alarm, id);
            return;
        }
        let grave = Grave::of(&cell.trace, Ending::Quarantined);
        let mut events = cell.trace.take_open_events();
        events.extend(std::mem::take(&mut cell.inbox).into_iter().map(|(event, _)| event));
        drop(cell);
        self.stats.quarantined += 1;
        self.directory.ledger.rebook(Outcome::Open, Outcome::DeadLetter, events.len() as u64);
        self.directory.bury(grave, self.now, limits);
        self.outputs.push(Output::Dead { trace: id, events });
    }
}
