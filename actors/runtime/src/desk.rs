//! Where trace actors leave their reports for the shard actor on the same arbiter.

use std::{cell::RefCell, fmt, rc::Rc};

use actix::{Actor, Addr, Context, Handler, Message};
use tapio_engine::Effects;
use tapio_model::{EventId, Outcome, Timestamp, TraceId};

/// What a trace actor has to say.
#[derive(Debug)]
pub(crate) enum Report {
    /// An event that was booked as open turned out otherwise.
    Rebook { event: EventId, outcome: Outcome },
    /// The trace has thought. If it has closed, the actor says nothing more.
    Thought { trace: TraceId, effects: Effects },
    /// The trace has taken its events in, and thought as often as was due.
    Done { trace: TraceId, has_thought: bool },
    /// The actor is unwinding from a panic, at this time of the trace's.
    Died { trace: TraceId, at: Timestamp },
}

/// There is something on the desk.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Bell;

/// Reports in order of arrival, and a bell to say that there are some.
///
/// A report must never be refused, as a message to a full mailbox would be: so it lies on the desk,
/// and the bell is a message that may be refused, because the shard clears its desk on every other
/// message too. Bounded by what the woken actors hold: a report an event, and a thought a step.
#[derive(Clone)]
pub(crate) struct Desk(Rc<Top>);

struct Top {
    reports: RefCell<Vec<Report>>,
    bell: Box<dyn Fn()>,
}

impl Desk {
    /// Makes the desk of a shard actor, which it does not keep alive.
    pub(crate) fn new<A>(shard: &Addr<A>) -> Self
    where
        A: Actor<Context = Context<A>> + Handler<Bell>,
    {
        let shard = shard.downgrade();
        let bell = move || {
            if let Some(shard) = shard.upgrade() {
                // Refused means that the shard has messages waiting, and each clears the desk.
                drop(shard.try_send(Bell));
            }
        };
        Self(Rc::new(Top { reports: RefCell::default(), bell: Box::new(bell) }))
    }

    pub(crate) fn leave(&self, report: Report) {
        let mut reports = self.0.reports.borrow_mut();
        reports.push(report);
        if reports.len() == 1 {
            (self.0.bell)();
        }
    }

    pub(crate) fn clear(&self) -> Vec<Report> {
        self.0.reports.take()
    }
}

impl fmt::Debug for Desk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Desk").field(&self.0.reports).finish()
    }
}
