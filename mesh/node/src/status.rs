//! What a node says of itself.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, PoisonError, atomic::Ordering},
    time::Duration,
};

use serde::Serialize;
use tapio_actors::{ActorSystem, ShardStats};
use tapio_bus::Bus;
use tapio_model::{Level, ShedReason};
use tokio::{
    sync::RwLock,
    task::spawn_blocking,
    time::{Instant, timeout},
};

use crate::{
    store::{StoreStats, StoryStore},
    tell::TellFigures,
};

/// How long shards may take to give their figures before the last known ones are shown.
const PATIENCE: Duration = Duration::from_secs(2);

/// Gives the `collectors` part of the status: what feeds the bus is known to whoever started it.
pub type StatusSource = Arc<dyn Fn() -> serde_json::Value + Send + Sync>;

/// What answers questions about a node, before, while and after its actors run.
pub(crate) struct NodeState {
    /// `None` once the node shuts down.
    pub(crate) system: RwLock<Option<ActorSystem>>,
    pub(crate) bus: Arc<dyn Bus>,
    pub(crate) store: Arc<StoryStore>,
    pub(crate) figures: Arc<TellFigures>,
    started_at: Instant,
    last: Mutex<ShardStats>,
}

impl fmt::Debug for NodeState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NodeState").field("bus", &self.bus).finish_non_exhaustive()
    }
}

impl NodeState {
    pub(crate) fn new(
        system: Option<ActorSystem>,
        bus: Arc<dyn Bus>,
        store: Arc<StoryStore>,
        figures: Arc<TellFigures>,
    ) -> Self {
        let (system, last) = (RwLock::new(system), Mutex::default());
        Self { system, bus, store, figures, started_at: Instant::now(), last }
    }

    /// Returns the figures of all shards, and whether they are of this moment.
    pub(crate) async fn stats(&self) -> (ShardStats, bool) {
        if let Some(system) = &*self.system.read().await
            && let Ok(stats) = timeout(PATIENCE, system.stats()).await
        {
            self.note(stats);
            return (stats, true);
        }
        (*self.last.lock().unwrap_or_else(PoisonError::into_inner), false)
    }

    /// Notes the figures to be shown when there are no newer ones.
    pub(crate) fn note(&self, stats: ShardStats) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = stats;
    }

    /// Returns the status.
    pub(crate) async fn status(&self, collectors: &StatusSource) -> Status {
        let (stats, is_current) = self.stats().await;
        let store = Arc::clone(&self.store);
        let store = spawn_blocking(move || store.stats()).await;
        Status {
            version: env!("CARGO_PKG_VERSION"),
            uptime_s: self.started_at.elapsed().as_secs(),
            is_current,
            ledger: LedgerStatus::from(&stats),
            traces_live: stats.live_traces,
            traces_bytes: stats.live_bytes,
            actors_live: stats.live_actors,
            restarts: stats.restarts,
            quarantined: stats.quarantined,
            wakes_refused: stats.wakes_refused,
            open_stories: self.figures.open.load(Ordering::Relaxed),
            tellings: self.figures.tellings.load(Ordering::Relaxed),
            bus: BusStatus::from(&*self.bus),
            store: store.ok().and_then(Result::ok),
            collectors: collectors(),
        }
    }
}

/// The status as JSON.
#[derive(Debug, Serialize)]
pub(crate) struct Status {
    version: &'static str,
    uptime_s: u64,
    /// Whether the shards' figures are of this moment, or the last known.
    is_current: bool,
    ledger: LedgerStatus,
    traces_live: u64,
    traces_bytes: u64,
    actors_live: u64,
    restarts: u64,
    quarantined: u64,
    wakes_refused: u64,
    open_stories: u64,
    tellings: u64,
    bus: BusStatus,
    /// `null` if the store does not answer.
    store: Option<StoreStats>,
    collectors: serde_json::Value,
}

#[derive(Debug, Serialize)]
struct LedgerStatus {
    received: u64,
    story: u64,
    open: u64,
    expired: u64,
    duplicate: u64,
    late: u64,
    dead_letter: u64,
    shed: BTreeMap<&'static str, u64>,
    balances: bool,
}

impl From<&ShardStats> for LedgerStatus {
    fn from(stats: &ShardStats) -> Self {
        let ledger = &stats.ledger;
        let shed = ShedReason::ALL.map(ShedReason::name).into_iter().zip(ledger.shed).collect();
        Self {
            received: ledger.received,
            story: ledger.story,
            open: ledger.open,
            expired: ledger.expired,
            duplicate: ledger.duplicate,
            late: ledger.late,
            dead_letter: ledger.dead_letter,
            shed,
            balances: ledger.balances(),
        }
    }
}

#[derive(Debug, Serialize)]
struct BusStatus {
    accepted: u64,
    acknowledged: u64,
    held: u64,
    evicted: u64,
    refused: BTreeMap<&'static str, u64>,
}

impl From<&dyn Bus> for BusStatus {
    fn from(bus: &dyn Bus) -> Self {
        let stats = bus.stats();
        let levels = Level::ALL.map(Level::name);
        Self {
            accepted: stats.accepted_events,
            acknowledged: stats.acknowledged_events,
            held: stats.held_events,
            evicted: stats.evicted_events,
            refused: levels.into_iter().zip(stats.refused_events).collect(),
        }
    }
}
