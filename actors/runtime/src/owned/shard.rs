//! The actor of an owned shard: one entry of the log after the other, then a cut.

use std::{cell::Cell, rc::Rc, sync::Arc};

use actix::{Actor, AsyncContext, Context, Handler, Message};
use tapio_engine::{Cut, Rules, Shard};
use tapio_model::{Entity, Event, Timestamp, TraceId, TraceState};
use tapio_owner::TakenIn;
use tokio::sync::oneshot;

use crate::{
    desk::{Bell, Desk},
    registry::{Registry, TracesOf},
    stats::ShardStats,
};

/// Whether something was found that a commit would publish: read without asking the actor.
pub(super) type News = Rc<Cell<bool>>;

/// The actor of an owned shard.
#[derive(Debug)]
pub(super) struct OwnedShardActor {
    rules: Arc<Rules>,
    news: News,
    /// `None` until the owner has read the shard.
    registry: Option<Registry>,
    /// What the owner waits for.
    job: Option<Job>,
    /// Who is told once it is quiet.
    taken: Vec<TakenIn>,
}

impl OwnedShardActor {
    pub(super) fn new(rules: Arc<Rules>, news: News) -> Self {
        Self { rules, news, registry: None, job: None, taken: Vec::new() }
    }

    /// Works off reports, then goes on with the job as far as it comes.
    fn work(&mut self) {
        let Some(registry) = &mut self.registry else {
            // Who asks for work before there is a shard is told so by the dropped answer.
            self.job = None;
            return;
        };
        registry.clear_desk();
        if registry.is_quiet() {
            self.taken.drain(..).for_each(TakenIn::tell);
            self.job = self.job.take().and_then(|job| job.go_on(registry, &mut self.taken));
        }
        self.news.set(registry.waiting_outputs() > 0);
    }
}

impl Actor for OwnedShardActor {
    type Context = Context<Self>;
}

impl Handler<Bell> for OwnedShardActor {
    type Result = ();

    fn handle(&mut self, _: Bell, _: &mut Self::Context) {
        self.work();
    }
}

/// Take this shard over.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Adopt(pub(super) Shard, pub(super) oneshot::Sender<()>);

impl Handler<Adopt> for OwnedShardActor {
    type Result = ();

    fn handle(&mut self, Adopt(shard, done): Adopt, ctx: &mut Self::Context) {
        let desk = Desk::new(&ctx.address());
        self.registry = Some(Registry::adopt(Arc::clone(&self.rules), desk, shard));
        done.send(()).unwrap_or_default();
    }
}

/// What the owner wants done, one at a time. Each begins only when every trace has thought what was
/// due: so a job sees what an engine without actors would.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) enum Job {
    /// Take an entry in; done once its events are in the inboxes of their traces.
    TakeIn {
        sequence: u64,
        now: Timestamp,
        events: Vec<Arc<Event>>,
        taken: Vec<TakenIn>,
        done: oneshot::Sender<()>,
    },
    /// Let time pass if something is due, and say whether it was.
    Advance { now: Timestamp, was_due: bool, done: oneshot::Sender<bool> },
    /// Write down what changed.
    Cut { old: Timestamp, done: oneshot::Sender<Cut> },
}

impl Job {
    /// Goes on; what is not done yet goes on once it is quiet again. Who no longer waits for the
    /// answer need not have it.
    fn go_on(self, registry: &mut Registry, told: &mut Vec<TakenIn>) -> Option<Self> {
        match self {
            Self::TakeIn { sequence, now, events, taken, done } => {
                registry.advance(now);
                if !registry.is_quiet() {
                    // Traces that close make room, and are over before their next life begins.
                    return Some(Self::TakeIn { sequence, now, events, taken, done });
                }
                registry.take_in(sequence);
                for event in events {
                    registry.deliver(event);
                }
                told.extend(taken);
                done.send(()).unwrap_or_default();
            }
            Self::Advance { now, was_due, done } => {
                let is_due = registry.next_deadline().is_some_and(|deadline| deadline <= now);
                if is_due {
                    registry.advance(now);
                }
                if !registry.is_quiet() {
                    return Some(Self::Advance { now, was_due: true, done });
                }
                done.send(was_due || is_due).unwrap_or_default();
            }
            Self::Cut { old, done } => drop(done.send(registry.cut(old))),
        }
        None
    }
}

impl Handler<Job> for OwnedShardActor {
    type Result = ();

    fn handle(&mut self, job: Job, _: &mut Self::Context) {
        // An owner that no longer waits for its last job has given the shard up: see `Brain`.
        if self.job.is_none() {
            self.job = Some(job);
        }
        self.work();
    }
}

/// What somebody wants to know. Answered as things are, in between two messages.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) enum Look {
    /// A live trace.
    Trace(TraceId, oneshot::Sender<Option<TraceState>>),
    /// At most so many traces of an entity.
    TracesOf(Entity, usize, oneshot::Sender<TracesOf>),
    /// The figures.
    Stats(oneshot::Sender<ShardStats>),
}

impl Handler<Look> for OwnedShardActor {
    type Result = ();

    fn handle(&mut self, look: Look, _: &mut Self::Context) {
        self.work();
        let Some(registry) = &self.registry else { return };
        match look {
            Look::Trace(id, answer) => drop(answer.send(registry.trace(id))),
            Look::TracesOf(entity, limit, answer) => {
                drop(answer.send(registry.traces_of(&entity, limit)));
            }
            Look::Stats(answer) => drop(answer.send(registry.stats())),
        }
    }
}
