//! One trace, one actor.

use std::{cell::RefCell, collections::VecDeque, rc::Rc, sync::Arc};

use actix::{Actor, Context, Handler, Message};
use tapio_engine::{Rules, Trace};
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
    /// The time of a tick that is due.
    pub(crate) tick_at: Option<Timestamp>,
}

/// The actor of one trace. Stops when its shard drops the address.
#[derive(Debug)]
pub(crate) struct TraceActor {
    id: TraceId,
    cell: Rc<RefCell<Cell>>,
    rules: Arc<Rules>,
    desk: Desk,
    is_busy: bool,
}

impl TraceActor {
    pub(crate) fn new(id: TraceId, cell: Rc<RefCell<Cell>>, rules: Arc<Rules>, desk: Desk) -> Self {
        Self { id, cell, rules, desk, is_busy: false }
    }
}

impl Actor for TraceActor {
    type Context = Context<Self>;
}

impl Drop for TraceActor {
    fn drop(&mut self) {
        // actix never tells anybody of a panic: the unwinding actor does it itself.
        if self.is_busy {
            self.desk.leave(Report::Died { trace: self.id });
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
        let mut cell = self.cell.borrow_mut();
        let Cell { trace, inbox, tick_at } = &mut *cell;
        // An event leaves the inbox once it is in the trace: one that panics stays, and is known.
        while let Some((event, now)) = inbox.front() {
            let outcome = trace.observe(Arc::clone(event), *now, &self.rules);
            inbox.pop_front();
            if outcome != Outcome::Open {
                self.desk.leave(Report::Rebook(outcome));
            }
        }
        let effects = tick_at.map(|now| trace.tick(now, &self.rules));
        *tick_at = None;
        drop(cell);
        self.desk.leave(Report::Done { trace: self.id, effects });
        self.is_busy = false;
    }
}
