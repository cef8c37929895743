//! Streams and buckets: what Tapio wants of each, created or checked, never silently changed.

mod check;
mod want;

use std::time::Duration;

use async_nats::jetstream::stream::StorageType;
use tapio_shard::ShardCount;

pub use self::check::StreamError;
pub(crate) use self::check::{look, set_up};
pub use self::want::Difference;

/// Where streams and buckets keep what they hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Storage {
    /// Files of the server.
    #[default]
    File,
    /// Memory of the server: gone with it. For tests.
    Memory,
}

impl From<Storage> for StorageType {
    fn from(storage: Storage) -> Self {
        match storage {
            Storage::File => Self::File,
            Storage::Memory => Self::Memory,
        }
    }
}

/// What the streams and buckets shall be like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamPlan {
    /// Servers that keep each message: 1, 3 or 5. Three survive the loss of one.
    pub replicas: usize,
    /// Where it is kept.
    pub storage: Storage,
    /// Shards: a consumer each, so that more than some sixteen a stream cost throughput.
    pub shards: ShardCount,
    /// Bytes the events stream takes before it refuses more. 4 GiB are over three minutes of
    /// 165,000 events a second at 130 bytes each in envelopes. A server refuses streams whose
    /// limits together exceed its own.
    pub events_max_bytes: u64,
    /// Bytes that findings, stories and dead letters each take before their stream refuses more,
    /// and they wait in a root's outbox. 256 MiB are 65,000 stories of 4 KiB.
    pub kept_max_bytes: u64,
    /// How long events stay. An hour bridges a night's worth of bad luck with a restart loop;
    /// owners read within seconds.
    pub events_max_age: Duration,
    /// How long findings on their way stay; owners of incidents read them within seconds.
    pub findings_max_age: Duration,
    /// How long stories stay.
    pub stories_max_age: Duration,
    /// How long dead letters stay.
    pub dead_letters_max_age: Duration,
    /// How long a repeated envelope is known for one. Longer than a publisher tries again after a
    /// lost acknowledgement: an election takes up to nine seconds.
    pub duplicate_window: Duration,
    /// Whether there is an audit stream.
    pub audit: bool,
}

impl Default for StreamPlan {
    fn default() -> Self {
        const HOUR: Duration = Duration::from_secs(60 * 60);
        const WEEK: Duration = Duration::from_secs(7 * 24 * 60 * 60);
        Self {
            replicas: 1,
            storage: Storage::File,
            shards: ShardCount::DEFAULT,
            events_max_bytes: 4 << 30,
            kept_max_bytes: 256 << 20,
            events_max_age: HOUR,
            findings_max_age: HOUR,
            stories_max_age: WEEK,
            dead_letters_max_age: WEEK,
            duplicate_window: Duration::from_secs(120),
            audit: false,
        }
    }
}
