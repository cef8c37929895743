//! The middle as one simulated node sees it.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use tapio_bus::{
    Address, Beat, BeatReader, ChunkName, Fabric, FabricError, LogEntry, LogReader, Parcel,
    Receipt, Revision, SwapError, Versioned,
};
use tapio_model::{ShardId, Text, Timestamp};
use tokio::time::{Instant, sleep, sleep_until};

use super::{
    gate::Gate,
    world::{Log, World, Written},
};

/// How long a call waits for an answer that never comes.
const PATIENCE: Duration = Duration::from_millis(300);

/// When a node is to die: at which of its calls, and whether before or after it is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fuse {
    pub(super) calls: u64,
    pub(super) is_after: bool,
}

/// The middle as one node sees it.
#[derive(Debug)]
pub(super) struct NodeFabric {
    pub(super) world: Arc<World>,
    pub(super) gate: Arc<Gate>,
    pub(super) fuse: std::sync::Mutex<Option<Fuse>>,
}

/// What became of a call.
struct NoAnswer;

impl NodeFabric {
    pub(super) fn new(world: Arc<World>, gate: Arc<Gate>) -> Self {
        Self { world, gate, fuse: std::sync::Mutex::new(None) }
    }

    pub(super) fn set_fuse(&self, fuse: Option<Fuse>) {
        *self.fuse.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = fuse;
    }

    /// Counts a call down to the one at which the node dies. A dead node's call never returns.
    async fn burn(&self, is_after: bool) {
        let is_over = {
            let mut fuse = self.fuse.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            match &mut *fuse {
                Some(burning) if burning.is_after == is_after => {
                    burning.calls = burning.calls.saturating_sub(1);
                    burning.calls == 0
                }
                Some(_) | None => false,
            }
        };
        if is_over {
            self.gate.kill();
        }
        if self.gate.is_dead() {
            std::future::pending::<()>().await;
        }
    }

    /// Does a call, with everything that can go wrong on the way there and back.
    async fn call<T>(&self, work: impl FnOnce(&World) -> T) -> Result<T, NoAnswer> {
        self.burn(false).await;
        sleep(self.world.delay()).await;
        let outage = self.world.middle().outage_until;
        let is_out = outage.is_some_and(|until| until > Instant::now());
        let weather = self.world.middle().weather;
        if is_out || self.gate.is_cut_off() || self.world.chance(weather.lost_requests) {
            sleep(PATIENCE).await;
            return Err(NoAnswer);
        }
        let done = work(&self.world);
        self.burn(true).await;
        sleep(self.world.delay()).await;
        if self.gate.is_cut_off() || self.world.chance(weather.lost_answers) {
            sleep(PATIENCE).await;
            return Err(NoAnswer);
        }
        Ok(done)
    }
}

impl From<NoAnswer> for FabricError {
    fn from(_: NoAnswer) -> Self {
        Self::Unreachable("simulated".into())
    }
}

impl From<NoAnswer> for SwapError {
    fn from(_: NoAnswer) -> Self {
        Self::Unsure("simulated".into())
    }
}

#[async_trait]
impl Fabric for NodeFabric {
    fn patience(&self) -> Duration {
        PATIENCE
    }

    async fn read_root(&self, shard: ShardId) -> Result<Option<Versioned>, FabricError> {
        let stale = self.world.middle().weather.stale_reads;
        let is_stale = self.world.chance(stale);
        let read = self.call(|world| {
            let middle = world.middle();
            let writes = middle.roots.get(&shard)?;
            let back = usize::from(is_stale && writes.len() > 1);
            let Written { revision, bytes, .. } = writes.get(writes.len() - 1 - back)?.clone();
            Some(Versioned { revision, bytes })
        });
        Ok(read.await?)
    }

    async fn swap_root(
        &self,
        shard: ShardId,
        bytes: Bytes,
        expect: Option<Revision>,
    ) -> Result<Revision, SwapError> {
        self.call(|world| {
            let at = world.age();
            let mut middle = world.middle();
            let last = middle.roots.get(&shard).and_then(|writes| writes.last());
            if last.map(|written| written.revision) != expect {
                return Err(SwapError::Lost);
            }
            let revision = middle.revise();
            let written = Written { revision, bytes, at };
            middle.roots.entry(shard).or_default().push(written);
            Ok(revision)
        })
        .await?
    }

    async fn put_chunk(&self, name: ChunkName, bytes: Bytes) -> Result<(), FabricError> {
        let put = self.call(|world| drop(world.middle().chunks.insert(name, bytes)));
        Ok(put.await?)
    }

    async fn get_chunk(&self, name: ChunkName) -> Result<Option<Bytes>, FabricError> {
        Ok(self.call(|world| world.middle().chunks.get(&name).cloned()).await?)
    }

    async fn remove_chunk(&self, name: ChunkName) -> Result<(), FabricError> {
        Ok(self.call(|world| drop(world.middle().chunks.remove(&name))).await?)
    }

    async fn read_events(
        &self,
        shard: ShardId,
        from: u64,
    ) -> Result<Box<dyn LogReader>, FabricError> {
        self.call(|_| ()).await?;
        Ok(Box::new(Reader::new(self, Log::Events, shard, from)))
    }

    async fn read_findings(
        &self,
        shard: ShardId,
        from: u64,
    ) -> Result<Box<dyn LogReader>, FabricError> {
        self.call(|_| ()).await?;
        Ok(Box::new(Reader::new(self, Log::Findings, shard, from)))
    }

    async fn deliver(&self, parcel: &Parcel) -> Result<Receipt, FabricError> {
        let doubled = self.world.middle().weather.doubled;
        let times = 1 + usize::from(self.world.chance(doubled));
        let delivered = self.call(|world| {
            let mut receipt = Receipt::Delivered;
            for time in 0..times {
                let this = lay(world, parcel);
                receipt = if time == 0 { this } else { receipt };
            }
            receipt
        });
        Ok(delivered.await?)
    }

    async fn beat(&self, node: &Text, body: Bytes) -> Result<Revision, FabricError> {
        let beaten = self.call(|world| {
            let mut middle = world.middle();
            let revision = middle.revise();
            middle.beats.push((node.clone(), revision, body));
            drop(middle);
            world.changed.notify_waiters();
            revision
        });
        Ok(beaten.await?)
    }

    async fn hear_beats(&self) -> Result<Box<dyn BeatReader>, FabricError> {
        self.call(|_| ()).await?;
        let heard = self.world.middle().beats.len().saturating_sub(32);
        Ok(Box::new(Ear { world: Arc::clone(&self.world), gate: Arc::clone(&self.gate), heard }))
    }

    fn log_time(&self) -> Option<Timestamp> {
        Some(self.world.now())
    }
}

fn lay(world: &World, parcel: &Parcel) -> Receipt {
    if let Address::Findings { to, .. } = parcel.address {
        world.append(Log::Findings, to, parcel.body.clone());
        return Receipt::Delivered;
    }
    let at = world.age();
    let mut middle = world.middle();
    match middle.places.get(&parcel.address) {
        Some(there) if *there == parcel.body => Receipt::WasThere,
        Some(_) => {
            middle.alarms.push(parcel.address);
            Receipt::Differs
        }
        None => {
            middle.places.insert(parcel.address, parcel.body.clone());
            middle.arrivals.push((at, parcel.address));
            Receipt::Delivered
        }
    }
}

/// Reads one shard's log.
#[derive(Debug)]
struct Reader {
    world: Arc<World>,
    gate: Arc<Gate>,
    log: Log,
    shard: ShardId,
    next: u64,
    /// When the entry that was found arrives here.
    arrival: Option<Instant>,
}

impl Reader {
    fn new(fabric: &NodeFabric, log: Log, shard: ShardId, next: u64) -> Self {
        let (world, gate) = (Arc::clone(&fabric.world), Arc::clone(&fabric.gate));
        Self { world, gate, log, shard, next, arrival: None }
    }
}

#[async_trait]
impl LogReader for Reader {
    fn first_kept(&self) -> u64 {
        1
    }

    async fn next(&mut self) -> Result<LogEntry, FabricError> {
        loop {
            if let Some(arrival) = self.arrival {
                sleep_until(arrival).await;
            }
            let changed = self.world.changed.notified();
            let outage = self.world.middle().outage_until;
            if self.gate.is_cut_off() || outage.is_some_and(|until| until > Instant::now()) {
                sleep(PATIENCE / 10).await;
                continue;
            }
            match self.world.entry(self.log, self.shard, self.next) {
                None => changed.await,
                Some(_) if self.arrival.is_none() => {
                    self.arrival = Some(Instant::now() + self.world.delay());
                }
                Some((entry, waiting)) => {
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

/// Hears signs of life.
#[derive(Debug)]
struct Ear {
    world: Arc<World>,
    gate: Arc<Gate>,
    heard: usize,
}

#[async_trait]
impl BeatReader for Ear {
    async fn next(&mut self) -> Result<Beat, FabricError> {
        loop {
            let changed = self.world.changed.notified();
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
