//! Waiting longer after each failure, never in step with others.

use std::time::Duration;

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

/// How long to wait between attempts.
///
/// # Invariant
/// `first` is above zero and not above `longest`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Backoff {
    first: Duration,
    longest: Duration,
    seed: u64,
}

impl Backoff {
    /// Waits about `first`, then twice that, and so on up to `longest`.
    pub(crate) fn new(first: Duration, longest: Duration, seed: u64) -> Self {
        let first = first.max(Duration::from_millis(1));
        Self { first, longest: longest.max(first), seed }
    }

    /// Returns how long to wait after the `failures`-th failure, the first being 1: between half
    /// of the doubled delay and all of it, so that a thousand clients of one server that died do
    /// not come back in the same millisecond.
    pub(crate) fn delay(&self, failures: usize) -> Duration {
        let doublings = u32::try_from(failures.saturating_sub(1)).unwrap_or(u32::MAX).min(31);
        let most = self.first.saturating_mul(1 << doublings).min(self.longest);
        let mix = u64::try_from(failures).unwrap_or(u64::MAX);
        let mut dice = StdRng::seed_from_u64(self.seed.rotate_left(17) ^ mix);
        most.mul_f64(dice.random_range(0.5..=1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_the_longest_and_differ_by_seed() {
        let [first, longest] = [10, 1_000].map(Duration::from_millis);
        let delays = |seed| {
            let backoff = Backoff::new(first, longest, seed);
            [1, 2, 3, 7, 8, 100, usize::MAX].map(|failures| backoff.delay(failures))
        };
        let most = [10, 20, 40, 640, 1_000, 1_000, 1_000].map(Duration::from_millis);
        for (delay, most) in delays(1).into_iter().zip(most) {
            assert!(delay >= most / 2 && delay <= most, "{delay:?} of {most:?}");
        }
        assert_eq!(delays(1), delays(1), "the same seed waits the same");
        assert_ne!(delays(1), delays(2), "two clients are not in step");
    }
}
