//! `tapio bench kernel`: from the kernel's ring buffer to one actor a trace, and the reader alone.
//!
//! Threads of this process write to a device that is full, each under a name of its own; a probe
//! tells each failure, without its rate limit. The agent's own collector reads them, and makes one
//! event of those that are alike and come at once, with their count; the pump binds and publishes it,
//! and an actor takes it in. All of it shares this machine's cores. One process is one place: the
//! events are dealt out to as many pods as a node has, so that there are as many traces.

use std::{
    process::id,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

use anyhow::{Context as _, anyhow, ensure};
use serde::Serialize;
use tapio_actors::{ActorSystem, SystemParts, TimeSource};
use tapio_bus::{Bus, MemoryBus, MemoryBusLimits, Tapped, WhenFull};
use tapio_collect::{
    Account, Accounts as Collected, Binder, Collector as _, DropReason, Home, Pump, PumpLimits,
    stop_signal,
};
use tapio_collect_host::place_of_cgroup;
use tapio_collect_kernel::{
    FloodConfig, FloodPace, FloodReport, KernelCollector, KernelConfig, PlaceOfCgroup, flood,
    flood_config, flood_full_device,
};
use tapio_engine::{Limits, Rules};
use tapio_model::{Clock as _, Place, Text, keys};
use tapio_patterns::patterns;
use tapio_shard::ShardCount;
use tapio_telemetry::{SystemClock, spawn_named};
use tokio::{sync::mpsc, time::Instant};

use super::{
    mesh::load_average,
    report::{Accounts, per_second, print, resident_bytes},
};
use crate::{cmd::up::duration, exit::Unreachable, out::Out};

/// A ring buffer that is too small for any flood.
const TOO_SMALL: u32 = 64 << 10;

/// How long the reader may take, however slow the machine.
const FLOOD_MAX: Duration = Duration::from_secs(600);

#[derive(Debug, clap::Args)]
pub(crate) struct KernelArgs {
    /// Failing system calls to make in each stage.
    #[arg(long, default_value_t = 5_000_000)]
    events: u64,
    /// Calls a second on the whole way; as many as possible with 0.
    #[arg(long, default_value_t = 500_000)]
    rate: u64,
    /// Size of the ring buffer in MiB: a power of two.
    #[arg(long, default_value_t = 16, value_parser = ring_mib)]
    ring_mib: u32,
    /// Threads that make the calls, when only the reader is measured.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=64))]
    threads: u8,
    /// Threads that make them on the whole way: what two of them say is never one event.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=1024))]
    callers: u16,
    /// Pods the calls are dealt out to; each is a trace.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pods: u32,
    /// Threads to spread the shards over.
    #[arg(long, default_value_t = 1)]
    arbiters: usize,
    /// How long an event stays in its trace. A trace holds 4,096 events, and sheds what is beyond.
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = duration)]
    window: Duration,
    /// Takes a ring buffer of 64 KiB instead and no pauses: most is dropped, and all is counted.
    #[arg(long)]
    force_drops: bool,
}

#[derive(Debug, Serialize)]
struct Figures {
    ring_kib: u32,
    load_average_before: f64,
    reader: Reader,
    whole: Whole,
    load_average_after: f64,
    peak_resident_mib: u64,
    accounts: Accounts,
}

/// The reader alone: records are read and checked, and no more.
#[derive(Debug, Serialize)]
struct Reader {
    /// Calls that failed, as the callers counted them.
    made: u64,
    received: u64,
    received_per_second: u64,
    /// By the full ring buffer.
    refused: u64,
    /// What the probe told beyond our own calls: other processes fail too.
    of_others: u64,
}

/// Ring buffer, translation, bound event, pump, bus, actor.
#[derive(Debug, Serialize)]
struct Whole {
    made: u64,
    /// Failures that events told of which were taken in by their trace's actor.
    received: u64,
    /// These events: failures that are alike are one, with their count.
    events: u64,
    offered_per_second: u64,
    /// Until the last event was with its actor.
    received_per_second: u64,
    /// From the last call until the last event was with its actor.
    backlog_ms: u64,
    /// By the full ring buffer.
    refused: u64,
    /// Before the ring buffer was quite full, to keep room for what is rare.
    sampled: u64,
    of_others: u64,
}

/// Reads a size that the kernel takes for a ring buffer.
fn ring_mib(text: &str) -> Result<u32, String> {
    let mib = text.parse::<u32>().map_err(|why| why.to_string())?;
    let is_good = mib.is_power_of_two() && mib <= 1_024;
    if is_good { Ok(mib) } else { Err("it must be a power of two up to 1024".into()) }
}

pub(crate) fn run(args: &KernelArgs, out: Out) -> anyhow::Result<()> {
    let load_average_before = load_average();
    let reader = read_alone(args)?;
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = builder.worker_threads(2).enable_all().build()?;
    let (whole, accounts) = runtime.block_on(go_the_whole_way(args))?;
    let figures = Figures {
        ring_kib: args.ring_bytes() >> 10,
        load_average_before,
        reader,
        whole,
        load_average_after: load_average(),
        peak_resident_mib: resident_bytes().1 >> 20,
        accounts,
    };
    print(out, &figures)
}

impl KernelArgs {
    fn ring_bytes(&self) -> u32 {
        if self.force_drops { TOO_SMALL } else { self.ring_mib << 20 }
    }

    fn pace(&self) -> FloodPace {
        let rate = Some(self.rate).filter(|rate| *rate > 0 && !self.force_drops);
        FloodPace { calls: Some(self.events), rate }
    }
}

/// Floods a reader that does nothing with what it reads, as fast as it goes.
fn read_alone(args: &KernelArgs) -> anyhow::Result<Reader> {
    let report = flood(FloodConfig {
        ring_bytes: args.ring_bytes(),
        threads: args.threads.into(),
        duration: FLOOD_MAX,
        pace: FloodPace { calls: Some(args.events), rate: None },
        ..FloodConfig::default()
    });
    let report = report.map_err(|why| Unreachable(why.to_string()))?;
    let received_per_second = report.received_per_second();
    let FloodReport { made, received, counts, .. } = report;
    ensure!(
        report.is_exact(),
        "{received} records read, {} malformed: {counts:?}",
        report.malformed
    );
    let told = received + counts.refused;
    ensure!(told >= made, "{made} calls made, {told} told: {counts:?}");
    ensure!(!args.force_drops || counts.refused > 0, "nothing was dropped: {counts:?}");
    let of_others = told - made;
    Ok(Reader { made, received, received_per_second, refused: counts.refused, of_others })
}

/// The flood's collector, and where its events end.
struct Way {
    pump: Pump,
    bus: Arc<dyn Bus>,
    /// Failures that the published events tell of.
    failures: Arc<AtomicU64>,
    system: ActorSystem,
}

impl Way {
    async fn start(
        args: &KernelArgs,
        told: mpsc::Sender<tapio_engine::Told>,
    ) -> anyhow::Result<Self> {
        let shards = ShardCount::DEFAULT;
        let memory = Arc::new(MemoryBus::new(MemoryBusLimits {
            shards,
            when_full: WhenFull::Block,
            ..MemoryBusLimits::default()
        }));
        let failures = Arc::<AtomicU64>::default();
        let sum = Arc::clone(&failures);
        let bus: Arc<dyn Bus> = Arc::new(Tapped::new(memory, move |batch| {
            let counts = batch.events.iter().map(|event| event.attributes.int(keys::COUNT));
            let told: i64 = counts.map(|count| count.unwrap_or(1)).sum();
            sum.fetch_add(told.unsigned_abs(), Relaxed);
        }));
        let limits = Limits { window: args.window, quiet: args.window * 2, ..Limits::default() };
        let system = ActorSystem::start(SystemParts {
            bus: Arc::clone(&bus),
            shards,
            arbiters: args.arbiters,
            rules: Arc::new(Rules::new(&patterns(), limits.for_shard(shards.get()))),
            time: TimeSource::Batches,
            told,
        })
        .await?;
        let binder = Arc::new(Binder::new(Home { cluster: None, node: Some("bench".into()) }));
        let clock = Arc::new(SystemClock);
        let pump = Pump::start(binder, Arc::clone(&bus), shards, clock, PumpLimits::default());
        Ok(Self { pump, bus, failures, system })
    }

    /// Waits until every event is with its actor. Returns how many there are, and of how many failures
    /// they tell.
    async fn arrived(self) -> (ActorSystem, u64, u64) {
        let Self { pump, bus, failures, mut system } = self;
        let published = pump.drain().await.published_events;
        bus.close().await;
        system.fed().await;
        while system.stats().await.waiting_events > 0 {
            tokio::task::yield_now().await;
        }
        (system, published, failures.load(Relaxed))
    }
}

async fn go_the_whole_way(args: &KernelArgs) -> anyhow::Result<(Whole, Accounts)> {
    let (told, mut listener) = mpsc::channel(1_024);
    let listening =
        spawn_named("bench listener", async move { while listener.recv().await.is_some() {} });
    let way = Way::start(args, told).await?;
    let account = Arc::<Account>::default();
    let (stopper, stop) = stop_signal();
    let config =
        KernelConfig { place_of_cgroup: dealt_out(args.pods), ..flood_config(args.ring_bytes()) };
    let collector = Box::new(KernelCollector::new(config, Arc::new(SystemClock)));
    let mut report = collector.report();
    let outlet = way.pump.outlet(Arc::clone(&account));
    let reading = spawn_named("kernel", collector.run(outlet, stop));
    // An error means that it has ended, and then its own says why.
    drop(report.wait_for(Option::is_some).await);
    let pace = args.pace();
    let begin = Instant::now();
    let flooding = thread::Builder::new().name("flood".into());
    let callers = args.callers.into();
    let flooding =
        flooding.spawn(move || flood_full_device(callers, pace, &AtomicBool::new(false)))?;
    while !flooding.is_finished() && !reading.is_finished() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let offered_in = begin.elapsed();
    stopper.stop();
    reading.await?.map_err(|why| Unreachable(why.to_string()))?;
    let made = flooding.join().map_err(|_panic| anyhow!("the flood panicked"))?;
    let made = made.context("a device that is full: /dev/full must be there")?;
    let (system, published, told) = way.arrived().await;
    let received_in = begin.elapsed();
    system.advance(SystemClock.now().after(args.window * 4)).await;
    let stats = system.finish().await;
    listening.await?;
    let counted = account.snapshot();
    check(&counted, made, told)?;
    let (refused, sampled) =
        (counted.dropped(DropReason::Overrun), counted.dropped(DropReason::Full));
    let accounts = Accounts::balanced(&stats.ledger, published)?;
    let whole = Whole {
        made,
        received: told,
        events: published,
        offered_per_second: per_second(made, offered_in),
        received_per_second: per_second(told, received_in),
        backlog_ms: u64::try_from((received_in - offered_in).as_millis())?,
        refused,
        sampled,
        of_others: counted.read - made,
    };
    Ok((whole, accounts))
}

/// Says whether each call that was made is accounted for.
fn check(counted: &Collected, made: u64, told: u64) -> anyhow::Result<()> {
    let dropped: u64 = DropReason::ALL.map(|reason| counted.dropped(reason)).iter().sum();
    ensure!(counted.read == counted.emitted + dropped, "what was read is gone: {counted:?}");
    ensure!(counted.read >= made, "{made} calls made: {counted:?}");
    ensure!(told == counted.emitted, "events tell of {told}: {counted:?}");
    Ok(())
}

/// Reads the path as an agent does, and then names the next of so many pods.
fn dealt_out(pods: u32) -> PlaceOfCgroup {
    let names: Vec<[Text; 2]> = (0..pods)
        .map(|number| [format!("pod-{number}").into(), format!("uid-{}-{number}", id()).into()])
        .collect();
    let next = AtomicUsize::new(0);
    Arc::new(move |path: &str| {
        let place = place_of_cgroup(path);
        let at = next.fetch_add(1, Relaxed) % names.len().max(1);
        let Some([pod, uid]) = names.get(at) else { return place };
        Place {
            namespace: Some("bench".into()),
            pod: Some(Text::clone(pod)),
            pod_uid: Some(Text::clone(uid)),
            ..place
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_dealt_out_to_pods_in_turn() {
        let place_of = dealt_out(2);
        let pods = [(); 3].map(|()| place_of("/system.slice/x.service").pod.unwrap());
        assert_eq!(pods, ["pod-0", "pod-1", "pod-0"].map(Text::from));
    }

    #[test]
    fn a_ring_buffer_is_a_power_of_two() {
        let cases = [("16", Some(16)), ("1", Some(1)), ("12", None), ("0", None), ("2048", None)];
        for (text, want) in cases {
            assert_eq!(ring_mib(text).ok(), want, "{text}");
        }
    }
}
