//! What publishers and subscriptions of one bus share.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tapio_bus::{BusStats, WhenFull};
use tapio_model::{Level, ShardId};
use tokio::{
    sync::{Semaphore, watch},
    time::timeout,
};

use super::{Acknowledge, NatsBusOptions, figures::Counters, ledger::Ledger, purge::Purger};
use crate::{Connection, Stream};

/// One shard's side.
#[derive(Debug)]
pub(super) struct Shard {
    ledger: Mutex<Ledger>,
    /// Room in the log, in events, where publishers wait for it: a semaphore because that serves
    /// them in order of arrival.
    pub(super) room: Option<Arc<Semaphore>>,
}

impl Shard {
    pub(super) fn lock(&self) -> MutexGuard<'_, Ledger> {
        // Nothing panics while it holds the lock, short of memory running out.
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives back room for events.
    pub(super) fn release(&self, events: u64) {
        match &self.room {
            Some(room) => room.add_permits(usize::try_from(events).unwrap_or_default()),
            None => self.lock().release(events),
        }
    }
}

/// What publishers and subscriptions of one bus share.
pub(super) struct Shared {
    pub(super) connection: Connection,
    pub(super) options: NatsBusOptions,
    /// The events stream.
    pub(super) stream: String,
    pub(super) shards: Vec<Arc<Shard>>,
    pub(super) in_flight: Arc<Semaphore>,
    pub(super) in_flight_max: u32,
    pub(super) counters: Arc<Counters>,
    pub(super) purger: Purger,
    closed: watch::Sender<bool>,
}

impl Shared {
    pub(super) fn new(connection: Connection, options: NatsBusOptions) -> Self {
        // A semaphore is asked for a u32 of permits; that many events would fill 2 TB.
        let askable = usize::try_from(u32::MAX).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS);
        let mut options = options;
        options.events_max_per_shard = options.events_max_per_shard.clamp(1, askable);
        options.in_flight_max = options.in_flight_max.clamp(1, askable);
        let waits = match (options.acknowledge, options.when_full) {
            (Acknowledge::Purge, WhenFull::Block) => true,
            (Acknowledge::Purge, WhenFull::ShedLowestFirst)
            | (Acknowledge::Keep, WhenFull::Block | WhenFull::ShedLowestFirst) => false,
        };
        let shard = |_| {
            let room = waits.then(|| Arc::new(Semaphore::new(options.events_max_per_shard)));
            Arc::new(Shard { ledger: Mutex::default(), room })
        };
        let counters = Arc::new(Counters::default());
        let stream = connection.subjects().stream(Stream::Events);
        Self {
            shards: options.shards.shards().map(shard).collect(),
            in_flight: Arc::new(Semaphore::new(options.in_flight_max)),
            in_flight_max: u32::try_from(options.in_flight_max).unwrap_or(u32::MAX),
            purger: Purger::new(connection.clone(), stream.clone(), Arc::clone(&counters)),
            stream,
            counters,
            connection,
            options,
            closed: watch::Sender::new(false),
        }
    }

    pub(super) fn shard(&self, id: ShardId) -> Option<&Arc<Shard>> {
        self.shards.get(id.index())
    }

    pub(super) fn is_closed(&self) -> bool {
        *self.closed.borrow()
    }

    /// Returns what tells of the end.
    pub(super) fn closing(&self) -> watch::Receiver<bool> {
        self.closed.subscribe()
    }

    /// Waits for the end.
    pub(super) async fn closed(&self) {
        // The sender is ours, so waiting cannot fail.
        drop(self.closing().wait_for(|closed| *closed).await);
    }

    /// Counts what the stream or the ledger refused.
    pub(super) fn refuse(&self, shard: &Shard, level: Level, events: u64) {
        shard.lock().refuse(level, events);
    }

    /// Refuses publishers from now on, and lets what is on its way arrive, within bounds.
    pub(super) async fn close(&self) {
        self.closed.send_replace(true);
        for shard in &self.shards {
            if let Some(room) = &shard.room {
                room.close();
            }
        }
        // Whoever is in flight ends at its next look at the end, or once it is acknowledged.
        let bound = self.connection.patience().saturating_mul(2);
        drop(timeout(bound, self.in_flight.acquire_many(self.in_flight_max)).await);
        self.in_flight.close();
        self.purger.finish(bound).await;
    }

    pub(super) fn stats(&self) -> BusStats {
        let mut total = BusStats::default();
        for shard in &self.shards {
            let stats = shard.lock().stats();
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
