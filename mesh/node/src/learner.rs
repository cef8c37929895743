//! What comes in is learnt from, and what is unlike it is published like any other event.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use async_trait::async_trait;
use tapio_baseline::{BaselineLimits, Watch};
use tapio_bus::{Batch, Bus, BusStats, Offset, PublishError, Start, SubscribeError, Subscription};
use tapio_model::{Clock, Event, Kind, ShardId, Timestamp};
use tapio_shard::ShardCount;
use tapio_telemetry::spawn_named;
use tokio::{
    sync::mpsc,
    task::JoinHandle,
    time::{MissedTickBehavior, interval},
};
use tracing::warn;

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
    passed_over: AtomicU64,
    /// Whether something was passed over since the watch last looked.
    is_torn: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

impl Learner {
    /// Begins to learn; what is unlike goes to `bus`.
    #[must_use]
    pub fn start(bus: Arc<dyn Bus>, shards: ShardCount, clock: Arc<dyn Clock>) -> Self {
        let (tap, events) = mpsc::channel(WAITING_MAX);
        let is_torn = Arc::new(AtomicBool::new(false));
        let watch = Watch::new(BaselineLimits::default());
        let torn = Arc::clone(&is_torn);
        let work = Work { bus, shards, clock, watch, torn, now: Timestamp::MIN };
        let task = spawn_named("baseline", work.run(events));
        Self { tap, passed_over: AtomicU64::new(0), is_torn, task }
    }

    /// Hands over what telemetry there is among events. It never waits: what finds no room is
    /// passed over, and counted.
    pub fn hand(&self, events: &[Arc<Event>]) {
        let telemetry: Vec<_> =
            events.iter().filter(|event| is_learnt_from(event)).cloned().collect();
        let count = telemetry.len() as u64;
        if count > 0 && self.tap.try_send(telemetry).is_err() {
            self.passed_over.fetch_add(count, Relaxed);
            self.is_torn.store(true, Relaxed);
        }
    }

    /// Returns how many events were passed over for want of room.
    #[must_use]
    pub fn passed_over(&self) -> u64 {
        self.passed_over.load(Relaxed)
    }
}

impl Drop for Learner {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn is_learnt_from(event: &Event) -> bool {
    matches!(
        event.kind,
        Kind::Span | Kind::Log | Kind::Exception | Kind::Metric | Kind::RolloutStarted
    )
}

/// The work of a learner.
struct Work {
    bus: Arc<dyn Bus>,
    shards: ShardCount,
    clock: Arc<dyn Clock>,
    watch: Watch,
    torn: Arc<AtomicBool>,
    /// The latest time there was: a clock that is set back does not stop the watch.
    now: Timestamp,
}

impl Work {
    async fn run(mut self, mut events: mpsc::Receiver<Vec<Arc<Event>>>) {
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            tokio::select! {
                batch = events.recv() => {
                    let Some(batch) = batch else { return };
                    if self.torn.swap(false, Relaxed) {
                        self.watch.interrupt();
                    }
                    let now = self.pass();
                    batch.iter().for_each(|event| self.watch.observe(event, now));
                }
                _ = tick.tick() => {
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

/// A bus whose batches are learnt from on their way in.
#[derive(Debug)]
pub struct LearningBus {
    inner: Arc<dyn Bus>,
    learner: Learner,
}

impl LearningBus {
    /// Begins to learn from what is published to `inner`.
    #[must_use]
    pub fn new(inner: Arc<dyn Bus>, shards: ShardCount, clock: Arc<dyn Clock>) -> Self {
        let learner = Learner::start(Arc::clone(&inner), shards, clock);
        Self { inner, learner }
    }
}

#[async_trait]
impl Bus for LearningBus {
    async fn publish(&self, batch: Batch) -> Result<Offset, PublishError> {
        self.learner.hand(&batch.events);
        self.inner.publish(batch).await
    }

    async fn subscribe(
        &self,
        shards: &[ShardId],
        start: Start,
    ) -> Result<Box<dyn Subscription>, SubscribeError> {
        self.inner.subscribe(shards, start).await
    }

    async fn close(&self) {
        self.inner.close().await;
    }

    fn stats(&self) -> BusStats {
        self.inner.stats()
    }
}
