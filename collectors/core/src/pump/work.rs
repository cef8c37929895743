//! The task's side: what it takes in, lets wait, and sends.

use std::{collections::BTreeSet, future::Future, pin::Pin, sync::Arc, time::Duration};

use futures::{StreamExt as _, stream::FuturesUnordered};
use tapio_bus::{Batch, Bus, Offset, PublishError};
use tapio_model::Clock;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};
use tracing::{error, warn};

use super::{
    counters::Counters,
    groups::{Group, Groups, Key},
    pace::Pace,
};
use crate::{Binder, Unbound};

/// A publish under way, and how it ends.
type Flight = Pin<Box<dyn Future<Output = Landed> + Send>>;

/// A publish that ended.
#[derive(Debug, Clone, Copy)]
struct Landed {
    key: Key,
    events: usize,
    answer: Result<Offset, PublishError>,
}

/// The bus takes nothing more.
#[derive(Debug, Clone, Copy)]
struct BusClosed;

/// The task's side.
///
/// # Invariant
/// At most one flight has a key, so that a shard's events of one level stay in order. What waits
/// and flies is at most `events_max` and one batch.
pub(super) struct Work {
    pub(super) queue: mpsc::Receiver<Unbound>,
    pub(super) binder: Arc<Binder>,
    pub(super) groups: Groups,
    pub(super) pace: Pace,
    pub(super) bus: Arc<dyn Bus>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) counters: Arc<Counters>,
    pub(super) limits: Limits,
    pub(super) flying: Flying,
}

/// What the task may hold.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) events_max: usize,
    pub(super) batch_events_max: usize,
    pub(super) in_flight_max: usize,
}

/// What is under way.
#[derive(Default)]
pub(super) struct Flying {
    flights: FuturesUnordered<Flight>,
    busy: BTreeSet<Key>,
    events: usize,
}

impl Work {
    pub(super) async fn run(mut self) {
        match self.pump().await {
            Ok(()) => {}
            Err(BusClosed) => self.abandon().await,
        }
    }

    /// Pumps until every outlet is dropped and everything has landed.
    async fn pump(&mut self) -> Result<(), BusClosed> {
        let mut taken = Vec::with_capacity(self.limits.batch_events_max);
        let mut is_open = true;
        loop {
            self.launch(is_open);
            let is_idle = self.flying.flights.is_empty();
            if !is_open && is_idle && self.groups.held() == 0 {
                return Ok(());
            }
            let due = self.next_due();
            let room =
                self.limits.events_max.saturating_sub(self.groups.held() + self.flying.events);
            let many = self.limits.batch_events_max.min(room);
            tokio::select! {
                biased;
                landed = self.flying.flights.next(), if !is_idle => {
                    if let Some(landed) = landed {
                        self.land(landed)?;
                    }
                }
                count = self.queue.recv_many(&mut taken, many), if is_open && many > 0 => {
                    is_open = count > 0;
                    self.counters.received(count);
                    let now = Instant::now();
                    for unbound in taken.drain(..) {
                        self.groups.add(self.binder.bind(unbound), now);
                    }
                }
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {}
            }
        }
    }

    /// Returns when something is due that may be sent then.
    fn next_due(&self) -> Option<Instant> {
        if self.flying.flights.len() >= self.limits.in_flight_max {
            return None;
        }
        self.groups.next_due(&self.flying.busy, |level| self.pace.linger(level))
    }

    /// Sends what is due, the most urgent first, as far as there is room among what flies. Once
    /// the outlets are closed nothing has to wait for company that will not come.
    fn launch(&mut self, is_open: bool) {
        let now = Instant::now();
        while self.flying.flights.len() < self.limits.in_flight_max {
            let (pace, busy) = (&self.pace, &self.flying.busy);
            let linger = |level| if is_open { pace.linger(level) } else { Duration::ZERO };
            let Some(Group { key, events }) = self.groups.take_due(now, busy, linger) else {
                return;
            };
            let count = events.len();
            let is_crowded = self.flying.flights.len() >= self.limits.in_flight_max / 2;
            self.pace.sent(now, count, is_crowded);
            let (shard, level) = (key.shard, key.level());
            let batch = Batch { shard, level, time: self.clock.now(), events };
            let bus = Arc::clone(&self.bus);
            self.flying.busy.insert(key);
            self.flying.events += count;
            self.flying.flights.push(Box::pin(async move {
                Landed { key, events: count, answer: bus.publish(batch).await }
            }));
        }
    }

    /// Counts what became of a batch.
    fn land(&mut self, landed: Landed) -> Result<(), BusClosed> {
        let Landed { key, events, answer } = landed;
        self.flying.busy.remove(&key);
        self.flying.events -= events;
        match answer {
            Ok(_offset) => self.counters.published(events),
            Err(PublishError::Full) => self.counters.shed(key.level(), events),
            Err(PublishError::Closed) => {
                self.counters.closed(events);
                return Err(BusClosed);
            }
            // The pump and the bus are set up to disagree: every such batch will be refused.
            Err(
                why @ (PublishError::Empty
                | PublishError::TooLarge { .. }
                | PublishError::UnknownShard(_)),
            ) => {
                if self.counters.refused(events) {
                    error!(%why, shard = %key.shard, "the bus refuses the pump's batches");
                }
            }
        }
        Ok(())
    }

    /// Counts what can no longer be published, and refuses what would come.
    async fn abandon(&mut self) {
        self.queue.close();
        // What flies may have been taken before the end.
        while let Some(landed) = self.flying.flights.next().await {
            match self.land(landed) {
                Ok(()) | Err(BusClosed) => {}
            }
        }
        self.counters.closed(self.groups.clear());
        while self.queue.recv().await.is_some() {
            self.counters.received(1);
            self.counters.closed(1);
        }
        let closed_events = self.counters.snapshot().closed_events;
        warn!(closed_events, "the bus closed before the pump was empty");
    }
}
