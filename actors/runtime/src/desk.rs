//! Where trace actors leave their reports for the shard actor on the same arbiter.

use std::{cell::RefCell, rc::Rc};

use actix::Addr;
use tapio_engine::Effects;
use tapio_model::{Outcome, TraceId};

use crate::shard::{Bell, ShardActor};

/// What a trace actor has to say.
#[derive(Debug)]
pub(crate) enum Report {
    /// An event that was booked as open turned out otherwise.
    Rebook(Outcome),
    /// The trace has thought. If it has closed, the actor says nothing more.
    Thought { trace: TraceId, effects: Effects },
    /// The trace has taken its events in, and thought as often as was due.
    Done { trace: TraceId, has_thought: bool },
    /// The actor is unwinding from a panic.
    Died { trace: TraceId },
}

/// Reports in order of arrival, and a bell to say that there are some.
///
/// A report must never be refused, as a message to a full mailbox would be: so it lies on the desk,
/// and the bell is a message that may be refused, because the shard clears its desk on every other
/// message too. Bounded by what the woken actors hold: a report an event, and a thought a step.
#[derive(Debug, Clone)]
pub(crate) struct Desk {
    reports: Rc<RefCell<Vec<Report>>>,
    shard: Addr<ShardActor>,
}

impl Desk {
    pub(crate) fn new(shard: Addr<ShardActor>) -> Self {
        Self { reports: Rc::default(), shard }
    }

    pub(crate) fn leave(&self, report: Report) {
        let mut reports = self.reports.borrow_mut();
        reports.push(report);
        if reports.len() == 1 {
            // Refused means that the shard has messages waiting, and each clears the desk.
            drop(self.shard.try_send(Bell));
        }
    }

    pub(crate) fn clear(&self) -> Vec<Report> {
        self.reports.take()
    }
}
