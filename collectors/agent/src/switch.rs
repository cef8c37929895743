//! The switch: one bus to the pump, whichever output is behind it and whether it answers or not.
//!
//! # The rule of order
//! A batch goes *behind* what the spool holds of its shard and level, and *beside* everything else:
//! while the spool holds anything of the shard and level, the batch is spooled too, otherwise it
//! goes to the output at once. So every shard's events of one level stay in order, a critical event
//! does not wait for normal ones, and a shard is back to speed as soon as its own backlog is gone.

mod drain;
mod parking;
mod spooling;

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use async_trait::async_trait;
use tapio_bus::{Batch, Bus, BusStats, Offset, PublishError, Start, SubscribeError, Subscription};
use tapio_model::Level;
use tapio_telemetry::spawn_named;
use tapio_wire::EventBatch;
use tokio::{
    sync::{Notify, watch},
    task::JoinHandle,
    time::{sleep, timeout},
};
use tracing::{info, warn};

use self::{parking::Parking, spooling::Spooling};
use crate::{Spool, SpoolError, SpoolStats};

/// How patient the switch is, and how much it holds without a spool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SwitchLimits {
    /// How long an output may take to acknowledge a batch before the spool takes it. Longer than
    /// an election of JetStream's usually takes would fill the pump; 2 s is a thousand round trips.
    pub patience: Duration,
    /// How long to wait before an output that failed is tried again, at first.
    pub retry_min: Duration,
    /// The same after many failures.
    pub retry_max: Duration,
    /// Events that wait in memory while neither output nor spool takes any. Normal ones may fill
    /// half of it, high ones three quarters.
    pub parked_events_max: usize,
    /// Batches of the spool that are on their way at once.
    pub window_batches: usize,
    /// How often what was spooled is made durable against power loss, and how often losses are
    /// told at most.
    pub sync_every: Duration,
}

impl Default for SwitchLimits {
    fn default() -> Self {
        Self {
            patience: Duration::from_secs(2),
            retry_min: Duration::from_millis(100),
            retry_max: Duration::from_secs(5),
            parked_events_max: 8_192,
            window_batches: 32,
            sync_every: Duration::from_secs(1),
        }
    }
}

/// Events the spool lost, of which no story was told yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Loss {
    /// Tells the spool from others.
    pub spool: u64,
    /// Their level.
    pub level: Level,
    /// How many.
    pub events: u64,
    /// How many the spool lost of this level since it was made, these included.
    pub events_ever: u64,
}

/// Makes of a loss the batch that tells of it.
pub type Teller = Arc<dyn Fn(Loss) -> Batch + Send + Sync>;

/// What the switch did with the events it took.
///
/// # Invariant
/// `published_events + spooled_events` were acknowledged to the pump; `refused_events` were not.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SwitchStats {
    /// The output in use.
    pub output: String,
    /// Whether it acknowledged when it was last asked.
    pub is_available: bool,
    /// How often the output was switched.
    pub switches: u64,
    /// Events an output acknowledged at once.
    pub published_events: u64,
    /// Events the spool took.
    pub spooled_events: u64,
    /// Events of the spool that an output acknowledged.
    pub drained_events: u64,
    /// Events that were on their way to one output and sent to the next: some may arrive twice.
    pub resent_events: u64,
    /// Publishes an output did not acknowledge, by refusal or silence.
    pub failures: u64,
    /// Events that wait in memory.
    pub parked_events: u64,
    /// Events refused, by level, lowest first: nothing had room for them.
    pub refused_events: [u64; 3],
    /// The spool; empty figures without one.
    pub spool: SpoolStats,
}

/// A bus that can be pointed elsewhere while it is used. Publishes only.
#[derive(Debug)]
pub struct SwitchBus {
    shared: Arc<Shared>,
    drain: JoinHandle<()>,
}

/// Where batches go.
#[derive(Debug, Clone)]
struct Output {
    name: String,
    bus: Arc<dyn Bus>,
}

struct Shared {
    output: watch::Sender<Output>,
    closed: watch::Sender<bool>,
    is_available: AtomicBool,
    spooling: Option<Spooling>,
    parking: Parking,
    limits: SwitchLimits,
    teller: Option<Teller>,
    /// Wakes the drain.
    news: Notify,
    offsets: AtomicU64,
    switches: AtomicU64,
    published: AtomicU64,
    drained: AtomicU64,
    resent: AtomicU64,
    failures: AtomicU64,
    refused: [AtomicU64; 3],
}

/// What an output made of a batch.
enum Answer {
    Taken,
    /// It will never take it.
    Never(PublishError),
    /// It does not take anything now.
    Unavailable,
    /// The switch is closed.
    Closed,
}

impl SwitchBus {
    /// Makes a switch that points to `bus`, and starts the task that empties the spool.
    #[must_use]
    pub fn start(
        name: impl Into<String>,
        bus: Arc<dyn Bus>,
        spool: Option<Spool>,
        limits: SwitchLimits,
        teller: Option<Teller>,
    ) -> Self {
        let shared = Arc::new(Shared {
            output: watch::Sender::new(Output { name: name.into(), bus }),
            closed: watch::Sender::new(false),
            is_available: AtomicBool::new(true),
            spooling: spool.map(Spooling::new),
            parking: Parking::new(limits.parked_events_max),
            limits,
            teller,
            news: Notify::new(),
            offsets: AtomicU64::default(),
            switches: AtomicU64::default(),
            published: AtomicU64::default(),
            drained: AtomicU64::default(),
            resent: AtomicU64::default(),
            failures: AtomicU64::default(),
            refused: Default::default(),
        });
        let drain = spawn_named("spool", drain::run(Arc::clone(&shared)));
        Self { shared, drain }
    }

    /// Points the switch to another output and returns the one before. What is on its way there
    /// and not acknowledged is sent to the new one, with the ids it has.
    pub fn switch(&self, name: impl Into<String>, bus: Arc<dyn Bus>) -> Arc<dyn Bus> {
        let output = Output { name: name.into(), bus };
        info!(output = output.name, "the output is switched");
        self.shared.switches.fetch_add(1, Relaxed);
        self.shared.is_available.store(true, Relaxed);
        let before = self.shared.output.send_replace(output);
        self.shared.news.notify_one();
        before.bus
    }

    /// Waits until the spool is empty, at most `within`; says whether it is.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    pub async fn drained(&self, within: Duration) -> bool {
        let emptied = async {
            while self.shared.spooling.as_ref().is_some_and(Spooling::holds_any) {
                sleep(self.shared.limits.retry_min).await;
            }
        };
        timeout(within, emptied).await.is_ok()
    }

    /// Returns the figures of this moment.
    #[must_use]
    pub fn figures(&self) -> SwitchStats {
        self.shared.figures()
    }
}

#[async_trait]
impl Bus for SwitchBus {
    /// Acknowledges once the output or the spool has the batch. Waits while neither takes any.
    async fn publish(&self, batch: Batch) -> Result<Offset, PublishError> {
        if batch.events.is_empty() {
            return Err(PublishError::Empty);
        }
        self.shared.publish(batch).await
    }

    /// Refused: a switch is for publishing.
    async fn subscribe(
        &self,
        shards: &[tapio_model::ShardId],
        _start: Start,
    ) -> Result<Box<dyn Subscription>, SubscribeError> {
        let shard = shards.first().copied().unwrap_or(tapio_model::ShardId::new(0));
        Err(SubscribeError::UnknownShard(shard))
    }

    /// Refuses further batches and leaves what the spool holds to the next start.
    async fn close(&self) {
        self.shared.closed.send_replace(true);
        self.shared.news.notify_one();
        if let Some(spooling) = &self.shared.spooling {
            spooling.run(Spool::sync).await;
        }
    }

    fn stats(&self) -> BusStats {
        let figures = self.shared.figures();
        let acknowledged_events = figures.published_events + figures.drained_events;
        let held_events = figures.spool.held_events.iter().sum::<u64>();
        // What came in and is neither with the output nor on disk was dropped.
        let accepted = figures.published_events + figures.spooled_events;
        let accepted_events = accepted.max(acknowledged_events + held_events);
        BusStats {
            accepted_events,
            acknowledged_events,
            held_events,
            evicted_events: accepted_events - acknowledged_events - held_events,
            refused_events: figures.refused_events,
        }
    }
}

impl Drop for SwitchBus {
    fn drop(&mut self) {
        self.drain.abort();
    }
}

impl Shared {
    async fn publish(&self, batch: Batch) -> Result<Offset, PublishError> {
        let mut parked = None;
        loop {
            if *self.closed.borrow() {
                return Err(PublishError::Closed);
            }
            if !self.goes_behind(&batch).await {
                match self.send(&batch).await {
                    Answer::Taken => {
                        add(&self.published, batch.events.len());
                        return Ok(self.next_offset());
                    }
                    Answer::Never(why) => return Err(why),
                    Answer::Closed => return Err(PublishError::Closed),
                    Answer::Unavailable => {}
                }
            }
            if let Some(spooling) = &self.spooling {
                match spooling.append(&batch).await {
                    Ok(()) => {
                        self.news.notify_one();
                        return Ok(self.next_offset());
                    }
                    Err(SpoolError::Full) => return Err(self.refuse(&batch)),
                    Err(why) => {
                        if parked.is_none() {
                            warn!(%why, "the spool takes nothing: events wait in memory");
                        }
                    }
                }
            }
            // Neither takes it: it waits in memory, as far as there is room.
            if parked.is_none() {
                parked = self.parking.enter(batch.level, batch.events.len());
                if parked.is_none() {
                    if let Some(spooling) = &self.spooling {
                        spooling.drop_events(&batch).await;
                    }
                    return Err(self.refuse(&batch));
                }
            }
            self.pause(self.limits.retry_min).await;
        }
    }

    /// Says whether a batch goes to the spool before the output is asked: behind others of its
    /// shard and level, or because the output is known not to answer while the drain asks it.
    async fn goes_behind(&self, batch: &Batch) -> bool {
        let Some(spooling) = self.spooling.as_ref().filter(|spooling| spooling.holds_any()) else {
            return false;
        };
        !self.is_available.load(Relaxed) || spooling.holds(batch.level, batch.shard).await
    }

    /// Sends a batch to the output, and to the next one if it is switched meanwhile.
    async fn send(&self, batch: &Batch) -> Answer {
        let mut outputs = self.output.subscribe();
        let mut closed = self.closed.subscribe();
        loop {
            let bus = Arc::clone(&outputs.borrow_and_update().bus);
            let answer = tokio::select! {
                biased;
                answer = bus.publish(batch.clone()) => answer,
                _ = outputs.changed() => {
                    add(&self.resent, batch.events.len());
                    continue;
                }
                _ = closed.wait_for(|closed| *closed) => return Answer::Closed,
                () = sleep(self.limits.patience) => Err(PublishError::Closed),
            };
            return match answer {
                Ok(_) => {
                    self.is_available.store(true, Relaxed);
                    Answer::Taken
                }
                // An output that was left behind closes: the answer is the new one's.
                Err(_) if outputs.has_changed().unwrap_or(false) => continue,
                // Without a spool nothing bridges it: the pump sheds, and counts.
                Err(PublishError::Full) if self.spooling.is_none() => {
                    Answer::Never(self.refuse(batch))
                }
                Err(PublishError::Full | PublishError::Closed) => {
                    self.failures.fetch_add(1, Relaxed);
                    self.is_available.store(false, Relaxed);
                    Answer::Unavailable
                }
                Err(
                    why @ (PublishError::Empty
                    | PublishError::TooLarge { .. }
                    | PublishError::UnknownShard(_)),
                ) => Answer::Never(why),
            };
        }
    }

    /// Waits, but not past a switch or the end.
    async fn pause(&self, pause: Duration) {
        let mut outputs = self.output.subscribe();
        let mut closed = self.closed.subscribe();
        tokio::select! {
            () = sleep(pause) => {}
            _ = outputs.changed() => {}
            _ = closed.wait_for(|closed| *closed) => {}
        }
    }

    fn refuse(&self, batch: &Batch) -> PublishError {
        if let Some(count) = self.refused.get(rank(batch.level)) {
            add(count, batch.events.len());
        }
        PublishError::Full
    }

    fn next_offset(&self) -> Offset {
        Offset(self.offsets.fetch_add(1, Relaxed))
    }

    fn figures(&self) -> SwitchStats {
        let spool = self.spooling.as_ref().map(Spooling::stats).unwrap_or_default();
        SwitchStats {
            output: self.output.borrow().name.clone(),
            is_available: self.is_available.load(Relaxed),
            switches: self.switches.load(Relaxed),
            published_events: self.published.load(Relaxed),
            spooled_events: spool.appended_events,
            drained_events: self.drained.load(Relaxed),
            resent_events: self.resent.load(Relaxed),
            failures: self.failures.load(Relaxed),
            parked_events: self.parking.events(),
            refused_events: self.refused.each_ref().map(|count| count.load(Relaxed)),
            spool,
        }
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("figures", &self.figures()).finish_non_exhaustive()
    }
}

pub(crate) const fn rank(level: Level) -> usize {
    match level {
        Level::Normal => 0,
        Level::High => 1,
        Level::Critical => 2,
    }
}

fn add(count: &AtomicU64, events: usize) {
    count.fetch_add(u64::try_from(events).unwrap_or(u64::MAX), Relaxed);
}

fn envelope(batch: &Batch) -> EventBatch {
    EventBatch {
        shard: batch.shard,
        level: batch.level,
        time: batch.time,
        events: batch.events.clone(),
    }
}

#[cfg(test)]
mod tests;
