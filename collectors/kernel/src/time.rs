//! From the kernel's clock to the wall's.

use std::time::Duration;

use rustix::{
    event::{Timespec, poll},
    time::{ClockId, clock_gettime},
};
use tapio_model::{Clock, Timestamp};

/// How often the two clocks are compared: an adjustment of the wall clock (500 ppm at most while it
/// is slewed) is then below a millisecond, and a step is followed soon.
const ANCHOR_INTERVAL: Duration = Duration::from_secs(1);

/// Nanoseconds of the kernel's monotonic clock since boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(crate) struct KernelNanos(pub(crate) u64);

impl KernelNanos {
    /// Reads the kernel's monotonic clock, the one that probes stamp their records with.
    pub(crate) fn now() -> Self {
        let now = clock_gettime(ClockId::Monotonic);
        let secs = u64::try_from(now.tv_sec).unwrap_or_default();
        let nanos = u64::try_from(now.tv_nsec).unwrap_or_default();
        Self(secs.saturating_mul(1_000_000_000).saturating_add(nanos))
    }

    /// Returns how long after `earlier` this is; zero if it is not after it.
    pub(crate) fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// Turns the kernel's time into wall time.
///
/// # Invariant
/// Between two anchors, order and distance of times are the kernel's.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WallTime {
    kernel: KernelNanos,
    wall: Timestamp,
}

impl WallTime {
    /// Anchors the wall clock's time `wall` at the kernel's time `kernel`.
    pub(crate) const fn new(kernel: KernelNanos, wall: Timestamp) -> Self {
        Self { kernel, wall }
    }

    /// Reads both clocks, one after the other.
    pub(crate) fn read(clock: &dyn Clock) -> Self {
        let before = KernelNanos::now();
        let wall = clock.now();
        // The wall was read between the two: the middle is the best guess.
        let spent = KernelNanos::now().since(before);
        Self::new(KernelNanos(before.0), wall.before(spent / 2))
    }

    /// Compares the clocks again if it is time to.
    pub(crate) fn follow(&mut self, clock: &dyn Clock) {
        if KernelNanos::now().since(self.kernel) >= ANCHOR_INTERVAL {
            *self = Self::read(clock);
        }
    }

    /// Returns the wall time of a time of the kernel.
    pub(crate) fn of(self, at: KernelNanos) -> Timestamp {
        if at >= self.kernel {
            self.wall.after(at.since(self.kernel))
        } else {
            self.wall.before(self.kernel.since(at))
        }
    }
}

/// Lets time pass on a thread of one's own. It asks no runtime, so it works while one shuts down.
pub(crate) fn rest(pause: Duration) {
    let nanos = i64::from(pause.subsec_nanos());
    let secs = i64::try_from(pause.as_secs()).unwrap_or(i64::MAX);
    // Nothing to wait for but the time; a signal that ends it early does no harm.
    poll(&mut [], Some(&Timespec { tv_sec: secs, tv_nsec: nanos })).unwrap_or_default();
}

#[cfg(test)]
mod tests {
    use tapio_telemetry::SystemClock;

    use super::*;

    #[test]
    fn keeps_order_and_distance_on_both_sides_of_the_anchor() {
        let wall = WallTime::new(KernelNanos(5_000), Timestamp::from_nanos(1_000_000));
        let cases = [(5_000, 1_000_000), (5_001, 1_000_001), (4_000, 999_000), (0, 995_000)];
        for (kernel, want) in cases {
            assert_eq!(wall.of(KernelNanos(kernel)), Timestamp::from_nanos(want), "{kernel}");
        }
        assert_eq!(wall.of(KernelNanos(u64::MAX)), Timestamp::MAX);
    }

    #[test]
    fn now_is_now_on_both_clocks() {
        let wall = WallTime::read(&SystemClock);
        let told = wall.of(KernelNanos::now());
        assert!(told.distance(SystemClock.now()) < Duration::from_secs(1));
    }
}
