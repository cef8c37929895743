//! Waiting longer after each failure, never in step with others.

use std::time::Duration;

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

/// The first and the longest wait. A node takes a second or more to start; a thousand agents that
/// wait longer than ten for it would only notice late.
const DELAYS: [Duration; 2] = [Duration::from_millis(50), Duration::from_secs(10)];

/// Returns how long to wait after the `failures`-th failure in a row, the first being 1: between
/// half of the doubled delay and all of it.
pub(crate) fn delay(seed: u64, failures: u32) -> Duration {
    let [first, longest] = DELAYS;
    let doublings = failures.saturating_sub(1).min(31);
    let most = first.saturating_mul(1 << doublings).min(longest);
    let mut dice = StdRng::seed_from_u64(seed.rotate_left(17) ^ u64::from(failures));
    most.mul_f64(dice.random_range(0.5..=1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_the_longest_and_differ_by_seed() {
        let table = [(1, 50), (2, 100), (5, 800), (9, 10_000), (u32::MAX, 10_000)];
        for (failures, most_ms) in table {
            let (delay, most) = (delay(1, failures), Duration::from_millis(most_ms));
            assert!(delay >= most / 2 && delay <= most, "{delay:?} of {most:?}");
        }
        assert_ne!(delay(1, 9), delay(2, 9), "two agents are not in step");
    }
}
