//! What every pattern together costs, beside the twelve there were first.
//!
//! Requests of a few spans are what traces mostly are; among them are the scenes that patterns bring
//! with them, each again and again as a trace of its own. Both engines get the same events in turns.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use anyhow::{Context as _, ensure};
use serde::Serialize;
use tapio_engine::{Limits, Pattern, Patterns, Rules, Shard};
use tapio_model::{Event, EventId, Timestamp, TraceContext, TraceId};
use tapio_patterns::{all, fixture, patterns};
use tokio::time::Instant;

use super::super::load::{BEGIN, Load};

/// The patterns of the first version.
const TWELVE: [&str; 12] = [
    "container_oom",
    "node_oom",
    "silent_child_oom",
    "cannot_start",
    "bad_rollout",
    "missing_config",
    "image_pull",
    "liveness_kill",
    "readiness_lost",
    "connection_failed",
    "disk_full",
    "cascading_dependency",
];

/// Spans of a request.
const SPANS: u64 = 4;

/// The time that all of it is spread over.
const SPREAD: Duration = Duration::from_secs(60);

/// Figures of both, as medians of the rounds.
#[derive(Debug, Serialize)]
pub(super) struct Cost {
    events: u64,
    requests: u64,
    /// Traces that are a scene.
    scenes: u64,
    rounds: u32,
    twelve_ns_per_event: u64,
    all_patterns: usize,
    all_ns_per_event: u64,
    /// All to twelve.
    ratio: f64,
}

/// Measures both in turns; one trace in `one_in` is a scene.
pub(super) fn measure(requests: u64, one_in: u64, rounds: u32) -> anyhow::Result<Cost> {
    let scenes = requests / one_in.max(1);
    let events = load(requests, scenes)?;
    let is_first = |pattern: &Arc<dyn Pattern>| TWELVE.contains(&pattern.spec().slug);
    let twelve: Patterns = patterns().iter().filter(|it| is_first(it)).cloned().collect();
    ensure!(twelve.len() == TWELVE.len(), "a pattern of the first version has another name");
    let (mut of_twelve, mut of_all) = (Vec::new(), Vec::new());
    for _round in 0..rounds.max(1) {
        of_twelve.push(time(&twelve, &events)?);
        of_all.push(time(&patterns(), &events)?);
    }
    let (twelve, all) = (median(of_twelve), median(of_all));
    let count = u128::try_from(events.len())?.max(1);
    Ok(Cost {
        events: u64::try_from(events.len())?,
        requests,
        scenes,
        rounds,
        twelve_ns_per_event: u64::try_from(twelve.as_nanos() / count)?,
        all_patterns: patterns().len(),
        all_ns_per_event: u64::try_from(all.as_nanos() / count)?,
        ratio: (all.as_secs_f64() / twelve.as_secs_f64().max(f64::MIN_POSITIVE) * 100.0).round()
            / 100.0,
    })
}

/// Returns how long an engine takes from the first event until the last trace is closed.
fn time(patterns: &Patterns, events: &[Arc<Event>]) -> anyhow::Result<Duration> {
    let mut shard = Shard::new(Arc::new(Rules::new(patterns, Limits::default())));
    let end = events.last().context("no events")?.time.after(SPREAD * 12);
    let begin = Instant::now();
    for event in events {
        shard.observe(Arc::clone(event), event.time);
    }
    shard.advance(end);
    let elapsed = begin.elapsed();
    ensure!(shard.ledger().balances(), "the ledger does not balance: {:?}", shard.ledger());
    Ok(elapsed)
}

fn median(mut rounds: Vec<Duration>) -> Duration {
    rounds.sort_unstable();
    rounds.get(rounds.len() / 2).copied().unwrap_or_default()
}

/// Makes requests and scenes, in order of time.
fn load(requests: u64, scenes: u64) -> anyhow::Result<Vec<Arc<Event>>> {
    let spread = |count: u64| SPREAD / u32::try_from(count.max(1)).unwrap_or(u32::MAX);
    let mut events = Load::new(requests, SPANS, spread(requests * SPANS)).chunk(requests * SPANS);
    let stories = all().into_iter().flat_map(|entry| entry.scenes);
    let stories =
        stories.map(|scene| fixture::events(scene.story)).collect::<Result<Vec<_>, _>>()?;
    for (number, story) in (0..scenes).zip(stories.iter().cycle()) {
        let begin = BEGIN.after(spread(scenes) * u32::try_from(number)?);
        let mut traces = BTreeMap::new();
        for event in story {
            let trace = *traces
                .entry(event.trace.trace_id)
                .or_insert_with_key(|id| TraceId::from_bytes(again(*id.as_bytes(), number)));
            events.push(Arc::new(Event {
                id: EventId::from_bytes(again(*event.id.as_bytes(), number)),
                time: begin.after(event.time.since(Timestamp::ZERO)),
                trace: TraceContext { trace_id: trace, ..event.trace },
                ..event.clone()
            }));
        }
    }
    events.sort_by_key(|event| event.order());
    Ok(events)
}

/// Makes another id of one: of the scene's `number`th time.
fn again(id: [u8; 16], number: u64) -> [u8; 16] {
    (u128::from_be_bytes(id) ^ u128::from(number + 1) << 64).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_time_a_scene_has_traces_and_events_of_its_own() {
        let count = all().iter().map(|entry| entry.scenes.len()).sum::<usize>() as u64;
        let (once, twice) = (load(10, count).unwrap(), load(10, count * 2).unwrap());
        let scenes = once.len() - 40;
        assert_eq!(twice.len(), 40 + 2 * scenes);
        let ids: BTreeSet<_> = twice.iter().map(|event| event.id).collect();
        assert_eq!(ids.len(), twice.len());
        assert!(twice.is_sorted_by_key(|event| event.time));
    }

    #[test]
    fn both_engines_are_measured() {
        let cost = measure(50, 10, 1).unwrap();
        assert_eq!((cost.requests, cost.scenes), (50, 5));
        assert!(cost.all_patterns > TWELVE.len() && cost.ratio > 0.0);
    }
}
