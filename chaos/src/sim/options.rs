//! What a simulated run is made of.

use std::{collections::BTreeSet, time::Duration};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng, seq::IndexedRandom as _};
use tapio_engine::{Limits, Patterns, Rules};
use tapio_owner::{OwnerLimits, Sabotage};
use tapio_shard::ShardCount;

use super::{poison, trouble::Trouble};
use crate::load::LoadOptions;

/// What a simulated run is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SimOptions {
    /// Everything follows from it.
    pub seed: u64,
    /// How many nodes there are.
    pub nodes: usize,
    /// How many shards.
    pub shards: u16,
    /// About how many events.
    pub events: u32,
    /// For how long they come, and troubles with them.
    pub duration: Duration,
    /// What goes wrong.
    pub troubles: BTreeSet<Trouble>,
    /// The rule that owners break. With it the run must go wrong sooner or later.
    pub sabotage: Option<Sabotage>,
}

impl SimOptions {
    /// Draws a run from a seed: how many nodes and shards there are, and what goes wrong.
    #[must_use]
    pub fn of(seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed ^ 0x0071_0115);
        let troubles = Trouble::ALL.iter().copied();
        let troubles = troubles.filter(|it| rng.random_range(0..100) < it.percent()).collect();
        Self {
            seed,
            nodes: rng.random_range(1..=5),
            shards: [1, 2, 3, 4, 4, 5, 8, 16].choose(&mut rng).copied().unwrap_or(4),
            events: rng.random_range(150..450),
            duration: Duration::from_millis(rng.random_range(5_000..9_000)),
            troubles,
            sabotage: None,
        }
    }

    /// Returns the same run with nothing that goes wrong.
    #[must_use]
    pub fn calm(self) -> Self {
        Self { troubles: BTreeSet::new(), ..self }
    }

    pub(super) fn has(&self, trouble: Trouble) -> bool {
        self.troubles.contains(&trouble)
    }

    pub(super) fn load(&self) -> LoadOptions {
        LoadOptions {
            shards: ShardCount::new(self.shards),
            ..LoadOptions::sized(self.seed, self.events, self.duration)
        }
    }

    /// Limits small enough for a run of seconds.
    pub(super) fn rules(&self, patterns: &Patterns) -> Rules {
        let limits = Limits {
            window: Duration::from_secs(2),
            // Longer than any disturbance: what arrives within it is the same incident. An entry that
            // ends processes holds its shard up for as many claims as it takes to give it up.
            quiet: Duration::from_secs(if self.has(Trouble::Deadly) { 60 } else { 20 }),
            settle: Duration::from_millis(200),
            amend_every: Duration::from_millis(500),
            late_horizon: Duration::from_secs(120),
            ..Limits::default()
        };
        let mut limits = limits.for_shard(self.shards);
        if self.has(Trouble::Scarce) {
            limits.node_traces_max = 4;
        }
        Rules::new(&poison::with_panic(patterns), limits).audited()
    }

    pub(super) fn owner_limits(&self) -> OwnerLimits {
        let mut rng = StdRng::seed_from_u64(self.seed ^ 0x0117_1175);
        let mut millis =
            |times: &[u64]| Duration::from_millis(times.choose(&mut rng).copied().unwrap_or(1_000));
        let write_after = millis(&[200, 800, 2_500]);
        // Longer than a load that somebody was stopped in.
        let chunk_grace = millis(&[5_000, 60_000]);
        let commit_every = millis(&[100, 250, 250]);
        OwnerLimits {
            write_after,
            chunk_grace,
            commit_every,
            written_traces_max: [0, 3, 2_000, 2_000].choose(&mut rng).copied().unwrap_or(2_000),
            commit_events: [1, 10, 20_000].choose(&mut rng).copied().unwrap_or(20_000),
            uncommitted_events_max: [5, 200_000].choose(&mut rng).copied().unwrap_or(200_000),
            sabotage: self.sabotage,
            ..OwnerLimits::default()
        }
    }
}
