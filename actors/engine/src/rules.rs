//! The patterns and limits that every trace of a node is judged by.

use std::{
    mem,
    sync::{Arc, PoisonError, RwLock},
};

use crate::{Draft, Limits, Pattern, Patterns, Spec, View};

/// The patterns and limits that every trace of a node is judged by. All shards share them; the
/// patterns can be swapped while they do, the limits stay.
#[derive(Debug)]
pub struct Rules {
    limits: Limits,
    /// Locked for as long as it takes to copy the pointer, never while a pattern looks.
    patterns: RwLock<Arc<PatternSet>>,
    is_audited: bool,
}

impl Rules {
    /// Makes rules of patterns and limits.
    #[must_use]
    pub fn new(patterns: &Patterns, limits: Limits) -> Self {
        let patterns = RwLock::new(Arc::new(PatternSet::new(patterns)));
        Self { limits, patterns, is_audited: false }
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

    /// Puts other patterns in force.
    ///
    /// A thought that has begun ends under the old ones. Every trace that lives keeps its events and
    /// findings, and is judged by the new ones when it thinks next: once it takes another event in.
    pub fn swap(&self, patterns: &Patterns) {
        let new = Arc::new(PatternSet::new(patterns));
        let old = {
            let mut force = self.patterns.write().unwrap_or_else(PoisonError::into_inner);
            mem::replace(&mut *force, new)
        };
        // Outside of the lock: it may be the last to hold patterns with much to give back.
        drop(old);
    }

    /// Returns the patterns in force, for one whole thought.
    pub(crate) fn patterns(&self) -> Arc<PatternSet> {
        Arc::clone(&self.patterns.read().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Patterns that are in force together.
#[derive(Debug)]
pub(crate) struct PatternSet {
    patterns: Vec<Known>,
    wake_set: u64,
}

/// A pattern, and what the set knows of it.
#[derive(Debug)]
struct Known {
    wakes_on: u64,
    /// Patterns of the set that are known to cause it.
    causes: usize,
    pattern: Arc<dyn Pattern>,
}

impl PatternSet {
    fn new(patterns: &Patterns) -> Self {
        let leads_to = |slug| {
            let causes = patterns.iter().filter(|it| it.spec().leads_to.contains(&slug));
            causes.count()
        };
        let known = patterns.iter().map(|pattern| Known {
            wakes_on: pattern.spec().wake_set(),
            causes: leads_to(pattern.spec().slug),
            pattern: Arc::clone(pattern),
        });
        let patterns: Vec<_> = known.collect();
        let wake_set = patterns.iter().fold(0, |all, known| all | known.wakes_on);
        Self { patterns, wake_set }
    }

    /// Says whether any pattern wakes on one of these kinds.
    pub(crate) const fn wake(&self, signs: u64) -> bool {
        self.wake_set & signs != 0
    }

    /// Asks every pattern that wakes on one of these kinds.
    pub(crate) fn drafts(&self, signs: u64, view: &View<'_>) -> Vec<(&'static Spec, Draft)> {
        let awake = self.patterns.iter().filter(|known| known.wakes_on & signs != 0);
        awake
            .flat_map(|known| {
                let drafts = known.pattern.detect(view).into_iter();
                let (spec, causes) = (known.pattern.spec(), known.causes);
                drafts.map(move |draft| (spec, Draft { causes, ..draft }))
            })
            .collect()
    }
}
