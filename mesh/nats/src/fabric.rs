//! The durable middle, made of JetStream: streams for logs and parcels, buckets for state.

mod breaker;
mod calls;
mod clock;
mod cursor;
mod failure;
mod figures;
mod kept;
mod node_key;
mod parcel;
mod readers;
mod state;
mod tail;
mod trim;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use tapio_bus::{
    BeatReader, ChunkName, Fabric, FabricError, LogReader, Parcel, Receipt, Revision, SwapError,
    Versioned,
};
use tapio_model::{ShardId, Text, Timestamp};

pub use self::figures::FabricFigures;
pub(crate) use self::kept::{Kept, KeptReader, KeptState};
use self::{
    calls::Calls,
    readers::{Beats, ShardLog},
    tail::Course,
};
use crate::{Connection, Stream};

/// The durable middle, over one connection. Streams and buckets must be there:
/// [`Connection::set_up`] makes them.
#[derive(Debug)]
pub struct NatsFabric {
    calls: Arc<Calls>,
    /// Readers so far: each has chances of its own.
    readers: AtomicU64,
}

impl NatsFabric {
    /// Makes a fabric of a connection, which it shares with whoever else has it.
    #[must_use]
    pub fn new(connection: Connection) -> Self {
        Self { calls: Arc::new(Calls::new(connection)), readers: AtomicU64::new(0) }
    }

    /// Returns the figures of this moment.
    #[must_use]
    pub fn figures(&self) -> FabricFigures {
        self.calls.counters.snapshot()
    }

    /// Says whether some calls fail at once now, as there is no connection or there were no
    /// answers lately.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.calls.is_open()
    }

    fn seed(&self) -> u64 {
        let reader = self.readers.fetch_add(1, Ordering::Relaxed);
        self.calls.connection.seed().wrapping_add(reader)
    }

    async fn read_log(
        &self,
        stream: Stream,
        filter: String,
        from: u64,
    ) -> Result<Box<dyn LogReader>, FabricError> {
        let stream = self.calls.connection.subjects().stream(stream);
        let course = Course { stream, filter };
        Ok(Box::new(ShardLog::open(&self.calls, course, from, self.seed()).await?))
    }
}

#[async_trait]
impl Fabric for NatsFabric {
    fn patience(&self) -> Duration {
        self.calls.patience()
    }

    async fn read_root(&self, shard: ShardId) -> Result<Option<Versioned>, FabricError> {
        Ok(self.calls.read_root(shard).await?)
    }

    async fn swap_root(
        &self,
        shard: ShardId,
        bytes: Bytes,
        expect: Option<Revision>,
    ) -> Result<Revision, SwapError> {
        Ok(self.calls.swap_root(shard, &bytes, expect).await?)
    }

    async fn put_chunk(&self, name: ChunkName, bytes: Bytes) -> Result<(), FabricError> {
        Ok(self.calls.put_chunk(name, &bytes).await?)
    }

    async fn get_chunk(&self, name: ChunkName) -> Result<Option<Bytes>, FabricError> {
        Ok(self.calls.get_chunk(name).await?)
    }

    async fn remove_chunk(&self, name: ChunkName) -> Result<(), FabricError> {
        Ok(self.calls.remove_chunk(name).await?)
    }

    async fn read_events(
        &self,
        shard: ShardId,
        from: u64,
    ) -> Result<Box<dyn LogReader>, FabricError> {
        let filter = self.calls.connection.subjects().events_of(shard);
        self.read_log(Stream::Events, filter, from).await
    }

    async fn read_findings(
        &self,
        shard: ShardId,
        from: u64,
    ) -> Result<Box<dyn LogReader>, FabricError> {
        let filter = self.calls.connection.subjects().findings(shard);
        self.read_log(Stream::Findings, filter, from).await
    }

    async fn trim_events(&self, needs: &[(ShardId, u64)]) -> Result<bool, FabricError> {
        Ok(self.calls.trim(needs).await?)
    }

    async fn deliver(&self, parcel: &Parcel) -> Result<Receipt, FabricError> {
        Ok(self.calls.deliver(parcel).await?)
    }

    async fn beat(&self, node: &Text, body: Bytes) -> Result<Revision, FabricError> {
        Ok(self.calls.beat(node, &body).await?)
    }

    async fn hear_beats(&self) -> Result<Box<dyn BeatReader>, FabricError> {
        Ok(Box::new(Beats::open(&self.calls, self.seed()).await?))
    }

    fn log_time(&self) -> Option<Timestamp> {
        self.calls.clock.now()
    }
}
