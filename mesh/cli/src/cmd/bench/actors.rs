//! `tapio bench actors`: the whole way, with one actor a trace.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use serde::Serialize;
use tapio_actors::{ActorSystem, SystemParts, TimeSource};
use tapio_bus::{Batch, Bus, MemoryBus, MemoryBusLimits, WhenFull};
use tapio_engine::{Limits, Rules};
use tapio_model::Level;
use tapio_patterns::patterns;
use tapio_shard::ShardCount;
use tokio::{sync::mpsc, time::Instant};

use super::{
    load::{BEGIN, Load},
    report::{Accounts, per_second, print, resident_bytes},
};
use crate::out::Out;

#[derive(Debug, clap::Args)]
pub(crate) struct ActorsArgs {
    /// Events to send in all.
    #[arg(long, default_value_t = 1_000_000)]
    events: u64,
    /// Traces side by side.
    #[arg(long, default_value_t = 10_000)]
    traces: u64,
    /// Events each trace gets.
    #[arg(long, default_value_t = 8)]
    events_per_trace: u64,
    /// Threads to spread the shards over.
    #[arg(long, default_value_t = 1)]
    arbiters: usize,
}

#[derive(Debug, Serialize)]
struct Figures {
    events: u64,
    traces: u64,
    events_per_second: u64,
    live_actors: u64,
    peak_resident_mib: u64,
    accounts: Accounts,
}

pub(crate) fn run(args: &ActorsArgs, out: Out) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let figures = runtime.block_on(measure(args))?;
    print(out, &figures)
}

async fn measure(args: &ActorsArgs) -> anyhow::Result<Figures> {
    let shards = ShardCount::DEFAULT;
    let bus: Arc<dyn Bus> = Arc::new(MemoryBus::new(MemoryBusLimits {
        shards,
        events_max_per_shard: 16_384,
        when_full: WhenFull::Block,
    }));
    let (told, mut listener) = mpsc::channel(1_024);
    let mut system = ActorSystem::start(SystemParts {
        bus: Arc::clone(&bus),
        shards,
        arbiters: args.arbiters,
        rules: Arc::new(Rules::new(&patterns(), Limits::default())),
        time: TimeSource::Batches,
        told,
    })
    .await?;
    let listening = tapio_telemetry::spawn_named("bench listener", async move {
        while listener.recv().await.is_some() {}
    });
    let mut load = Load::new(args.traces, args.events_per_trace, Duration::from_micros(1));
    let begin = Instant::now();
    while load.made() < args.events {
        let mut batches: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for event in load.chunk(2_048.min(args.events - load.made())) {
            batches.entry(shards.shard_of(event.trace.trace_id)).or_default().push(event);
        }
        for (shard, events) in batches {
            let time = events.last().map_or(BEGIN, |event| event.time);
            bus.publish(Batch { shard, level: Level::Normal, time, events }).await?;
        }
    }
    bus.close().await;
    system.fed().await;
    let stats = loop {
        // Everything has been delivered; what is left lies in inboxes that are being worked off.
        let stats = system.stats().await;
        if stats.waiting_events == 0 {
            break stats;
        }
        tokio::task::yield_now().await;
    };
    let elapsed = begin.elapsed();
    system
        .advance(BEGIN.after(Duration::from_micros(args.events) + Duration::from_secs(120)))
        .await;
    let live_actors = stats.live_actors;
    let stats = system.finish().await;
    listening.await?;
    Ok(Figures {
        events: args.events,
        traces: args.traces,
        events_per_second: per_second(args.events, elapsed),
        live_actors,
        peak_resident_mib: resident_bytes().1 >> 20,
        accounts: Accounts::balanced(&stats.ledger, args.events)?,
    })
}
