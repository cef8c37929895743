//! The agent itself: what runs, what it is connected to, and what changes while it runs.

mod body;
mod supervisor;

use std::{
    collections::BTreeMap,
    fmt,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tapio_bus::Bus;
use tapio_collect::{Accounts, Binder, Collector, CollectorError, Home, PumpLimits, Pumped};
use tapio_config::{Live, Reloads};
use tapio_model::Clock;
use tapio_shard::ShardCount;
use tapio_telemetry::spawn_named;
use tokio::{sync::watch, task::JoinHandle};
use tracing::error;

use self::body::Body;
use crate::{AgentConfig, Spool, SpoolError, SwitchBus, SwitchStats, loss_teller};

/// Makes a collector, or none if it is not wanted.
pub type MakeCollector =
    Box<dyn Fn(&AgentConfig) -> Result<Option<Box<dyn Collector>>, CollectorError> + Send + Sync>;

/// One of the collectors an agent may run.
pub struct CollectorSpec {
    /// Its name.
    pub name: &'static str,
    /// Says whether it must be made anew when the configuration changes from one to the other.
    pub differs: fn(&AgentConfig, &AgentConfig) -> bool,
    /// Makes it.
    pub make: MakeCollector,
}

impl fmt::Debug for CollectorSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CollectorSpec").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Why there is no output.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}; {cure}")]
pub struct OutputError {
    /// What is wrong.
    pub what: String,
    /// What to do.
    pub cure: String,
}

/// An output that is being made.
pub type MakingOutput = Pin<Box<dyn Future<Output = Result<Arc<dyn Bus>, OutputError>> + Send>>;

/// Makes the output that the configuration names.
pub type MakeOutput = Box<dyn Fn(Arc<AgentConfig>) -> MakingOutput + Send + Sync>;

/// Is told of a new log level.
pub type SetLogLevel = Box<dyn Fn(&str) + Send + Sync>;

/// What an agent is made of.
pub struct AgentParts {
    /// What it is told, now and later.
    pub config: Live<AgentConfig>,
    /// The collectors it may run.
    pub collectors: Vec<CollectorSpec>,
    /// How outputs are made.
    pub outputs: MakeOutput,
    /// What tells the time of day.
    pub clock: Arc<dyn Clock>,
    /// What gives events their place and trace; shared with collectors that learn of pods.
    pub binder: Arc<Binder>,
    /// Where the agent is.
    pub home: Home,
    /// What is told of a new log level.
    pub log_level: SetLogLevel,
}

impl fmt::Debug for AgentParts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { config, collectors, home, .. } = self;
        f.debug_struct("AgentParts")
            .field("config", config)
            .field("collectors", collectors)
            .field("home", home)
            .finish_non_exhaustive()
    }
}

/// How a collector does.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum CollectorState {
    /// Not wanted.
    #[default]
    Off,
    /// Reading.
    Running,
    /// Its source is not here; looked for again from time to time.
    Absent(String),
    /// It broke, and is made again after a pause.
    Broken(String),
    /// Its source came to its end.
    Ended,
}

/// One collector at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CollectorStatus {
    /// How it does.
    pub state: CollectorState,
    /// How often it broke and was made again.
    pub restarts: u64,
    /// What it read, passed on and dropped, over all restarts.
    pub accounts: Accounts,
}

/// An agent at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentStatus {
    /// The collectors by name.
    pub collectors: BTreeMap<&'static str, CollectorStatus>,
    /// What the pump took and published.
    pub pumped: Pumped,
    /// The output and the spool.
    pub switch: SwitchStats,
    /// Why the output that the configuration names is not in use; none if it is.
    pub output_problem: Option<String>,
    /// What became of changes of the configuration.
    pub reloads: Reloads,
    /// Why the newest configuration is not in effect; none if it is.
    pub refusal: Option<String>,
}

/// What the agent's task and its handle share.
#[derive(Debug, Default)]
struct Board {
    collectors: Mutex<BTreeMap<&'static str, Arc<supervisor::Watched>>>,
    output_problem: Mutex<Option<String>>,
}

/// A running agent. Dropped without [`Agent::shutdown`], it stops at once: what its pump held is
/// lost, what its spool holds is not.
pub struct Agent {
    board: Arc<Board>,
    config: Live<AgentConfig>,
    bus: Arc<SwitchBus>,
    pumped: Box<dyn Fn() -> Pumped + Send + Sync>,
    stop: watch::Sender<Option<Duration>>,
    task: JoinHandle<Pumped>,
}

impl Agent {
    /// Starts the agent. An output that cannot be made yet is made later: until then the spool
    /// takes the events.
    ///
    /// # Errors
    /// [`SpoolError`] if there is to be a spool and it cannot be opened.
    pub fn start(parts: AgentParts) -> Result<Self, SpoolError> {
        let config = parts.config.clone();
        let now = config.current();
        let seed = u64::try_from(parts.clock.now().as_nanos()).unwrap_or_default();
        let open = |path| Spool::open(path, now.spool_limits(seed));
        let spool = now.spool.path.as_deref().map(open).transpose()?;
        let shards = ShardCount::new(now.shards);
        let binder = Arc::clone(&parts.binder);
        let teller = loss_teller(binder, parts.home.clone(), shards, Arc::clone(&parts.clock));
        let limits = now.switch_limits();
        let none: Arc<dyn Bus> = Arc::new(body::NoOutput);
        let bus = Arc::new(SwitchBus::start("none", none, spool, limits, Some(teller)));
        let board = Arc::<Board>::default();
        let stop = watch::Sender::new(None);
        let as_bus: Arc<dyn Bus> = Arc::<SwitchBus>::clone(&bus);
        let pump = tapio_collect::Pump::start(
            Arc::clone(&parts.binder),
            as_bus,
            shards,
            Arc::clone(&parts.clock),
            PumpLimits::default(),
        );
        let pumped = Box::new(pump.meter());
        let body = Body::new(parts, Arc::clone(&bus), pump, Arc::clone(&board));
        let task = spawn_named("agent", body.run(stop.subscribe()));
        Ok(Self { board, config, bus, pumped, stop, task })
    }

    /// Returns the status of this moment.
    #[must_use]
    pub fn status(&self) -> AgentStatus {
        let lock = self.board.collectors.lock().unwrap_or_else(PoisonError::into_inner);
        let problem = self.board.output_problem.lock().unwrap_or_else(PoisonError::into_inner);
        AgentStatus {
            collectors: lock.iter().map(|(name, watched)| (*name, watched.status())).collect(),
            pumped: (self.pumped)(),
            switch: self.bus.figures(),
            output_problem: problem.clone(),
            reloads: self.config.reloads(),
            refusal: self.config.refusal().map(|why| why.to_string()),
        }
    }

    /// Stops the collectors, empties the pump into the output or the spool, and then as much of the
    /// spool into the output as `within` allows. What is left in the spool is for the next start.
    pub async fn shutdown(mut self, within: Duration) -> AgentStatus {
        self.stop.send_replace(Some(within));
        if let Err(why) = (&mut self.task).await {
            error!(%why, "the agent's task died");
        }
        self.status()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl fmt::Debug for Agent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Agent").field("status", &self.status()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
