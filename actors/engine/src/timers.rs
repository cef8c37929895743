//! When which trace wants to think again.

use std::{collections::BTreeMap, time::Duration};

use tapio_model::{Timestamp, TraceId};

/// Deadlines of many traces, in buckets.
///
/// A bucket is due when it has wholly passed, so a trace ticks up to one bucket late; in return a
/// million deadlines cost an append each.
#[derive(Debug)]
pub struct Timers {
    bucket: Duration,
    due: BTreeMap<i64, Vec<TraceId>>,
}

impl Timers {
    /// Makes timers with buckets of this length.
    #[must_use]
    pub fn new(bucket: Duration) -> Self {
        Self { bucket: bucket.max(Duration::from_nanos(1)), due: BTreeMap::new() }
    }

    fn bucket_nanos(&self) -> i64 {
        i64::try_from(self.bucket.as_nanos()).unwrap_or(i64::MAX)
    }

    /// Asks to be told of `trace` once `at` has passed. [`Timestamp::MAX`] is never.
    pub fn set(&mut self, at: Timestamp, trace: TraceId) {
        if at == Timestamp::MAX {
            return;
        }
        let bucket = at.as_nanos().div_euclid(self.bucket_nanos());
        self.due.entry(bucket).or_default().push(trace);
    }

    /// Takes the oldest bucket that has passed at `now`: its end, and its traces in order of asking.
    pub fn pop(&mut self, now: Timestamp) -> Option<(Timestamp, Vec<TraceId>)> {
        let length = self.bucket_nanos();
        let first = self.due.first_entry()?;
        let end = Timestamp::from_nanos(first.key().saturating_add(1).saturating_mul(length));
        (end <= now).then(|| (end, first.remove()))
    }

    /// Returns the end of the oldest bucket: when to look again.
    #[must_use]
    pub fn next(&self) -> Option<Timestamp> {
        let (bucket, _) = self.due.first_key_value()?;
        Some(Timestamp::from_nanos(bucket.saturating_add(1).saturating_mul(self.bucket_nanos())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_is_due_once_it_has_passed() {
        let mut timers = Timers::new(Duration::from_millis(50));
        let trace = TraceId::from_bytes([1; 16]);
        timers.set(Timestamp::from_millis(120), trace);
        timers.set(Timestamp::MAX, trace);
        assert_eq!(timers.pop(Timestamp::from_millis(149)), None);
        assert_eq!(timers.next(), Some(Timestamp::from_millis(150)));
        let due = timers.pop(Timestamp::from_millis(500));
        assert_eq!(due, Some((Timestamp::from_millis(150), vec![trace])));
        assert_eq!(timers.pop(Timestamp::MAX), None);
    }
}
