//! Many runs on all cores, and what they showed together.

use std::{
    collections::BTreeMap,
    num::NonZeroUsize,
    ops::Range,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use serde::Serialize;
use tapio_owner::Sabotage;
use tokio::time::Instant;

use super::{
    options::SimOptions,
    run::{SimOutcome, run},
    step::{Coverage, Deaths, Step},
};

/// Violations that a report lists, in all and of one run; all are counted.
const VIOLATIONS_MAX: usize = 100;
const RUN_VIOLATIONS_MAX: usize = 4;

/// What a sweep is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SweepOptions {
    /// The rule that owners break: then the sweep must find it.
    pub sabotage: Option<Sabotage>,
    /// Runs at one time; as many as there are cores without it.
    pub threads: Option<NonZeroUsize>,
    /// Begins no further run once so many have violated.
    pub stop_after: Option<u64>,
}

/// What many runs showed together.
#[derive(Debug, Clone, Serialize)]
pub struct SweepReport {
    /// The first seed.
    pub first: u64,
    /// The seed after the last.
    pub end: u64,
    /// Runs that came to an end.
    pub runs: u64,
    /// The rule that owners broke.
    pub sabotage: Option<&'static str>,
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
    /// How often nodes died at which step.
    pub deaths: BTreeMap<&'static str, Deaths>,
    /// Seeds whose runs violated.
    pub bad_seeds: Vec<u64>,
    /// What was not as it should be; the first of each run.
    pub violations: Vec<SeenInRun>,
    /// How much of that there was in all.
    pub violations_total: u64,
    /// How long everything took.
    pub took_s: f64,
}

/// A violation, and where it was seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SeenInRun {
    /// The seed of the run.
    pub seed: u64,
    /// The invariant.
    pub invariant: &'static str,
    /// What was seen.
    pub what: String,
}

impl SweepReport {
    /// Says whether every run kept every promise.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.bad_seeds.is_empty()
    }

    fn of(
        seeds: &Range<u64>,
        options: &SweepOptions,
        outcomes: &BTreeMap<u64, SimOutcome>,
    ) -> Self {
        let sum = |figure: fn(&SimOutcome) -> u64| outcomes.values().map(figure).sum();
        let mut coverage = Coverage::default();
        outcomes.values().for_each(|outcome| coverage.add(&outcome.coverage));
        let bad = outcomes.values().filter(|outcome| !outcome.violations.is_empty());
        let seen = outcomes.values().flat_map(|outcome| {
            outcome.violations.iter().take(RUN_VIOLATIONS_MAX).map(|it| SeenInRun {
                seed: outcome.seed,
                invariant: it.invariant,
                what: it.what.clone(),
            })
        });
        Self {
            first: seeds.start,
            end: seeds.end,
            runs: outcomes.len() as u64,
            sabotage: options.sabotage.map(Sabotage::name),
            acked: sum(|it| it.acked),
            tellings: sum(|it| it.tellings),
            stories: sum(|it| it.stories),
            claims: sum(|it| it.claims),
            lost_commits: sum(|it| it.lost_commits),
            dead_letters: sum(|it| it.dead_letters),
            deaths: Step::ALL.iter().map(|step| (step.name(), coverage.at(*step))).collect(),
            bad_seeds: bad.map(|outcome| outcome.seed).collect(),
            violations: seen.take(VIOLATIONS_MAX).collect(),
            violations_total: sum(|it| it.violations.len() as u64),
            took_s: 0.0,
        }
    }
}

/// Runs every seed of a range, on all cores. `progress` hears of each run that has ended, in the
/// order in which they end.
///
/// # Errors
/// If no runtime can be had.
pub fn sweep(
    seeds: Range<u64>,
    options: SweepOptions,
    progress: &(dyn Fn(&SimOutcome) + Sync),
) -> std::io::Result<SweepReport> {
    let began = Instant::now();
    let cores = || thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    let threads = options.threads.unwrap_or_else(cores);
    let next = AtomicU64::new(seeds.start);
    let bad = AtomicU64::new(0);
    let outcomes: Mutex<BTreeMap<u64, SimOutcome>> = Mutex::default();
    let work = || -> std::io::Result<()> {
        let patterns = tapio_patterns::patterns();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            let is_enough =
                options.stop_after.is_some_and(|max| bad.load(Ordering::Relaxed) >= max);
            if seed >= seeds.end || is_enough {
                return Ok(());
            }
            let options = SimOptions { sabotage: options.sabotage, ..SimOptions::of(seed) };
            let outcome = run(&options, &patterns)?;
            bad.fetch_add(u64::from(!outcome.violations.is_empty()), Ordering::Relaxed);
            progress(&outcome);
            outcomes.lock().unwrap_or_else(PoisonError::into_inner).insert(seed, outcome);
        }
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..threads.get()).map(|_| scope.spawn(work)).collect();
        workers.into_iter().try_for_each(|worker| match worker.join() {
            Ok(worked) => worked,
            Err(panic) => std::panic::resume_unwind(panic),
        })
    })?;
    let outcomes = outcomes.into_inner().unwrap_or_else(PoisonError::into_inner);
    let mut report = SweepReport::of(&seeds, &options, &outcomes);
    report.took_s = rounded(began.elapsed());
    Ok(report)
}

fn rounded(took: Duration) -> f64 {
    (took.as_secs_f64() * 1_000.0).round() / 1_000.0
}
