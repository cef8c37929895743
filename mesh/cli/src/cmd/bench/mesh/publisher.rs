//! What collectors do, without collecting: events in envelopes a shard, acknowledged.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, ensure};
use tapio_bus::{Batch, Bus as _};
use tapio_model::{Clock as _, Event, Level, ShardId};
use tapio_nats::{Connection, NatsBus, NatsBusOptions};
use tapio_shard::ShardCount;
use tapio_telemetry::{SystemClock, spawn_named};
use tokio::{sync::Semaphore, time::Instant};

use super::{Load, Server};
use crate::cmd::replay::park_until;

/// Events of an envelope at most, as the collectors' pump has it.
pub(in crate::cmd::bench) const BATCH_EVENTS: usize = 128;

/// Envelopes on their way at once.
pub(super) const IN_FLIGHT: u32 = 256;

/// Publishes a load.
#[derive(Debug)]
pub(in crate::cmd::bench) struct Publisher {
    connection: Connection,
    bus: Arc<NatsBus>,
    shards: ShardCount,
    linger: Duration,
    /// Events at which an envelope is full.
    batch_events: usize,
    groups: Vec<Vec<Arc<Event>>>,
    in_flight: Arc<Semaphore>,
    refused: Arc<AtomicU64>,
}

impl Publisher {
    /// Connects as another process would.
    pub(in crate::cmd::bench) async fn start(
        server: &Server,
        stage: &str,
        (linger, batch_events): (Duration, usize),
    ) -> anyhow::Result<Self> {
        let connection = server.connect(stage, "tapio bench publisher").await?;
        let shards = ShardCount::DEFAULT;
        let options = NatsBusOptions { shards, ..NatsBusOptions::default() };
        Ok(Self {
            bus: Arc::new(NatsBus::new(connection.clone(), options)),
            connection,
            shards,
            linger,
            batch_events: batch_events.clamp(1, BATCH_EVENTS),
            groups: vec![Vec::new(); usize::from(shards.get())],
            in_flight: Arc::new(Semaphore::new(IN_FLIGHT as usize)),
            refused: Arc::default(),
        })
    }

    /// Publishes `rate` events a second. Each has the time it was due, also where this came late:
    /// what waits behind a slow server is not forgotten.
    pub(super) async fn pace(
        &mut self,
        load: &mut Load,
        rate: u32,
        time: Duration,
    ) -> anyhow::Result<()> {
        let (begin, wall) = (Instant::now(), SystemClock.now());
        let (first, rate) = (load.made(), u64::from(rate));
        let due = |number: u64| Duration::from_nanos((number - first) * 1_000_000_000 / rate);
        let mut at = Duration::ZERO;
        while at < time {
            at = (at + self.linger).min(time);
            // The main thread has nothing else to do, and a timer of the runtime is a millisecond late.
            park_until(begin + at);
            // Whatever came due meanwhile, if it is later than it should be.
            let upto = begin.elapsed().clamp(at, time);
            at = upto;
            while due(load.made()) < upto {
                let time = wall.after(due(load.made()));
                self.add(load.next_at(time)).await?;
            }
            self.flush().await?;
        }
        Ok(())
    }

    /// Publishes as fast as it goes, in full envelopes.
    pub(in crate::cmd::bench) async fn rush(
        &mut self,
        load: &mut Load,
        events: u64,
    ) -> anyhow::Result<()> {
        for number in 0..events {
            if number % 1_024 == 0 {
                tokio::task::yield_now().await;
            }
            self.add(load.next_at(SystemClock.now())).await?;
        }
        self.flush().await
    }

    /// Waits until everything is acknowledged.
    pub(in crate::cmd::bench) async fn finish(self) -> anyhow::Result<()> {
        drop(self.in_flight.acquire_many(IN_FLIGHT).await.context("publishing")?);
        let refused = self.refused.load(Ordering::Relaxed);
        ensure!(refused == 0, "{refused} envelopes were refused");
        self.connection.close().await;
        Ok(())
    }

    async fn add(&mut self, event: Arc<Event>) -> anyhow::Result<()> {
        let shard = self.shards.shard_of(event.trace.trace_id);
        let group = self.groups.get_mut(shard.index()).context("a shard")?;
        group.push(event);
        if group.len() < self.batch_events {
            return Ok(());
        }
        let events = std::mem::replace(group, Vec::with_capacity(self.batch_events));
        self.launch(shard, events).await
    }

    async fn flush(&mut self) -> anyhow::Result<()> {
        for shard in self.shards.shards() {
            let group = self.groups.get_mut(shard.index()).context("a shard")?;
            if !group.is_empty() {
                let events = std::mem::take(group);
                self.launch(shard, events).await?;
            }
        }
        Ok(())
    }

    async fn launch(&self, shard: ShardId, events: Vec<Arc<Event>>) -> anyhow::Result<()> {
        let permit = Arc::clone(&self.in_flight).acquire_owned().await?;
        let (bus, refused) = (Arc::clone(&self.bus), Arc::clone(&self.refused));
        let batch = Batch { shard, level: Level::Normal, time: SystemClock.now(), events };
        drop(spawn_named("bench publish", async move {
            if bus.publish(batch).await.is_err() {
                refused.fetch_add(1, Ordering::Relaxed);
            }
            drop(permit);
        }));
        Ok(())
    }
}
