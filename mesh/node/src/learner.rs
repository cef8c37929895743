//! What comes in is learnt from, and what is unlike it is published like any other event.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use tapio_baseline::{BaselineLimits, Watch};
use tapio_bus::{Batch, Bus, Tapped};
use tapio_model::{Clock, Event, Timestamp};
use tapio_shard::ShardCount;
use tapio_telemetry::spawn_named;
use tokio::{
    sync::mpsc,
    task::JoinHandle,
    time::{MissedTickBehavior, interval},
};
use tracing::{info, warn};

/// Batches that wait to be learnt from; what is beyond is passed over, for learning is a sample.
const WAITING_MAX: usize = 256;

/// How often time passes for a watch that hears nothing.
const TICK: Duration = Duration::from_secs(1);

/// Learns from the telemetry that it is handed, and publishes what is unlike.
///
/// Dropping it ends the learning.
#[derive(Debug)]
pub struct Learner {
    tap: mpsc::Sender<Vec<Arc<Event>>>,
    /// Events passed over since the watch last looked.
    passed_over: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl Learner {
    /// Begins to learn; what is unlike goes to `bus`.
    #[must_use]
    pub fn start(bus: Arc<dyn Bus>, shards: ShardCount, clock: Arc<dyn Clock>) -> Self {
        let (tap, events) = mpsc::channel(WAITING_MAX);
        let passed_over = Arc::new(AtomicU64::new(0));
        let work = Work {
            bus,
            shards,
            clock,
            watch: Watch::new(BaselineLimits::default()),
            passed_over: Arc::clone(&passed_over),
            now: Timestamp::MIN,
        };
        Self { tap, passed_over, task: spawn_named("baseline", work.run(events)) }
    }

    /// Begins to learn from what is published to `inner`, on its way in.
    #[must_use]
    pub fn on(inner: Arc<dyn Bus>, shards: ShardCount, clock: Arc<dyn Clock>) -> Tapped {
        let learner = Self::start(Arc::clone(&inner), shards, clock);
        Tapped::new(inner, move |batch| learner.hand(&batch.events))
    }

    /// Hands over what telemetry there is among events. It never waits: what finds no room is
    /// passed over, and said.
    pub fn hand(&self, events: &[Arc<Event>]) {
        let telemetry: Vec<_> =
            events.iter().filter(|event| Watch::learns_from(event)).cloned().collect();
        let count = telemetry.len() as u64;
        if count > 0 && self.tap.try_send(telemetry).is_err() {
            self.passed_over.fetch_add(count, Relaxed);
        }
    }
}

impl Drop for Learner {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The work of a learner.
struct Work {
    bus: Arc<dyn Bus>,
    shards: ShardCount,
    clock: Arc<dyn Clock>,
    watch: Watch,
    passed_over: Arc<AtomicU64>,
    /// The latest time there was: a clock that is set back does not stop the watch.
    now: Timestamp,
}

impl Work {
    async fn run(mut self, mut events: mpsc::Receiver<Vec<Arc<Event>>>) {
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut is_first = true;
        loop {
            tokio::select! {
                batch = events.recv() => {
                    let Some(batch) = batch else { return };
                    if std::mem::take(&mut is_first) {
                        info!("telemetry has come: what is normal is learnt from now on");
                    }
                    let now = self.pass();
                    batch.iter().for_each(|event| self.watch.observe(event, now));
                }
                _ = tick.tick() => {
                    let passed_over = self.passed_over.swap(0, Relaxed);
                    if passed_over > 0 {
                        warn!(events = passed_over, "telemetry was not learnt from for want of room");
                        self.watch.interrupt();
                    }
                    let now = self.pass();
                    for anomaly in self.watch.advance(now) {
                        self.publish(anomaly).await;
                    }
                }
            }
        }
    }

    fn pass(&mut self) -> Timestamp {
        self.now = self.now.max(self.clock.now());
        self.now
    }

    async fn publish(&self, anomaly: Arc<Event>) {
        let batch = Batch {
            shard: self.shards.shard_of(anomaly.trace.trace_id),
            level: anomaly.level(),
            time: self.clock.now(),
            events: vec![anomaly],
        };
        // It is told again with the next look, for as long as it lasts.
        if let Err(error) = self.bus.publish(batch).await {
            warn!(%error, "an anomaly could not be published");
        }
    }
}

#[cfg(test)]
mod tests;
