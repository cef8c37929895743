//! The pump: takes what collectors emit, binds it, and publishes it in batches.

mod counters;
mod groups;
mod pace;
mod work;

use std::sync::Arc;

use tapio_bus::Bus;
use tapio_model::Clock;
use tapio_shard::ShardCount;
use tapio_telemetry::spawn_named;
use tokio::{sync::mpsc, task::JoinHandle, time::Instant};
use tracing::error;

use self::{
    counters::Counters,
    groups::Groups,
    pace::Pace,
    work::{Flying, Limits, Work},
};
pub use self::{counters::Pumped, pace::Linger};
use crate::{Account, Binder, Outlet, Unbound};

/// How much the pump holds, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PumpLimits {
    /// Events that wait between the outlets and the pump, and as many again that wait in it or are
    /// on their way. 8,192 events of some 500 bytes are 4 MB, and bridge 80 ms of a stalled bus at
    /// 100,000 events a second.
    pub queue_events_max: usize,
    /// Events of a batch. From 128 on, the cost a batch has no longer shows beside the cost an
    /// event has; more would only wait longer.
    pub batch_events_max: usize,
    /// How long an event waits for company.
    pub linger: Linger,
    /// Batches on their way at once, of one shard and level one at a time. 64 are all that sixteen
    /// shards and three levels can have.
    pub in_flight_max: usize,
}

impl Default for PumpLimits {
    fn default() -> Self {
        Self {
            queue_events_max: 8_192,
            batch_events_max: 128,
            linger: Linger::default(),
            in_flight_max: 64,
        }
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
        let work = Work {
            queue,
            binder,
            groups: Groups::new(shards, batch_events_max),
            pace: Pace::new(limits.linger, batch_events_max, Instant::now()),
            bus,
            clock,
            counters: Arc::clone(&counters),
            limits: Limits {
                events_max: limits.queue_events_max.max(batch_events_max),
                batch_events_max,
                in_flight_max: limits.in_flight_max.max(1),
            },
            flying: Flying::default(),
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

#[cfg(test)]
mod tests;
