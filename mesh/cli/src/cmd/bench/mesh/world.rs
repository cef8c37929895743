//! A server and the nodes on it.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, ensure};
use hdrhistogram::Histogram;
use tapio_chaos::real::{NatsServer, NatsServerOptions, SyncInterval};
use tapio_engine::{Limits, Rules};
use tapio_model::{Clock as _, Ledger, Timestamp};
use tapio_nats::{Connection, NatsConfig, StreamPlan, Subjects};
use tapio_node::{MeshNode, MeshParts, StoryStore};
use tapio_owner::{KeeperLimits, OwnerLimits, TakenIn};
use tapio_patterns::patterns;
use tapio_shard::{NodeId, ShardCount};
use tapio_telemetry::{Meters, SystemClock, Telemetry};
use tokio::time::{Instant, sleep};

use super::{ARRIVAL_MAX, MeshArgs, timeline::Timeline, until, usage::rounded};

/// How long nodes may take until every shard has its owner.
const START_MAX: Duration = Duration::from_secs(20);

/// How long the roots may take to know of what has arrived.
const SETTLE_MAX: Duration = Duration::from_secs(30);

/// How often is looked what the roots know.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// A server: our own, ended when dropped, or somebody else's.
#[derive(Debug)]
pub(in crate::cmd::bench) struct Server {
    url: String,
    own: Option<NatsServer>,
}

impl Server {
    /// Starts a server, unless there is one at `url`.
    pub(in crate::cmd::bench) async fn get(url: Option<&str>) -> anyhow::Result<Self> {
        if let Some(url) = url {
            return Ok(Self { url: url.to_owned(), own: None });
        }
        let sync_interval = SyncInterval::Every(Duration::from_secs(1));
        let options = NatsServerOptions { sync_interval, ..NatsServerOptions::default() };
        let server = NatsServer::start(options).await?;
        Ok(Self { url: server.url(), own: Some(server) })
    }

    /// Returns where it is.
    pub(in crate::cmd::bench) fn url(&self) -> &str {
        &self.url
    }

    /// Returns the process, if it is our own.
    pub(super) fn pid(&self) -> Option<u32> {
        self.own.as_ref().and_then(NatsServer::pid)
    }

    /// Returns the prefix and the generation of a stage: no other stage and no other run has them.
    pub(in crate::cmd::bench) fn names(stage: &str) -> [String; 2] {
        ["tapio-bench".to_owned(), format!("{stage}{}", std::process::id())]
    }

    /// Connects, with names of the stage.
    pub(in crate::cmd::bench) async fn connect(
        &self,
        stage: &str,
        name: &str,
    ) -> anyhow::Result<Connection> {
        let [prefix, generation] = Self::names(stage);
        let config = NatsConfig {
            name: name.to_owned(),
            subjects: Subjects::new(&prefix, &generation)?,
            ..NatsConfig::to(self.url.as_str())
        };
        Ok(Connection::open(&config).await?)
    }

    /// Makes the streams.
    pub(super) async fn set_up(&self, connection: &Connection) -> anyhow::Result<()> {
        Ok(connection.set_up(&StreamPlan::default()).await?)
    }
}

/// Times of events, from when each was due until its trace's actor had it.
#[derive(Debug)]
pub(super) struct Recorder {
    latency: Mutex<Latency>,
    seen: AtomicU64,
}

#[derive(Debug)]
struct Latency {
    /// Since the last reset.
    whole: Histogram<u64>,
    /// Since the last second was taken.
    second: Histogram<u64>,
}

impl Recorder {
    fn new() -> anyhow::Result<Self> {
        let whole = Histogram::new_with_bounds(1_000, 120_000_000_000, 3)?;
        let latency = Latency { second: whole.clone(), whole };
        Ok(Self { latency: Mutex::new(latency), seen: AtomicU64::new(0) })
    }

    fn lock(&self) -> MutexGuard<'_, Latency> {
        self.latency.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn record(&self, due: &[Timestamp]) {
        let now = SystemClock.now();
        let mut latency = self.lock();
        for due in due {
            let nanos = u64::try_from(now.since(*due).as_nanos()).unwrap_or(u64::MAX);
            latency.whole.saturating_record(nanos);
            latency.second.saturating_record(nanos);
        }
        drop(latency);
        self.seen.fetch_add(due.len() as u64, Ordering::Relaxed);
    }

    pub(super) fn reset(&self) {
        let mut latency = self.lock();
        latency.whole.reset();
        latency.second.reset();
    }

    pub(super) fn millis_at(&self, quantile: f64) -> f64 {
        millis(self.lock().whole.value_at_quantile(quantile))
    }

    /// Returns the 50th and the 99th percentile and the maximum since the last call, in
    /// milliseconds.
    pub(super) fn take_second(&self) -> [f64; 3] {
        let mut latency = self.lock();
        let millis = [0.5, 0.99, 1.0].map(|it| millis(latency.second.value_at_quantile(it)));
        latency.second.reset();
        millis
    }

    async fn arrived(&self, wanted: u64, limit: Duration) -> anyhow::Result<()> {
        let has_seen = || self.seen.load(Ordering::Relaxed) >= wanted;
        until("every event at its actor", limit, has_seen).await
    }
}

fn millis(nanos: u64) -> f64 {
    rounded(Duration::from_nanos(nanos).as_secs_f64() * 1_000.0)
}

/// Nodes, and what they took in.
#[derive(Debug)]
pub(super) struct World {
    nodes: Vec<MeshNode>,
    connections: Vec<Connection>,
    pub(super) recorder: Arc<Recorder>,
}

impl World {
    /// Starts the nodes, and waits until every shard has its owner.
    pub(super) async fn start(
        args: &MeshArgs,
        server: &Server,
        stage: &str,
    ) -> anyhow::Result<Self> {
        let recorder = Arc::new(Recorder::new()?);
        let (mut nodes, mut connections) = (Vec::new(), Vec::new());
        for number in 0..args.nodes {
            let connection = server.connect(stage, &format!("bench-{number}")).await?;
            server.set_up(&connection).await?;
            connections.push(connection.clone());
            let node = start_node(args, connection, number).await?;
            let recorder = Arc::clone(&recorder);
            node.figures().intake.add(move |batch| {
                let due: Vec<_> = batch.events.iter().map(|event| event.time).collect();
                let recorder = Arc::clone(&recorder);
                TakenIn::new(move || recorder.record(&due))
            });
            nodes.push(node);
        }
        let world = Self { nodes, connections, recorder };
        let shards = usize::from(ShardCount::DEFAULT.get());
        let is_owned = || world.owning().iter().sum::<usize>() == shards;
        until("an owner for every shard", START_MAX, is_owned).await?;
        if args.nodes > 1 {
            // The first node takes everything; then the others get their share.
            let is_shared = || is_owned() && world.owning().iter().all(|held| *held > 0);
            until("a share for every node", START_MAX, is_shared).await?;
            sleep(Duration::from_secs(2)).await;
            until("an owner for every shard", START_MAX, is_owned).await?;
        }
        Ok(world)
    }

    fn owning(&self) -> Vec<usize> {
        self.nodes.iter().map(|node| node.view().borrow().owning()).collect()
    }

    /// Waits until so many events have arrived since the beginning.
    ///
    /// # Errors
    /// If they have not within [`ARRIVAL_MAX`]: then with how far every shard is.
    pub(super) async fn arrived(&self, wanted: u64) -> anyhow::Result<()> {
        let arrived = self.recorder.arrived(wanted, ARRIVAL_MAX).await;
        arrived.with_context(|| {
            let lines = self.nodes.iter().map(|node| {
                let view = node.view();
                let view = view.borrow();
                let held = view.held.iter().map(|(shard, it)| {
                    let (phase, processed, waiting) = (it.phase, it.processed, it.waiting);
                    format!("shard {shard}: {phase:?} at {processed}, {waiting} wait\n")
                });
                held.collect::<String>()
            });
            let seen = self.recorder.seen.load(Ordering::Relaxed);
            format!("{seen} of {wanted} events arrived\n{}", lines.collect::<String>())
        })
    }

    /// Waits until the roots know of `published` events, and returns their books.
    ///
    /// # Errors
    /// If they do not, or if the books do not balance.
    pub(super) async fn settled(&self, published: u64) -> anyhow::Result<Ledger> {
        let begin = Instant::now();
        loop {
            let ledger = self.ledger();
            if ledger.received == published {
                ensure!(ledger.balances(), "the books do not balance: {ledger:?}");
                return Ok(ledger);
            }
            let is_late = begin.elapsed() > SETTLE_MAX;
            ensure!(!is_late, "{published} published, {} in the roots", ledger.received);
            sleep(LOOK_EVERY).await;
        }
    }

    fn ledger(&self) -> Ledger {
        let mut sum = Ledger::default();
        for node in &self.nodes {
            node.view().borrow().held.values().for_each(|status| sum.add(&status.ledger));
        }
        sum
    }

    /// Begins to write down how the seconds go.
    pub(super) fn watched(&self) -> Timeline {
        Timeline::begin(Arc::clone(&self.recorder))
    }

    pub(super) fn live_traces(&self) -> u64 {
        let of = |node: &MeshNode| -> u64 {
            node.view().borrow().held.values().map(|status| status.live_traces).sum()
        };
        self.nodes.iter().map(of).sum()
    }

    pub(super) fn commits(&self) -> u64 {
        self.nodes.iter().map(|node| node.figures().commits.get()).sum()
    }

    pub(super) async fn stop(self) {
        for node in self.nodes {
            node.leave().await;
        }
        for connection in self.connections {
            connection.close().await;
        }
    }
}

async fn start_node(
    args: &MeshArgs,
    connection: Connection,
    number: u16,
) -> anyhow::Result<MeshNode> {
    let name = format!("bench-{number}");
    let shards = ShardCount::DEFAULT;
    let limits = Limits {
        window: args.window,
        quiet: args.window * 2,
        // Nothing is shed: what a node must hold follows from the rate.
        node_traces_max: usize::MAX / usize::from(shards.get()),
        ..Limits::default()
    };
    let rules = Rules::new(&patterns(), limits.for_shard(shards.get()));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let arbiters = args.arbiters.unwrap_or(cores.div_ceil(usize::from(args.nodes)));
    let parts = MeshParts {
        connection,
        me: NodeId { name: name.into(), boot: u64::from(number) + 1 },
        capacity: 1,
        shards,
        arbiters,
        rules: Arc::new(rules),
        owner_limits: OwnerLimits { write_after: args.window * 3, ..OwnerLimits::default() },
        keeper_limits: KeeperLimits::default(),
        store: Arc::new(StoryStore::in_memory()?),
        meters: Meters::new(),
        telemetry: Telemetry::default(),
        http: None,
        learns: None,
    };
    MeshNode::start(parts).await.context("starting a node")
}
