//! From write to write of a shard's root, epoch, commit and offset only grow; so do those of the
//! audit.

use std::collections::BTreeMap;

use tapio_model::{Audit, ShardId};

use crate::record::{Record, RootSeen};

pub(super) fn check(record: &Record) -> Vec<String> {
    let mut violations = Vec::new();
    let mut last: BTreeMap<ShardId, &RootSeen> = BTreeMap::new();
    for root in &record.roots {
        // The same write may be seen twice by a reader that reconnects.
        let before = last.get(&root.shard).filter(|before| before.revision != root.revision);
        let goes_back = |before: &&&RootSeen| {
            root.revision < before.revision
                || root.epoch < before.epoch
                || root.commit <= before.commit
                || root.processed < before.processed
        };
        if let Some(before) = before.filter(goes_back) {
            let shard = root.shard;
            let figures = |it: &RootSeen| (it.epoch, it.commit, it.processed);
            let (old, new) = (figures(before), figures(root));
            violations.push(format!(
                "shard {shard}: (epoch, commit, offset) went from {old:?} to {new:?}"
            ));
        }
        last.insert(root.shard, root);
    }
    violations.extend(check_audits(record));
    violations
}

fn check_audits(record: &Record) -> Vec<String> {
    let mut by_commit: BTreeMap<(ShardId, u64), &Audit> = BTreeMap::new();
    let mut violations = Vec::new();
    for audit in &record.audits {
        let (shard, commit) = (audit.shard, audit.commit);
        if by_commit.insert((shard, commit), audit).is_some_and(|other| other != audit) {
            violations.push(format!("shard {shard} wrote two audits of commit {commit}"));
        }
    }
    let mut last: Option<&Audit> = None;
    for audit in by_commit.values() {
        let before = last.filter(|before| before.shard == audit.shard);
        if before.is_some_and(|it| it.epoch > audit.epoch || it.processed > audit.processed) {
            let (shard, commit) = (audit.shard, audit.commit);
            violations.push(format!("shard {shard}: the audit of commit {commit} goes back"));
        }
        last = Some(audit);
    }
    violations
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invariants::sample;

    #[test]
    fn each_figure_that_goes_back_is_seen() {
        let change: [fn(&mut RootSeen); 3] =
            [|root| root.epoch = 0, |root| root.commit = 0, |root| root.processed = 0];
        for (case, change) in change.into_iter().enumerate() {
            let mut record = sample::good();
            change(record.roots.last_mut().unwrap());
            assert_eq!(check(&record).len(), 1, "{case}");
        }
    }

    #[test]
    fn the_same_write_seen_twice_is_one() {
        let mut record = sample::good();
        record.roots.push(record.roots.last().unwrap().clone());
        assert_eq!(check(&record), [""; 0]);
    }

    #[test]
    fn audits_that_contradict_each_other_or_go_back_are_seen() {
        let mut record = sample::good();
        let mut other = record.audits[0].clone();
        other.outcomes.clear();
        record.audits.push(other.clone());
        assert_eq!(check(&record).len(), 1);
        record.audits.pop();
        other.commit += 1;
        other.processed = 0;
        record.audits.push(other);
        assert_eq!(check(&record).len(), 1);
    }
}
