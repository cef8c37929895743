//! `tapio bench mesh`: from publisher over JetStream to one actor a trace, and what limits it.
//!
//! Four stages, each with names of its own on the server: envelopes that nobody looks into (the
//! ceiling), the same with encoding and decoding (without actors), a whole node as fast as it goes,
//! and the whole node at a rate. Nodes run in this process: only so can every single event be
//! timed from when it was due until its trace's actor has it.

mod publisher;
mod reader;
mod timeline;
mod usage;
mod world;

use std::time::Duration;

use anyhow::ensure;
use clap::ValueEnum;
use serde::Serialize;
use tapio_shard::ShardCount;
use tokio::time::{Instant, sleep};

pub(super) use self::{
    publisher::Publisher,
    usage::{load_average, resident, rounded, seconds_of},
    world::Server,
};
use self::{timeline::Second, usage::Usage, world::World};
use super::{
    load::Load,
    report::{Outcomes, per_second, print, resident_bytes},
};
use crate::{
    cmd::up::duration,
    out::{Out, errln},
};

/// Events of a trace: a request through four services.
const TRACE_EVENTS: u64 = 4;

/// How long everything may take to arrive once the last event is published.
const ARRIVAL_MAX: Duration = Duration::from_secs(60);

/// The latency that is aimed at.
const GOAL: Duration = Duration::from_millis(10);

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct MeshArgs {
    /// Events a second of the paced stage.
    #[arg(long, default_value_t = 165_000, value_parser = clap::value_parser!(u32).range(1..))]
    rate: u32,
    /// How long the paced stage takes.
    #[arg(long, default_value_t = 60)]
    seconds: u32,
    /// Nodes, all in this process.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=16))]
    nodes: u16,
    /// A server to use; one of its own, with a file store, without it.
    #[arg(long, value_name = "URL")]
    nats: Option<String>,
    /// How long an event stays in its trace.
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = duration)]
    window: Duration,
    /// How long an event waits for company on its way to the server, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=1_000))]
    linger_ms: u64,
    /// Traces side by side.
    #[arg(long, default_value_t = 10_000)]
    traces: u64,
    /// Events of each stage that goes as fast as it can.
    #[arg(long, value_name = "EVENTS", default_value_t = 2_000_000)]
    full_events: u64,
    /// Events of an envelope in those stages; as many as the rate and the wait for company give
    /// without it.
    #[arg(long, value_name = "EVENTS")]
    envelope_events: Option<u64>,
    /// Threads for the actors of a node; the cores shared out between the nodes without it.
    #[arg(long)]
    arbiters: Option<usize>,
    /// Which stages; all without it.
    #[arg(long, value_enum, value_delimiter = ',')]
    stages: Vec<Stage>,
    /// Also raises the rate step by step until the 99th percentile exceeds 10 ms.
    #[arg(long)]
    find_knee: bool,
}

impl MeshArgs {
    const fn linger(&self) -> Duration {
        Duration::from_millis(self.linger_ms)
    }

    /// Returns how many events an envelope has in the stages that go as fast as they can: as many
    /// as at the rate, unless told otherwise.
    fn envelope(&self) -> usize {
        let shards = u64::from(ShardCount::DEFAULT.get());
        let at_rate = u64::from(self.rate) * self.linger_ms / 1_000 / shards;
        let events = self.envelope_events.unwrap_or(at_rate).max(1);
        usize::try_from(events).unwrap_or(usize::MAX).min(publisher::BATCH_EVENTS)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Stage {
    /// Envelopes as bytes: what the server and the client can.
    Raw,
    /// Encode, publish, read, decode.
    Plain,
    /// Everything, as fast as it goes.
    Full,
    /// Everything, at the rate.
    Paced,
}

/// A stage that went as fast as it could.
#[derive(Debug, Serialize)]
struct Speed {
    events: u64,
    events_per_second: u64,
    envelope_events: usize,
    #[serde(flatten)]
    usage: Usage,
}

impl Speed {
    fn new(args: &MeshArgs, (events, elapsed): (u64, Duration), usage: Usage) -> Self {
        let events_per_second = per_second(events, elapsed);
        Self { events, events_per_second, envelope_events: args.envelope(), usage }
    }
}

/// A stage at a rate.
#[derive(Debug, Serialize)]
struct Paced {
    rate: u32,
    events: u64,
    lost: u64,
    p50_ms: f64,
    p99_ms: f64,
    p999_ms: f64,
    max_ms: f64,
    #[serde(flatten)]
    usage: Usage,
    resident_mib: u64,
    live_traces: u64,
    commits: u64,
    /// How the seconds went, in order: what a percentile over all of them hides.
    timeline: Vec<Second>,
}

#[derive(Debug, Serialize)]
struct Step {
    rate: u32,
    p50_ms: f64,
    p99_ms: f64,
}

#[derive(Debug, Default, Serialize)]
struct Figures {
    nodes: u16,
    load_average_before: f64,
    raw: Option<Speed>,
    plain: Option<Speed>,
    full: Option<Speed>,
    /// Of what goes through without actors, so much goes through with them.
    full_of_plain_percent: Option<u64>,
    paced: Option<Paced>,
    outcomes: Option<Outcomes>,
    steps: Vec<Step>,
    /// The highest rate tried whose 99th percentile stayed below 10 ms, and the first beyond it.
    knee: Option<(u32, u32)>,
    load_average_after: f64,
}

pub(crate) fn run(args: &MeshArgs, out: Out) -> anyhow::Result<()> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = builder.worker_threads(2).enable_all().build()?;
    let figures = runtime.block_on(measure(args))?;
    print(out, &figures)
}

async fn measure(args: &MeshArgs) -> anyhow::Result<Figures> {
    let has = |stage| args.stages.is_empty() || args.stages.contains(&stage);
    let mut figures =
        Figures { nodes: args.nodes, load_average_before: load_average(), ..Figures::default() };
    if has(Stage::Raw) {
        let server = Server::get(args.nats.as_deref()).await?;
        figures.raw = Some(reader::raw(args, &server).await?);
    }
    if has(Stage::Plain) {
        let server = Server::get(args.nats.as_deref()).await?;
        figures.plain = Some(reader::plain(args, &server).await?);
    }
    if has(Stage::Full) {
        let server = Server::get(args.nats.as_deref()).await?;
        figures.full = Some(full(args, &server).await?);
    }
    if let (Some(plain), Some(full)) = (&figures.plain, &figures.full) {
        let percent = full.events_per_second * 100 / plain.events_per_second.max(1);
        figures.full_of_plain_percent = Some(percent);
    }
    if has(Stage::Paced) || args.find_knee {
        let server = Server::get(args.nats.as_deref()).await?;
        paced(args, &server, has(Stage::Paced), &mut figures).await?;
    }
    figures.load_average_after = load_average();
    Ok(figures)
}

/// Makes the load of a stage.
fn load(args: &MeshArgs) -> Load {
    Load::new(args.traces, TRACE_EVENTS, Duration::ZERO)
}

async fn full(args: &MeshArgs, server: &Server) -> anyhow::Result<Speed> {
    errln("tapio: everything, as fast as it goes");
    let world = World::start(args, server, "full").await?;
    let mut publisher = Publisher::start(server, "full", (args.linger(), args.envelope())).await?;
    let (usage, begin) = (Usage::begin(server), Instant::now());
    publisher.rush(&mut load(args), args.full_events).await?;
    publisher.finish().await?;
    world.arrived(args.full_events).await?;
    let elapsed = begin.elapsed();
    let usage = usage.end(server, args.full_events);
    world.settled(args.full_events).await?;
    world.stop().await;
    Ok(Speed::new(args, (args.full_events, elapsed), usage))
}

async fn paced(
    args: &MeshArgs,
    server: &Server,
    is_wanted: bool,
    figures: &mut Figures,
) -> anyhow::Result<()> {
    let world = World::start(args, server, "paced").await?;
    let mut publisher =
        Publisher::start(server, "paced", (args.linger(), publisher::BATCH_EVENTS)).await?;
    let mut load = load(args);
    // Tables, connections and the server's files grow once; that is not what is measured.
    publisher.pace(&mut load, args.rate / 4 + 1, Duration::from_secs(2)).await?;
    world.arrived(load.made()).await?;
    if is_wanted {
        errln(format_args!("tapio: everything, at {} events/s", args.rate));
        figures.paced = Some(at_rate(args, server, (&world, &mut publisher, &mut load)).await?);
    }
    if args.find_knee {
        find_knee(args, (&world, &mut publisher, &mut load), figures).await?;
    }
    publisher.finish().await?;
    let ledger = world.settled(load.made()).await?;
    figures.outcomes = Some((&ledger).into());
    world.stop().await;
    Ok(())
}

async fn at_rate(
    args: &MeshArgs,
    server: &Server,
    (world, publisher, load): (&World, &mut Publisher, &mut Load),
) -> anyhow::Result<Paced> {
    world.recorder.reset();
    let (usage, before) = (Usage::begin(server), load.made());
    let commits = world.commits();
    let watched = world.watched();
    publisher.pace(load, args.rate, Duration::from_secs(args.seconds.into())).await?;
    world.arrived(load.made()).await?;
    let timeline = watched.end();
    let events = load.made() - before;
    let usage = usage.end(server, events);
    let ledger = world.settled(load.made()).await?;
    let at = |quantile| world.recorder.millis_at(quantile);
    Ok(Paced {
        rate: args.rate,
        events,
        lost: load.made().saturating_sub(ledger.received) + ledger.shed_total(),
        p50_ms: at(0.5),
        p99_ms: at(0.99),
        p999_ms: at(0.999),
        max_ms: at(1.0),
        usage,
        resident_mib: resident_bytes().0 >> 20,
        live_traces: world.live_traces(),
        commits: world.commits() - commits,
        timeline,
    })
}

/// Raises the rate by a tenth of the paced one at a time, five seconds each, from three tenths on.
async fn find_knee(
    args: &MeshArgs,
    (world, publisher, load): (&World, &mut Publisher, &mut Load),
    figures: &mut Figures,
) -> anyhow::Result<()> {
    let mut below = 0;
    for tenths in 3..=30 {
        let rate = args.rate / 10 * tenths;
        world.recorder.reset();
        publisher.pace(load, rate, Duration::from_secs(5)).await?;
        world.arrived(load.made()).await?;
        let (p50_ms, p99_ms) = (world.recorder.millis_at(0.5), world.recorder.millis_at(0.99));
        errln(format_args!("tapio: {rate} events/s: p50 {p50_ms} ms, p99 {p99_ms} ms"));
        figures.steps.push(Step { rate, p50_ms, p99_ms });
        if p99_ms > GOAL.as_secs_f64() * 1_000.0 {
            figures.knee = Some((below, rate));
            break;
        }
        below = rate;
        sleep(Duration::from_millis(500)).await;
    }
    Ok(())
}

/// Waits until `is_so`, looking every millisecond.
async fn until(what: &str, limit: Duration, is_so: impl Fn() -> bool) -> anyhow::Result<()> {
    let begin = Instant::now();
    while !is_so() {
        ensure!(begin.elapsed() < limit, "{what}: not within {limit:?}");
        sleep(Duration::from_millis(1)).await;
    }
    Ok(())
}
