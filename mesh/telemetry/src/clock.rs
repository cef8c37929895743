//! The wall clock, read in one place.

use std::time::{SystemTime, UNIX_EPOCH};

use tapio_model::{Clock, Timestamp};

/// The wall clock. Made by a `main`, handed down as a [`Clock`].
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the clock")]
    fn now(&self) -> Timestamp {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp::ZERO.after(since_epoch)
    }
}
