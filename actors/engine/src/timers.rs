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

    /// Returns when timers with buckets of this length tell a trace that asked for `at`.
    #[must_use]
    pub fn due(bucket: Duration, at: Timestamp) -> Timestamp {
        if at == Timestamp::MAX {
            return at;
        }
        let length = nanos(bucket);
        end_of(at.as_nanos().div_euclid(length), length)
    }

    fn bucket_nanos(&self) -> i64 {
        nanos(self.bucket)
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
        let end = end_of(*first.key(), length);
        (end <= now).then(|| (end, first.remove()))
    }

    /// Returns the end of the oldest bucket: when to look again.
    #[must_use]
    pub fn next(&self) -> Option<Timestamp> {
        let (bucket, _) = self.due.first_key_value()?;
        Some(end_of(*bucket, self.bucket_nanos()))
    }
}

fn nanos(bucket: Duration) -> i64 {
    i64::try_from(bucket.as_nanos()).unwrap_or(i64::MAX).max(1)
}

fn end_of(bucket: i64, length: i64) -> Timestamp {
    Timestamp::from_nanos(bucket.saturating_add(1).saturating_mul(length))
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
        let due = Timers::due(Duration::from_millis(50), Timestamp::from_millis(120));
        assert_eq!(due, Timestamp::from_millis(150), "a trace that counts for itself agrees");
    }
}
