//! A node that is told to end ends well and in time.

use crate::record::Record;

pub(super) fn check(record: &Record) -> Vec<String> {
    let bound = record.bounds.drain_max;
    let violations = record.drains.iter().filter_map(|drain| {
        let node = &drain.node;
        match drain.took {
            None => Some(format!("{node} had to be killed after SIGTERM")),
            Some(took) if took > bound && !record.faults.iter().any(|it| it.kind.hits_middle()) => {
                Some(format!("{node} took {took:?} to end"))
            }
            Some(_) if !drain.is_clean => Some(format!("{node} ended with an error")),
            Some(_) => None,
        }
    });
    violations.collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{invariants::sample, record::DrainSeen};

    #[test]
    fn a_slow_a_failed_and_an_endless_drain_are_seen() {
        let cases = [
            (Some(Duration::from_millis(300)), true, 0),
            (Some(Duration::from_secs(60)), true, 1),
            (Some(Duration::from_millis(300)), false, 1),
            (None, false, 1),
        ];
        for (took, is_clean, violations) in cases {
            let mut record = sample::good();
            let node = "tapio-0".into();
            record.drains.push(DrainSeen { node, at: Duration::ZERO, took, is_clean });
            assert_eq!(check(&record).len(), violations, "{took:?} {is_clean}");
        }
    }
}
