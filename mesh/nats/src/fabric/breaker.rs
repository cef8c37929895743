//! Fails at once what would only wait out its patience.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// Silences in a row that open a breaker: one is a hiccup, two are bad luck.
const SILENCES_MAX: u32 = 3;

/// How long an open breaker waits between two probes.
const PROBE_EVERY: Duration = Duration::from_millis(100);

/// A circuit breaker: open after [`SILENCES_MAX`] calls in a row without an answer, closed again by
/// the first answer. While it is open one call at a time goes through, to find out.
#[derive(Debug, Default)]
pub(super) struct Breaker {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    silences: u32,
    is_probing: bool,
    probe_at: Option<Instant>,
}

/// Leave to call. Dropped without a verdict, as when the caller gives up, it says nothing.
#[derive(Debug)]
pub(super) struct Pass<'a> {
    breaker: &'a Breaker,
    is_probe: bool,
}

impl Breaker {
    /// Gives leave to call, or `None` if the call would wait for nothing.
    pub(super) fn enter(&self) -> Option<Pass<'_>> {
        self.with(|state| {
            if state.silences < SILENCES_MAX {
                return Some(Pass { breaker: self, is_probe: false });
            }
            if state.is_probing || state.probe_at.is_some_and(|at| Instant::now() < at) {
                return None;
            }
            state.is_probing = true;
            Some(Pass { breaker: self, is_probe: true })
        })
    }

    /// Says whether calls fail at once.
    pub(super) fn is_open(&self) -> bool {
        self.with(|state| state.silences >= SILENCES_MAX)
    }

    fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        // Nothing panics with the lock held; a poisoned one would still hold sound numbers.
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Pass<'_> {
    /// Notes that there was an answer.
    pub(super) fn answered(self) {
        self.breaker.with(|state| state.silences = 0);
    }

    /// Notes that there was none.
    pub(super) fn silent(self) {
        self.breaker.with(|state| {
            state.silences = state.silences.saturating_add(1);
            state.probe_at = Some(Instant::now() + PROBE_EVERY);
        });
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        if self.is_probe {
            self.breaker.with(|state| state.is_probing = false);
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    fn fall_silent(breaker: &Breaker, times: u32) {
        for _ in 0..times {
            if let Some(pass) = breaker.enter() {
                pass.silent();
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn opens_after_three_silences_in_a_row_and_no_sooner() {
        let breaker = Breaker::default();
        fall_silent(&breaker, SILENCES_MAX - 1);
        breaker.enter().expect("closed").answered();
        fall_silent(&breaker, SILENCES_MAX - 1);
        assert!(!breaker.is_open() && breaker.enter().is_some());
        fall_silent(&breaker, 1);
        assert!(breaker.is_open() && breaker.enter().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn lets_one_probe_at_a_time_through() {
        let breaker = Breaker::default();
        fall_silent(&breaker, SILENCES_MAX);
        advance(PROBE_EVERY).await;
        let probe = breaker.enter().expect("time for a probe");
        assert!(breaker.enter().is_none(), "one probe is enough");
        probe.silent();
        assert!(breaker.enter().is_none(), "the next probe waits");
        advance(PROBE_EVERY).await;
        breaker.enter().expect("time for a probe").answered();
        assert!(!breaker.is_open());
    }

    #[tokio::test(start_paused = true)]
    async fn a_probe_that_was_given_up_makes_room_for_another() {
        let breaker = Breaker::default();
        fall_silent(&breaker, SILENCES_MAX);
        advance(PROBE_EVERY).await;
        drop(breaker.enter().expect("time for a probe"));
        assert!(breaker.enter().is_some(), "the first probe found out nothing");
        assert!(breaker.is_open());
    }
}
