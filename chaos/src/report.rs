//! What a run has shown: for people, for programs, and as a picture.

mod figures;
mod text;
mod timeline;

use std::collections::BTreeMap;

use serde::Serialize;

use crate::{
    invariants::{self, Invariant, Violation},
    record::{FaultSeen, QueryAnswer, Record},
    scenarios::Expects,
    world::{Ran, RunOptions},
};

pub use self::{
    figures::{Late, Queries, Spread},
    timeline::timeline,
};

/// Violations of each invariant that a report lists; all are counted.
const LISTED_MAX: usize = 5;

/// What one run, or several, have shown.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// The scenario.
    pub scenario: String,
    /// The seed; of several runs the first.
    pub seed: u64,
    /// How many runs.
    pub runs: u64,
    /// Whether they showed what they must: that every invariant holds, or that the control violates.
    pub ok: bool,
    /// Events that the log has taken for certain.
    pub acked: u64,
    /// Of those, the ones without an outcome, or in a story that nobody told.
    pub lost: u64,
    /// Events that two stories have as their own.
    pub in_two_stories: u64,
    /// Incidents told twice, and tellings with two contents.
    pub told_twice: u64,
    /// The longest from a node's death to the claim of one of its shards.
    pub takeover_ms: Option<u64>,
    /// The longest from SIGTERM to the end of the process.
    pub drain_ms: Option<u64>,
    /// What must not be and was: the first few of each run and invariant.
    pub violations: Vec<Seen>,
    /// How many there were in all.
    pub violations_total: u64,
    /// How many there were of which invariant.
    pub violations_by: BTreeMap<&'static str, u64>,
    /// Takeovers, shard by shard.
    pub takeovers: Spread,
    /// From a node's death to the first commit of a shard's new owner.
    pub resumed: Spread,
    /// Drains, node by node.
    pub drains: Spread,
    /// From the servers' return to a root of every shard.
    pub recoveries: Spread,
    /// From acknowledgement to a root that says the event was taken in.
    pub late: Late,
    /// Stories told, merged ones among them.
    pub stories: u64,
    /// Incidents in the load.
    pub incidents: u64,
    /// Incidents that a fault tore apart, so that a later story rightly went on with them.
    pub continued: u64,
    /// Questions and answers.
    pub queries: Queries,
    /// The most memory that a node held.
    pub memory_mib_max: u64,
    /// Nodes of the mesh.
    pub nodes: u64,
    /// Servers.
    pub servers: u64,
    /// How long the load took.
    pub duration_s: f64,
    /// How long everything took.
    pub took_s: f64,
    /// The faults.
    pub faults: Vec<FaultReport>,
    /// What was left out, for the machine lacks what it needs; and why.
    pub skipped: Vec<String>,
    /// Each run, if there were several.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub each: Vec<Self>,
}

/// A violation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Seen {
    /// The seed of its run.
    pub seed: u64,
    /// The invariant.
    pub invariant: &'static str,
    /// What was seen.
    pub what: String,
}

/// A fault.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FaultReport {
    /// Which kind.
    pub kind: &'static str,
    /// When it began, after the start.
    pub at_s: f64,
    /// How long it lasted; absent if it never ended.
    pub lasted_s: Option<f64>,
    /// What was hit.
    pub targets: Vec<String>,
}

impl FaultReport {
    fn of(fault: &FaultSeen) -> Self {
        Self {
            kind: fault.kind.name(),
            at_s: figures::seconds(fault.at),
            lasted_s: fault.ended.map(|ended| figures::seconds(ended.saturating_sub(fault.at))),
            targets: fault.targets.iter().map(ToString::to_string).collect(),
        }
    }
}

impl Report {
    /// Judges a run.
    #[must_use]
    pub fn of(options: &RunOptions, ran: &Ran) -> Self {
        let Ran { record, plan, took, load_took, skipped } = ran;
        let violations = invariants::check(record);
        let of = |slug: &str| {
            figures::count(violations.iter().filter(|violation| violation.invariant == slug))
        };
        let takeovers = record.takeovers(crate::fault::FaultKind::KillNode);
        let took_over = Spread::of(takeovers.iter().filter_map(|takeover| takeover.took));
        let drains = Spread::of(record.drains.iter().filter_map(|drain| drain.took));
        let is_control = options.scenario.spec.expects == Expects::Violates;
        Self {
            scenario: options.scenario.slug.to_owned(),
            seed: options.seed,
            runs: 1,
            ok: violations.is_empty() != is_control,
            acked: figures::count(record.acked()),
            lost: of("nothing_lost"),
            in_two_stories: of("stories_disjoint"),
            told_twice: of("never_told_twice"),
            takeover_ms: took_over.max_ms,
            drain_ms: drains.max_ms,
            violations_total: figures::count(&violations),
            violations: listed(options.seed, &violations),
            violations_by: counted(&violations),
            takeovers: took_over,
            resumed: Spread::of(takeovers.iter().filter_map(|takeover| takeover.resumed)),
            drains,
            recoveries: Spread::of(record.recoveries().into_iter().map(|it| it.took)),
            late: Late::of(record.lateness()),
            stories: figures::count(&record.stories().by_id),
            incidents: figures::count(&record.expected.incidents),
            continued: u64::try_from(invariants::continued(record)).unwrap_or(u64::MAX),
            queries: Queries::of(&record.queries),
            memory_mib_max: memory(record) >> 20,
            nodes: u64::try_from(options.nodes).unwrap_or_default(),
            servers: u64::try_from(plan.setup.servers).unwrap_or_default(),
            duration_s: figures::seconds(*load_took),
            took_s: figures::seconds(*took),
            faults: record.faults.iter().map(FaultReport::of).collect(),
            skipped: skipped.iter().map(ToString::to_string).collect(),
            each: Vec::new(),
        }
    }

    /// Reports a run that was left out.
    #[must_use]
    pub fn skipped(options: &RunOptions, why: &str) -> Self {
        let empty = Record::default();
        let ran = Ran {
            record: empty,
            plan: crate::plan::Plan::default(),
            took: std::time::Duration::ZERO,
            load_took: std::time::Duration::ZERO,
            skipped: vec![why.into()],
        };
        Self { ok: true, runs: 0, ..Self::of(options, &ran) }
    }

    /// Sums several runs of one scenario up. The control need violate in half of its runs only.
    #[must_use]
    pub fn sum(each: Vec<Self>) -> Option<Self> {
        let first = each.first()?.clone();
        if each.len() == 1 {
            return Some(first);
        }
        let sum = |of: fn(&Self) -> u64| each.iter().map(of).sum::<u64>();
        let shown = each.iter().filter(|report| report.ok).count();
        let is_control = crate::scenarios::find(&first.scenario).map(|it| it.spec.expects)
            == Some(Expects::Violates);
        let ok = if is_control { shown * 2 >= each.len() } else { shown == each.len() };
        let violations = each.iter().flat_map(|report| &report.violations).cloned();
        let takeovers = Spread::join(&all(&each, |it| &it.takeovers));
        let drains = Spread::join(&all(&each, |it| &it.drains));
        Some(Self {
            runs: sum(|it| it.runs),
            ok,
            acked: sum(|it| it.acked),
            lost: sum(|it| it.lost),
            in_two_stories: sum(|it| it.in_two_stories),
            told_twice: sum(|it| it.told_twice),
            takeover_ms: takeovers.max_ms,
            drain_ms: drains.max_ms,
            violations: violations.collect(),
            violations_total: sum(|it| it.violations_total),
            violations_by: joined(&all(&each, |it| &it.violations_by)),
            takeovers,
            resumed: Spread::join(&all(&each, |it| &it.resumed)),
            drains,
            recoveries: Spread::join(&all(&each, |it| &it.recoveries)),
            late: Late::join(&all(&each, |it| &it.late)),
            stories: sum(|it| it.stories),
            incidents: sum(|it| it.incidents),
            continued: sum(|it| it.continued),
            queries: Queries::join(&all(&each, |it| &it.queries)),
            memory_mib_max: each.iter().map(|it| it.memory_mib_max).max().unwrap_or_default(),
            duration_s: each.iter().map(|it| it.duration_s).sum(),
            took_s: each.iter().map(|it| it.took_s).sum(),
            faults: each.iter().flat_map(|it| &it.faults).cloned().collect(),
            skipped: each.iter().flat_map(|it| &it.skipped).cloned().collect(),
            each,
            ..first
        })
    }
}

fn all<T>(each: &[Report], of: fn(&Report) -> &T) -> Vec<&T> {
    each.iter().map(of).collect()
}

fn listed(seed: u64, violations: &[Violation]) -> Vec<Seen> {
    let say = |violation: &Violation| Seen {
        seed,
        invariant: violation.invariant,
        what: violation.what.clone(),
    };
    let of = |invariant: &Invariant| {
        let mine = violations.iter().filter(|violation| violation.invariant == invariant.slug);
        mine.take(LISTED_MAX).map(say).collect::<Vec<_>>()
    };
    invariants::ALL.iter().flat_map(of).collect()
}

fn counted(violations: &[Violation]) -> BTreeMap<&'static str, u64> {
    let mut counts = BTreeMap::new();
    for violation in violations {
        *counts.entry(violation.invariant).or_default() += 1;
    }
    counts
}

fn joined(each: &[&BTreeMap<&'static str, u64>]) -> BTreeMap<&'static str, u64> {
    let mut sum = BTreeMap::new();
    for (invariant, count) in each.iter().copied().flatten() {
        *sum.entry(*invariant).or_default() += *count;
    }
    sum
}

fn memory(record: &Record) -> u64 {
    record.memory.iter().map(|sample| sample.bytes).max().unwrap_or_default()
}

/// Says whether an answer came that is complete.
const fn is_complete(answer: &QueryAnswer) -> bool {
    matches!(answer, QueryAnswer::Answered { is_complete: true, .. })
}

#[cfg(test)]
mod tests {
    use std::{path::PathBuf, time::Duration};

    use super::*;
    use crate::{invariants::sample, plan::Plan, scenarios};

    fn report(slug: &str, seed: u64, record: Record) -> Report {
        let options = RunOptions {
            scenario: scenarios::find(slug).unwrap(),
            seed,
            nodes: 3,
            events: None,
            duration: None,
            program: PathBuf::new(),
            logs: None,
        };
        let second = Duration::from_secs(1);
        let skipped = Vec::new();
        let plan = Plan::default();
        Report::of(&options, &Ran { record, plan, took: second, load_took: second, skipped })
    }

    fn bad() -> Record {
        Record { audits: Vec::new(), ..sample::good() }
    }

    #[test]
    fn a_good_run_is_ok_and_a_bad_control_is_too() {
        let cases = [("drain", false, true), ("drain", true, false), ("unfenced", true, true)];
        for (slug, is_bad, ok) in cases {
            let record = if is_bad { bad() } else { sample::good() };
            let report = report(slug, 1, record);
            assert_eq!(report.ok, ok, "{slug} {is_bad}");
            assert_eq!(report.lost > 0, is_bad, "{slug} {is_bad}");
        }
    }

    #[test]
    fn the_promised_fields_are_on_top() {
        let json = serde_json::to_value(report("drain", 1, sample::good())).unwrap();
        for field in [
            "acked",
            "lost",
            "in_two_stories",
            "told_twice",
            "takeover_ms",
            "drain_ms",
            "violations",
        ] {
            assert!(json.get(field).is_some(), "{field}");
        }
    }

    #[test]
    fn runs_add_up_and_half_of_the_controls_suffice() {
        let sum = |slug: &str, bad_ones: usize| {
            let record = |number| if number < bad_ones { bad() } else { sample::good() };
            let runs = (0..4).map(|number| report(slug, 1, record(number))).collect();
            Report::sum(runs).unwrap()
        };
        let one = report("drain", 1, sample::good());
        assert_eq!(sum("drain", 0).acked, one.acked * 4);
        assert!(sum("drain", 0).ok && !sum("drain", 1).ok);
        assert!(sum("unfenced", 2).ok && !sum("unfenced", 1).ok);
    }
}
