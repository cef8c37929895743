//! What to do next: the decisions of a watch, without its connections.

use std::time::Duration;

use rand::{RngExt as _, rngs::StdRng};

use crate::{config::Timing, trouble::Trouble, version::Version};

/// Failures of a resumed watch in a row after which everything is listed again.
const RESUMES_MAX: u32 = 5;

/// The next request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// List as it was at this version: the state when we stopped, told already.
    ListAt(Version),
    /// List as it is now.
    List,
    /// Watch what comes after this version.
    Watch(Version),
}

/// How the last step ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ended {
    /// The listing is complete, and as of this version.
    Listed(Version),
    /// The server closed the watch; `brief` if it neither said anything nor lasted.
    Closed {
        /// The last version that it told.
        at: Version,
        /// Whether it was over before it began.
        brief: bool,
    },
    /// It failed; a watch had come as far as this version, which is news if `moved`.
    Failed {
        /// Why.
        trouble: Trouble,
        /// The last version that was told.
        at: Option<Version>,
        /// Whether it told anything.
        moved: bool,
    },
    /// The server counts from below: its store was rebuilt.
    Rebuilt,
    /// It is time to list again.
    Due,
}

/// What a resource's watch is at, for people.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum WatchState {
    /// Not begun: nobody leads, or the process just started.
    #[default]
    Standby,
    /// Listing what is there.
    Listing,
    /// Watching what comes.
    Watching,
    /// Asking again after trouble.
    Retrying,
    /// Lastingly not allowed; the status names the rule to add.
    Refused,
    /// Lastingly not served by this cluster.
    NotServed,
}

/// Where a watch is, and how it came there.
#[derive(Debug)]
pub(crate) struct Course {
    timing: Timing,
    rng: StdRng,
    at: Option<Version>,
    start: Option<Version>,
    failures: u32,
    /// When the trouble that lasts began: 403 or 404 without anything else between.
    refused_since: Option<Duration>,
    relisted_for_gone: bool,
    pub(crate) state: WatchState,
}

impl Course {
    /// Begins; `start` is where an earlier run stopped.
    pub(crate) const fn new(timing: Timing, start: Option<Version>, rng: StdRng) -> Self {
        Self {
            timing,
            rng,
            at: None,
            start,
            failures: 0,
            refused_since: None,
            relisted_for_gone: false,
            state: WatchState::Standby,
        }
    }

    /// Returns the next request.
    pub(crate) fn step(&self) -> Step {
        match (&self.start, &self.at) {
            (Some(start), _) => Step::ListAt(start.clone()),
            (None, Some(at)) => Step::Watch(at.clone()),
            (None, None) => Step::List,
        }
    }

    /// Takes note that the server is well: a watch said something or has lasted.
    ///
    /// An accepted request alone is no such note: the client's own `Init` made that mistake.
    pub(crate) fn thrive(&mut self) {
        self.failures = 0;
        self.refused_since = None;
        self.relisted_for_gone = false;
    }

    /// Takes note of how the step ended at `now`; returns how long to wait before the next.
    pub(crate) fn end(&mut self, ended: Ended, now: Duration) -> Duration {
        match ended {
            Ended::Listed(version) => {
                self.start = None;
                self.at = Some(version);
                // Not `thrive`: lists that work and watches that do not are still failures.
                Duration::ZERO
            }
            Ended::Closed { at, brief } => {
                self.at = Some(at);
                if brief { self.back_off() } else { Duration::ZERO }
            }
            Ended::Rebuilt | Ended::Due => {
                self.at = None;
                Duration::ZERO
            }
            Ended::Failed { trouble, at, moved } => {
                if moved {
                    self.thrive();
                }
                self.at = at.or(self.at.take());
                self.fail(&trouble, now)
            }
        }
    }

    fn fail(&mut self, trouble: &Trouble, now: Duration) -> Duration {
        match trouble {
            Trouble::Gone => {
                (self.at, self.start) = (None, None);
                // At once, but not for ever at once.
                if self.relisted_for_gone {
                    return self.back_off();
                }
                self.relisted_for_gone = true;
                Duration::ZERO
            }
            Trouble::Forbidden => self.refuse(WatchState::Refused, now),
            Trouble::NotServed => self.refuse(WatchState::NotServed, now),
            Trouble::Refused(_) => {
                (self.at, self.start) = (None, None);
                self.back_off()
            }
            Trouble::Busy { retry_after, .. } => {
                let wait = self.back_off();
                retry_after.map_or(wait, |after| after.min(self.timing.backoff_max).max(wait))
            }
            Trouble::Unauthorized
            | Trouble::Unreachable(_)
            | Trouble::Silent
            | Trouble::Malformed(_) => self.back_off(),
        }
    }

    /// 403 and 404 may pass: a server that starts says both. Only after a while are they the truth.
    fn refuse(&mut self, lasting: WatchState, now: Duration) -> Duration {
        let since = *self.refused_since.get_or_insert(now);
        let wait = self.back_off();
        if now.saturating_sub(since) < self.timing.refused_after {
            return wait;
        }
        self.state = lasting;
        jittered(self.timing.refused_retry, &mut self.rng)
    }

    fn back_off(&mut self) -> Duration {
        self.failures = self.failures.saturating_add(1);
        self.state = WatchState::Retrying;
        if self.failures.is_multiple_of(RESUMES_MAX) {
            self.at = None;
        }
        let doubled = 1_u32 << (self.failures - 1).min(16);
        let wait = self.timing.backoff_min.saturating_mul(doubled).min(self.timing.backoff_max);
        jittered(wait, &mut self.rng)
    }
}

/// Takes between half of `wait` and all of it: watches that failed together do not return together.
fn jittered(wait: Duration, rng: &mut StdRng) -> Duration {
    wait.mul_f64(rng.random_range(0.5..=1.0))
}

#[cfg(test)]
mod tests;
