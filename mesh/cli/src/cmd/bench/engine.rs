//! `tapio bench engine`: what an event costs, what a trace weighs, and what patterns cost.

mod cost;

use std::{sync::Arc, time::Duration};

use serde::Serialize;
use tapio_engine::{Limits, Rules, Shard};
use tapio_patterns::patterns;
use tokio::time::Instant;

use super::{
    load::Load,
    report::{Accounts, per_second, print, resident_bytes},
};
use crate::out::Out;

#[derive(Debug, clap::Args)]
pub(crate) struct EngineArgs {
    /// Numbers of live traces to measure at.
    #[arg(long, value_delimiter = ',', default_values_t = [1_000, 100_000, 1_000_000])]
    traces: Vec<u64>,
    /// Events each trace gets.
    #[arg(long, default_value_t = 4)]
    events_per_trace: u64,
    /// Requests among which all patterns are compared with the first twelve; not at all with 0.
    #[arg(long, default_value_t = 100_000)]
    requests: u64,
    /// One trace in so many is of a failure.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..))]
    failure_one_in: u64,
    /// Rounds of that comparison.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
}

/// Figures at one number of traces.
#[derive(Debug, Serialize)]
struct Figures {
    live_traces: u64,
    events: u64,
    ns_per_event: u64,
    events_per_second: u64,
    /// The trace and its own events, as the engine counts them.
    bytes_per_trace: u64,
    /// What the process grew by, divided by the traces: allocator and index included.
    resident_bytes_per_trace: u64,
    ns_per_event_to_close: u64,
    accounts: Accounts,
}

pub(crate) fn run(args: &EngineArgs, out: Out) -> anyhow::Result<()> {
    for traces in &args.traces {
        print(out, &measure(*traces, args.events_per_trace)?)?;
    }
    if args.requests > 0 {
        print(out, &cost::measure(args.requests, args.failure_one_in, args.rounds)?)?;
    }
    Ok(())
}

fn measure(traces: u64, events_per_trace: u64) -> anyhow::Result<Figures> {
    let events = traces * events_per_trace;
    // All within one window, so that every trace is still live at the end.
    let step = Duration::from_secs(10) / u32::try_from(events).unwrap_or(u32::MAX);
    let mut load = Load::new(traces, events_per_trace, step);
    let (before, _) = resident_bytes();
    let mut shard = Shard::new(Arc::new(Rules::new(&patterns(), Limits::default())));
    let mut busy = Duration::ZERO;
    while load.made() < events {
        // Made first and timed after: the figure is the engine's alone.
        let chunk = load.chunk(10_000.min(events - load.made()));
        let begin = Instant::now();
        for event in chunk {
            let now = event.time;
            shard.observe(event, now);
        }
        busy += begin.elapsed();
    }
    let (after, _) = resident_bytes();
    let live_traces = shard.live_traces() as u64;
    let live_bytes = shard.live_bytes() as u64;
    let begin = Instant::now();
    shard.advance(super::load::BEGIN.after(Duration::from_secs(120)));
    let closing = begin.elapsed();
    let nanos =
        |elapsed: Duration| u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX) / events.max(1);
    Ok(Figures {
        live_traces,
        events,
        ns_per_event: nanos(busy),
        events_per_second: per_second(events, busy),
        bytes_per_trace: live_bytes / traces.max(1),
        resident_bytes_per_trace: after.saturating_sub(before) / traces.max(1),
        ns_per_event_to_close: nanos(closing),
        accounts: Accounts::balanced(shard.ledger(), events)?,
    })
}
