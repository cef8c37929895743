//! Where a node puts what it is given.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use tapio_bus::{Batch, Bus, Offset, PublishError};
use tapio_model::Event;
use tapio_shard::ShardCount;
use tapio_wire::EventBatch;

/// Where a node puts what it is given.
#[async_trait]
pub trait Sink: Send + Sync + fmt::Debug {
    /// Keeps a batch. Returns once it is as durable as it will ever be: the client forgets it then.
    ///
    /// # Errors
    /// [`PublishError`]: [`Full`](PublishError::Full) and [`Closed`](PublishError::Closed) have the
    /// client come back with it, the others refuse it for good.
    /// # Cancel safety
    /// Dropping the future keeps nothing, or the whole batch.
    async fn keep(&self, batch: EventBatch) -> Result<Offset, PublishError>;
}

/// Publishes on a bus: JetStream's in a mesh, the memory's in one process.
#[derive(Debug)]
pub struct BusSink {
    bus: Arc<dyn Bus>,
    shards: ShardCount,
}

impl BusSink {
    /// Makes a sink of a bus of so many shards.
    #[must_use]
    pub fn new(bus: Arc<dyn Bus>, shards: ShardCount) -> Self {
        Self { bus, shards }
    }
}

#[async_trait]
impl Sink for BusSink {
    async fn keep(&self, batch: EventBatch) -> Result<Offset, PublishError> {
        let EventBatch { shard, level, time, events } = batch;
        // A client that counts other shards would bring a trace to an owner that never sees the
        // rest of it.
        let is_elsewhere = |event: &Arc<Event>| self.shards.shard_of(event.trace.trace_id) != shard;
        if events.iter().any(is_elsewhere) {
            return Err(PublishError::UnknownShard(shard));
        }
        self.bus.publish(Batch { shard, level, time, events }).await
    }
}
