//! One simulated run: nodes, load and troubles, all from a seed.

use std::{sync::Arc, time::Duration};

use tapio_engine::Patterns;
use tapio_shard::ShardCount;
use tokio::time::{Instant, sleep};
use tracing::debug;

use super::{
    books,
    disturb::Director,
    judge,
    node::{Setting, SimNode},
    options::SimOptions,
    publish::{Published, publish},
    step::Coverage,
    trouble::Trouble,
    world::{Log, Middle, World},
};
use crate::{
    invariants::{self, Violation},
    load::{Expected, Load},
};

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
    /// Things that became dead letters.
    pub dead_letters: u64,
    /// Where nodes died.
    pub coverage: Coverage,
    /// Boils down everything that was written: two runs that left the same have the same.
    pub fingerprint: u64,
    /// What was not as it should be.
    pub violations: Vec<Violation>,
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

/// How long the mesh takes to come together.
const GATHERING: Duration = Duration::from_millis(2_500);

async fn live(options: SimOptions, patterns: &Patterns) -> SimOutcome {
    debug!(?options, "begins");
    let world = World::new(options.seed);
    world.middle().is_log_short = options.has(Trouble::ShortLog);
    let setting = Setting {
        world: Arc::clone(&world),
        rules: Arc::new(options.rules(patterns)),
        shards: ShardCount::new(options.shards),
        owner_limits: options.owner_limits(),
    };
    let nodes = (0..options.nodes).map(|number| SimNode::new(setting.clone(), number)).collect();
    let mut director = Director::new(options.clone(), Arc::clone(&world), nodes);
    director.revive();
    sleep(GATHERING).await;
    let load = Load::new(options.load());
    let expected = load.expected();
    let publishing = publish(Arc::clone(&world), options.clone(), load);
    let publishing = tokio::task::spawn_local(publishing);
    director.disturb().await;
    let published = publishing.await.unwrap_or_default();
    director.calm();
    let unsettled = settle(&world, &published, &mut director).await;
    director.nodes.iter().for_each(SimNode::kill);
    let mut outcome = judge_world(&world, (&options, &published, &expected), &director);
    if let Some(what) = unsettled {
        outcome.violations.insert(0, Violation { invariant: "comes_to_rest", what });
    }
    outcome
}

/// How long the mesh may take to come to rest: take-over, windows, quiet.
const REST_MAX: Duration = Duration::from_secs(120);

/// Waits until everything sent was taken in, every event has come to its end and every story is
/// over. Says what was not, if that takes too long.
async fn settle(world: &World, published: &Published, director: &mut Director) -> Option<String> {
    let begin = Instant::now();
    loop {
        sleep(Duration::from_secs(1)).await;
        director.revive();
        let rest = unsettled(&world.middle(), published)?;
        if begin.elapsed() > REST_MAX {
            let nodes: Vec<_> = director.nodes.iter().map(SimNode::standing).collect();
            return Some(format!("{rest}; {nodes:?}"));
        }
    }
}

/// Says what is not at rest.
fn unsettled(middle: &Middle, published: &Published) -> Option<String> {
    for ((log, shard), entries) in &middle.logs {
        let last = entries.last().map(|entry| entry.sequence).unwrap_or_default();
        let root = middle.root(*shard).map(|written| &written.root);
        let read = root.map(|root| match log {
            Log::Events => root.processed,
            Log::Findings => root.findings_read,
        });
        if read.unwrap_or_default() < last {
            return Some(format!("shard {shard} is at {read:?} of {last}, {log:?}"));
        }
    }
    for (shard, writes) in &middle.roots {
        let Some(root) = writes.last().map(|written| &written.root) else { continue };
        if !root.outbox.is_empty() && !root.released {
            // It is cleared by the next commit, if there is one.
            let is_there = |it: &tapio_shard::Posted| {
                matches!(it.address, tapio_model::Address::Findings { .. })
                    || middle.places.contains_key(&it.address)
            };
            if !root.outbox.iter().all(is_there) {
                return Some(format!("shard {shard} has not delivered"));
            }
        }
        if root.live_traces > 0 {
            return Some(format!("shard {shard} has {} live traces", root.live_traces));
        }
        let incidents =
            root.pieces.keys().filter(|key| matches!(key, tapio_shard::PieceKey::Incident(_)));
        if incidents.count() > 0 {
            return Some(format!("shard {shard} has open incidents"));
        }
    }
    if middle.aged.is_empty() {
        let outcomes = judge::outcomes(middle);
        let without = published.sent.keys().find(|event| !outcomes.contains_key(event));
        return without.map(|event| format!("event {event} has no outcome"));
    }
    None
}

fn judge_world(
    world: &World,
    (options, published, expected): (&SimOptions, &Published, &Expected),
    director: &Director,
) -> SimOutcome {
    let middle = world.middle();
    let figures = || director.nodes.iter().flat_map(|node| &node.figures).map(Arc::clone);
    let is_aged = middle.aged.iter().any(|aged| aged.is_needed);
    let mut record = judge::record(&middle, published, expected);
    let tellings = record.tellings.len() as u64;
    let stories = record.stories().by_id.len() as u64;
    if is_aged || options.has(Trouble::Scarce) {
        judge::excuse(&middle, &mut record);
    }
    let mut violations = invariants::check(&record);
    books::check_roots(&middle, &mut violations);
    books::check_sum(&middle, published, &mut violations);
    books::check_findings(&middle, &mut violations);
    books::check_letters(&middle, published, &mut violations);
    books::check_figures(figures(), (middle.panics, is_aged), &mut violations);
    SimOutcome {
        seed: options.seed,
        acked: published.sent.len() as u64,
        tellings,
        stories,
        claims: figures().map(|it| it.claims.get()).sum(),
        lost_commits: figures().map(|it| it.lost_commits.get()).sum(),
        dead_letters: record.dead_letters.len() as u64,
        coverage: middle.coverage.clone(),
        fingerprint: judge::fingerprint(&middle),
        violations,
    }
}
