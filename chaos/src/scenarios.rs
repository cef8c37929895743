//! The scenarios: one file each, in the order of the list below.

use std::time::Duration;

use crate::plan::{Plan, Stage};

/// What a run must show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expects {
    /// Every invariant holds.
    Holds,
    /// Some invariant does not: the run is a control that proves that the suite can see.
    Violates,
}

/// What a scenario is like unless a run says otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spec {
    /// What is done, in one line.
    pub about: &'static str,
    /// How long its load takes, in seconds.
    pub duration_s: u64,
    /// How many events its load has.
    pub events: u32,
    /// What it must show.
    pub expects: Expects,
}

/// A scenario of the list.
#[derive(Debug, Clone, Copy)]
pub struct Scenario {
    /// The name of its file without the ending.
    pub slug: &'static str,
    /// What it is like.
    pub spec: Spec,
    plan: fn(&Stage) -> Plan,
}

impl Scenario {
    /// Returns what is to be done on a stage.
    #[must_use]
    pub fn plan(&self, stage: &Stage) -> Plan {
        let mut plan = (self.plan)(stage);
        plan.faults.sort_by_key(|fault| fault.at);
        plan
    }

    /// Returns how long its load takes unless said otherwise.
    #[must_use]
    pub const fn duration(&self) -> Duration {
        Duration::from_secs(self.spec.duration_s)
    }
}

macro_rules! scenarios {
    ($($slug:ident),+ $(,)?) => {
        $(mod $slug;)+

        /// Every scenario, in the order of the list.
        pub const ALL: &[Scenario] = &[$(Scenario {
            slug: stringify!($slug),
            spec: $slug::SPEC,
            plan: $slug::plan,
        },)+];
    };
}

scenarios! {
    owner_dies,
    split_brain,
    drain,
    rolling_restart,
    stream_leader_dies,
    all_nats_die,
    partition,
    slow_kv,
    failing_kv,
    clock_skew,
    burst,
    full_disk,
    mixed,
    unfenced,
}

/// Returns the scenario with a name.
#[must_use]
pub fn find(slug: &str) -> Option<&'static Scenario> {
    ALL.iter().find(|scenario| scenario.slug == slug)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_unique_and_found() {
        let slugs: BTreeSet<_> = ALL.iter().map(|scenario| scenario.slug).collect();
        assert_eq!(slugs.len(), ALL.len());
        assert!(ALL.iter().all(|scenario| find(scenario.slug).is_some()));
        assert!(find("earthquake").is_none());
    }

    #[test]
    fn every_plan_fits_its_load_and_leaves_a_node() {
        for scenario in ALL {
            for seed in 0..50 {
                let stage = Stage { seed, nodes: 3, duration: scenario.duration() };
                let plan = scenario.plan(&stage);
                let slug = scenario.slug;
                assert!(!plan.faults.is_empty(), "{slug} {seed}");
                let node_is_down = |at: Duration| {
                    let hits = plan.faults.iter().filter(|fault| !fault.kind.hits_middle());
                    hits.filter(|fault| fault.at <= at && at < fault.end()).count()
                };
                for fault in &plan.faults {
                    assert!(fault.end() < stage.duration, "{slug} {seed}: {fault:?}");
                    assert!(fault.target < stage.nodes, "{slug} {seed}: {fault:?}");
                    assert!(node_is_down(fault.at) <= 1, "{slug} {seed}: {fault:?}");
                }
            }
        }
    }

    #[test]
    fn the_same_seed_plans_the_same_and_seeds_differ() {
        let plan = |seed| {
            let stage = Stage { seed, nodes: 3, duration: Duration::from_secs(60) };
            find("mixed").map(|scenario| scenario.plan(&stage))
        };
        assert_eq!(plan(1), plan(1));
        assert_ne!(plan(1), plan(2));
    }

    #[test]
    fn only_the_control_must_violate() {
        for scenario in ALL {
            let stage = Stage { seed: 0, nodes: 3, duration: scenario.duration() };
            let is_control = scenario.spec.expects == Expects::Violates;
            assert_eq!(scenario.plan(&stage).setup.is_unfenced, is_control, "{}", scenario.slug);
        }
    }
}
