//! Roots and chunks: the state of shards, in two buckets.

use async_nats::HeaderMap;
use bytes::Bytes;
use tapio_bus::{ChunkName, Revision, Versioned};
use tapio_model::ShardId;

use super::{
    calls::{Area, Calls, expecting},
    failure::Failure,
    figures::count,
};
use crate::Bucket;

impl Calls {
    /// Reads a root as the leader has it.
    pub(super) async fn read_root(&self, shard: ShardId) -> Result<Option<Versioned>, Failure> {
        let (stream, keys) = self.bucket(Bucket::Roots);
        let stored =
            self.bounded(Area::Roots, self.last(&stream, &format!("{keys}{shard}"))).await?;
        count(&self.counters.roots_read);
        Ok(stored.and_then(|stored| {
            let revision = Revision(stored.sequence);
            stored.body.map(|bytes| Versioned { revision, bytes })
        }))
    }

    /// Writes a root if its last write was `expect`.
    pub(super) async fn swap_root(
        &self,
        shard: ShardId,
        bytes: &Bytes,
        expect: Option<Revision>,
    ) -> Result<Revision, Failure> {
        let (stream, keys) = self.bucket(Bucket::Roots);
        let key = format!("{keys}{shard}");
        let swap = async {
            let Some(Revision(expect)) = expect else {
                return self.create_root(&stream, &key, bytes).await;
            };
            self.append(&key, &expecting(expect), bytes).await
        };
        let swapped = self.bounded(Area::Roots, swap).await;
        let counters = &self.counters;
        count(match &swapped {
            Ok(_) => &counters.swaps_won,
            Err(Failure::Lost) => &counters.swaps_lost,
            Err(Failure::Refused(_)) => &counters.swaps_refused,
            Err(
                Failure::Busy(_) | Failure::Missing(_) | Failure::Unreachable(_) | Failure::Full(_),
            ) => &counters.swaps_unsure,
        });
        swapped.map(|ack| Revision(ack.sequence))
    }

    /// Writes a root that is not there: never written, or written and deleted since by an
    /// operator, which leaves a marker with a sequence of its own.
    async fn create_root(
        &self,
        stream: &str,
        key: &str,
        bytes: &Bytes,
    ) -> Result<async_nats::jetstream::publish::PublishAck, Failure> {
        match self.append(key, &expecting(0), bytes).await {
            Err(Failure::Lost) => {}
            answer @ (Ok(_) | Err(_)) => return answer,
        }
        match self.last(stream, key).await? {
            Some(stored) if stored.body.is_none() => {
                self.append(key, &expecting(stored.sequence), bytes).await
            }
            Some(_) | None => Err(Failure::Lost),
        }
    }

    /// Keeps a chunk.
    ///
    /// Without a message id: within the duplicate window the server would swallow a chunk that was
    /// removed and is kept again.
    pub(super) async fn put_chunk(&self, name: ChunkName, bytes: &Bytes) -> Result<(), Failure> {
        let (_, keys) = self.bucket(Bucket::Chunks);
        let (key, headers) = (format!("{keys}{name}"), HeaderMap::new());
        self.bounded(Area::Chunks, self.append(&key, &headers, bytes)).await?;
        count(&self.counters.chunks_put);
        Ok(())
    }

    /// Reads a chunk.
    pub(super) async fn get_chunk(&self, name: ChunkName) -> Result<Option<Bytes>, Failure> {
        let (stream, keys) = self.bucket(Bucket::Chunks);
        let key = format!("{keys}{name}");
        let stored = self.bounded(Area::Chunks, self.only(&stream, &key)).await?;
        let bytes = stored.and_then(|stored| stored.body);
        let counters = &self.counters;
        count(if bytes.is_some() { &counters.chunks_got } else { &counters.chunks_missed });
        Ok(bytes)
    }

    /// Removes a chunk.
    pub(super) async fn remove_chunk(&self, name: ChunkName) -> Result<(), Failure> {
        let (stream, keys) = self.bucket(Bucket::Chunks);
        let key = format!("{keys}{name}");
        self.bounded(Area::Chunks, self.erase(&stream, &key)).await?;
        count(&self.counters.chunks_removed);
        Ok(())
    }
}
