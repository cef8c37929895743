//! Running owners behind a simulated node's gate.

use std::{future::pending, sync::Arc};

use tapio_engine::{Question, Shard};
use tapio_model::{Event, Findings, ShardId, StoryId, Timestamp};
use tapio_owner::{
    Brain, BrainCut, BrainGone, Hands, IncidentShard, LocalBrain, OwnerParts, OwnerStatus, Related,
    Running, own,
};
use tokio::sync::{oneshot, watch};
use tracing::info;

use super::{
    gate::Gate,
    poison,
    step::{Moment, Step},
    world::{Heard, World},
};

/// Runs owners behind a node's gate.
#[derive(Debug)]
pub(super) struct SimHands {
    pub(super) world: Arc<World>,
    pub(super) gate: Arc<Gate>,
}

impl Hands for SimHands {
    fn start(&self, parts: OwnerParts) -> Running {
        let (mut tell, ended) = oneshot::channel();
        let brain = SimBrain {
            world: Arc::clone(&self.world),
            gate: Arc::clone(&self.gate),
            shard: parts.shard,
            status: parts.status.subscribe(),
            heard: Vec::new(),
            inner: LocalBrain::default(),
        };
        self.gate.spawn(async move {
            tokio::select! {
                biased;
                () = tell.closed() => {}
                how = own(parts, brain) => {
                    // Nobody listens any more if the node is ending.
                    tell.send(how).unwrap_or_default();
                }
            }
        });
        Running { ended }
    }
}

impl Drop for SimBrain {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.world.middle().panics += 1;
        }
    }
}

/// The brain without actors, in a process that may die at any of its steps.
struct SimBrain {
    world: Arc<World>,
    gate: Arc<Gate>,
    shard: ShardId,
    status: watch::Receiver<OwnerStatus>,
    /// Findings taken in since the last cut: the shard and the number of its message.
    heard: Vec<(ShardId, u64)>,
    inner: LocalBrain,
}

impl SimBrain {
    /// Notes which write of the root will say what was heard since the last cut.
    fn note_heard(&mut self) {
        let epoch = self.status.borrow().epoch;
        let mut middle = self.world.middle();
        let writes = middle.roots.get(&self.shard).into_iter().flatten().rev();
        let last = writes.map(|written| &written.root).find(|root| root.epoch == epoch);
        let Some(commit) = last.map(|root| root.commit + 1) else { return };
        let (shard, write) = (self.shard, (epoch, commit));
        let heard = self.heard.drain(..);
        middle.heard.extend(heard.map(|(from, number)| Heard { shard, from, number, write }));
    }
}

impl Brain for SimBrain {
    async fn adopt(&mut self, shard: Shard, incidents: IncidentShard) -> Result<(), BrainGone> {
        self.gate.pass(Step::Replay, Moment::After).await;
        self.inner.adopt(shard, incidents).await
    }

    async fn take_in(
        &mut self,
        sequence: u64,
        now: Timestamp,
        events: Vec<Arc<Event>>,
    ) -> Result<(), BrainGone> {
        self.gate.pass(Step::TakeIn, Moment::Before).await;
        if events.iter().any(|event| poison::is_deadly(event.id)) {
            info!(shard = %self.shard, sequence, "an entry ends its process");
            self.gate.kill();
            pending::<()>().await;
        }
        self.inner.take_in(sequence, now, events).await?;
        self.gate.pass(Step::TakeIn, Moment::After).await;
        Ok(())
    }

    async fn advance(&mut self, now: Timestamp) -> Result<bool, BrainGone> {
        self.inner.advance(now).await
    }

    async fn hear(&mut self, findings: Findings, now: Timestamp) -> Result<(), BrainGone> {
        self.gate.pass(Step::Hear, Moment::Before).await;
        self.heard.push((findings.from, findings.commit));
        self.inner.hear(findings, now).await?;
        self.gate.pass(Step::Hear, Moment::After).await;
        Ok(())
    }

    async fn take_questions(&mut self) -> Result<Vec<Question>, BrainGone> {
        self.inner.take_questions().await
    }

    async fn answer(
        &mut self,
        story: StoryId,
        related: Related,
        now: Timestamp,
    ) -> Result<(), BrainGone> {
        self.inner.answer(story, related, now).await
    }

    async fn has_news(&mut self) -> Result<bool, BrainGone> {
        self.inner.has_news().await
    }

    async fn cut(&mut self, old: Timestamp) -> Result<BrainCut, BrainGone> {
        self.gate.pass(Step::Cut, Moment::Before).await;
        self.note_heard();
        let cut = self.inner.cut(old).await?;
        self.gate.pass(Step::Cut, Moment::After).await;
        Ok(cut)
    }
}
