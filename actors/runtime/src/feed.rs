//! Carries batches from the bus to the shard actors of one arbiter, and keeps their time.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use actix::Addr;
use tapio_bus::{Delivery, Subscription};
use tapio_model::{Clock, ShardId};
use tokio::time::{MissedTickBehavior, interval};
use tracing::error;

use crate::{
    incident::{IncidentActor, Pass},
    shard::{Advance, Deliver, ShardActor},
};

/// How often time is told to shards that get no events.
const TICK: Duration = Duration::from_millis(50);

/// Where the engine's time comes from.
#[derive(Debug, Clone)]
pub enum TimeSource {
    /// A clock: batches carry its time, and it passes without them too.
    Clock(Arc<dyn Clock>),
    /// The batches alone: what was recorded is replayed, and time stands still between them.
    Batches,
}

/// Carries batches until the bus is closed.
pub(crate) struct Feed {
    pub(crate) subscription: Box<dyn Subscription>,
    pub(crate) shards: BTreeMap<ShardId, Addr<ShardActor>>,
    pub(crate) incidents: Addr<IncidentActor>,
    pub(crate) time: TimeSource,
}

impl Feed {
    pub(crate) async fn run(mut self) {
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            tokio::select! {
                delivery = self.subscription.next() => match delivery {
                    Some(delivery) => self.deliver(delivery).await,
                    None => return,
                },
                _ = tick.tick() => self.pass().await,
            }
        }
    }

    /// Hands a batch to its shard, again and again until it is taken: that is the back-pressure.
    ///
    /// It is acknowledged once its events are in the inboxes of their traces, which outlive their
    /// actors. What outlives the process is the business of a bus that does.
    async fn deliver(&mut self, delivery: Delivery) {
        let Delivery { offset, batch } = delivery;
        let Some(shard) = self.shards.get(&batch.shard) else { return };
        loop {
            match shard.send(Deliver(Arc::clone(&batch))).await {
                Ok(true) => break,
                Ok(false) => tokio::time::sleep(TICK).await,
                Err(gone) => {
                    error!(shard = %batch.shard, %gone, "a shard actor is gone");
                    return;
                }
            }
        }
        if matches!(self.time, TimeSource::Batches) {
            self.incidents.send(Pass(batch.time)).await.unwrap_or_default();
        }
        self.subscription.acknowledge(batch.shard, offset);
    }

    async fn pass(&mut self) {
        let TimeSource::Clock(clock) = &self.time else { return };
        let now = clock.now();
        for shard in self.shards.values() {
            // Awaited, so that a slow shard is told the time once and not many times over.
            shard.send(Advance(now)).await.unwrap_or_default();
        }
        self.incidents.send(Pass(now)).await.unwrap_or_default();
    }
}
