//! One simulated run: nodes, load and faults, all from a seed.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use tapio_engine::{Limits, Patterns, Rules};
use tapio_model::{Address, Audit, EventId, Outcome, Telling};
use tapio_owner::OwnerLimits;
use tapio_shard::ShardCount;
use tapio_wire::{EventBatch, decode_audit, decode_root, decode_telling, encode_batch};
use tokio::time::{Instant, sleep, sleep_until};

use super::{
    fabric::Fuse,
    node::{Setting, SimNode},
    world::{Log, Weather, World},
};
use crate::load::{Expected, Load, LoadOptions};

/// What a simulated run is made of.
#[derive(Debug, Clone)]
pub struct SimOptions {
    /// Everything follows from it.
    pub seed: u64,
    /// How many nodes there are.
    pub nodes: usize,
    /// How many shards.
    pub shards: u16,
    /// About how many events.
    pub events: u32,
    /// For how long they come, and faults with them.
    pub duration: Duration,
    /// Whether things go wrong.
    pub has_faults: bool,
    /// Whether roots are written by compare-and-set. Without it the run must go wrong.
    pub is_fenced: bool,
}

impl SimOptions {
    /// Makes the options of a run among thousands.
    #[must_use]
    pub const fn small(seed: u64) -> Self {
        Self {
            seed,
            nodes: 3,
            shards: 4,
            events: 400,
            duration: Duration::from_secs(8),
            has_faults: true,
            is_fenced: true,
        }
    }
}

/// Acknowledged events, and how often each was sent.
type Acked = BTreeMap<EventId, u32>;

/// What came of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SimOutcome {
    /// The seed.
    pub seed: u64,
    /// Events that were acknowledged.
    pub acked: u64,
    /// Tellings that were published.
    pub tellings: u64,
    /// Stories that were opened.
    pub stories: u64,
    /// Claims of shards.
    pub claims: u64,
    /// Commits that another owner's was ahead of.
    pub lost_commits: u64,
    /// What was not as it should be.
    pub violations: Vec<String>,
}

/// Runs one simulated world to its end. Every run of one seed is the same run.
///
/// # Errors
/// If no runtime can be had.
pub fn run(options: &SimOptions, patterns: &Patterns) -> std::io::Result<SimOutcome> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?;
    let local = tokio::task::LocalSet::new();
    Ok(local.block_on(&runtime, live(options.clone(), patterns)))
}

/// Limits small enough for a run of seconds.
fn rules(patterns: &Patterns, shards: u16) -> Rules {
    let limits = Limits {
        window: Duration::from_secs(2),
        // Longer than any disturbance: what arrives within it is the same incident.
        quiet: Duration::from_secs(15),
        settle: Duration::from_millis(200),
        amend_every: Duration::from_millis(500),
        late_horizon: Duration::from_secs(120),
        ..Limits::default()
    };
    Rules::new(patterns, limits.for_shard(shards)).audited()
}

async fn live(options: SimOptions, patterns: &Patterns) -> SimOutcome {
    let world = World::new(options.seed, Weather::FAIR);
    let setting = Setting {
        world: Arc::clone(&world),
        rules: Arc::new(rules(patterns, options.shards)),
        shards: ShardCount::new(options.shards),
        owner_limits: OwnerLimits {
            write_after: Duration::from_millis(2_500),
            is_fenced: options.is_fenced,
            ..OwnerLimits::default()
        },
    };
    let mut nodes: Vec<_> =
        (0..options.nodes).map(|number| SimNode::new(setting.clone(), number)).collect();
    nodes.iter_mut().for_each(SimNode::start);
    sleep(Duration::from_millis(2_500)).await;
    let load = Load::new(LoadOptions {
        shards: setting.shards,
        ..LoadOptions::sized(options.seed, options.events, options.duration)
    });
    let expected = load.expected();
    let publishing = tokio::task::spawn_local(publish(Arc::clone(&world), load));
    if options.has_faults {
        disturb(&options, &world, &mut nodes).await;
    }
    let acked = publishing.await.unwrap_or_default();
    calm(&world, &mut nodes);
    let is_settled = settle(&world, &acked).await;
    let nodes_stand: Vec<_> = nodes.iter().map(SimNode::standing).collect();
    nodes.iter().for_each(SimNode::kill);
    let mut outcome = judge(&world, &acked, &expected);
    if !is_settled {
        outcome
            .violations
            .insert(0, format!("the mesh never settled: {}; {nodes_stand:?}", standing(&world)));
    }
    outcome.seed = options.seed;
    for figures in nodes.iter().flat_map(|node| &node.figures) {
        outcome.claims += figures.claims.get();
        outcome.lost_commits += figures.lost_commits.get();
        for (count, what) in [
            (&figures.replay_mismatches, "reading again led elsewhere"),
            (&figures.missing_parts, "a part of a state was gone"),
            (&figures.differing, "two owners told different things"),
            (&figures.dead_letters, "a dead letter of a healthy event"),
        ] {
            if count.get() > 0 {
                outcome.violations.push(format!("{what}: {} times", count.get()));
            }
        }
    }
    outcome
}

/// Publishes the load. What is appended is acknowledged.
async fn publish(world: Arc<World>, load: Load) -> Acked {
    let began = Instant::now();
    let mut acked = Acked::new();
    for step in load {
        sleep_until(began + step.at).await;
        let copies = step.copies;
        let batch = step.stamped(world.now());
        acked.extend(batch.events.iter().map(|event| (event.id, copies)));
        let batch = EventBatch {
            shard: batch.shard,
            level: batch.level,
            time: batch.time,
            events: batch.events,
        };
        for _ in 0..copies {
            world.append(Log::Events, batch.shard, Bytes::from(encode_batch(&batch)));
        }
    }
    acked
}

/// Lets things go wrong, for as long as the load comes.
async fn disturb(options: &SimOptions, world: &World, nodes: &mut [SimNode]) {
    let mut rng = StdRng::seed_from_u64(options.seed ^ 0xFA17);
    let end = Instant::now() + options.duration;
    while Instant::now() < end {
        sleep(Duration::from_millis(rng.random_range(50..900))).await;
        let number = rng.random_range(0..nodes.len());
        let Some(node) = nodes.get_mut(number) else { continue };
        let pause = Duration::from_millis(rng.random_range(100..4_000));
        match rng.random_range(0..9) {
            0 => node.kill(),
            1 | 2 => node.set_fuse(Some(Fuse {
                calls: rng.random_range(1..40),
                is_after: rng.random_range(0..2) == 0,
            })),
            3 => {
                node.pause();
                sleep(pause).await;
                node.resume();
            }
            4 => {
                node.cut_off(true);
                sleep(pause).await;
                node.cut_off(false);
            }
            5 => node.leave(),
            6 => world.middle().weather = Weather::FOUL,
            7 => world.middle().outage_until = Some(Instant::now() + pause / 2),
            _ => world.middle().weather = Weather::FAIR,
        }
        // A name that died comes back sooner or later.
        if let Some(node) = nodes.get_mut(rng.random_range(0..options.nodes)) {
            node.start();
        }
    }
}

/// Lets everything be well again.
fn calm(world: &World, nodes: &mut [SimNode]) {
    let mut middle = world.middle();
    middle.weather = Weather::FAIR;
    middle.outage_until = None;
    drop(middle);
    for node in nodes {
        node.set_fuse(None);
        node.resume();
        node.cut_off(false);
        node.start();
    }
}

/// Says who owns what, for whoever wonders why nothing moves.
fn standing(world: &World) -> String {
    let middle = world.middle();
    let lines = middle.roots.iter().filter_map(|(shard, writes)| {
        let written = writes.last()?;
        let root = decode_root(&written.bytes).ok()?;
        let owner = root.owner.as_ref().map(ToString::to_string).unwrap_or_default();
        let (epoch, commit, processed) = (root.epoch, root.commit, root.processed);
        Some(format!(
            "shard {shard}: {owner} released={} epoch={epoch} commit={commit} processed={processed} \
             open={} at {:?}",
            root.released, root.ledger.open, written.at
        ))
    });
    lines.collect::<Vec<_>>().join("; ")
}

/// How long the mesh may take to come to rest: take-over, windows, quiet.
const REST_MAX: Duration = Duration::from_secs(90);

/// Waits until every acknowledged event has come to its end and every story is over.
async fn settle(world: &World, acked: &Acked) -> bool {
    let begin = Instant::now();
    while begin.elapsed() < REST_MAX {
        sleep(Duration::from_secs(1)).await;
        let ends = outcomes(world);
        let is_ended = acked.keys().all(|event| ends.contains_key(event));
        if is_ended && stories(world).values().all(|(_, last)| !last.story.state.is_open()) {
            return true;
        }
    }
    false
}

/// Returns what became of each event, duplicates aside.
fn outcomes(world: &World) -> BTreeMap<EventId, Vec<Outcome>> {
    let middle = world.middle();
    let mut ends: BTreeMap<EventId, Vec<Outcome>> = BTreeMap::new();
    for (address, bytes) in &middle.places {
        if !matches!(address, Address::Audit { .. }) {
            continue;
        }
        let Ok(Audit { outcomes, .. }) = decode_audit(bytes) else { continue };
        for (event, outcome) in outcomes.into_iter().filter(|(_, it)| *it != Outcome::Duplicate) {
            ends.entry(event).or_default().push(outcome);
        }
    }
    ends
}

type Stories = BTreeMap<tapio_model::StoryId, (Vec<u32>, Telling)>;

/// Returns, for each story, the numbers of its tellings and the last of them.
fn stories(world: &World) -> Stories {
    let middle = world.middle();
    let mut stories: Stories = BTreeMap::new();
    for (address, bytes) in &middle.places {
        let Address::Telling { story, telling: number, .. } = address else { continue };
        let Ok(telling) = decode_telling(bytes) else { continue };
        let entry = stories.entry(*story).or_insert_with(|| (Vec::new(), telling.clone()));
        entry.0.push(*number);
        if telling.story.telling >= entry.1.story.telling {
            entry.1 = telling;
        }
    }
    stories
}

fn judge(world: &World, acked: &Acked, expected: &Expected) -> SimOutcome {
    let mut violations = Vec::new();
    let ends = outcomes(world);
    for (event, copies) in acked {
        let ends = ends.get(event).map(Vec::as_slice).unwrap_or_default();
        // A copy that comes after its trace has closed comes too late.
        let firsts = ends.iter().filter(|end| **end != Outcome::Late).count();
        if ends.is_empty() || ends.len() > *copies as usize || firsts > 1 {
            violations.push(format!("event {event}, sent {copies} times, has ends {ends:?}"));
        }
    }
    let stories = stories(world);
    let mut owners: BTreeMap<EventId, tapio_model::StoryId> = BTreeMap::new();
    let mut told: BTreeMap<u32, Vec<String>> = BTreeMap::new();
    for (id, (numbers, last)) in &stories {
        if numbers.iter().zip(0..).any(|(number, at)| *number != at) {
            violations.push(format!("story {id} has tellings {numbers:?}"));
        }
        if matches!(last.story.state, tapio_model::State::Merged { .. }) {
            continue;
        }
        for event in &last.story.event_ids {
            if last.story.references.contains(event) {
                continue;
            }
            if let Some(other) = owners.insert(*event, *id) {
                violations.push(format!("event {event} is in stories {other} and {id}"));
            }
        }
        let incidents: BTreeSet<_> =
            last.story.event_ids.iter().map(|event| expected.incident_of(*event)).collect();
        match incidents.into_iter().collect::<Vec<_>>().as_slice() {
            [Some(incident)] => told.entry(*incident).or_default().push(format!(
                "{id} {:?} opened {:?} told {:?}",
                last.story.state, last.story.opened_at, last.story.told_at
            )),
            others => violations.push(format!("story {id} is of incidents {others:?}")),
        }
    }
    for (number, incident) in &expected.incidents {
        match told.get(number) {
            Some(stories) if stories.len() == 1 => {}
            Some(stories) => violations.push(format!(
                "incident {number} ({}) is told in several stories: {stories:?}",
                incident.shape.name()
            )),
            None => violations.push(format!("incident {number} is not told")),
        }
    }
    let middle = world.middle();
    if !middle.alarms.is_empty() {
        violations.push(format!("other bytes lie at {:?}", middle.alarms));
    }
    SimOutcome {
        acked: acked.len() as u64,
        tellings: stories.values().map(|(numbers, _)| numbers.len() as u64).sum(),
        stories: stories.len() as u64,
        violations,
        ..SimOutcome::default()
    }
}
