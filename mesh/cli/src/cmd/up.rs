//! `tapio up`: watch this machine and tell its stories as they happen.

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use anyhow::Context as _;
use tapio_actors::TimeSource;
use tapio_bus::{Bus, MemoryBus, MemoryBusLimits, WhenFull};
use tapio_collect::{Binder, Home, Pump, PumpLimits, stop_signal};
use tapio_engine::{Limits, Rules};
use tapio_model::{Clock, Story};
use tapio_node::{Learner, Node, NodeParts};
use tapio_shard::ShardCount;
use tapio_telemetry::SystemClock;
use tapio_wire::json::StoryJson;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::broadcast::{
        Receiver,
        error::{RecvError, TryRecvError},
    },
};

use super::{paths::PathArgs, record::Recorder, rules::RulesArgs, senses::Senses, tell::print};
use crate::out::{Out, errln};

#[derive(Debug, clap::Args)]
pub(crate) struct UpArgs {
    #[command(flatten)]
    pub(super) senses: SenseArgs,
    /// How long an event stays in its trace unless a story cites it.
    #[arg(long, env = "TAPIO_WINDOW", hide_env_values = true, default_value = "30s", value_parser = duration)]
    window: Duration,
    /// How long an incident must be quiet to be resolved; twice the window without it.
    #[arg(long, env = "TAPIO_QUIET", hide_env_values = true, value_parser = duration)]
    quiet: Option<Duration>,
    /// Threads for the actors; one a core without it.
    #[arg(long, env = "TAPIO_ARBITERS", hide_env_values = true)]
    arbiters: Option<usize>,
    /// Traces that may live at a time.
    #[arg(long, env = "TAPIO_TRACES_MAX", hide_env_values = true, default_value_t = Limits::default().node_traces_max)]
    traces_max: usize,
    /// Learns nothing: tells no story of a service that is unlike itself.
    #[arg(long, env = "TAPIO_NO_BASELINE", hide_env_values = true)]
    no_baseline: bool,
    /// Keeps every event that is seen in a new file, for `tapio replay` and `tapio eval`.
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
    #[command(flatten)]
    rules: RulesArgs,
}

/// What to watch.
#[derive(Debug, Clone, clap::Args)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a switch of its own on the command line"
)]
pub(crate) struct SenseArgs {
    /// Does not read the kernel's log.
    #[arg(long)]
    pub(super) no_kmsg: bool,
    /// Does not read the systemd journal.
    #[arg(long)]
    pub(super) no_journal: bool,
    /// Does not watch control groups.
    #[arg(long)]
    pub(super) no_cgroup: bool,
    /// Does not sample what pods, containers and the node use.
    #[arg(long)]
    pub(super) no_usage: bool,
    /// Does not read the logs of pods that a kubelet keeps.
    #[arg(long)]
    pub(super) no_pod_logs: bool,
    /// Loads no probes into the kernel.
    #[arg(long)]
    pub(super) no_probes: bool,
    /// Does not ask the Kubernetes API.
    #[arg(long)]
    pub(super) no_kubernetes: bool,
    /// Does not receive OTLP.
    #[arg(long)]
    pub(super) no_otlp: bool,
    /// The cluster to watch; without it a pod watches its own by the account it has.
    #[arg(long, value_name = "FILE", env = "KUBECONFIG", hide_env_values = true)]
    pub(super) kubeconfig: Option<PathBuf>,
    /// Log file to follow; `*` may stand in its last part. May be given several times.
    #[arg(long = "log", value_name = "PATH")]
    pub(super) logs: Vec<PathBuf>,
    /// Reads log files, kernel log and journal from their beginning, not from now.
    #[arg(long)]
    pub(super) from_start: bool,
    /// Where to receive OTLP over gRPC.
    #[arg(long, env = "TAPIO_OTLP_GRPC", hide_env_values = true, default_value = "127.0.0.1:4317")]
    pub(super) otlp_grpc: SocketAddr,
    /// Where to receive OTLP over HTTP.
    #[arg(long, env = "TAPIO_OTLP_HTTP", hide_env_values = true, default_value = "127.0.0.1:4318")]
    pub(super) otlp_http: SocketAddr,
    /// Name of this node; the host's name without it.
    #[arg(long, env = "NODE_NAME", hide_env_values = true)]
    pub(super) node: Option<String>,
    /// Name of the cluster.
    #[arg(long, env = "CLUSTER_NAME", hide_env_values = true)]
    pub(super) cluster: Option<String>,
}

/// Reads a duration such as `30s`, `1m 30s` or `PT30S`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let parsed: jiff::SignedDuration =
        text.parse().map_err(|error: jiff::Error| error.to_string())?;
    let duration = Duration::try_from(parsed).map_err(|_negative| "it must not be negative")?;
    if duration < Duration::from_secs(1) {
        return Err("it must be at least a second".into());
    }
    Ok(duration)
}

pub(crate) fn run(args: UpArgs, paths: &PathArgs, out: Out) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("starting the runtime")?;
    runtime.block_on(up(args, paths, out))
}

async fn up(args: UpArgs, paths: &PathArgs, out: Out) -> anyhow::Result<()> {
    // Before anything begins: whoever is told to stop at once still keeps what was seen.
    let ends = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let limits = Limits {
        window: args.window,
        quiet: args.quiet.unwrap_or(args.window * 2),
        node_traces_max: args.traces_max,
        ..Limits::default()
    };
    let shards = ShardCount::DEFAULT;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let (bus, recorder) = open_bus(&args, shards, &clock)?;
    let own = args.rules.open()?;
    let rules = Arc::new(Rules::new(&own.patterns(), limits.for_shard(shards.get())));
    let following = own.follow(&rules);
    let (store, _) = paths.open_store()?;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let mut node = Node::start(NodeParts {
        rules,
        shards,
        arbiters: args.arbiters.unwrap_or(cores),
        bus: Arc::clone(&bus),
        time: TimeSource::Clock(Arc::clone(&clock)),
        store,
    })
    .await?;
    let mut stories = node.subscribe();
    let home = Home {
        cluster: args.senses.cluster.clone().map(Into::into),
        node: Some(node_name(&args.senses).into()),
    };
    let binder = Arc::new(Binder::new(home));
    let (stopper, stop) = stop_signal();
    let taken = Arc::clone(&binder);
    let pump = Pump::start(taken, Arc::clone(&bus), shards, clock, PumpLimits::default());
    let senses = Senses::start(&args.senses, &binder, &pump, &stop).await?;
    let socket = paths.paths().socket;
    node.serve(&socket, following.beside(senses.status(&pump))).await?;
    errln(format_args!("tapio: watching; socket {}; stop with Ctrl-C", socket.display()));
    // A reader that went away ends the watching like Ctrl-C: what was seen is still told and kept.
    let told = tell_until_told_to_stop(&mut stories, ends, out).await;
    stopper.stop();
    let finish = async {
        senses.stopped().await;
        pump.drain().await;
        node.shutdown().await;
    };
    tokio::select! {
        () = finish => {}
        _ = tokio::signal::ctrl_c() => errln("tapio: stopped in haste; what was not told is lost"),
    }
    told?;
    recorder.map_or(Ok(()), Recorder::finish)?;
    loop {
        match stories.try_recv() {
            Ok(story) => print(&StoryJson::from(&*story), out)?,
            Err(TryRecvError::Lagged(missed)) => say_missed(missed),
            Err(TryRecvError::Empty | TryRecvError::Closed) => return Ok(()),
        }
    }
}

/// A bus, and who records what is published to it.
type Opened = (Arc<dyn Bus>, Option<Recorder>);

/// Opens the bus: in memory, heard by the learner and, before it, by who records.
fn open_bus(args: &UpArgs, shards: ShardCount, clock: &Arc<dyn Clock>) -> anyhow::Result<Opened> {
    let memory: Arc<dyn Bus> = Arc::new(MemoryBus::new(MemoryBusLimits {
        shards,
        when_full: WhenFull::ShedLowestFirst,
        ..MemoryBusLimits::default()
    }));
    let bus: Arc<dyn Bus> = if args.no_baseline {
        memory
    } else {
        Arc::new(Learner::on(memory, shards, Arc::clone(clock)))
    };
    let Some(path) = &args.record else { return Ok((bus, None)) };
    let (bus, recorder) = Recorder::on(bus, path, &**clock)?;
    Ok((bus, Some(recorder)))
}

async fn tell_until_told_to_stop(
    stories: &mut Receiver<Arc<Story>>,
    (mut interrupt, mut terminate): (Signal, Signal),
    out: Out,
) -> anyhow::Result<()> {
    loop {
        tokio::select! {
            told = stories.recv() => match told {
                Ok(story) => print(&StoryJson::from(&*story), out)?,
                Err(RecvError::Lagged(missed)) => say_missed(missed),
                Err(RecvError::Closed) => return Ok(()),
            },
            _ = interrupt.recv() => return Ok(()),
            _ = terminate.recv() => return Ok(()),
        }
    }
}

fn say_missed(tellings: u64) {
    errln(format_args!("tapio: {tellings} tellings went unprinted; `tapio stories` has them"));
}

fn node_name(args: &SenseArgs) -> String {
    let named = args.node.clone().filter(|name| !name.is_empty());
    named.unwrap_or_else(host_name)
}

/// Returns what this machine calls itself.
pub(crate) fn host_name() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    host.trim().to_owned()
}
