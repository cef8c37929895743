//! Where the run bounds it, no event waits longer than so until it is taken in for good.

use crate::record::Record;

pub(super) fn check(record: &Record) -> Vec<String> {
    let Some(bound) = record.bounds.late_max else { return Vec::new() };
    let late: Vec<_> = record.lateness().into_iter().filter(|late| *late > bound).collect();
    let worst = late.iter().max();
    let say =
        |worst| format!("{} events were late by more than {bound:?}, up to {worst:?}", late.len());
    worst.map(say).into_iter().collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::invariants::sample;

    #[test]
    fn late_events_are_seen_where_they_are_bounded() {
        let mut record = sample::good();
        assert_eq!(check(&record), [""; 0]);
        for (bound, violations) in [(Duration::from_secs(600), 0), (Duration::from_millis(1), 1)] {
            record.bounds.late_max = Some(bound);
            assert_eq!(check(&record).len(), violations, "{bound:?}");
        }
    }
}
