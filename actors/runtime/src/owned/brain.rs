//! The brain with actors.

use std::{rc::Rc, sync::Arc};

use actix::{
    Actor, Addr, Context, Handler, Message,
    dev::{SendError, ToEnvelope},
};
use tapio_engine::{Question, Rules, Shard};
use tapio_model::{Event, Findings, ShardId, StoryId, Timestamp};
use tapio_owner::{Brain, BrainCut, BrainGone, IncidentShard, Related, TakenIn};
use tokio::sync::oneshot;

use super::{
    incident::{OwnedIncidentActor, Tell},
    reader::{Readers, ShardReader},
    shard::{Adopt, Job, News, OwnedShardActor},
};
use crate::related::{Entries, OpenIncidents};

/// Mailbox of each of a shard's actors: one message of the owner's, a bell, and questions.
const MAILBOX: usize = 64;

/// Thinks for one shard with an actor for its traces, one for each trace and one for its incidents.
///
/// Lives on the arbiter of its actors. Dropping it stops them, after what is in their mailboxes.
#[derive(Debug)]
pub struct ActorBrain {
    shard: ShardId,
    traces: Addr<OwnedShardActor>,
    incidents: Addr<OwnedIncidentActor>,
    found: News,
    told: News,
    readers: Arc<Readers>,
    /// Who is told about the next entry.
    taken: Vec<TakenIn>,
}

impl ActorBrain {
    /// Starts the actors on the arbiter of whoever calls it.
    pub(super) fn start(
        shard: ShardId,
        rules: Arc<Rules>,
        index: Arc<OpenIncidents>,
        readers: Arc<Readers>,
    ) -> Self {
        let (found, told) = (News::default(), News::default());
        let traces = OwnedShardActor::create(|ctx: &mut Context<_>| {
            ctx.set_mailbox_capacity(MAILBOX);
            OwnedShardActor::new(rules, Rc::clone(&found))
        });
        let incidents = OwnedIncidentActor::create(|ctx: &mut Context<_>| {
            ctx.set_mailbox_capacity(MAILBOX);
            OwnedIncidentActor::new(Rc::clone(&told), Entries::new(shard, index))
        });
        Self { shard, traces, incidents, found, told, readers, taken: Vec::new() }
    }

    /// Returns a handle for questions, which keeps nothing alive.
    #[must_use]
    pub fn reader(&self) -> ShardReader {
        ShardReader::new(self.shard, self.traces.downgrade(), self.incidents.downgrade())
    }

    async fn tell<T>(
        &self,
        message: impl FnOnce(oneshot::Sender<T>) -> Tell,
    ) -> Result<T, BrainGone> {
        ask(&self.incidents, message).await
    }
}

/// Sends a message with a place for its answer, and waits for that.
async fn ask<A, M, T>(
    actor: &Addr<A>,
    message: impl FnOnce(oneshot::Sender<T>) -> M,
) -> Result<T, BrainGone>
where
    A: Actor + Handler<M>,
    A::Context: ToEnvelope<A, M>,
    M: Message<Result = ()> + Send + 'static,
{
    let (done, answer) = oneshot::channel();
    match actor.try_send(message(done)) {
        Ok(()) => {}
        // Full of questions: `send` has a place behind them.
        Err(SendError::Full(message)) => actor.send(message).await.map_err(|_closed| BrainGone)?,
        Err(SendError::Closed(_)) => return Err(BrainGone),
    }
    // Dropped unanswered by an actor that panicked, or that has nothing to think for yet.
    answer.await.map_err(|_dropped| BrainGone)
}

impl Brain for ActorBrain {
    async fn adopt(&mut self, shard: Shard, incidents: IncidentShard) -> Result<(), BrainGone> {
        ask(&self.traces, |done| Adopt(shard, done)).await?;
        self.tell(|done| Tell::Adopt(Box::new(incidents), done)).await?;
        self.readers.open(self.shard, self.reader());
        Ok(())
    }

    fn watch(&mut self, taken: Vec<TakenIn>) {
        self.taken = taken;
    }

    async fn take_in(
        &mut self,
        sequence: u64,
        now: Timestamp,
        events: Vec<Arc<Event>>,
    ) -> Result<(), BrainGone> {
        let taken = std::mem::take(&mut self.taken);
        ask(&self.traces, |done| Job::TakeIn { sequence, now, events, taken, done }).await
    }

    async fn advance(&mut self, now: Timestamp) -> Result<bool, BrainGone> {
        let incidents = self.tell(|done| Tell::Advance(now, done));
        let traces = ask(&self.traces, |done| Job::Advance { now, was_due: false, done });
        let ((), is_due) = tokio::try_join!(incidents, traces)?;
        Ok(is_due)
    }

    async fn hear(&mut self, findings: Findings, now: Timestamp) -> Result<(), BrainGone> {
        self.tell(|done| Tell::Hear(findings, now, done)).await
    }

    async fn take_questions(&mut self) -> Result<Vec<Question>, BrainGone> {
        self.tell(Tell::TakeQuestions).await
    }

    async fn answer(
        &mut self,
        story: StoryId,
        related: Related,
        now: Timestamp,
    ) -> Result<(), BrainGone> {
        self.tell(|done| Tell::Answer(story, related, now, done)).await
    }

    /// Asked after every entry, so no actor is asked: what is still being thought is not news yet.
    async fn has_news(&mut self) -> Result<bool, BrainGone> {
        if !self.traces.connected() || !self.incidents.connected() {
            return Err(BrainGone);
        }
        Ok(self.found.get() || self.told.get())
    }

    async fn cut(&mut self, old: Timestamp) -> Result<BrainCut, BrainGone> {
        let traces = ask(&self.traces, |done| Job::Cut { old, done });
        let incidents = self.tell(Tell::Cut);
        let (traces, incidents) = tokio::try_join!(traces, incidents)?;
        Ok(BrainCut { traces, incidents })
    }
}

#[cfg(test)]
mod tests {
    use tapio_engine::{IncidentsRestored, Limits, Patterns};

    use super::*;
    use crate::MeshActors;

    /// Makes an actor panic.
    #[derive(Message)]
    #[rtype(result = "()")]
    struct Break;

    impl Handler<Break> for OwnedShardActor {
        type Result = ();

        fn handle(&mut self, _: Break, _: &mut Self::Context) {
            panic!("told to panic");
        }
    }

    impl Handler<Break> for OwnedIncidentActor {
        type Result = ();

        fn handle(&mut self, _: Break, _: &mut Self::Context) {
            panic!("told to panic");
        }
    }

    #[tokio::test]
    async fn a_panic_of_either_actor_is_the_end_of_the_brain() {
        let rules = Arc::new(Rules::new(&Patterns::from([]), Limits::default()));
        let mesh = MeshActors::start(1, Arc::clone(&rules)).await.expect("threads");
        let shard = ShardId::new(0);
        for breaks_traces in [true, false] {
            let rules = Arc::clone(&rules);
            let running = mesh.run_on(shard, move |mut brain| async move {
                let none = IncidentsRestored::default();
                let none = IncidentShard::restore(shard, Arc::clone(&rules), none);
                brain.adopt(Shard::follow(rules), none).await.expect("actors");
                if breaks_traces {
                    brain.traces.try_send(Break).expect("an actor");
                } else {
                    brain.incidents.try_send(Break).expect("an actor");
                }
                // What is asked while it breaks, and what is asked afterwards.
                let first = brain.cut(Timestamp::ZERO).await.map(drop);
                (first, brain.has_news().await, brain.reader().is_open())
            });
            let ended = running.await.expect("a result");
            assert_eq!(ended, (Err(BrainGone), Err(BrainGone), false));
        }
        let after = mesh.run_on(shard, |_| async { 1 });
        assert_eq!(after.await, Ok(1), "nobody else is gone");
    }
}
