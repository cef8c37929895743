//! The memory bus: for one process, and for tests.

mod log;

use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use tapio_model::ShardId;
use tapio_shard::ShardCount;
use tokio::{
    sync::{Notify, Semaphore},
    task::coop::consume_budget,
};

use self::log::{Log, after};
use crate::{
    Batch, Bus, BusStats, Delivery, Offset, PublishError, Start, SubscribeError, Subscription,
};

/// What a publisher meets when a shard's log is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WhenFull {
    /// It waits until enough is acknowledged; whoever waits longest goes first, however urgent.
    #[default]
    Block,
    /// What is less urgent, and was given to no subscription yet, is evicted; the least urgent
    /// first, and of those the oldest. If that does not make room, the batch is refused.
    ShedLowestFirst,
}

/// How much a memory bus holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryBusLimits {
    /// Shards; each has a log of its own.
    pub shards: ShardCount,
    /// Events that a shard's log holds until they are acknowledged. 65,536 events of some 500
    /// bytes are 32 MB a shard at worst, and 13 s of 5,000 events a second.
    pub events_max_per_shard: usize,
    /// What a publisher meets when a log is full.
    pub when_full: WhenFull,
}

impl Default for MemoryBusLimits {
    fn default() -> Self {
        Self {
            shards: ShardCount::DEFAULT,
            events_max_per_shard: 65_536,
            when_full: WhenFull::Block,
        }
    }
}

/// A bus inside one process.
///
/// Batches stay until they are acknowledged, so a new subscription can read them again. There is
/// one group of consumers: what one subscription acknowledges is gone for all of them.
pub struct MemoryBus {
    shards: Arc<[Shard]>,
    events_max: usize,
}

struct Shard {
    state: Mutex<State>,
    /// Room in the log, in events, where publishers wait for it: a semaphore because that serves
    /// them in order of arrival. None where they do not wait.
    room: Option<Semaphore>,
}

#[derive(Default)]
struct State {
    log: Log,
    /// The subscriptions that read this shard.
    readers: Vec<Arc<Notify>>,
}

impl MemoryBus {
    /// Makes an empty bus.
    #[must_use]
    pub fn new(limits: MemoryBusLimits) -> Self {
        // A semaphore is asked for a u32 of permits; that many events would fill 2 TB.
        let askable = usize::try_from(u32::MAX).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS);
        let events_max = limits.events_max_per_shard.clamp(1, askable);
        let shard = |_| Shard {
            state: Mutex::default(),
            room: match limits.when_full {
                WhenFull::Block => Some(Semaphore::new(events_max)),
                WhenFull::ShedLowestFirst => None,
            },
        };
        Self { shards: limits.shards.shards().map(shard).collect(), events_max }
    }
}

impl Shard {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it holds the lock, short of memory running out.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn close(&self) {
        let mut state = self.lock();
        state.log.close();
        state.readers.iter().for_each(|reader| reader.notify_one());
        if let Some(room) = &self.room {
            room.close();
        }
    }

    fn acknowledge(&self, offset: Offset) {
        let freed = self.lock().log.acknowledge(offset);
        if let Some(room) = &self.room {
            room.add_permits(usize::try_from(freed).unwrap_or_default());
        }
    }
}

#[async_trait]
impl Bus for MemoryBus {
    async fn publish(&self, batch: Batch) -> Result<Offset, PublishError> {
        let shard = self.shards.get(batch.shard.index());
        let shard = shard.ok_or(PublishError::UnknownShard(batch.shard))?;
        let events = batch.events.len();
        if events == 0 {
            return Err(PublishError::Empty);
        }
        if events > self.events_max {
            return Err(PublishError::TooLarge { events, events_max: self.events_max });
        }
        // A publisher that never has to wait must still let others run.
        consume_budget().await;
        let room = match &shard.room {
            Some(room) => {
                let events = u32::try_from(events).unwrap_or(u32::MAX);
                Some(room.acquire_many(events).await.map_err(|_closed| PublishError::Closed)?)
            }
            None => None,
        };
        let mut state = shard.lock();
        if state.log.is_closed() {
            return Err(PublishError::Closed);
        }
        match room {
            // The log gives it back when it lets go of the batch.
            Some(room) => room.forget(),
            None => {
                let events_max = u64::try_from(self.events_max).unwrap_or(u64::MAX);
                state.log.make_room(&batch, events_max)?;
            }
        }
        let offset = state.log.append(batch);
        state.readers.iter().for_each(|reader| reader.notify_one());
        Ok(offset)
    }

    async fn subscribe(
        &self,
        shards: &[ShardId],
        start: Start,
    ) -> Result<Box<dyn Subscription>, SubscribeError> {
        let mut subscription = MemorySubscription {
            shards: Arc::clone(&self.shards),
            cursors: VecDeque::with_capacity(shards.len()),
            news: Arc::new(Notify::new()),
        };
        for &id in shards {
            let shard = self.shards.get(id.index()).ok_or(SubscribeError::UnknownShard(id))?;
            if subscription.cursors.iter().all(|cursor| cursor.shard != id) {
                let mut state = shard.lock();
                let next = state.log.start(id, start)?;
                state.readers.push(Arc::clone(&subscription.news));
                subscription.cursors.push_back(Cursor { shard: id, next });
            }
        }
        Ok(Box::new(subscription))
    }

    async fn close(&self) {
        self.shards.iter().for_each(Shard::close);
    }

    fn stats(&self) -> BusStats {
        let mut total = BusStats::default();
        for shard in &*self.shards {
            let stats = shard.lock().log.stats();
            total.accepted_events += stats.accepted_events;
            total.acknowledged_events += stats.acknowledged_events;
            total.held_events += stats.held_events;
            total.evicted_events += stats.evicted_events;
            for (total, refused) in total.refused_events.iter_mut().zip(stats.refused_events) {
                *total += refused;
            }
        }
        total
    }
}

impl fmt::Debug for MemoryBus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryBus")
            .field("shards", &self.shards.len())
            .field("events_max", &self.events_max)
            .field("stats", &self.stats())
            .finish()
    }
}

/// Where a subscription stands in a shard's log.
#[derive(Debug, Clone, Copy)]
struct Cursor {
    shard: ShardId,
    next: Offset,
}

struct MemorySubscription {
    shards: Arc<[Shard]>,
    /// The shard whose turn it is comes first.
    cursors: VecDeque<Cursor>,
    news: Arc<Notify>,
}

/// What a look at all logs found.
enum Found {
    Batch(Delivery),
    Nothing,
    End,
}

impl MemorySubscription {
    /// Gives each shard one turn, beginning with the one that waits longest.
    fn look(&mut self) -> Found {
        let mut ended = true;
        for _ in 0..self.cursors.len() {
            self.cursors.rotate_left(1);
            let Some(cursor) = self.cursors.back_mut() else { break };
            let Some(shard) = self.shards.get(cursor.shard.index()) else { continue };
            let mut state = shard.lock();
            if let Some(delivery) = state.log.read(cursor.next) {
                cursor.next = after(delivery.offset);
                return Found::Batch(delivery);
            }
            ended &= state.log.is_closed();
        }
        if ended { Found::End } else { Found::Nothing }
    }
}

#[async_trait]
impl Subscription for MemorySubscription {
    async fn next(&mut self) -> Option<Delivery> {
        // A reader that never has to wait must still let others run. Nothing is awaited between
        // taking a batch and returning it, so a dropped future has taken none.
        consume_budget().await;
        loop {
            match self.look() {
                Found::Batch(delivery) => return Some(delivery),
                Found::End => return None,
                // What is published between the look and the wait leaves a permit.
                Found::Nothing => self.news.notified().await,
            }
        }
    }

    fn acknowledge(&mut self, shard: ShardId, offset: Offset) {
        // Only its own shards: the others are somebody else's to be done with.
        if self.cursors.iter().any(|cursor| cursor.shard == shard)
            && let Some(shard) = self.shards.get(shard.index())
        {
            shard.acknowledge(offset);
        }
    }
}

impl Drop for MemorySubscription {
    fn drop(&mut self) {
        for cursor in &self.cursors {
            if let Some(shard) = self.shards.get(cursor.shard.index()) {
                shard.lock().readers.retain(|reader| !Arc::ptr_eq(reader, &self.news));
            }
        }
    }
}

impl fmt::Debug for MemorySubscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemorySubscription").field("cursors", &self.cursors).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
