//! A shard has one owner in an epoch.

use std::collections::{BTreeMap, BTreeSet};

use tapio_model::ShardId;
use tapio_shard::NodeId;

use crate::record::Record;

pub(super) fn check(record: &Record) -> Vec<String> {
    let mut owners: BTreeMap<(ShardId, u64), BTreeSet<&NodeId>> = BTreeMap::new();
    for root in &record.roots {
        owners.entry((root.shard, root.epoch)).or_default().extend(&root.owner);
    }
    let shared = owners.into_iter().filter(|(_, owners)| owners.len() > 1);
    let say = |((shard, epoch), owners): ((ShardId, u64), BTreeSet<&NodeId>)| {
        let owners: Vec<_> = owners.iter().map(ToString::to_string).collect();
        format!("shard {shard} has in epoch {epoch} the owners {}", owners.join(" and "))
    };
    shared.map(say).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invariants::sample;

    #[test]
    fn two_owners_in_one_epoch_are_seen() {
        let mut record = sample::good();
        let mut other = record.roots[0].clone();
        other.owner = Some(NodeId { name: "tapio-9".into(), boot: 9 });
        record.roots.push(other);
        assert_eq!(check(&record).len(), 1);
    }
}
