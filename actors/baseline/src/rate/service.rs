//! The rates of one service.

use std::collections::{BTreeMap, VecDeque};

use tapio_model::{Text, Timestamp};

use crate::{
    BaselineLimits,
    evidence::{change, share},
    level::{Direction, Level, Step, Yardstick},
};

/// What counts as a step of the requests a minute.
///
/// Of two nodes that learn from half the traces each one may go, and the other then sees twice as
/// many: a step is more than that. Twenty requests more a minute is somebody's noticing.
const REQUESTS: Yardstick = Yardstick { times: 2.5, more: 20.0, is_count: true };

/// What counts as a step of the share that fails.
const FAILURES: Yardstick = Yardstick { times: 3.0, more: 0.05, is_count: false };

/// Requests in a minute without which their failing is chance.
const REQUESTS_MIN: f64 = 10.0;

/// Failures in a minute that must be seen.
const FAILURES_MIN: f64 = 5.0;

/// The natural logarithm by which another share must be likelier than chance.
const CHANGE_MIN: f64 = 6.0;

/// What is left of the count of the past after a minute: half of it after half an hour.
const FADING: f64 = 0.977;

/// Minutes for which a step is not learnt; what stays is normal afterwards.
const HELD_MAX: u32 = 10;

/// What a share that changed weighs at most.
const SCORE_MAX: f64 = 60.0;

/// Which rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Signal {
    /// Requests a second.
    Requests,
    /// The share of requests that fail by the service's own doing.
    Errors,
}

/// A rate of a service that is unlike what was learnt.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct RateStep {
    pub(crate) service: Text,
    pub(crate) signal: Signal,
    /// The operation, where it is one of several.
    pub(crate) operation: Option<Text>,
    pub(crate) step: Step,
}

/// Requests, and how many of them failed.
#[derive(Debug, Clone, Copy, Default)]
struct Pair {
    requests: f64,
    failed: f64,
}

impl Pair {
    fn add(&mut self, other: Self) {
        self.requests += other.requests;
        self.failed += other.failed;
    }
}

/// What a service showed in a while.
#[derive(Debug, Clone, Default)]
pub(super) struct Counts {
    all: Pair,
    operations: BTreeMap<Text, Pair>,
}

impl Counts {
    /// Counts a request; of operations beyond `operations_max` only as the service's.
    pub(super) fn request(&mut self, operation: &str, operations_max: usize) {
        self.all.requests += 1.0;
        if let Some(known) = self.operations.get_mut(operation) {
            known.requests += 1.0;
        } else if self.operations.len() < operations_max {
            self.operations.insert(operation.into(), Pair { requests: 1.0, failed: 0.0 });
        }
    }

    /// Counts a failure.
    pub(super) fn failure(&mut self, operation: &str) {
        self.all.failed += 1.0;
        if let Some(known) = self.operations.get_mut(operation) {
            known.failed += 1.0;
        }
    }

    fn add(&mut self, other: &Self) {
        self.all.add(other.all);
        for (name, pair) in &other.operations {
            match self.operations.get_mut(name) {
                Some(known) => known.add(*pair),
                None => drop(self.operations.insert(name.clone(), *pair)),
            }
        }
    }

    fn bytes(&self) -> usize {
        let names: usize = self.operations.keys().map(|name| name.len()).sum();
        size_of::<Self>() + names + self.operations.len() * 2 * size_of::<(Text, Pair)>()
    }
}

/// The share of requests that fail.
#[derive(Debug, Default)]
struct Failing {
    /// Faded counts of the past.
    past: Pair,
    /// By the minute.
    shares: Level,
}

impl Failing {
    fn judge(&self, now: Pair, at: Timestamp) -> Option<Step> {
        if now.requests < REQUESTS_MIN || now.failed < FAILURES_MIN {
            return None;
        }
        let step = self.shares.judge(now.failed / now.requests, at, &FAILURES)?;
        let before = share(self.past.failed, self.past.requests);
        let Pair { requests, failed } = self.past;
        let score = change(failed, requests, now.failed, now.requests);
        let is_more = step.direction == Direction::Rose && step.now > before * FAILURES.times;
        let score_max = score.min(SCORE_MAX);
        (is_more && score >= CHANGE_MIN).then_some(Step { before, score: score_max, ..step })
    }

    fn learn(&mut self, now: Pair, at: Timestamp, is_step: bool) {
        if now.requests < REQUESTS_MIN {
            return;
        }
        self.shares.learn(now.failed / now.requests, at, is_step, HELD_MAX);
        if !is_step || self.shares.usual().is_none() {
            self.past = Pair {
                requests: self.past.requests * FADING + now.requests,
                failed: self.past.failed * FADING + now.failed,
            };
        }
    }

    fn bytes(&self) -> usize {
        size_of::<Self>() + self.shares.bytes()
    }
}

/// The rates of a service.
#[derive(Debug)]
pub(super) struct Service {
    requests: Level,
    errors: Failing,
    operations: BTreeMap<Text, Failing>,
    /// The segments of the last minute, oldest first.
    window: VecDeque<Counts>,
    /// Segments since a minute was learnt.
    unlearnt: usize,
    /// When it was last seen.
    seen: Timestamp,
}

impl Default for Service {
    fn default() -> Self {
        Self {
            requests: Level::daily(),
            errors: Failing::default(),
            operations: BTreeMap::new(),
            window: VecDeque::new(),
            unlearnt: 0,
            seen: Timestamp::MIN,
        }
    }
}

impl Service {
    pub(super) const fn seen(&self) -> Timestamp {
        self.seen
    }

    pub(super) fn bytes(&self) -> usize {
        let operations = self.operations.iter().map(|(name, it)| name.len() + it.bytes());
        let window = self.window.iter().map(Counts::bytes);
        size_of::<Self>()
            + self.requests.bytes()
            + self.errors.bytes()
            + operations.chain(window).sum::<usize>()
    }

    /// Forgets its operations, and goes on as a whole.
    pub(super) fn forget_operations(&mut self) {
        self.operations.clear();
        self.window.iter_mut().for_each(|counts| counts.operations.clear());
    }

    /// Begins a minute anew: what is counted of this one is not all.
    pub(super) fn interrupt(&mut self) {
        self.window.clear();
        self.unlearnt = 0;
    }

    pub(super) fn take(&mut self, counts: Counts, end: Timestamp, segments: usize) {
        if counts.all.requests > 0.0 {
            self.seen = end;
        }
        self.window.push_back(counts);
        if self.window.len() > segments {
            self.window.pop_front();
        }
        self.unlearnt += 1;
    }

    /// Returns the usual requests of a minute and those of the last.
    pub(super) fn usual_and_now(&self) -> Option<(f64, f64)> {
        let now = self.window.iter().map(|counts| counts.all.requests).sum();
        Some((self.requests.usual()?, now))
    }

    /// Returns what is unlike, and learns a minute when it is over. A fall is told only if others
    /// are still heard.
    pub(super) fn judge(
        &mut self,
        name: &Text,
        at: Timestamp,
        has_others: bool,
        limits: &BaselineLimits,
    ) -> Vec<RateStep> {
        if self.window.len() < limits.window_segments {
            return Vec::new();
        }
        let mut now = Counts::default();
        self.window.iter().for_each(|counts| now.add(counts));
        let is_over = self.unlearnt >= limits.window_segments;
        let step = self.requests.judge(now.all.requests, at, &REQUESTS);
        let errors = self.errors.judge(now.all, at);
        let operation = self.judge_operations(&now, at, is_over, limits.features_max);
        if is_over {
            self.unlearnt = 0;
            self.requests.learn(now.all.requests, at, step.is_some(), HELD_MAX);
            self.errors.learn(now.all, at, errors.is_some());
        }
        let told = |signal, operation, step| {
            Some(RateStep { service: name.clone(), signal, operation, step })
        };
        let step = step.filter(|step| step.direction == Direction::Rose || has_others);
        let seconds = limits.step.as_secs_f64() * crate::latency::to_f64(limits.window_segments);
        let a_second =
            |step: Step| Step { before: step.before / seconds, now: step.now / seconds, ..step };
        // An operation that fails says more than the service it is of.
        let errors = operation
            .map(|(operation, step)| (Some(operation), step))
            .or(errors.map(|step| (None, step)));
        let requests = step.and_then(|step| told(Signal::Requests, None, a_second(step)));
        let errors = errors.and_then(|(name, step)| told(Signal::Errors, name, step));
        requests.into_iter().chain(errors).collect()
    }

    /// Returns the operation that fails most, and learns them all when a minute is over.
    fn judge_operations(
        &mut self,
        now: &Counts,
        at: Timestamp,
        is_over: bool,
        operations_max: usize,
    ) -> Option<(Text, Step)> {
        let mut worst: Option<(f64, Text, Step)> = None;
        for (name, pair) in &now.operations {
            if !self.operations.contains_key(name) && self.operations.len() >= operations_max {
                continue;
            }
            let failing = self.operations.entry(name.clone()).or_default();
            let step = failing.judge(*pair, at);
            if is_over {
                failing.learn(*pair, at, step.is_some());
            }
            let Some(step) = step else { continue };
            if worst.as_ref().is_none_or(|(failed, ..)| pair.failed > *failed) {
                worst = Some((pair.failed, name.clone(), step));
            }
        }
        worst.map(|(_, name, step)| (name, step))
    }
}
