//! `tapio bench poison`: a million live traces, some of them poisoned.

use std::{sync::Arc, time::Duration};

use anyhow::ensure;
use serde::Serialize;
use tapio_engine::{Draft, Limits, Pattern, Patterns, Rules, Shard, Spec, View};
use tapio_model::{Attributes, Entity, Event, EvidenceClass, Kind, Severity, Timestamp};
use tokio::time::Instant;

use super::{
    load::{BEGIN, Load},
    report::{Accounts, print, resident_bytes},
};
use crate::out::Out;

#[derive(Debug, clap::Args)]
pub(crate) struct PoisonArgs {
    /// Live traces.
    #[arg(long, default_value_t = 1_000_000)]
    traces: u64,
    /// One trace in this many is poisoned.
    #[arg(long, default_value_t = 100)]
    one_in: u64,
}

#[derive(Debug, Serialize)]
struct Figures {
    live_traces: u64,
    poisoned_traces: u64,
    neighbours_found: u64,
    seconds: f64,
    resident_mib_live: u64,
    peak_resident_mib: u64,
    accounts: Accounts,
}

/// Holds for every trace with an error, and panics on poison: the worst pattern there could be.
#[derive(Debug)]
struct Canary;

const CANARY: Spec =
    Spec { slug: "canary", title: "Canary", wakes_on: &[Kind::Span], leads_to: &[] };

const POISON: &str = "poison";

impl Pattern for Canary {
    fn spec(&self) -> &'static Spec {
        &CANARY
    }

    #[expect(clippy::panic, reason = "panicking is what this pattern is for")]
    fn detect(&self, view: &View<'_>) -> Vec<Draft> {
        let mut draft = None;
        for event in view.events().filter(|event| event.severity >= Severity::Error) {
            if event.attributes.get(POISON).is_some() {
                panic!("poison");
            }
            let open = || {
                let name = event.trace.trace_id.to_string().into();
                let subject =
                    Entity::Object { namespace: "bench".into(), kind: "Trace".into(), name };
                Draft::new(subject, EvidenceClass::CoOccurrence, event, "an error")
            };
            draft = Some(draft.unwrap_or_else(open).step(event, "an error"));
        }
        draft.into_iter().collect()
    }
}

pub(crate) fn run(args: &PoisonArgs, out: Out) -> anyhow::Result<()> {
    let (traces, one_in) = (args.traces, args.one_in.max(2));
    // Three provoked panics a poisoned trace would drown the terminal.
    std::panic::set_hook(Box::new(|_| {}));
    let canary: Arc<dyn Pattern> = Arc::new(Canary);
    let patterns: Patterns = Arc::from([canary]);
    let mut shard = Shard::new(Arc::new(Rules::new(&patterns, Limits::default())));
    let begin = Instant::now();
    let mut load = Load::new(traces, 2, Duration::from_micros(1));
    while load.made() < traces * 2 {
        let number = load.made() % traces;
        let mut event = load.next();
        // One trace in `one_in` is poisoned; its neighbour has an error worth finding.
        match number % one_in {
            0 => taint(&mut event, true),
            1 => taint(&mut event, false),
            _ => {}
        }
        let now = event.time;
        shard.observe(event, now);
    }
    let live_traces = shard.live_traces() as u64;
    let resident_mib_live = resident_bytes().0 >> 20;
    let mut found = 0;
    for second in 1..=120 {
        shard.advance(at(second));
        let outputs = shard.take_outputs();
        found +=
            outputs.iter().filter(|it| matches!(it, tapio_engine::Output::Found(_))).count() as u64;
    }
    let poisoned = traces.div_ceil(one_in);
    let neighbours = (traces + one_in - 2) / one_in;
    let ledger = shard.ledger();
    ensure!(live_traces == traces, "{traces} traces were opened, {live_traces} live");
    ensure!(ledger.dead_letter == poisoned * 2, "two dead letters a poisoned trace: {ledger:?}");
    ensure!(ledger.story == neighbours * 2, "every neighbour tells its two errors: {ledger:?}");
    ensure!(found == neighbours, "{neighbours} neighbours, {found} findings");
    let accounts = Accounts::balanced(ledger, traces * 2)?;
    let (_, peak) = resident_bytes();
    print(
        out,
        &Figures {
            live_traces,
            poisoned_traces: poisoned,
            neighbours_found: neighbours,
            seconds: begin.elapsed().as_secs_f64(),
            resident_mib_live,
            peak_resident_mib: peak >> 20,
            accounts,
        },
    )
}

fn at(second: u64) -> Timestamp {
    BEGIN.after(Duration::from_secs(second))
}

fn taint(event: &mut Arc<Event>, is_poisoned: bool) {
    let event = Arc::make_mut(event);
    event.severity = Severity::Error;
    if is_poisoned {
        event.attributes = Attributes::from_iter([(POISON, true)]);
    }
}
