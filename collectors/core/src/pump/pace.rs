//! How long events wait for company: less the more urgent they are, more the busier the bus is.

use std::time::Duration;

use tapio_model::Level;
use tokio::time::Instant;

/// How long an event waits for company, by its level. A critical one never does.
///
/// A batch costs the bus about the same whatever is in it, so under load waiting longer makes
/// everything faster; with little to do it only makes it later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Linger {
    /// High events. 1 ms is a timer's resolution.
    pub high: Duration,
    /// Normal events, while there is little to do.
    pub normal_min: Duration,
    /// Normal events, while batches are many and small or the bus is slow. Nobody notices 3 ms in
    /// a story.
    pub normal_max: Duration,
}

impl Linger {
    /// Waits equally long at any load; critical events still do not wait.
    #[must_use]
    pub const fn fixed(linger: Duration) -> Self {
        Self { high: linger, normal_min: linger, normal_max: linger }
    }
}

impl Default for Linger {
    fn default() -> Self {
        Self {
            high: Duration::from_millis(1),
            normal_min: Duration::from_millis(1),
            normal_max: Duration::from_millis(3),
        }
    }
}

/// How long what was sent is looked at together.
const WINDOW: Duration = Duration::from_millis(20);

/// Batches in a window that are many: 800 a second.
const MANY_BATCHES: usize = 16;

/// Windows without any batch after which nothing is known of the load.
const WINDOWS_IDLE: u32 = 10;

/// The lingers of this moment.
#[derive(Debug)]
pub(super) struct Pace {
    linger: Linger,
    batch_events_max: usize,
    normal: Duration,
    begin: Instant,
    batches: usize,
    events: usize,
    was_crowded: bool,
}

impl Pace {
    /// Begins with little to do.
    pub(super) fn new(linger: Linger, batch_events_max: usize, now: Instant) -> Self {
        Self {
            linger,
            batch_events_max,
            normal: linger.normal_min,
            begin: now,
            batches: 0,
            events: 0,
            was_crowded: false,
        }
    }

    /// Returns how long events of a level wait now.
    pub(super) fn linger(&self, level: Level) -> Duration {
        match level {
            Level::Critical => Duration::ZERO,
            Level::High => self.linger.high,
            Level::Normal => self.normal,
        }
    }

    /// Notes a batch of so many events, and whether the bus had much in hand already.
    pub(super) fn sent(&mut self, now: Instant, events: usize, is_crowded: bool) {
        let passed = now.saturating_duration_since(self.begin);
        if passed >= WINDOW {
            self.normal =
                if passed >= WINDOW * WINDOWS_IDLE { self.linger.normal_min } else { self.judge() };
            (self.begin, self.batches, self.events, self.was_crowded) = (now, 0, 0, false);
        }
        self.batches += 1;
        self.events += events;
        self.was_crowded |= is_crowded;
    }

    /// Returns how long normal events wait after the window that ends.
    fn judge(&self) -> Duration {
        let are_small = self.events < self.batches.saturating_mul(self.batch_events_max / 2);
        let longest = self.linger.normal_max.max(self.linger.normal_min);
        if self.was_crowded || (self.batches >= MANY_BATCHES && are_small) {
            (self.normal * 3 / 2).clamp(self.linger.normal_min, longest)
        } else if self.batches < MANY_BATCHES / 4 {
            (self.normal / 2).max(self.linger.normal_min)
        } else {
            self.normal
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINGER: Linger = Linger {
        high: Duration::from_millis(2),
        normal_min: Duration::from_millis(1),
        normal_max: Duration::from_millis(4),
    };

    /// Sends `batches` of `events` in each of some windows, and returns the linger after each.
    fn lingers(
        pace: &mut Pace,
        now: &mut Instant,
        windows: usize,
        (batches, events, is_crowded): (usize, usize, bool),
    ) -> Vec<Duration> {
        let window = |_| {
            for _ in 0..batches {
                pace.sent(*now, events, is_crowded);
            }
            *now += WINDOW;
            pace.linger(Level::Normal)
        };
        (0..windows).map(window).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn many_small_batches_and_a_crowded_bus_make_it_longer_and_idleness_shorter() {
        // What is sent in each window, and where the linger is after a while of it.
        let table = [
            ("many small ones", (100, 3, false), LINGER.normal_max),
            ("many full ones", (100, 128, false), LINGER.normal_min),
            ("few", (2, 3, false), LINGER.normal_min),
            ("few on a crowded bus", (2, 3, true), LINGER.normal_max),
        ];
        for (what, load, settled) in table {
            let mut now = Instant::now();
            let mut pace = Pace::new(LINGER, 128, now);
            let seen = lingers(&mut pace, &mut now, 20, load);
            assert_eq!(seen.last(), Some(&settled), "{what}: {seen:?}");
            let bounds = LINGER.normal_min..=LINGER.normal_max;
            assert!(seen.iter().all(|linger| bounds.contains(linger)), "{what}: {seen:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn it_goes_back_as_the_load_does() {
        let mut now = Instant::now();
        let mut pace = Pace::new(LINGER, 128, now);
        lingers(&mut pace, &mut now, 20, (100, 3, false));
        let seen = lingers(&mut pace, &mut now, 20, (1, 3, false));
        assert_eq!(seen.last(), Some(&LINGER.normal_min), "{seen:?}");
        lingers(&mut pace, &mut now, 20, (100, 3, false));
        now += WINDOW * WINDOWS_IDLE;
        pace.sent(now, 1, false);
        assert_eq!(pace.linger(Level::Normal), LINGER.normal_min, "after a pause at once");
    }

    #[tokio::test(start_paused = true)]
    async fn only_normal_events_wait_by_load() {
        let mut now = Instant::now();
        let mut pace = Pace::new(LINGER, 128, now);
        lingers(&mut pace, &mut now, 20, (100, 3, true));
        assert_eq!(pace.linger(Level::Critical), Duration::ZERO);
        assert_eq!(pace.linger(Level::High), LINGER.high);
    }
}
