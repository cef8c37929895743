//! The middle as one simulated node sees it, with everything that can go wrong between a call and
//! its answer.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use tapio_bus::{
    Address, BeatReader, ChunkName, Fabric, FabricError, LogReader, Parcel, Receipt, Revision,
    SwapError, Versioned,
};
use tapio_model::{ShardId, Text, Timestamp};
use tapio_shard::Root;
use tapio_wire::decode_root;
use tokio::time::sleep;

use super::{
    gate::Gate,
    reader::{Ear, Reader},
    step::{Moment, Step},
    world::{Log, Topic, Why, World, Written},
};

/// How long a call waits for an answer that never comes.
pub(super) const PATIENCE: Duration = Duration::from_millis(300);

/// How long a call may be on its way when its caller has given up.
const LATE_MAX: Duration = Duration::from_secs(4);

/// How long a replica may lag behind.
const LAG_MAX: Duration = Duration::from_secs(3);

/// The middle as one node sees it.
#[derive(Debug)]
pub(super) struct NodeFabric {
    pub(super) world: Arc<World>,
    pub(super) gate: Arc<Gate>,
}

/// What became of a call.
struct NoAnswer;

impl NodeFabric {
    /// Does a call, with everything that can go wrong on the way there and back.
    async fn call<T: Send + 'static>(
        &self,
        step: Step,
        work: impl FnOnce(&World) -> T + Send + 'static,
    ) -> Result<T, NoAnswer> {
        self.gate.pass(step, Moment::Before).await;
        let weather = self.world.weather();
        sleep(self.world.delay(weather.delay_max)).await;
        let is_chunk = matches!(step, Step::Chunk | Step::Load | Step::Sweep);
        if is_chunk && !weather.chunk_delay_max.is_zero() {
            sleep(self.world.delay(weather.chunk_delay_max)).await;
        }
        let is_lost = self.world.chance(weather.lost_requests);
        if self.world.is_out() || self.gate.is_cut_off() || is_lost {
            sleep(PATIENCE).await;
            return Err(NoAnswer);
        }
        if self.world.chance(weather.late_requests) {
            let world = Arc::clone(&self.world);
            // It is on its way whatever becomes of the node.
            tokio::task::spawn_local(async move {
                sleep(world.delay(LATE_MAX)).await;
                drop(work(&world));
            });
            sleep(PATIENCE).await;
            return Err(NoAnswer);
        }
        let done = work(&self.world);
        self.gate.pass(step, Moment::After).await;
        sleep(self.world.delay(weather.delay_max)).await;
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

/// Names the step that the write of a root is.
fn step_of(last: Option<&Root>, next: &Root) -> Step {
    let Some(last) = last.filter(|last| last.epoch == next.epoch) else { return Step::Claim };
    if next.released {
        Step::Release
    } else if next.trying.is_some() {
        Step::Announce
    } else if last.outbox.first().is_some_and(|posted| !next.outbox.contains(posted)) {
        Step::Clear
    } else {
        Step::Commit
    }
}

#[async_trait]
impl Fabric for NodeFabric {
    fn patience(&self) -> Duration {
        PATIENCE
    }

    async fn read_root(&self, shard: ShardId) -> Result<Option<Versioned>, FabricError> {
        let is_stale = self.world.chance(self.world.weather().stale_reads);
        let read = self.call(Step::Look, move |world| {
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
        let refused = |why: tapio_wire::DecodeError| SwapError::Refused(why.to_string());
        let root = Arc::new(decode_root(&bytes).map_err(refused)?);
        let last = self.world.middle().root(shard).map(|last| Arc::clone(&last.root));
        let step = step_of(last.as_deref(), &root);
        self.call(step, move |world| {
            let at = world.age();
            let mut middle = world.middle();
            if middle.root(shard).map(|written| written.revision) != expect {
                return Err(SwapError::Lost);
            }
            let revision = middle.revise();
            let written = Written { revision, bytes, root, at };
            middle.roots.entry(shard).or_default().push(written);
            Ok(revision)
        })
        .await?
    }

    async fn put_chunk(&self, name: ChunkName, bytes: Bytes) -> Result<(), FabricError> {
        let put = self.call(Step::Chunk, move |world| {
            let at = world.age();
            world.middle().chunks.entry(name).or_insert((at, bytes));
        });
        Ok(put.await?)
    }

    async fn get_chunk(&self, name: ChunkName) -> Result<Option<Bytes>, FabricError> {
        let is_lagging = self.world.chance(self.world.weather().lagging_chunks);
        let got = self.call(Step::Load, move |world| {
            let age = world.age();
            let (put_at, bytes) = world.middle().chunks.get(&name)?.clone();
            let is_young = age.saturating_sub(put_at) < LAG_MAX;
            (!is_lagging || !is_young).then_some(bytes)
        });
        Ok(got.await?)
    }

    async fn remove_chunk(&self, name: ChunkName) -> Result<(), FabricError> {
        let removed = self.call(Step::Sweep, move |world| {
            world.middle().chunks.remove(&name);
        });
        Ok(removed.await?)
    }

    async fn read_events(
        &self,
        shard: ShardId,
        from: u64,
    ) -> Result<Box<dyn LogReader>, FabricError> {
        self.call(Step::Look, |_| ()).await?;
        Ok(Box::new(Reader::new(self, Log::Events, shard, from)))
    }

    async fn read_findings(
        &self,
        shard: ShardId,
        from: u64,
    ) -> Result<Box<dyn LogReader>, FabricError> {
        self.call(Step::Look, |_| ()).await?;
        Ok(Box::new(Reader::new(self, Log::Findings, shard, from)))
    }

    async fn trim_events(&self, needs: &[(ShardId, u64)]) -> Result<bool, FabricError> {
        // Sequences of this world's log are those of all shards: the lowest need holds it all.
        let before = needs.iter().map(|(_, from)| *from).min().unwrap_or_default();
        let trimmed = self.call(Step::Trim, move |world| {
            let mut middle = world.middle();
            let is_short = middle.is_log_short;
            if is_short {
                middle.age_out(before, Why::Trimmed);
            }
            is_short
        });
        Ok(trimmed.await?)
    }

    async fn deliver(&self, parcel: &Parcel) -> Result<Receipt, FabricError> {
        let is_doubled = self.world.chance(self.world.weather().doubled);
        let step = match parcel.address {
            Address::Telling { .. } => Step::Tell,
            Address::Findings { .. } => Step::HandOver,
            Address::DeadLetter { .. } => Step::DeadLetter,
            Address::Audit { .. } => Step::Audit,
        };
        let (address, body) = (parcel.address, parcel.body.clone());
        let delivered = self.call(step, move |world| {
            let receipt = world.deliver(address, &body);
            if is_doubled {
                world.deliver(address, &body);
            }
            receipt
        });
        Ok(delivered.await?)
    }

    async fn beat(&self, node: &Text, body: Bytes) -> Result<Revision, FabricError> {
        let node = node.clone();
        let beaten = self.call(Step::Beat, move |world| {
            let mut middle = world.middle();
            let revision = middle.revise();
            middle.beats.push((node, revision, body));
            middle.notice(Topic::Beats).notify_waiters();
            revision
        });
        Ok(beaten.await?)
    }

    async fn hear_beats(&self) -> Result<Box<dyn BeatReader>, FabricError> {
        self.call(Step::Look, |_| ()).await?;
        Ok(Box::new(Ear::new(self)))
    }

    fn log_time(&self) -> Option<Timestamp> {
        Some(self.world.now())
    }
}
