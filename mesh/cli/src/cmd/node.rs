//! `tapio node`: one node of the mesh.

mod direct;

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use anyhow::Context as _;
use clap::{Parser as _, ValueEnum};
use tapio_engine::{Limits, Patterns, Rules};
use tapio_model::Clock;
use tapio_node::{MeshNode, MeshParts, StoryStore};
use tapio_owner::{KeeperLimits, OwnerLimits, Sabotage};
use tapio_shard::NodeId;
use tapio_telemetry::{Meters, ObserveConfig, SystemClock};
use tokio::signal::unix::{SignalKind, signal};

use self::direct::DirectArgs;
use super::{
    Cli,
    nats::{NatsArgs, StreamArgs},
    observe::{self, ObserveArgs},
    rules::RulesArgs,
    up::duration,
};
use crate::{exit::Unreachable, out::errln};

/// How the mesh trades latency for throughput.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mode {
    /// One machine and no NATS: what `tapio up` does with OTLP alone. Nothing outlives the process.
    Ring,
    /// For clusters under load: larger commits, so that each costs less.
    High,
    /// The default in a cluster.
    Standard,
    /// As standard, and every batch is traced: see --observe.
    Debug,
}

#[derive(Debug, clap::Args)]
pub(crate) struct NodeArgs {
    #[command(flatten)]
    nats: NatsArgs,
    #[command(flatten)]
    streams: StreamArgs,
    /// How the mesh trades latency for throughput.
    #[arg(
        long,
        env = "TAPIO_MODE",
        hide_env_values = true,
        value_enum,
        default_value = "standard"
    )]
    mode: Mode,
    /// Name of this node, which outlives a restart: the pod's in a StatefulSet.
    #[arg(long, env = "POD_NAME", hide_env_values = true)]
    name: Option<String>,
    /// Directory for this node's copy of the stories; in memory without it.
    #[arg(long, value_name = "DIR", env = "TAPIO_DATA", hide_env_values = true)]
    data: Option<PathBuf>,
    /// Learns nothing: tells no story of a service that is unlike itself.
    #[arg(long, env = "TAPIO_NO_BASELINE", hide_env_values = true)]
    no_baseline: bool,
    /// Where /livez, /readyz and /metrics are served.
    #[arg(
        long,
        value_name = "ADDR",
        env = "TAPIO_HTTP",
        hide_env_values = true,
        default_value = "127.0.0.1:9464"
    )]
    http: SocketAddr,
    /// How much this node takes, relative to the others; 0 takes nothing.
    #[arg(long, env = "TAPIO_CAPACITY", hide_env_values = true, default_value_t = 1)]
    capacity: u32,
    /// Threads for the actors; one a core without it.
    #[arg(long, env = "TAPIO_ARBITERS", hide_env_values = true)]
    arbiters: Option<usize>,
    /// Traces that may live at a time on all nodes.
    #[arg(long, env = "TAPIO_TRACES_MAX", hide_env_values = true, default_value_t = Limits::default().node_traces_max)]
    traces_max: usize,
    /// How long an event stays in its trace unless a story cites it.
    #[arg(long, env = "TAPIO_WINDOW", hide_env_values = true, default_value = "30s", value_parser = duration)]
    window: Duration,
    /// How long an incident must be quiet to be resolved; twice the window without it.
    #[arg(long, env = "TAPIO_QUIET", hide_env_values = true, value_parser = duration)]
    quiet: Option<Duration>,
    #[command(flatten)]
    rules: RulesArgs,
    #[command(flatten)]
    direct: DirectArgs,
    #[command(flatten)]
    observe: ObserveArgs,
    /// Writes down what became of every single event: for chaos runs.
    #[arg(long, env = "TAPIO_AUDIT", hide_env_values = true)]
    audit: bool,
    /// Writes roots without comparing: loses events and tells twice. The control of the chaos suite.
    #[arg(long, hide = true)]
    unfenced: bool,
    /// Seconds that this process's wall clock is wrong by: for chaos runs.
    #[arg(long, hide = true, default_value_t = 0, allow_hyphen_values = true)]
    clock_offset: i64,
}

impl NodeArgs {
    /// Returns the name of this node.
    pub(crate) fn name(&self) -> String {
        let name = self.name.clone().filter(|name| !name.is_empty());
        name.or_else(host).unwrap_or_else(|| "tapio-0".to_owned())
    }

    const fn sample_ratio(&self) -> f64 {
        match self.mode {
            Mode::Debug => ObserveConfig::SAMPLE_ALL,
            Mode::Ring | Mode::High | Mode::Standard => ObserveConfig::SAMPLE_RATIO,
        }
    }
}

pub(crate) fn run(args: &NodeArgs) -> anyhow::Result<()> {
    if args.mode == Mode::Ring {
        return ring(args);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("starting the runtime")?;
    runtime.block_on(node(args))
}

/// Runs what `tapio up` runs, with OTLP as its only sense.
fn ring(args: &NodeArgs) -> anyhow::Result<()> {
    let window = format!("{}s", args.window.as_secs());
    const OTHERS: [&str; 7] = [
        "--no-kmsg",
        "--no-journal",
        "--no-cgroup",
        "--no-usage",
        "--no-pod-logs",
        "--no-probes",
        "--no-kubernetes",
    ];
    let cli = ["tapio", "up", "--window", &window].into_iter().chain(OTHERS).map(Into::into);
    let cli = Cli::try_parse_from(cli.chain(args.rules.words()))?;
    super::run(cli)
}

async fn node(args: &NodeArgs) -> anyhow::Result<()> {
    let (boot, name) = (boot_number()?, args.name());
    let (meters, shards, own) = (Meters::new(), args.nats.shards(), args.rules.open()?);
    let rules = Arc::new(rules(args, shards.get(), &own.patterns()));
    let following = own.follow(&rules);
    following.observe(&meters);
    let observed = args.observe.start((&name, boot), args.sample_ratio(), &meters)?;
    let connection = args.nats.connect(&name).await?;
    args.streams.set_up(&connection, shards, args.audit).await?;
    let told = meters.clone();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let learns = (!args.no_baseline).then_some(clock);
    let mut node = MeshNode::start(MeshParts {
        connection: connection.clone(),
        me: NodeId { name: name.clone().into(), boot },
        capacity: args.capacity,
        shards,
        arbiters: args.arbiters.unwrap_or_else(cores),
        rules,
        owner_limits: owner_limits(args),
        keeper_limits: KeeperLimits::default(),
        store: Arc::new(store(args)?),
        meters,
        telemetry: observed.telemetry(),
        http: Some(args.http),
        learns,
    })
    .await?;
    let direct = args.direct.start(&connection, shards, observed.telemetry(), &told).await?;
    if args.clock_offset != 0 {
        // Nothing in a node reads the wall clock: its time is the log's, its patience monotonic.
        tracing::warn!(seconds = args.clock_offset, "the wall clock is wrong, and nobody looks");
    }
    let http = node.http_addr().unwrap_or(args.http);
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    errln(format_args!("tapio: {name} joins the mesh; http {http}; stop with SIGTERM"));
    let has_ended = tokio::select! {
        () = node.ended() => true,
        _ = interrupt.recv() => false,
        _ = terminate.recv() => false,
    };
    if has_ended {
        return Err(Unreachable("the node has ended by itself; its log says why".into()).into());
    }
    if let Some(direct) = direct {
        direct.stop().await;
    }
    node.leave().await;
    observe::end(observed).await;
    connection.close().await;
    Ok(())
}

fn rules(args: &NodeArgs, shards: u16, patterns: &Patterns) -> Rules {
    let limits = Limits {
        window: args.window,
        quiet: args.quiet.unwrap_or(args.window * 2),
        node_traces_max: args.traces_max,
        ..Limits::default()
    };
    let rules = Rules::new(patterns, limits.for_shard(shards));
    if args.audit { rules.audited() } else { rules }
}

fn owner_limits(args: &NodeArgs) -> OwnerLimits {
    let standard = OwnerLimits {
        // Twice what a trace lives without events: those that live on are few.
        write_after: args.window * 3,
        sabotage: args.unfenced.then_some(Sabotage::NoFence),
        ..OwnerLimits::default()
    };
    match args.mode {
        Mode::High => OwnerLimits {
            commit_every: Duration::from_millis(500),
            commit_events: 100_000,
            uncommitted_events_max: 1_000_000,
            ..standard
        },
        Mode::Ring | Mode::Standard | Mode::Debug => standard,
    }
}

fn store(args: &NodeArgs) -> anyhow::Result<StoryStore> {
    let Some(data) = &args.data else { return Ok(StoryStore::in_memory()?) };
    std::fs::create_dir_all(data).with_context(|| format!("making {}", data.display()))?;
    Ok(StoryStore::open(&data.join("stories.sqlite"))?)
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Draws the number of this boot from the kernel: two boots of one name never share it.
pub(crate) fn boot_number() -> anyhow::Result<u64> {
    let mut bytes = [0; 8];
    let random = std::fs::File::open("/dev/urandom").context("opening /dev/urandom")?;
    std::io::Read::read_exact(&mut &random, &mut bytes).context("reading /dev/urandom")?;
    Ok(u64::from_le_bytes(bytes))
}

fn host() -> Option<String> {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    let host = host.trim();
    (!host.is_empty()).then(|| host.to_owned())
}
