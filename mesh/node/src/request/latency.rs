//! How long owners take to answer.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// Steps up for one step down: 19 to 1 balance where one answer in twenty is slower.
const STEPS_UP: u64 = 19;
/// A step, as a part of the estimate: some thousand answers bring it down to a tenth.
const STEP_PART: u64 = 1_024;
/// What the first estimate is, in nanoseconds: an answer over a local network, with room.
const START_NS: u64 = 5_000_000;

/// A running estimate of the 95th percentile.
///
/// It moves up by 19 steps for each slower answer and down by one for each faster: it rests where
/// they balance. No sample is kept, and old ones lose their weight.
#[derive(Debug)]
pub struct LatencyEstimate(AtomicU64);

impl LatencyEstimate {
    /// Makes an estimate that knows nothing yet.
    #[must_use]
    pub const fn new() -> Self {
        Self(AtomicU64::new(START_NS))
    }

    /// Takes in how long an answer took.
    pub fn note(&self, took: Duration) {
        let took = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        // Two answers at once may cost one of them its step: an estimate survives that.
        let old = self.0.load(Ordering::Relaxed);
        let step = (old / STEP_PART).max(1);
        let new = if took > old {
            old.saturating_add(step.saturating_mul(STEPS_UP)).min(took)
        } else {
            old.saturating_sub(step).max(took)
        };
        self.0.store(new.max(1), Ordering::Relaxed);
    }

    /// Returns the estimate.
    #[must_use]
    pub fn get(&self) -> Duration {
        Duration::from_nanos(self.0.load(Ordering::Relaxed))
    }
}

impl Default for LatencyEstimate {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn about_one_answer_in_twenty_is_slower(low in 50_u64..2_000, times in 2_u64..20, seed: u64) {
            const MULTIPLIER: u64 = 6_364_136_223_846_793_005;
            let estimate = LatencyEstimate::new();
            let (mut state, mut slower) = (seed, 0);
            for number in 0..20_000 {
                state = state.wrapping_mul(MULTIPLIER).wrapping_add(1);
                let sample = Duration::from_micros(low + (state >> 33) % (low * times));
                // The first half is for finding its place.
                slower += u32::from(number >= 10_000 && sample > estimate.get());
                estimate.note(sample);
            }
            // Of 10,000, 500 would be exact; a step that would overshoot is cut, so some more.
            prop_assert!((300..1_000).contains(&slower), "{slower} slower than estimated");
        }
    }

    #[test]
    fn one_answer_that_never_came_does_not_move_it_far() {
        let estimate = LatencyEstimate::new();
        estimate.note(Duration::MAX);
        assert!(estimate.get() < Duration::from_millis(6), "{:?}", estimate.get());
    }
}
