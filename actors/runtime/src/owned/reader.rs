//! Reads what a shard knows, from any thread.

use actix::{
    Actor, Handler, Message, WeakAddr,
    dev::{SendError, ToEnvelope},
};
use dashmap::DashMap;
use tapio_model::{Entity, IncidentState, ShardId, TraceId, TraceState};
use tokio::sync::oneshot;

use super::{
    incident::{OwnedIncidentActor, Tell},
    shard::{Look, OwnedShardActor},
};
use crate::{registry::TracesOf, stats::ShardStats};

/// Why a shard did not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unread {
    /// This node does not think for the shard, or no longer does.
    #[error("the shard is not thought for here")]
    Gone,
    /// Too many questions wait already.
    #[error("too many questions wait for the shard")]
    Busy,
}

/// Reads what a shard knows. It keeps nothing alive, and is refused rather than queued without end.
///
/// An answer waits for the batches ahead of it on the arbiter; how long one is worth waiting for is
/// the caller's to say.
///
/// # Cancel safety
/// Every question may be dropped.
#[derive(Debug, Clone)]
pub struct ShardReader {
    shard: ShardId,
    traces: WeakAddr<OwnedShardActor>,
    incidents: WeakAddr<OwnedIncidentActor>,
}

impl ShardReader {
    pub(super) const fn new(
        shard: ShardId,
        traces: WeakAddr<OwnedShardActor>,
        incidents: WeakAddr<OwnedIncidentActor>,
    ) -> Self {
        Self { shard, traces, incidents }
    }

    /// Returns the shard that is read.
    #[must_use]
    pub const fn shard(&self) -> ShardId {
        self.shard
    }

    /// Says whether both actors of the shard still live.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.traces.upgrade().is_some() && self.incidents.upgrade().is_some()
    }

    /// Returns a live trace as it is.
    ///
    /// # Errors
    /// [`Unread`] if the shard is gone or has too many questions.
    pub async fn trace(&self, trace: TraceId) -> Result<Option<TraceState>, Unread> {
        ask(&self.traces, |answer| Look::Trace(trace, answer)).await
    }

    /// Returns at most `limit` live traces with an event at `entity`.
    ///
    /// # Errors
    /// [`Unread`] if the shard is gone or has too many questions.
    pub async fn traces_of(&self, entity: Entity, limit: usize) -> Result<TracesOf, Unread> {
        ask(&self.traces, |answer| Look::TracesOf(entity, limit, answer)).await
    }

    /// Returns the shard's figures.
    ///
    /// # Errors
    /// [`Unread`] if the shard is gone or has too many questions.
    pub async fn stats(&self) -> Result<ShardStats, Unread> {
        ask(&self.traces, Look::Stats).await
    }

    /// Returns the shard's open incidents, told or not, oldest first.
    ///
    /// # Errors
    /// [`Unread`] if the shard is gone or has too many questions.
    pub async fn incidents(&self) -> Result<Vec<IncidentState>, Unread> {
        ask(&self.incidents, |answer| Tell::Look(None, answer)).await
    }

    /// Returns the shard's open incidents that touch one of `entities`, oldest first.
    ///
    /// # Errors
    /// [`Unread`] if the shard is gone or has too many questions.
    pub async fn incidents_of(&self, entities: Vec<Entity>) -> Result<Vec<IncidentState>, Unread> {
        ask(&self.incidents, |answer| Tell::Look(Some(entities), answer)).await
    }
}

async fn ask<A, M, T>(
    actor: &WeakAddr<A>,
    question: impl FnOnce(oneshot::Sender<T>) -> M,
) -> Result<T, Unread>
where
    A: Actor + Handler<M>,
    A::Context: ToEnvelope<A, M>,
    M: Message<Result = ()> + Send + 'static,
{
    let (asked, answer) = oneshot::channel();
    // The address is not held while the answer is awaited: it would keep the actor alive.
    match actor.upgrade().ok_or(Unread::Gone)?.try_send(question(asked)) {
        Ok(()) => {}
        Err(SendError::Full(_)) => return Err(Unread::Busy),
        Err(SendError::Closed(_)) => return Err(Unread::Gone),
    }
    answer.await.map_err(|_dropped| Unread::Gone)
}

/// The readers of a node's shards.
#[derive(Debug, Default)]
pub(super) struct Readers(DashMap<ShardId, ShardReader>);

impl Readers {
    pub(super) fn open(&self, shard: ShardId, reader: ShardReader) {
        self.0.insert(shard, reader);
    }

    /// Returns the reader of a shard that is thought for. One whose shard is gone stays until the
    /// shard is back or the node ends: there are no more than shards.
    pub(super) fn get(&self, shard: ShardId) -> Option<ShardReader> {
        self.0.get(&shard).map(|reader| reader.clone()).filter(ShardReader::is_open)
    }

    pub(super) fn all(&self) -> Vec<ShardReader> {
        let readers = self.0.iter().map(|reader| reader.clone());
        let mut readers: Vec<_> = readers.filter(ShardReader::is_open).collect();
        readers.sort_unstable_by_key(ShardReader::shard);
        readers
    }
}
