//! The port: what every transport can do.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use tapio_model::{Event, Level, ShardId, Timestamp};

/// Position of a batch in its shard's log. Grows by at least one a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Offset(pub u64);

/// Events that travel together: one shard, one level.
///
/// # Invariant
/// `events` is not empty, and every event belongs to `shard`.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    /// The shard all events belong to.
    pub shard: ShardId,
    /// The level of all events.
    pub level: Level,
    /// When the batch was handed over. Becomes the engine's time at the other end.
    pub time: Timestamp,
    /// The events.
    pub events: Vec<Arc<Event>>,
}

/// A batch as it comes out of the bus.
#[derive(Debug, Clone, PartialEq)]
pub struct Delivery {
    /// Where in the shard's log it stands.
    pub offset: Offset,
    /// The batch, shared with the log.
    pub batch: Arc<Batch>,
}

/// Where a subscription begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// With the oldest batch that is kept.
    Earliest,
    /// With the first batch at or after this offset.
    At(Offset),
    /// With the next batch that is published.
    New,
}

/// Why a batch was not accepted. The publisher still has its events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// Full, and everything queued is at least as urgent: the caller sheds these events.
    #[error("the bus is full: nothing queued for the shard is less urgent")]
    Full,
    /// A batch without events.
    #[error("a batch without events")]
    Empty,
    /// More events than a whole queue may hold: it could never be accepted.
    #[error("a batch of {events} events; a queue holds {events_max}")]
    TooLarge {
        /// Events in the batch.
        events: usize,
        /// Events a queue may hold.
        events_max: usize,
    },
    /// The bus has no such shard.
    #[error("there is no shard {0}")]
    UnknownShard(ShardId),
    /// The bus is closed.
    #[error("the bus is closed")]
    Closed,
}

/// Why a subscription was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SubscribeError {
    /// The log no longer holds the offset; the events before `earliest` were not read by you.
    #[error("offset {} of shard {shard} is gone; the log begins at {}", wanted.0, earliest.0)]
    Gone {
        /// The shard.
        shard: ShardId,
        /// What was asked for.
        wanted: Offset,
        /// What there is.
        earliest: Offset,
    },
    /// The bus has no such shard.
    #[error("there is no shard {0}")]
    UnknownShard(ShardId),
    /// The bus only takes events to where they are read.
    #[error("this bus only takes events in: read them from the bus of the node it leads to")]
    WriteOnly,
}

/// A transport of events.
#[async_trait]
pub trait Bus: Send + Sync + fmt::Debug {
    /// Appends a batch to its shard's log and returns its offset.
    ///
    /// # Errors
    /// [`PublishError`]; the batch was not accepted, no part of it.
    /// # Cancel safety
    /// Dropping the future before it is ready publishes nothing, or the whole batch.
    async fn publish(&self, batch: Batch) -> Result<Offset, PublishError>;

    /// Reads the logs of `shards`, each in order of its offsets.
    ///
    /// # Errors
    /// [`SubscribeError`] if one of the shards cannot be read from `start`.
    async fn subscribe(
        &self,
        shards: &[ShardId],
        start: Start,
    ) -> Result<Box<dyn Subscription>, SubscribeError>;

    /// Ends the bus: publishers are refused, subscriptions end once they have read all.
    async fn close(&self);

    /// Returns what the bus has accepted, holds and refused.
    fn stats(&self) -> BusStats;
}

/// A reader of some shards' logs.
#[async_trait]
pub trait Subscription: Send + fmt::Debug {
    /// Waits for the next batch; `None` once the bus is closed and everything was read.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing: the next call returns the same batch.
    async fn next(&mut self) -> Option<Delivery>;

    /// Says that everything up to `offset` in `shard` is done with. Its space is free again, and a
    /// replay no longer needs it.
    fn acknowledge(&mut self, shard: ShardId, offset: Offset);
}

/// What a bus has accepted, holds and refused.
///
/// # Invariant
/// `accepted_events = acknowledged_events + held_events + evicted_events`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BusStats {
    /// Events accepted.
    pub accepted_events: u64,
    /// Events read and acknowledged.
    pub acknowledged_events: u64,
    /// Events in the log.
    pub held_events: u64,
    /// Events accepted and later shed for more urgent ones, by level in the order of
    /// [`Level::ALL`]'s names: normal, high.
    pub evicted_events: u64,
    /// Events refused because the bus was full, by level: normal, high, critical.
    pub refused_events: [u64; 3],
}
