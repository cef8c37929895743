//! What thinks for a shard: the port, and the brain without actors.

use std::sync::Arc;

use tapio_engine::{Cut, Question, Shard};
use tapio_model::{Event, Findings, StoryId, Timestamp};

use crate::{IncidentCut, IncidentShard, Related, TakenIn};

/// The brain is gone, with all it held: an actor's thread ended, or it panicked itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("what thinks for the shard is gone")]
pub struct BrainGone;

/// What a shard became since the last cut: its traces and its incidents.
#[derive(Debug, Default)]
pub struct BrainCut {
    /// The traces.
    pub traces: Cut,
    /// The incidents.
    pub incidents: IncidentCut,
}

/// What thinks for one shard while its owner keeps it.
///
/// # Cancel safety
/// None: a call that was dropped may have been taken in. The owner drops the brain with it.
#[expect(async_fn_in_trait, reason = "used by generic code of one thread only")]
pub trait Brain {
    /// Takes over what was read again. Called once, before anything else.
    async fn adopt(&mut self, shard: Shard, incidents: IncidentShard) -> Result<(), BrainGone>;

    /// Has these told once the traces have what the next entry brings. A brain that cannot tell when
    /// that is tells them nothing.
    fn watch(&mut self, taken: Vec<TakenIn>) {
        drop(taken);
    }

    /// Takes in the events of one entry of the log, at the engine's time `now`. Waits while too
    /// much is waiting: that is the back-pressure.
    async fn take_in(
        &mut self,
        sequence: u64,
        now: Timestamp,
        events: Vec<Arc<Event>>,
    ) -> Result<(), BrainGone>;

    /// Lets time pass for the incidents, and for the traces if one of them has something due by
    /// then. Says whether it has: only then does the traces' time move.
    async fn advance(&mut self, now: Timestamp) -> Result<bool, BrainGone>;

    /// Takes in what a shard has to say to the incidents.
    async fn hear(&mut self, findings: Findings, now: Timestamp) -> Result<(), BrainGone>;

    /// Takes what the incidents want to ask of other shards.
    async fn take_questions(&mut self) -> Result<Vec<Question>, BrainGone>;

    /// Takes in the answer to a question.
    async fn answer(
        &mut self,
        story: StoryId,
        related: Related,
        now: Timestamp,
    ) -> Result<(), BrainGone>;

    /// Says whether something was found or told that a commit would publish.
    async fn has_news(&mut self) -> Result<bool, BrainGone>;

    /// Waits until everything taken in was thought about, and writes down what changed since the
    /// last cut. Traces that need the log from before `old` are written down too.
    async fn cut(&mut self, old: Timestamp) -> Result<BrainCut, BrainGone>;
}
