//! The ports of the mesh: what a node needs of the durable middle, whatever that is made of.
//!
//! `tapio-nats` keeps these promises with JetStream, the chaos suite's simulated world with virtual
//! time and faults. Bytes go in and come out as they are: only `tapio-wire` reads them.

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use tapio_model::{Address, ChunkName, ShardId, Text, Timestamp};

/// Which write of a key this is. Grows with every write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Revision(pub u64);

/// A value and the write it stems from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Versioned {
    /// The write.
    pub revision: Revision,
    /// The value.
    pub bytes: Bytes,
}

/// Why the durable middle did not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FabricError {
    /// No answer, or no leader: it may have happened and may not. Worth another try.
    #[error("no answer: {0}")]
    Unreachable(String),
    /// Full: the stream refuses more until something ages out or is raised.
    #[error("full: {0}")]
    Full(String),
    /// Refused for good: permissions, a payload too large, a stream that is gone.
    #[error("refused: {0}")]
    Refused(String),
}

/// What became of a compare-and-set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SwapError {
    /// Somebody else has written. Nothing of ours was.
    #[error("another write was first")]
    Lost,
    /// It may have been written and may not: read before believing either.
    #[error("no answer: {0}")]
    Unsure(String),
    /// Refused for good.
    #[error("refused: {0}")]
    Refused(String),
}

/// One entry of a shard's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogEntry {
    /// Its place in the log: grows, with gaps where entries belong to other shards.
    pub sequence: u64,
    /// When the log took it, by the log's clock.
    pub time: Timestamp,
    /// Entries of this shard's log that waited behind it when it was read.
    pub waiting: u64,
    /// The bytes.
    pub body: Bytes,
    /// The `traceparent` header it carried, if any.
    pub traceparent: Option<Text>,
}

/// Reads one shard's log in order.
#[async_trait]
pub trait LogReader: Send + fmt::Debug {
    /// Returns the first sequence the whole log still held when reading began: what stood before
    /// it has aged out, read or not.
    fn first_kept(&self) -> u64;

    /// Waits for the next entry. The reader repairs lost connections and gaps by itself, counts
    /// them, and goes on where it was; it never skips and never repeats.
    ///
    /// # Errors
    /// [`FabricError::Refused`] if reading can never go on.
    /// # Cancel safety
    /// Dropping the future loses nothing.
    async fn next(&mut self) -> Result<LogEntry, FabricError>;
}

/// Something that leaves a shard through its outbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parcel {
    /// Where it goes.
    pub address: Address,
    /// What it is, as bytes.
    pub body: Bytes,
    /// The `traceparent` it carries on, if any.
    pub traceparent: Option<Text>,
}

/// What became of a parcel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Receipt {
    /// It lies there now.
    Delivered,
    /// The same bytes lay there already.
    WasThere,
    /// Other bytes lie there: two owners told different things. An alarm, never overwritten.
    Differs,
}

/// A sign of life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Beat {
    /// The node's name: the key it writes to.
    pub node: Text,
    /// The write.
    pub revision: Revision,
    /// What it says of itself; empty once it has signed off.
    pub body: Bytes,
}

/// Hears signs of life.
#[async_trait]
pub trait BeatReader: Send + fmt::Debug {
    /// Waits for the next sign of life of any node. Begins with the last one of each. Repairs lost
    /// connections by itself.
    ///
    /// # Errors
    /// [`FabricError::Refused`] if listening can never go on.
    /// # Cancel safety
    /// Dropping the future loses nothing.
    async fn next(&mut self) -> Result<Beat, FabricError>;
}

/// The durable middle: logs, roots, chunks, and what leaves the mesh.
///
/// Every call answers or fails within [`Fabric::patience`]; none hangs while the other side is away.
#[async_trait]
pub trait Fabric: Send + Sync + fmt::Debug {
    /// Returns how long a call may take before it fails as unreachable.
    fn patience(&self) -> Duration;

    /// Reads a shard's root; `None` if it was never written.
    ///
    /// # Errors
    /// [`FabricError`].
    async fn read_root(&self, shard: ShardId) -> Result<Option<Versioned>, FabricError>;

    /// Writes a shard's root if its last write was `expect`, or if it was never written.
    ///
    /// # Errors
    /// [`SwapError`].
    /// # Cancel safety
    /// Dropping the future may leave the root written.
    async fn swap_root(
        &self,
        shard: ShardId,
        bytes: Bytes,
        expect: Option<Revision>,
    ) -> Result<Revision, SwapError>;

    /// Keeps a chunk. Keeping it twice is keeping it once.
    ///
    /// # Errors
    /// [`FabricError`].
    async fn put_chunk(&self, name: ChunkName, bytes: Bytes) -> Result<(), FabricError>;

    /// Reads a chunk; `None` if there is none.
    ///
    /// # Errors
    /// [`FabricError`].
    async fn get_chunk(&self, name: ChunkName) -> Result<Option<Bytes>, FabricError>;

    /// Removes a chunk, if there is one.
    ///
    /// # Errors
    /// [`FabricError`].
    async fn remove_chunk(&self, name: ChunkName) -> Result<(), FabricError>;

    /// Reads a shard's events from sequence `from` on.
    ///
    /// # Errors
    /// [`FabricError`].
    async fn read_events(
        &self,
        shard: ShardId,
        from: u64,
    ) -> Result<Box<dyn LogReader>, FabricError>;

    /// Reads the findings sent to a shard from sequence `from` on.
    ///
    /// # Errors
    /// [`FabricError`].
    async fn read_findings(
        &self,
        shard: ShardId,
        from: u64,
    ) -> Result<Box<dyn LogReader>, FabricError>;

    /// Lets go of old events if their log is short of room. Each shard needs what it has from the
    /// sequence given for it on; every shard must be there. Says whether anything was let go.
    ///
    /// # Errors
    /// [`FabricError`].
    async fn trim_events(&self, needs: &[(ShardId, u64)]) -> Result<bool, FabricError>;

    /// Delivers a parcel, once.
    ///
    /// # Errors
    /// [`FabricError`]; it may lie there all the same, and delivering it again is safe.
    async fn deliver(&self, parcel: &Parcel) -> Result<Receipt, FabricError>;

    /// Gives a sign of life for `node`.
    ///
    /// # Errors
    /// [`FabricError`].
    async fn beat(&self, node: &Text, body: Bytes) -> Result<Revision, FabricError>;

    /// Hears the signs of life of all nodes.
    ///
    /// # Errors
    /// [`FabricError`].
    async fn hear_beats(&self) -> Result<Box<dyn BeatReader>, FabricError>;

    /// Returns the log's time: its clock as last seen, carried on with a clock that never jumps.
    /// `None` before anything was heard of it.
    fn log_time(&self) -> Option<Timestamp>;
}

/// The durable middle, shared.
pub type SharedFabric = Arc<dyn Fabric>;
