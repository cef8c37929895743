//! The patterns and limits that every trace of a node is judged by.

use std::sync::Arc;

use crate::{Draft, Limits, Pattern, Patterns, View};

/// The patterns and limits that every trace of a node is judged by. Shared, never changed.
#[derive(Debug, Clone)]
pub struct Rules {
    limits: Limits,
    patterns: Vec<(u64, Arc<dyn Pattern>)>,
    wake_set: u64,
    is_audited: bool,
}

impl Rules {
    /// Makes rules of patterns and limits.
    #[must_use]
    pub fn new(patterns: &Patterns, limits: Limits) -> Self {
        let patterns: Vec<_> = patterns
            .iter()
            .map(|pattern| (pattern.spec().wake_set(), Arc::clone(pattern)))
            .collect();
        let wake_set = patterns.iter().fold(0, |all, (set, _)| all | set);
        Self { limits, patterns, wake_set, is_audited: false }
    }

    /// Returns the same rules, under which what became of each single event is written down too.
    #[must_use]
    pub const fn audited(mut self) -> Self {
        self.is_audited = true;
        self
    }

    /// Says whether what became of each single event is written down.
    #[must_use]
    pub const fn is_audited(&self) -> bool {
        self.is_audited
    }

    /// Returns the limits.
    #[must_use]
    pub const fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Says whether any pattern wakes on one of these kinds.
    #[must_use]
    pub const fn wake(&self, signs: u64) -> bool {
        self.wake_set & signs != 0
    }

    /// Asks every pattern that wakes on one of these kinds.
    pub(crate) fn drafts(&self, signs: u64, view: &View<'_>) -> Vec<(&'static crate::Spec, Draft)> {
        let awake = self.patterns.iter().filter(|(set, _)| set & signs != 0);
        awake
            .flat_map(|(_, pattern)| {
                pattern.detect(view).into_iter().map(|draft| (pattern.spec(), draft))
            })
            .collect()
    }
}
