//! `tapio bench request`: questions to a mesh of several nodes, and to one of which a node stands.
//!
//! Nodes are processes, since one of them is stopped in its tracks. Latency counts from when a
//! question was due, at whoever asks.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::{Context as _, ensure};
use hdrhistogram::Histogram;
use serde::Serialize;
use tapio_chaos::real::{NodeCommand, NodeProcess};
use tapio_model::{Answer, Entity, Item, Op, Owned, Request};
use tapio_nats::{Requester, RequesterError};
use tapio_shard::ShardCount;
use tapio_telemetry::spawn_named;
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep},
};

use super::{
    load::{Load, trace_id},
    mesh::{Publisher, Server, load_average},
    report::print,
};
use crate::{
    cmd::replay::park_until,
    out::{Out, errln},
};

/// The name of the nodes' streams.
const STAGE: &str = "request";

/// A little state: so many traces of four events each, over 64 pods.
const TRACES: u64 = 640;

/// How many of ten questions are about one trace; the others are about a pod, over all shards.
const OF_TRACES: u64 = 7;

/// How long the mesh may take to share its shards out.
const START_MAX: Duration = Duration::from_secs(30);

/// What an answer may take beyond its deadline to travel.
const TRAVEL: Duration = Duration::from_millis(10);

#[derive(Debug, clap::Args)]
pub(crate) struct RequestArgs {
    /// Questions a second.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    rate: u32,
    /// How long questions are asked, with all nodes and once more with one that stands.
    #[arg(long, default_value_t = 20)]
    seconds: u32,
    /// Nodes of the mesh.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(2..=16))]
    nodes: u16,
}

/// What became of the questions of one kind.
#[derive(Debug, Serialize)]
struct Kind {
    asked: u64,
    p50_ms: f64,
    p99_ms: f64,
    max_ms: f64,
    /// Answered with everything, from owners.
    complete: u64,
    /// Answered, and the shards are named that are stale or missing.
    partial: u64,
    /// Answered within the deadline, and 10 ms for the way.
    in_time: u64,
    /// Not answered.
    failed: u64,
}

#[derive(Debug, Serialize)]
struct Figures {
    nodes: u16,
    rate: u32,
    load_average_before: f64,
    trace: Kind,
    entity: Kind,
    stopped_trace: Kind,
    stopped_entity: Kind,
    load_average_after: f64,
}

pub(crate) fn run(args: &RequestArgs, out: Out) -> anyhow::Result<()> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = builder.worker_threads(2).enable_all().build()?;
    let figures = runtime.block_on(measure(args))?;
    print(out, &figures)
}

async fn measure(args: &RequestArgs) -> anyhow::Result<Figures> {
    let load_average_before = load_average();
    let server = Server::get(None).await?;
    let mut nodes = Vec::new();
    for number in 0..args.nodes {
        nodes.push(start(&server, number).await?);
    }
    let connection = server.connect(STAGE, "tapio bench request").await?;
    let requester = Requester::new(&connection);
    shared_out(&requester, usize::from(args.nodes)).await?;
    let mut publisher = Publisher::start(&server, STAGE, (Duration::from_millis(2), 128)).await?;
    let mut load = Load::new(TRACES, 4, Duration::ZERO);
    publisher.rush(&mut load, TRACES * 4).await?;
    publisher.finish().await?;
    // A warm-up: connections, tables, and a commit of what was published.
    ask(&requester, args.rate.min(200), Duration::from_secs(2)).await?;
    errln("tapio: all nodes answer");
    let time = Duration::from_secs(args.seconds.into());
    let [trace, entity] = ask(&requester, args.rate, time).await?;
    errln("tapio: one node stands");
    let last = nodes.last_mut().context("a node")?;
    last.pause()?;
    let [stopped_trace, stopped_entity] = ask(&requester, args.rate, time).await?;
    last.resume()?;
    connection.close().await;
    Ok(Figures {
        nodes: args.nodes,
        rate: args.rate,
        load_average_before,
        trace,
        entity,
        stopped_trace,
        stopped_entity,
        load_average_after: load_average(),
    })
}

async fn start(server: &Server, number: u16) -> anyhow::Result<NodeProcess> {
    let name = format!("bench-{number}");
    let mut process = NodeProcess::prepare(&name)?;
    let [prefix, generation] = Server::names(STAGE);
    let shards = ShardCount::DEFAULT.get().to_string();
    // The state stays: what is asked for is there until the end.
    let args = [
        "node",
        "--nats",
        server.url(),
        "--name",
        &name,
        "--http",
        "127.0.0.1:0",
        "--window",
        "600s",
        "--subject-prefix",
        &prefix,
        "--generation",
        &generation,
        "--shards",
        &shards,
    ];
    let program = std::env::current_exe().context("finding this program")?;
    let args = args.iter().map(Into::into).collect();
    process.start(&NodeCommand { program, args, env: Vec::new() }).await?;
    Ok(process)
}

/// Waits until every node owns something and every shard has an owner, for a while.
async fn shared_out(requester: &Requester, nodes: usize) -> anyhow::Result<()> {
    let (begin, mut since) = (Instant::now(), Instant::now());
    while since.elapsed() < Duration::from_secs(2) {
        ensure!(begin.elapsed() < START_MAX, "the shards have no owners after {START_MAX:?}");
        let mut names = BTreeSet::new();
        let mut owned = 0;
        for shard in ShardCount::DEFAULT.shards() {
            let request = Request::new(Op::WhoOwns(Owned::Shard(shard)));
            let Ok(answer) = requester.request(&request).await else { break };
            for item in answer.results {
                if let Item::Owner { owner: Some(owner), .. } = item {
                    owned += 1;
                    names.insert(owner.node);
                }
            }
        }
        if names.len() < nodes || owned < usize::from(ShardCount::DEFAULT.get()) {
            since = Instant::now();
        }
        sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}

/// What became of the questions of one kind, as they are answered.
#[derive(Debug)]
struct Tally {
    latency: Histogram<u64>,
    complete: u64,
    partial: u64,
    in_time: u64,
    failed: u64,
}

impl Tally {
    fn new() -> anyhow::Result<Mutex<Self>> {
        let latency = Histogram::new_with_bounds(1_000, 60_000_000_000, 3)?;
        Ok(Mutex::new(Self { latency, complete: 0, partial: 0, in_time: 0, failed: 0 }))
    }

    fn count(&mut self, answer: &Result<Answer, RequesterError>, took: Duration) {
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.latency.saturating_record(nanos);
        match answer {
            Ok(answer) => {
                let is_complete = answer.is_complete();
                let names = answer.shards.stale.len() + answer.shards.missing.len();
                self.complete += u64::from(is_complete);
                self.partial += u64::from(!is_complete && names > 0);
                self.in_time += u64::from(took <= Request::DEADLINE + TRAVEL);
            }
            Err(_) => self.failed += 1,
        }
    }

    fn kind(&self) -> Kind {
        let millis = |quantile| {
            let micros = self.latency.value_at_quantile(quantile) / 1_000;
            Duration::from_micros(micros).as_secs_f64() * 1_000.0
        };
        Kind {
            asked: self.latency.len(),
            p50_ms: millis(0.5),
            p99_ms: millis(0.99),
            max_ms: millis(1.0),
            complete: self.complete,
            partial: self.partial,
            in_time: self.in_time,
            failed: self.failed,
        }
    }
}

fn lock(tally: &Mutex<Tally>) -> MutexGuard<'_, Tally> {
    tally.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Asks at a rate, whether or not what was asked before has been answered. Returns what became of
/// the questions about traces, and of those about pods.
async fn ask(requester: &Requester, rate: u32, time: Duration) -> anyhow::Result<[Kind; 2]> {
    let tallies = Arc::new([Tally::new()?, Tally::new()?]);
    let begin = Instant::now();
    let mut asking: Vec<JoinHandle<()>> = Vec::new();
    for number in 0_u64.. {
        let at = Duration::from_nanos(number * 1_000_000_000 / u64::from(rate));
        if at >= time {
            break;
        }
        let due = begin + at;
        // The main thread has nothing else to do, and a timer of the runtime is a millisecond late.
        park_until(due);
        let is_trace = number % 10 < OF_TRACES;
        let op = if is_trace {
            Op::Trace(trace_id(number % TRACES))
        } else {
            Op::Entity(Entity::Pod { uid: format!("uid-{}", number % 64).into() })
        };
        let (requester, tallies) = (requester.clone(), Arc::clone(&tallies));
        asking.push(spawn_named("bench question", async move {
            let answer = requester.request(&Request::new(op)).await;
            let took = due.elapsed();
            let [traces, entities] = &*tallies;
            lock(if is_trace { traces } else { entities }).count(&answer, took);
        }));
    }
    for asked in asking {
        asked.await?;
    }
    let [traces, entities] = &*tallies;
    Ok([lock(traces).kind(), lock(entities).kind()])
}
