//! The bus over JetStream: envelopes in the events stream, offsets are its sequences.

mod envelope;
mod figures;
mod ledger;
mod publish;
mod purge;
mod reader;
mod shared;
mod subscription;

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use tapio_bus::{
    Batch, Bus, BusStats, Offset, PublishError, Start, SubscribeError, Subscription, WhenFull,
};
use tapio_model::ShardId;
use tapio_shard::ShardCount;
use tapio_telemetry::Telemetry;

pub use self::figures::BusFigures;
use self::{shared::Shared, subscription::NatsSubscription};
use crate::Connection;

/// What acknowledging does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Acknowledge {
    /// Nothing: the log stays for who else reads it, and for a replay. What is done with stands in
    /// the reader's own state, and the stream's own limits bound it.
    #[default]
    Keep,
    /// It removes from the stream: one group of readers works it off.
    Purge,
}

/// Returns the `traceparent` that what is published now shall carry.
pub type TraceparentSource = Arc<dyn Fn() -> Option<String> + Send + Sync>;

/// How a bus publishes.
#[derive(Clone)]
pub struct NatsBusOptions {
    /// Shards; each has subjects of its own.
    pub shards: ShardCount,
    /// What acknowledging does.
    pub acknowledge: Acknowledge,
    /// Events that this bus holds of a shard until they are acknowledged, where acknowledging
    /// purges. Where it keeps, the stream's limits are the bound, and this only bounds a batch.
    pub events_max_per_shard: usize,
    /// What a publisher meets when a shard holds that many, or the stream is full.
    pub when_full: WhenFull,
    /// Envelopes that wait for their acknowledgement at once. At half a millisecond each, 256 are
    /// half a million envelopes a second; what more does is grow the client's queue.
    pub in_flight_max: usize,
    /// The trace that what is published belongs to, if it is known.
    pub traceparent: Option<TraceparentSource>,
    /// Where the spans of envelopes go, from the first attempt to the acknowledgement.
    pub telemetry: Telemetry,
}

impl Default for NatsBusOptions {
    fn default() -> Self {
        Self {
            shards: ShardCount::DEFAULT,
            acknowledge: Acknowledge::default(),
            events_max_per_shard: 65_536,
            when_full: WhenFull::default(),
            in_flight_max: 256,
            traceparent: None,
            telemetry: Telemetry::off(),
        }
    }
}

impl fmt::Debug for NatsBusOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NatsBusOptions")
            .field("shards", &self.shards)
            .field("acknowledge", &self.acknowledge)
            .field("events_max_per_shard", &self.events_max_per_shard)
            .field("when_full", &self.when_full)
            .field("in_flight_max", &self.in_flight_max)
            .field("traceparent", &self.traceparent.is_some())
            .field("telemetry", &self.telemetry.is_on())
            .finish()
    }
}

/// The bus over JetStream.
///
/// What it holds is what it published itself. Eviction spares what one of its own subscriptions
/// was given; a reader in another process may have read an evicted batch before it was deleted, so
/// [`WhenFull::ShedLowestFirst`] is for a bus that is worked off where it is filled.
///
/// While the server is away publishing waits: that is back-pressure, and nothing is lost.
pub struct NatsBus {
    shared: Arc<Shared>,
}

impl NatsBus {
    /// Makes a bus over a connection whose streams are set up.
    #[must_use]
    pub fn new(connection: Connection, options: NatsBusOptions) -> Self {
        Self { shared: Arc::new(Shared::new(connection, options)) }
    }

    /// Returns the figures of this moment.
    #[must_use]
    pub fn figures(&self) -> BusFigures {
        self.shared.counters.snapshot()
    }

    /// Returns a function that returns the figures of its moment, for whoever shows them.
    pub fn meter(&self) -> impl Fn() -> BusFigures + Clone + Send + Sync + 'static {
        let shared = Arc::clone(&self.shared);
        move || shared.counters.snapshot()
    }
}

#[async_trait]
impl Bus for NatsBus {
    async fn publish(&self, batch: Batch) -> Result<Offset, PublishError> {
        publish::publish(&self.shared, batch).await
    }

    async fn subscribe(
        &self,
        shards: &[ShardId],
        start: Start,
    ) -> Result<Box<dyn Subscription>, SubscribeError> {
        Ok(Box::new(NatsSubscription::open(&self.shared, shards, start).await?))
    }

    async fn close(&self) {
        self.shared.close().await;
    }

    fn stats(&self) -> BusStats {
        self.shared.stats()
    }
}

impl fmt::Debug for NatsBus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NatsBus")
            .field("options", &self.shared.options)
            .field("stats", &self.stats())
            .field("figures", &self.figures())
            .finish()
    }
}
