//! Where things lie that leave a shard, and what its large parts are called.

use std::fmt;

use crate::{ShardId, StoryId};

/// Name of an immutable chunk: the XXH3-128 of its content, so that the same content has one name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChunkName(pub [u8; 16]);

impl fmt::Display for ChunkName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Where a parcel goes. Each address is taken once: a second parcel with other bytes is an alarm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Address {
    /// The n-th telling of a story.
    Telling {
        /// The shard that tells.
        shard: ShardId,
        /// The story.
        story: StoryId,
        /// Which telling, from 0.
        telling: u32,
    },
    /// A dead letter.
    DeadLetter {
        /// The shard that gave up.
        shard: ShardId,
        /// The entry of the shard's log.
        sequence: u64,
        /// Which of several letters of that entry.
        part: u32,
    },
    /// Findings of one commit for the incidents of one shard. Delivered at least once and in order
    /// of commits: the receiver skips what it has.
    Findings {
        /// The shard that found.
        from: ShardId,
        /// The shard whose incidents they join.
        to: ShardId,
        /// The commit.
        commit: u64,
    },
    /// What became of which event, in runs that are audited.
    Audit {
        /// The shard.
        shard: ShardId,
        /// The commit.
        commit: u64,
    },
}
