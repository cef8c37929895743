//! After the servers have come back, every shard is soon at work again.

use crate::record::Record;

pub(super) fn check(record: &Record) -> Vec<String> {
    let bound = record.bounds.recovery_max;
    let late = record.recoveries().into_iter().filter(|recovery| recovery.took > bound);
    let say = |recovery: crate::record::Recovery| {
        let (kind, took) = (recovery.kind.name(), recovery.took);
        format!("after {kind} at {:?} it took {took:?} until all shards worked", recovery.at)
    };
    late.map(say).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{fault::FaultKind, invariants::sample, record::FaultSeen};

    #[test]
    fn a_slow_recovery_is_seen() {
        let mut record = sample::good();
        record.faults.push(FaultSeen {
            at: Duration::from_millis(350),
            ended: Some(Duration::from_millis(400)),
            kind: FaultKind::KillAllServers,
            targets: Vec::new(),
        });
        assert_eq!(check(&record), [""; 0]);
        record.bounds.recovery_max = Duration::from_millis(499);
        assert_eq!(check(&record).len(), 1);
    }
}
