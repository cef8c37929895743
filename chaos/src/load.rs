//! A load whose right stories are known before it is sent.
//!
//! Everything follows from a seed: how many incidents, of which shape, when, in which shards. An
//! event's id says whose it is, so whatever comes out of the mesh is judged without a lookup table.

mod expected;
mod identity;
mod incident;
mod plan;

use std::{collections::BTreeMap, iter::Peekable, sync::Arc, time::Duration, vec};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use tapio_bus::Batch;
use tapio_model::{Event, EventId, Level, ShardId, Timestamp};
use tapio_shard::ShardCount;

pub use self::expected::{Expected, ExpectedIncident};
pub use self::incident::Shape;
use self::{
    identity::Whose,
    plan::{Planned, What},
};

/// Events that come within one slot travel in one batch a shard and level.
const SLOT: Duration = Duration::from_millis(50);

/// Events of one batch.
const BATCH_EVENTS_MAX: usize = 512;

/// One batch in so many is sent twice, if duplicates are wanted.
const COPIED_ONE_IN: u32 = 24;

/// A time in which more comes than usual.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Burst {
    /// When it begins, after the start.
    pub from: Duration,
    /// When it ends.
    pub to: Duration,
    /// How many times the usual rate comes.
    pub times: u32,
}

/// What a load is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadOptions {
    /// Everything follows from it.
    pub seed: u64,
    /// The shards of the mesh.
    pub shards: ShardCount,
    /// How long it takes.
    pub duration: Duration,
    /// Incidents: each must become one story.
    pub incidents: u32,
    /// Spans around each incident in its traces, which no story may cite.
    pub hum_per_incident: u32,
    /// Traces in which nothing happens.
    pub healthy_traces: u32,
    /// Spans of each of them.
    pub spans_per_trace: u32,
    /// Whether some batches are sent twice.
    pub duplicates: bool,
    /// A time in which more healthy traces come.
    pub burst: Option<Burst>,
}

impl LoadOptions {
    /// Makes a load of about `events` events in `duration`, one event in twelve of an incident.
    #[must_use]
    pub fn sized(seed: u64, events: u32, duration: Duration) -> Self {
        let hum_per_incident = 4;
        let incidents = (events / 120).max(3);
        let spans_per_trace = 6;
        let healthy = events.saturating_sub(incidents * (hum_per_incident + 5));
        Self {
            seed,
            shards: ShardCount::DEFAULT,
            duration,
            incidents,
            hum_per_incident,
            healthy_traces: healthy.div_ceil(spans_per_trace),
            spans_per_trace,
            duplicates: true,
            burst: None,
        }
    }
}

/// What is to be sent at one moment: events of one shard and level.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// When, after the start.
    pub at: Duration,
    /// How often the same batch is to be sent: more than once is a publisher that repeats itself.
    pub copies: u32,
    shard: ShardId,
    level: Level,
    events: Vec<Event>,
}

impl Step {
    /// Returns the shard.
    #[must_use]
    pub const fn shard(&self) -> ShardId {
        self.shard
    }

    /// Returns the level.
    #[must_use]
    pub const fn level(&self) -> Level {
        self.level
    }

    /// Returns the ids of the events.
    pub fn event_ids(&self) -> impl Iterator<Item = EventId> {
        self.events.iter().map(|event| event.id)
    }

    /// Makes the batch that is sent at the log's time `now`. Its events happened just before, in
    /// their order. It is stamped once: whoever sends it again sends the same batch.
    #[must_use]
    pub fn stamped(self, now: Timestamp) -> Batch {
        let Self { shard, level, events, .. } = self;
        let count = u64::try_from(events.len()).unwrap_or_default();
        let events = (0..).zip(events).map(|(place, mut event)| {
            event.time = now.before(Duration::from_micros(count.saturating_sub(place)));
            Arc::new(event)
        });
        Batch { shard, level, time: now, events: events.collect() }
    }
}

/// A load: an iterator over its steps, in order of their time.
#[derive(Debug)]
pub struct Load {
    options: LoadOptions,
    planned: Peekable<vec::IntoIter<Planned>>,
    ready: vec::IntoIter<Step>,
    rng: StdRng,
}

impl Load {
    /// Makes the load of these options.
    #[must_use]
    pub fn new(options: LoadOptions) -> Self {
        let mut rng = StdRng::seed_from_u64(options.seed);
        let planned = plan::plan(&options, &mut rng).into_iter().peekable();
        Self { options, planned, ready: Vec::new().into_iter(), rng }
    }

    /// Returns what must come of it.
    #[must_use]
    pub fn expected(&self) -> Expected {
        Expected::of(&self.options)
    }

    /// Returns the options.
    #[must_use]
    pub const fn options(&self) -> &LoadOptions {
        &self.options
    }

    /// Takes the steps of the next slot in which there is something.
    fn next_slot(&mut self) -> Option<Vec<Step>> {
        let slot = slot_of(self.planned.peek()?.at);
        // Critical before normal: what decides an incident is on its way before its hum.
        let mut batches: BTreeMap<(std::cmp::Reverse<Level>, ShardId), Vec<Event>> =
            BTreeMap::new();
        while let Some(planned) = self.planned.next_if(|planned| slot_of(planned.at) == slot) {
            for event in events(&self.options, planned.what) {
                let shard = self.options.shards.shard_of(event.trace.trace_id);
                let key = (std::cmp::Reverse(event.level()), shard);
                batches.entry(key).or_default().push(event);
            }
        }
        let mut steps = Vec::new();
        for ((level, shard), mut events) in batches {
            while !events.is_empty() {
                let rest = events.split_off(events.len().min(BATCH_EVENTS_MAX));
                let is_copied =
                    self.options.duplicates && self.rng.random_range(0..COPIED_ONE_IN) == 0;
                let copies = if is_copied { 2 } else { 1 };
                let at = SLOT.saturating_mul(slot);
                steps.push(Step { at, copies, shard, level: level.0, events });
                events = rest;
            }
        }
        Some(steps)
    }
}

impl Iterator for Load {
    type Item = Step;

    fn next(&mut self) -> Option<Step> {
        loop {
            if let Some(step) = self.ready.next() {
                return Some(step);
            }
            self.ready = self.next_slot()?.into_iter();
        }
    }
}

fn slot_of(at: Duration) -> u32 {
    u32::try_from(at.as_nanos() / SLOT.as_nanos()).unwrap_or(u32::MAX)
}

fn events(options: &LoadOptions, what: What) -> Vec<Event> {
    match what {
        What::Evidence { number, part } => incident::evidence(options, number, part),
        What::Hum { number, part, index } => vec![incident::hum(options, number, part, index)],
        What::Span { trace, index } => {
            vec![incident::span(options, Whose::Healthy { trace, index })]
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use tapio_engine::{Limits, Ring, Rules, Told};
    use tapio_model::{Outcome, Story, StoryId};
    use tapio_patterns::patterns;

    use super::*;

    fn options(seed: u64) -> LoadOptions {
        LoadOptions {
            incidents: 24,
            healthy_traces: 120,
            ..LoadOptions::sized(seed, 1_000, Duration::from_secs(12))
        }
    }

    fn limits() -> Limits {
        let (window, quiet) = (Duration::from_secs(2), Duration::from_secs(16));
        Limits { window, quiet, ..Limits::default() }
    }

    #[test]
    fn the_built_in_patterns_tell_one_story_of_each_incident_and_no_other() {
        for seed in 0..12 {
            let load = Load::new(options(seed));
            let expected = load.expected();
            let rules = Arc::new(Rules::new(&patterns(), limits()));
            let mut ring = Ring::new(&rules);
            let start = Timestamp::from_secs(1_000);
            let mut duplicates = 0;
            for step in load {
                let (now, copies) = (start.after(step.at), step.copies);
                let batch = step.stamped(now);
                for event in (0..copies).flat_map(|_| &batch.events) {
                    let outcome = ring.observe(Arc::clone(event), now);
                    duplicates += u32::from(outcome == Outcome::Duplicate);
                }
            }
            ring.advance(start.after(Duration::from_secs(60)));
            let mut stories: BTreeMap<StoryId, Box<Story>> = BTreeMap::new();
            for told in ring.take_told() {
                let Told::Story(story) = told else { continue };
                stories.insert(story.id, story);
            }
            let cited: BTreeSet<BTreeSet<EventId>> =
                stories.values().map(|story| story.event_ids.iter().copied().collect()).collect();
            let want: BTreeSet<BTreeSet<EventId>> =
                expected.incidents.values().map(|incident| incident.citable.clone()).collect();
            assert_eq!(stories.len(), expected.incidents.len(), "seed {seed}");
            assert_eq!(cited, want, "seed {seed}");
            assert!(ring.shard().ledger().balances() && ring.shard().ledger().open == 0);
            assert!(duplicates > 0, "seed {seed}: no batch was sent twice");
        }
    }

    #[test]
    fn the_same_seed_makes_the_same_load_and_another_one_another() {
        let steps = |seed| Load::new(options(seed)).collect::<Vec<_>>();
        assert_eq!(steps(7), steps(7));
        assert_ne!(steps(7), steps(8));
    }

    #[test]
    fn ids_never_repeat_and_say_whose_they_are() {
        let load = Load::new(options(3));
        let expected = load.expected();
        let mut seen = BTreeSet::new();
        for id in load.flat_map(|step| step.event_ids().collect::<Vec<_>>()) {
            assert!(seen.insert(id), "{id} twice");
            let owner = expected.incident_of(id);
            let listed =
                expected.incidents.iter().find(|(_, incident)| incident.events.contains(&id));
            assert_eq!(owner, listed.map(|(number, _)| *number));
        }
        assert_eq!(u64::try_from(seen.len()).unwrap(), expected.events_total);
    }

    #[test]
    fn batches_hold_one_shard_and_one_level_in_order_of_time() {
        let options = options(5);
        let mut last = Duration::ZERO;
        for step in Load::new(options.clone()) {
            assert!(step.at >= last && !step.events.is_empty());
            last = step.at;
            for event in &step.events {
                assert_eq!(options.shards.shard_of(event.trace.trace_id), step.shard);
                assert_eq!(event.level(), step.level);
            }
        }
    }

    #[test]
    fn parts_and_anchors_lie_in_different_shards() {
        let options = LoadOptions { incidents: 200, ..options(9) };
        let mut seen = BTreeSet::new();
        for number in 0..options.incidents {
            let shape = Shape::of(&options, number);
            seen.insert(shape);
            let shards = incident::shards(&options, number);
            assert_eq!(shards.traces.len() > 1, shape != Shape::OneTrace, "{shape:?}");
            assert_eq!(shards.anchors.len() > 1, shape == Shape::TwoAnchors, "{shape:?}");
        }
        assert_eq!(seen.len(), Shape::ALL.len());
    }

    #[test]
    fn a_burst_brings_several_times_the_usual() {
        let burst = Burst { from: Duration::from_secs(4), to: Duration::from_secs(6), times: 10 };
        let options = LoadOptions { healthy_traces: 3_000, burst: Some(burst), ..options(1) };
        let mut counts = [0_usize; 6];
        for step in Load::new(options) {
            let second = usize::try_from(step.at.as_secs() / 2).unwrap().min(5);
            counts[second] += step.events.len();
        }
        assert!(counts[2] > 5 * counts[1], "{counts:?}");
    }
}
