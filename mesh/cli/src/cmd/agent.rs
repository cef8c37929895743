//! `tapio agent`: what this machine senses, on its way to the mesh.

mod collectors;

use std::{path::PathBuf, sync::Arc, time::Duration};

use anyhow::Context as _;
use tapio_agent::{
    Agent, AgentConfig, AgentParts, AgentStatus, CollectorState, MakeOutput, OutputError,
    OutputMode,
};
use tapio_bus::Bus;
use tapio_collect::{Addresses, Binder, Home};
use tapio_config::{Origin, load, process_variable, watch};
use tapio_direct::{DirectBus, DirectConfig, DirectTls};
use tapio_model::Clock;
use tapio_nats::{Connection, NatsBus, NatsBusOptions, NatsConfig, Subjects};
use tapio_shard::ShardCount;
use tapio_telemetry::SystemClock;
use tokio::signal::unix::{SignalKind, signal};

pub(super) use self::collectors::POD_LOGS;
use self::collectors::{Senses, specs};
use super::{nats::NatsArgs, up::host_name};
use crate::{
    exit::Usage,
    out::{Out, errln},
};

/// How long the end may take: what is then still on its way is in the spool, or lost and said.
const SHUTDOWN_MAX: Duration = Duration::from_secs(10);

#[derive(Debug, clap::Args)]
pub(crate) struct AgentArgs {
    /// The configuration; the defaults and the environment without it. A change is taken over while
    /// the agent runs, a bad one is not.
    #[arg(long, value_name = "FILE", env = "TAPIO_AGENT_CONFIG", hide_env_values = true)]
    config: Option<PathBuf>,
    /// Says what is wrong with the configuration, and ends.
    #[arg(long)]
    validate: bool,
    #[command(flatten)]
    nats: NatsArgs,
}

pub(crate) fn run(args: AgentArgs, out: Out) -> anyhow::Result<()> {
    let origin = Origin { path: args.config.clone(), lookup: Arc::new(process_variable) };
    let config: AgentConfig = load(&origin).map_err(|why| Usage(why.to_string()))?;
    if args.validate {
        return out.text(format_args!("the configuration is good\n"));
    }
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = builder.worker_threads(2).enable_all().build().context("starting the runtime")?;
    runtime.block_on(agent(args, origin, &config))
}

async fn agent(args: AgentArgs, origin: Origin, config: &AgentConfig) -> anyhow::Result<()> {
    let (mut interrupt, mut terminate) =
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let (live, _watching) = watch(origin).map_err(|why| Usage(why.to_string()))?;
    let node = config.node.clone().unwrap_or_else(host_name);
    let home = Home { node: Some(node.as_str().into()), ..config.home() };
    let masks = config.masks().map_err(|why| Usage(why.to_string()))?;
    let binder = Arc::new(Binder::new(home.clone()).with_masks(masks));
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let addresses: Arc<Addresses> = Arc::default();
    let senses = Senses { binder: Arc::clone(&binder), addresses, clock: Arc::clone(&clock), node };
    let collectors = specs(&senses);
    let agent = Agent::start(AgentParts {
        config: live,
        collectors,
        outputs: outputs(args.nats),
        clock,
        binder,
        home,
        // The log's filter is set once, by the flag that every command has.
        log_level: Box::new(|level| tracing::info!(level, "takes effect at the next start")),
    })
    .context("opening the spool")?;
    errln("tapio: the agent runs; stop with Ctrl-C");
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    say(&agent.shutdown(SHUTDOWN_MAX).await);
    Ok(())
}

/// Says what became of what was collected.
fn say(status: &AgentStatus) {
    for (name, collector) in &status.collectors {
        let (read, lost) = (collector.accounts.read, collector.accounts.lost());
        match &collector.state {
            CollectorState::Off => {}
            CollectorState::Absent(why) => errln(format_args!("tapio: {name}: {why}")),
            CollectorState::Running | CollectorState::Broken(_) | CollectorState::Ended => {
                errln(format_args!("tapio: {name}: {read} read, {lost} lost"));
            }
        }
    }
    let switch = &status.switch;
    let refused: u64 = switch.refused_events.iter().sum();
    errln(format_args!(
        "tapio: {} events published, {} spooled, {} of them drained, {refused} refused",
        switch.published_events, switch.spooled_events, switch.drained_events
    ));
}

/// Makes the output that the configuration names.
fn outputs(nats: NatsArgs) -> MakeOutput {
    Box::new(move |config| {
        let nats = nats.clone();
        Box::pin(async move {
            match config.output.mode {
                OutputMode::Nats => to_nats(&nats, &config).await,
                OutputMode::Direct => to_node(&config),
            }
        })
    })
}

async fn to_nats(nats: &NatsArgs, config: &AgentConfig) -> Result<Arc<dyn Bus>, OutputError> {
    let refused = |what: String| OutputError { what, cure: "correct output.nats".to_owned() };
    let base = nats.config("tapio agent").map_err(|why| refused(why.to_string()))?;
    let generation = base.subjects.generation().to_owned();
    let subjects = Subjects::new(&config.output.nats.subject_prefix, &generation);
    let wanted = NatsConfig {
        urls: config.output.nats.url.split(',').map(|url| url.trim().to_owned()).collect(),
        subjects: subjects.map_err(|why| refused(why.to_string()))?,
        ..base
    };
    let connection = Connection::open(&wanted).await.map_err(|why| OutputError {
        what: why.to_string(),
        cure: "see `tapio check`; until then events wait in the spool".to_owned(),
    })?;
    let options =
        NatsBusOptions { shards: ShardCount::new(config.shards), ..NatsBusOptions::default() };
    Ok(Arc::new(NatsBus::new(connection, options)))
}

fn to_node(config: &AgentConfig) -> Result<Arc<dyn Bus>, OutputError> {
    let cure = "start a node with --direct and name it in output.direct.url";
    let refused = |what: String| OutputError { what, cure: cure.to_owned() };
    let nodes = config.output.direct.nodes();
    let nodes = nodes.ok_or_else(|| refused("output.direct.url is no address".to_owned()))?;
    let tls = nodes.is_tls.then(DirectTls::default);
    let wanted = DirectConfig { tls, ..DirectConfig::to(nodes.addresses) };
    let bus = DirectBus::start(wanted).map_err(|why| refused(why.to_string()))?;
    Ok(Arc::new(bus))
}
