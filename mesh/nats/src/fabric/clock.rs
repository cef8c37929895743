//! The log's time, carried on between two messages.

use std::sync::atomic::{AtomicI64, Ordering};

use tapio_model::Timestamp;
use tokio::time::Instant;

/// What [`LogClock`] holds before anything was heard.
const UNHEARD: i64 = i64::MIN;

/// The log's clock as last seen.
///
/// Holds how far the log's clock is ahead of this process's monotonic one, and keeps the greatest
/// such lead: a message read late shows less of it. So the time never goes back, jumps only
/// forward, and is one atomic number.
#[derive(Debug)]
pub(super) struct LogClock {
    origin: Instant,
    /// Nanoseconds.
    lead: AtomicI64,
}

impl LogClock {
    /// Makes a clock that has heard nothing.
    pub(super) fn new() -> Self {
        Self { origin: Instant::now(), lead: AtomicI64::new(UNHEARD) }
    }

    /// Hears that the log's clock stood at `time`, at this moment or before.
    pub(super) fn hear(&self, time: Timestamp) {
        let lead = time.as_nanos().saturating_sub(self.elapsed());
        self.lead.fetch_max(lead, Ordering::Relaxed);
    }

    /// Returns the log's time, or `None` before anything was heard.
    pub(super) fn now(&self) -> Option<Timestamp> {
        let lead = self.lead.load(Ordering::Relaxed);
        (lead != UNHEARD).then(|| Timestamp::from_nanos(lead.saturating_add(self.elapsed())))
    }

    fn elapsed(&self) -> i64 {
        i64::try_from(self.origin.elapsed().as_nanos()).unwrap_or(i64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn goes_on_by_itself_and_never_back() {
        let clock = LogClock::new();
        assert_eq!(clock.now(), None);
        advance(Duration::from_secs(5)).await;
        clock.hear(Timestamp::from_secs(100));
        advance(Duration::from_secs(2)).await;
        assert_eq!(clock.now(), Some(Timestamp::from_secs(102)));
        clock.hear(Timestamp::from_secs(101));
        assert_eq!(clock.now(), Some(Timestamp::from_secs(102)), "read late");
        clock.hear(Timestamp::from_secs(110));
        assert_eq!(clock.now(), Some(Timestamp::from_secs(110)));
    }
}
