//! The real world: servers and nodes as processes, a load, faults, and what they leave behind.

mod ask;
mod director;
mod error;
mod nodes;
mod publish;
mod servers;
mod settle;
mod witness;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tapio_model::{Clock as _, Text, Timestamp};
use tapio_nats::{Connection, NatsConfig};
use tapio_shard::ShardCount;
use tapio_telemetry::SystemClock;
use tokio::time::{Instant, timeout};

pub use self::error::WorldError;
use self::{
    ask::Asker, director::Director, nodes::Nodes, publish::Publisher, servers::Servers,
    witness::Witness,
};
use crate::{
    load::{Load, LoadOptions},
    plan::{Plan, Stage},
    real::{NeedError, RealError},
    record::Record,
    scenarios::Scenario,
};

/// How long a run may take beyond its load: start, repair of the last fault, settling.
const RUN_MARGIN: Duration = Duration::from_secs(240);

/// A run to be.
#[derive(Debug, Clone)]
pub struct RunOptions {
    /// Which scenario.
    pub scenario: &'static Scenario,
    /// Everything that is drawn follows from it.
    pub seed: u64,
    /// Nodes of the mesh.
    pub nodes: usize,
    /// Events of the load; the scenario's own number when absent.
    pub events: Option<u32>,
    /// How long the load takes; the scenario's own time when absent.
    pub duration: Option<Duration>,
    /// The program that runs a node.
    pub program: PathBuf,
    /// Where the logs of nodes and servers are kept, if at all.
    pub logs: Option<PathBuf>,
}

/// What became of a run.
#[derive(Debug)]
pub enum Outcome {
    /// It ran.
    Ran(Box<Ran>),
    /// The machine lacks what it needs.
    Skipped(NeedError),
}

/// A run that ran.
#[derive(Debug)]
pub struct Ran {
    /// What it left behind.
    pub record: Record,
    /// The plan that was played.
    pub plan: Plan,
    /// How long it took, start and settling included.
    pub took: Duration,
    /// How long the load took, from the first event to the last acknowledgement.
    pub load_took: Duration,
    /// Faults that were left out, for the machine lacks what they need; and why.
    pub skipped: Vec<Text>,
}

/// What the parts of a run share: its clock.
///
/// The machine's wall clock is read once. Times of servers are compared with it, for they run on
/// this machine too.
#[derive(Debug, Clone, Copy)]
struct RunClock {
    start: Instant,
    wall: Timestamp,
}

impl RunClock {
    fn begin() -> Self {
        Self { start: Instant::now(), wall: SystemClock.now() }
    }

    /// Returns how long the run has lasted.
    fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    /// Returns the present as servers see it.
    fn wall(&self) -> Timestamp {
        self.wall.after(self.elapsed())
    }

    /// Returns when a time of a server was, counted from the start.
    fn since_start(&self, time: Timestamp) -> Duration {
        time.since(self.wall)
    }
}

/// Runs a scenario once, and judges nothing.
///
/// # Errors
/// [`WorldError`] when the world could not be built or read; violations are none.
/// # Cancel safety
/// Dropping the future kills every process and removes every file of the run.
pub async fn run(options: &RunOptions) -> Result<Outcome, WorldError> {
    let duration = options.duration.unwrap_or_else(|| options.scenario.duration());
    let limit = duration + RUN_MARGIN;
    match timeout(limit, Box::pin(play(options, duration))).await {
        Ok(Ok(ran)) => Ok(Outcome::Ran(Box::new(ran))),
        Ok(Err(error)) => match error.need() {
            Ok(need) => Ok(Outcome::Skipped(need)),
            Err(error) => Err(error),
        },
        Err(_elapsed) => Err(WorldError::Overdue(limit)),
    }
}

async fn play(options: &RunOptions, duration: Duration) -> Result<Ran, WorldError> {
    let stage = Stage { seed: options.seed, nodes: options.nodes, duration };
    let plan = options.scenario.plan(&stage);
    let load = Load::new(LoadOptions {
        burst: plan.burst,
        shards: ShardCount::DEFAULT,
        ..LoadOptions::sized(
            options.seed,
            options.events.unwrap_or(options.scenario.spec.events),
            duration,
        )
    });
    let began = Instant::now();
    // Declared in this order, so that nodes end before what they stand on.
    let mut servers = Servers::start(&plan.setup).await?;
    let mut nodes = Nodes::start(options, &plan.setup, &mut servers).await?;
    nodes.wait_ready().await?;
    let config = |name: &str| NatsConfig {
        urls: servers.urls(),
        name: name.to_owned(),
        startup: Duration::from_secs(30),
        seed: options.seed,
        ..NatsConfig::default()
    };
    let reading = Connection::open(&config("chaos witness")).await?;
    let writing = Connection::open(&config("chaos publisher")).await?;
    let clock = RunClock::begin();
    let witness = Arc::new(Witness::attach(&reading, clock).await?);
    let asker = Asker::start(&reading, clock, options.seed);
    let expected = load.expected();
    let publisher = Publisher::start(load, writing, clock);
    let mut director = Director::new(clock, &mut nodes, &mut servers);
    director.play(&plan, publisher.done()).await?;
    let seen = director.finish().await?;
    let published = publisher.finish().await;
    settle::wait(&published, &witness).await;
    let queries = asker.finish().await;
    let dead_letters = witness.dead_letters().await?;
    let read = witness.take();
    if let Some(logs) = &options.logs {
        keep_logs(logs, options.seed, &nodes, &servers)?;
    }
    let record = Record {
        expected,
        sent: published.sent,
        tellings: read.tellings,
        audits: read.audits,
        dead_letters,
        roots: read.roots,
        faults: seen.faults,
        drains: seen.drains,
        crashes: seen.crashes,
        queries,
        alarms: nodes.alarms(clock.elapsed()),
        memory: seen.memory,
        bounds: plan.bounds,
        is_settled: true,
    };
    let load_took = published.took;
    Ok(Ran { record, plan, took: began.elapsed(), load_took, skipped: seen.skipped })
}

/// Copies what nodes and servers said to where it stays.
fn keep_logs(into: &Path, seed: u64, nodes: &Nodes, servers: &Servers) -> Result<(), WorldError> {
    let kept = || -> std::io::Result<()> {
        fs::create_dir_all(into)?;
        for (name, log) in nodes.logs().chain(servers.logs()) {
            fs::copy(log, into.join(format!("{seed}-{name}.log")))?;
        }
        Ok(())
    };
    Ok(kept().map_err(RealError::io("keep the logs"))?)
}
