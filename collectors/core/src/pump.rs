//! The pump: takes what collectors emit, binds it, and publishes it in batches.

mod counters;
mod groups;

use std::{sync::Arc, time::Duration};

use tapio_bus::{Batch, Bus, PublishError};
use tapio_model::Clock;
use tapio_shard::ShardCount;
use tapio_telemetry::spawn_named;
use tokio::{
    sync::mpsc,
    task::JoinHandle,
    time::{Instant, sleep_until},
};
use tracing::{error, warn};

pub use self::counters::Pumped;
use self::{
    counters::Counters,
    groups::{Group, Groups},
};
use crate::{Account, Binder, Outlet, Unbound};

/// How much the pump holds, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PumpLimits {
    /// Events that wait between the outlets and the pump. 8,192 events of some 500 bytes are 4 MB,
    /// and bridge 80 ms of a stalled bus at 100,000 events a second.
    pub queue_events_max: usize,
    /// Events of a batch. From 128 on, the cost a batch has no longer shows beside the cost an
    /// event has; more would only wait longer.
    pub batch_events_max: usize,
    /// How long an event waits for company. 2 ms nobody notices in a story, and at 10,000 events a
    /// second it makes batches instead of singles.
    pub linger: Duration,
}

impl Default for PumpLimits {
    fn default() -> Self {
        Self { queue_events_max: 8_192, batch_events_max: 128, linger: Duration::from_millis(2) }
    }
}

/// The task between the outlets and the bus.
///
/// A dropped pump goes on until its last outlet is dropped; [`Pump::drain`] waits for that.
#[derive(Debug)]
pub struct Pump {
    events: mpsc::Sender<Unbound>,
    counters: Arc<Counters>,
    task: JoinHandle<()>,
}

impl Pump {
    /// Starts the task. While the bus makes it wait, the outlets wait too once the queue is full.
    #[must_use]
    pub fn start(
        binder: Arc<Binder>,
        bus: Arc<dyn Bus>,
        shards: ShardCount,
        clock: Arc<dyn Clock>,
        limits: PumpLimits,
    ) -> Self {
        // Zero would be a channel that panics and a batch that never fills.
        let (events, queue) = mpsc::channel(limits.queue_events_max.max(1));
        let batch_events_max = limits.batch_events_max.max(1);
        let counters = Arc::new(Counters::default());
        let publisher = Publisher { bus, clock, counters: Arc::clone(&counters) };
        let work = Work {
            queue,
            binder,
            groups: Groups::new(shards, batch_events_max),
            publisher,
            batch_events_max,
            linger: limits.linger,
        };
        Self { events, counters, task: spawn_named("pump", work.run()) }
    }

    /// Makes an outlet for a collector that keeps `account`.
    #[must_use]
    pub fn outlet(&self, account: Arc<Account>) -> Outlet {
        Outlet::new(self.events.clone(), account)
    }

    /// Returns the figures of this moment.
    #[must_use]
    pub fn stats(&self) -> Pumped {
        self.counters.snapshot()
    }

    /// Returns a function that returns the figures of its moment, for whoever shows them while
    /// another owns the pump.
    pub fn meter(&self) -> impl Fn() -> Pumped + Clone + Send + Sync + 'static {
        let counters = Arc::clone(&self.counters);
        move || counters.snapshot()
    }

    /// Waits until all outlets are dropped and everything they took is published or counted.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the pump running, as dropping the pump does.
    pub async fn drain(self) -> Pumped {
        drop(self.events);
        if let Err(why) = self.task.await {
            error!(%why, "the pump died; what it held is lost");
        }
        self.counters.snapshot()
    }
}

/// The task's side.
struct Work {
    queue: mpsc::Receiver<Unbound>,
    binder: Arc<Binder>,
    groups: Groups,
    publisher: Publisher,
    batch_events_max: usize,
    linger: Duration,
}

impl Work {
    async fn run(mut self) {
        match self.pump().await {
            Ok(()) => {}
            Err(BusClosed) => self.abandon().await,
        }
    }

    /// Pumps until every outlet is dropped.
    async fn pump(&mut self) -> Result<(), BusClosed> {
        let mut taken = Vec::with_capacity(self.batch_events_max);
        // When the event that waits longest has waited long enough; none waits while it is none.
        let mut deadline: Option<Instant> = None;
        loop {
            let due = deadline.unwrap_or_else(Instant::now);
            let groups = tokio::select! {
                biased;
                count = self.queue.recv_many(&mut taken, self.batch_events_max) => {
                    if count == 0 {
                        return self.publisher.publish_all(self.groups.take_all()).await;
                    }
                    self.publisher.counters.received(count);
                    for unbound in taken.drain(..) {
                        self.groups.add(self.binder.bind(unbound));
                    }
                    // A queue that is never empty must not keep rare events waiting.
                    let is_late = deadline.is_some_and(|due| due <= Instant::now());
                    if is_late { self.groups.take_all() } else { self.groups.take_due() }
                }
                () = sleep_until(due), if deadline.is_some() => self.groups.take_all(),
            };
            self.publisher.publish_all(groups).await?;
            deadline = (!self.groups.is_empty())
                .then(|| deadline.unwrap_or_else(|| Instant::now() + self.linger));
        }
    }

    /// Counts what can no longer be published, and refuses what would come.
    async fn abandon(&mut self) {
        self.queue.close();
        let counters = &self.publisher.counters;
        let held = self.groups.take_all().iter().map(|group| group.events.len()).sum();
        counters.closed(held);
        while self.queue.recv().await.is_some() {
            counters.received(1);
            counters.closed(1);
        }
        let closed_events = counters.snapshot().closed_events;
        warn!(closed_events, "the bus closed before the pump was empty");
    }
}

/// The bus takes nothing more.
#[derive(Debug, Clone, Copy)]
struct BusClosed;

/// Hands groups to the bus, and counts what becomes of them.
struct Publisher {
    bus: Arc<dyn Bus>,
    clock: Arc<dyn Clock>,
    counters: Arc<Counters>,
}

impl Publisher {
    async fn publish_all(&self, groups: Vec<Group>) -> Result<(), BusClosed> {
        let mut groups = groups.into_iter();
        while let Some(group) = groups.next() {
            let count = group.events.len();
            if let Err(closed) = self.publish(group).await {
                self.counters.closed(count + groups.map(|group| group.events.len()).sum::<usize>());
                return Err(closed);
            }
        }
        Ok(())
    }

    async fn publish(&self, group: Group) -> Result<(), BusClosed> {
        let Group { shard, level, events } = group;
        let count = events.len();
        let batch = Batch { shard, level, time: self.clock.now(), events };
        match self.bus.publish(batch).await {
            Ok(_offset) => self.counters.published(count),
            Err(PublishError::Full) => self.counters.shed(level, count),
            Err(PublishError::Closed) => return Err(BusClosed),
            // The pump and the bus are set up to disagree: every such batch will be refused.
            Err(
                why @ (PublishError::Empty
                | PublishError::TooLarge { .. }
                | PublishError::UnknownShard(_)),
            ) => {
                if self.counters.refused(count) {
                    error!(%why, %shard, "the bus refuses the pump's batches");
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
