//! `tapio bench ring`: from producer to story in one process.

use std::{
    sync::{Arc, mpsc::sync_channel},
    thread,
    time::Duration,
};

use anyhow::anyhow;
use hdrhistogram::Histogram;
use serde::Serialize;
use tapio_engine::{Limits, Ring, Rules};
use tapio_model::Event;
use tapio_patterns::patterns;
use tokio::time::Instant;

use super::{
    load::{BEGIN, Load},
    report::{Accounts, per_second, print, resident_bytes},
};
use crate::out::Out;

/// Batches that may be on their way between producer and engine.
const BATCHES_MAX: usize = 64;

#[derive(Debug, clap::Args)]
pub(crate) struct RingArgs {
    /// Events a second to offer; as many as possible without it.
    #[arg(long)]
    rate: Option<u64>,
    /// Events to send in all.
    #[arg(long, default_value_t = 5_000_000)]
    events: u64,
    /// Traces side by side.
    #[arg(long, default_value_t = 10_000)]
    traces: u64,
    /// Events each trace gets.
    #[arg(long, default_value_t = 8)]
    events_per_trace: u64,
    /// Events in a batch.
    #[arg(long, default_value_t = 128)]
    batch: u64,
}

#[derive(Debug, Serialize)]
struct Figures {
    events: u64,
    events_per_second: u64,
    offered_per_second: Option<u64>,
    /// From the moment an event was due to be sent until its trace had taken it in.
    latency_us_p50: f64,
    latency_us_p99: f64,
    latency_us_p999: f64,
    /// Of the engine thread's time: waiting for events.
    engine_idle_percent: u64,
    peak_resident_mib: u64,
    accounts: Accounts,
}

struct Batch {
    due: Instant,
    events: Vec<Arc<Event>>,
}

pub(crate) fn run(args: &RingArgs, out: Out) -> anyhow::Result<()> {
    let (sender, receiver) = sync_channel::<Batch>(BATCHES_MAX);
    let (rate, total, batch) = (args.rate, args.events, args.batch.max(1));
    // The recorded time of the load is the time it takes at a million events a second.
    let mut load = Load::new(args.traces, args.events_per_trace, Duration::from_micros(1));
    let begin = Instant::now();
    let producer = thread::Builder::new().name("producer".into()).spawn(move || {
        while load.made() < total {
            let events = batch.min(total - load.made());
            let due = rate.map(|rate| {
                begin + Duration::from_nanos(load.made() * 1_000_000_000 / rate.max(1))
            });
            let events = load.chunk(events);
            let due = due.map_or_else(Instant::now, wait_until);
            if sender.send(Batch { due, events }).is_err() {
                return;
            }
        }
    })?;
    let mut ring = Ring::new(&Arc::new(Rules::new(&patterns(), Limits::default())));
    let mut latency = Histogram::<u64>::new_with_bounds(1, 60_000_000_000, 3)?;
    let mut idle = Duration::ZERO;
    loop {
        let waiting = Instant::now();
        let Ok(Batch { due, events }) = receiver.recv() else { break };
        idle += waiting.elapsed();
        let count = events.len() as u64;
        for event in events {
            let now = event.time;
            ring.observe(event, now);
        }
        let nanos = u64::try_from(due.elapsed().as_nanos()).unwrap_or(u64::MAX);
        latency.saturating_record_n(nanos, count);
        ring.take_told();
    }
    let elapsed = begin.elapsed();
    producer.join().map_err(|_panic| anyhow!("the producer panicked"))?;
    ring.advance(BEGIN.after(Duration::from_micros(total) + Duration::from_secs(120)));
    let us = |quantile| micros(latency.value_at_quantile(quantile));
    print(
        out,
        &Figures {
            events: total,
            events_per_second: per_second(total, elapsed),
            offered_per_second: rate,
            latency_us_p50: us(0.5),
            latency_us_p99: us(0.99),
            latency_us_p999: us(0.999),
            engine_idle_percent: u64::try_from(idle.as_nanos() * 100 / elapsed.as_nanos().max(1))?,
            peak_resident_mib: resident_bytes().1 >> 20,
            accounts: Accounts::balanced(ring.shard().ledger(), total)?,
        },
    )
}

/// Waits until `due` and returns it: latency counts from when an event should have been sent, so
/// that a producer held up by a slow engine does not hide the delay.
fn wait_until(due: Instant) -> Instant {
    while let Some(left) = due.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())
    {
        if left > Duration::from_micros(200) {
            thread::park_timeout(left - Duration::from_micros(100));
        } else {
            std::hint::spin_loop();
        }
    }
    due
}

#[expect(clippy::cast_precision_loss, reason = "microseconds for people")]
fn micros(nanos: u64) -> f64 {
    nanos as f64 / 1_000.0
}
