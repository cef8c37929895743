//! One trace, one actor.

use std::{cell::RefCell, collections::VecDeque, rc::Rc, sync::Arc};

use actix::{Actor, Context, Handler, Message};
use tapio_engine::{Directory, Rules, Timers, Trace};
use tapio_model::{Event, Outcome, Timestamp, TraceId};

use crate::desk::{Desk, Report};

/// What outlives the actor: the trace, and the events that wait for it.
///
/// An actix mailbox is lost with its actor, so events wait here and the mailbox only ever holds the
/// doorbell. A panic costs neither the trace nor what was queued.
#[derive(Debug)]
pub(crate) struct Cell {
    pub(crate) trace: Trace,
    pub(crate) inbox: VecDeque<(Arc<Event>, Timestamp)>,
    /// The shard's time: what is due by then is thought.
    pub(crate) now: Timestamp,
}

/// The actor of one trace. Stops when its shard drops the address.
#[derive(Debug)]
pub(crate) struct TraceActor {
    id: TraceId,
    cell: Rc<RefCell<Cell>>,
    rules: Arc<Rules>,
    desk: Desk,
    is_busy: bool,
    /// The time of the trace's that the actor is at.
    at: Timestamp,
}

impl TraceActor {
    pub(crate) fn new(id: TraceId, cell: Rc<RefCell<Cell>>, rules: Arc<Rules>, desk: Desk) -> Self {
        Self { id, cell, rules, desk, is_busy: false, at: Timestamp::MIN }
    }

    /// Takes in what waits and thinks what is due, in order of time, as a shard without actors
    /// does: an event that came after a tick was due is not seen by that tick. Says whether the
    /// trace has thought; `None` if it has closed.
    fn catch_up(&mut self) -> Option<bool> {
        let cell = Rc::clone(&self.cell);
        let mut cell = cell.borrow_mut();
        let Cell { trace, inbox, now } = &mut *cell;
        let mut has_thought = false;
        while let Some((event, at)) = inbox.front() {
            has_thought |= self.think(trace, *at)?;
            // An event leaves the inbox once it is in the trace: one that panics stays, and is known.
            self.at = *at;
            let (id, outcome) = (event.id, trace.observe(Arc::clone(event), *at, &self.rules));
            inbox.pop_front();
            if outcome != Outcome::Open {
                self.desk.leave(Report::Rebook { event: id, outcome });
            }
        }
        has_thought |= self.think(trace, *now)?;
        Some(has_thought)
    }

    /// Reports each thought at once, so that a panic in the next one does not take it along.
    fn think(&mut self, trace: &mut Trace, until: Timestamp) -> Option<bool> {
        let mut has_thought = false;
        while trace.deadline() != Timestamp::MAX {
            let at = Timers::due(Directory::<()>::TIMER_BUCKET, trace.deadline());
            if at > until {
                break;
            }
            self.at = at;
            let effects = trace.tick(at, &self.rules);
            let is_over = effects.closed;
            self.desk.leave(Report::Thought { trace: self.id, effects });
            if is_over {
                return None;
            }
            has_thought = true;
        }
        Some(has_thought)
    }
}

impl Actor for TraceActor {
    type Context = Context<Self>;
}

impl Drop for TraceActor {
    fn drop(&mut self) {
        // actix never tells anybody of a panic: the unwinding actor does it itself.
        if self.is_busy {
            self.desk.leave(Report::Died { trace: self.id, at: self.at });
        }
    }
}

/// Says that there is something in the inbox, or a tick due.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Wake;

impl Handler<Wake> for TraceActor {
    type Result = ();

    fn handle(&mut self, _: Wake, _: &mut Self::Context) {
        self.is_busy = true;
        if let Some(has_thought) = self.catch_up() {
            self.desk.leave(Report::Done { trace: self.id, has_thought });
        }
        self.is_busy = false;
    }
}
