//! Reading logs and signs of life as one simulated node does.

use std::sync::Arc;

use async_trait::async_trait;
use tapio_bus::{Beat, BeatReader, FabricError, LogEntry, LogReader};
use tapio_model::ShardId;
use tokio::{
    sync::Notify,
    time::{Instant, sleep, sleep_until},
};

use super::{
    fabric::{NodeFabric, PATIENCE},
    gate::Gate,
    step::{Moment, Step},
    world::{Log, Topic, World},
};

/// Reads one shard's log.
#[derive(Debug)]
pub(super) struct Reader {
    world: Arc<World>,
    gate: Arc<Gate>,
    notice: Arc<Notify>,
    log: Log,
    shard: ShardId,
    next: u64,
    first_kept: u64,
    /// Up to here the log is read again.
    again: u64,
    /// When the entry that was found arrives here.
    arrival: Option<Instant>,
}

impl Reader {
    pub(super) fn new(fabric: &NodeFabric, log: Log, shard: ShardId, next: u64) -> Self {
        let (world, gate) = (Arc::clone(&fabric.world), Arc::clone(&fabric.gate));
        let (first_kept, again) = {
            let middle = world.middle();
            let processed = middle.root(shard).map(|written| written.root.processed);
            match log {
                Log::Events => (middle.first_kept, processed.unwrap_or_default()),
                Log::Findings => (1, 0),
            }
        };
        let notice = world.middle().notice(Topic::Log(log, shard));
        Self { world, gate, notice, log, shard, next, first_kept, again, arrival: None }
    }
}

#[async_trait]
impl LogReader for Reader {
    fn first_kept(&self) -> u64 {
        self.first_kept
    }

    async fn next(&mut self) -> Result<LogEntry, FabricError> {
        loop {
            if let Some(arrival) = self.arrival {
                sleep_until(arrival).await;
            }
            let changed = self.notice.notified();
            if self.gate.is_cut_off() || self.world.is_out() {
                sleep(PATIENCE / 10).await;
                continue;
            }
            match self.world.entry(self.log, self.shard, self.next) {
                None => changed.await,
                Some(_) if self.arrival.is_none() => {
                    let delay = self.world.delay(self.world.weather().delay_max);
                    self.arrival = Some(Instant::now() + delay);
                }
                Some((entry, waiting)) => {
                    if entry.sequence <= self.again {
                        self.gate.pass(Step::Replay, Moment::Before).await;
                    }
                    self.arrival = None;
                    self.next = entry.sequence + 1;
                    return Ok(LogEntry {
                        sequence: entry.sequence,
                        time: entry.time,
                        waiting,
                        body: entry.body,
                        traceparent: None,
                    });
                }
            }
        }
    }
}

/// Signs of life that somebody who begins to listen still hears.
const BEATS_KEPT: usize = 32;

/// Hears signs of life.
#[derive(Debug)]
pub(super) struct Ear {
    world: Arc<World>,
    gate: Arc<Gate>,
    notice: Arc<Notify>,
    heard: usize,
}

impl Ear {
    pub(super) fn new(fabric: &NodeFabric) -> Self {
        let (world, gate) = (Arc::clone(&fabric.world), Arc::clone(&fabric.gate));
        let heard = world.middle().beats.len().saturating_sub(BEATS_KEPT);
        let notice = world.middle().notice(Topic::Beats);
        Self { world, gate, notice, heard }
    }
}

#[async_trait]
impl BeatReader for Ear {
    async fn next(&mut self) -> Result<Beat, FabricError> {
        loop {
            let changed = self.notice.notified();
            if self.gate.is_cut_off() {
                sleep(PATIENCE / 10).await;
                continue;
            }
            let beat = self.world.middle().beats.get(self.heard).cloned();
            match beat {
                None => changed.await,
                Some((node, revision, body)) => {
                    self.heard += 1;
                    return Ok(Beat { node, revision, body });
                }
            }
        }
    }
}
