//! Which shard a trace belongs to, and which node a shard: placement, membership, the root.
//!
//! Pure: what was heard and a clock that never jumps go in, decisions come out.

mod members;
mod node;
mod placement;
mod root;

use tapio_model::{Entity, ShardId, TraceId};
use xxhash_rust::xxh3::xxh3_64;

pub use members::{Change, Heard, Life, MemberLimits, Members};
pub use node::{NodeId, NodeState, SignOfLife};
pub use placement::{Candidate, PlacementLimits, place};
pub use root::{Claimable, Content, PieceKey, Posted, Root, SUSPECT_CLAIMS, Suspect, TRIES_MAX};

/// How many shards there are. Fixed for a generation of streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShardCount(u16);

impl ShardCount {
    /// Shards of one stream unless configured otherwise.
    ///
    /// # Source
    /// Measured on JetStream: from 16 filtered consumers a stream on, throughput falls off.
    pub const DEFAULT: Self = Self(16);

    /// Makes a count; zero shards cannot hold a trace, so zero means one.
    #[must_use]
    pub const fn new(count: u16) -> Self {
        Self(if count == 0 { 1 } else { count })
    }

    /// Returns the number of shards.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0
    }

    /// Returns every shard, in order.
    pub fn shards(self) -> impl Iterator<Item = ShardId> {
        (0..self.0).map(ShardId::new)
    }

    /// Returns the shard of a trace: XXH3-64 (seed 0) of the id's 16 bytes, modulo the count.
    ///
    /// Publisher and owner compute it alike, whatever their language; the golden vectors below
    /// are part of the protocol.
    #[must_use]
    pub fn shard_of(self, trace: TraceId) -> ShardId {
        self.shard_of_bytes(trace.as_bytes())
    }

    /// Returns the shard whose incidents a finding joins, by its anchor. Things of one name go to
    /// one shard whatever their kind: a Deployment and the service it serves mostly share it.
    #[must_use]
    pub fn shard_of_anchor(self, anchor: &Entity) -> ShardId {
        let name = match anchor {
            Entity::Workload { name, .. }
            | Entity::Service { name, .. }
            | Entity::Node { name }
            | Entity::Object { name, .. } => name,
            Entity::Edge { to, .. } => to,
            Entity::Container { id } => id,
            Entity::Pod { uid } => uid,
            Entity::Cgroup { path, .. } => path,
            Entity::Process { pid, .. } => pid,
        };
        self.shard_of_bytes(name.as_bytes())
    }

    fn shard_of_bytes(self, bytes: &[u8]) -> ShardId {
        let shard = xxh3_64(bytes) % u64::from(self.0);
        ShardId::new(u16::try_from(shard).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_shards_are_one() {
        assert_eq!(ShardCount::new(0).get(), 1);
    }

    #[test]
    fn golden_vectors() {
        let hashes = [[0; 16], [255; 16]].map(|bytes| xxh3_64(&bytes));
        assert_eq!(hashes, [0xd0a6_6a65_c752_8968, 0x722a_202f_07a4_b313]);
        let counting = TraceId::from_bytes([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]);
        assert_eq!(ShardCount::DEFAULT.shard_of(counting), ShardId::new(11));
    }
}
