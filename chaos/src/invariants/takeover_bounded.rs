//! A dead node's shards are taken over in time, unless another fault is in the way.

use std::time::Duration;

use crate::{fault::FaultKind, record::Record};

pub(super) fn check(record: &Record) -> Vec<String> {
    let bound = record.bounds.takeover_max;
    let takeovers = record.takeovers(FaultKind::KillNode).into_iter();
    let violations = takeovers.filter_map(|takeover| {
        let (shard, from, at) = (takeover.shard, &takeover.from, takeover.at);
        match takeover.took {
            None if record.is_settled => {
                Some(format!("nobody took shard {shard} over from {from}"))
            }
            Some(took) if took > bound && !has_company(record, at, at + took) => {
                Some(format!("shard {shard} of {from} was without an owner for {took:?}"))
            }
            Some(_) | None => None,
        }
    });
    violations.collect()
}

/// Says whether a fault of the middle falls into this run, or another one into this time.
fn has_company(record: &Record, from: Duration, to: Duration) -> bool {
    record.faults.iter().any(|fault| {
        let is_other = fault.at != from && fault.kind != FaultKind::Burst;
        fault.kind.hits_middle()
            || is_other && fault.at <= to && fault.ended.is_none_or(|ended| ended >= from)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{invariants::sample, record::FaultSeen};

    fn killed(mut record: Record) -> Record {
        let first = record.roots[0].clone();
        let owner = first.owner.as_ref().unwrap();
        record.faults.push(FaultSeen {
            at: first.at + Duration::from_millis(1),
            ended: None,
            kind: FaultKind::KillNode,
            targets: vec![owner.name.clone()],
        });
        record
    }

    #[test]
    fn a_late_takeover_is_seen() {
        let mut record = killed(sample::good());
        assert_eq!(check(&record), [""; 0]);
        record.bounds.takeover_max = Duration::from_millis(1);
        assert_eq!(check(&record).len(), 1);
    }

    #[test]
    fn no_takeover_is_seen() {
        let mut record = killed(sample::good());
        record.roots.truncate(1);
        assert_eq!(check(&record).len(), 1);
    }

    #[test]
    fn a_fault_of_the_middle_excuses() {
        let mut record = killed(sample::good());
        record.bounds.takeover_max = Duration::from_millis(1);
        record.faults.push(FaultSeen {
            at: Duration::ZERO,
            ended: Some(Duration::ZERO),
            kind: FaultKind::KillLeader,
            targets: Vec::new(),
        });
        assert_eq!(check(&record), [""; 0]);
    }
}
