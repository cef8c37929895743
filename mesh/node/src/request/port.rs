//! What a node knows by itself: its own shards, and everybody's roots.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use tapio_model::{Epoch, Item, Op, ShardAnswer, ShardId};

/// Answers for the shards that this node owns.
#[async_trait]
pub trait Answering: Send + Sync + fmt::Debug {
    /// Returns one answer for each of `shards`: what `op` finds or does there, or who owns it
    /// instead.
    ///
    /// Events that are delivered are in the shard's log before they are accepted, and an event that
    /// was there before is accepted again.
    /// # Cancel safety
    /// Dropping the future may leave the op done.
    async fn answer(&self, shards: &[ShardId], op: &Op) -> Vec<ShardAnswer>;
}

/// Answers, shared.
pub type SharedAnswering = Arc<dyn Answering>;

/// What a root says about a shard: as of its last commit.
#[derive(Debug, Clone, PartialEq)]
pub struct Recalled {
    /// Since which change of hands its owner, or last owner, owned it.
    pub epoch: Epoch,
    /// What it holds.
    pub results: Vec<Item>,
    /// What it holds besides.
    pub omitted: u64,
}

/// Reads roots of shards that others own, or nobody.
#[async_trait]
pub trait Recall: Send + Sync + fmt::Debug {
    /// Returns what the root of `shard` says to an op that only reads; `None` if it cannot be read,
    /// or was never written.
    async fn recall(&self, shard: ShardId, op: &Op) -> Option<Recalled>;
}

/// Reads roots, shared.
pub type SharedRecall = Arc<dyn Recall>;
