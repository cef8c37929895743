//! Who owns which shard, as far as this node knows.

use std::{
    collections::BTreeMap,
    sync::{PoisonError, RwLock},
};

use tapio_model::{Epoch, Owner, ShardId, Text};
use tapio_shard::ShardCount;

/// Who owns which shard, as far as this node knows: the highest epoch wins.
///
/// Only a hint: whoever is asked says if it is wrong. One entry a shard, so it cannot grow.
#[derive(Debug)]
pub struct OwnerMap {
    count: ShardCount,
    owners: RwLock<BTreeMap<ShardId, Owner>>,
}

impl OwnerMap {
    /// Makes a map that knows no owner.
    #[must_use]
    pub const fn new(count: ShardCount) -> Self {
        Self { count, owners: RwLock::new(BTreeMap::new()) }
    }

    /// Returns how many shards there are.
    #[must_use]
    pub const fn count(&self) -> ShardCount {
        self.count
    }

    /// Says whether there is such a shard.
    #[must_use]
    pub const fn has(&self, shard: ShardId) -> bool {
        shard.number() < self.count.get()
    }

    /// Takes in that `node` owns `shard` since `epoch`; older news changes nothing.
    pub fn learn(&self, shard: ShardId, node: &Text, epoch: Epoch) {
        if !self.has(shard) {
            return;
        }
        let mut owners = self.owners.write().unwrap_or_else(PoisonError::into_inner);
        let known = owners.get(&shard).map(|owner| owner.epoch);
        if known.is_none_or(|known| known < epoch) {
            owners.insert(shard, Owner { node: node.clone(), epoch });
        }
    }

    /// Forgets an owner that was found not to be there, unless there is newer news.
    pub fn forget(&self, shard: ShardId, epoch: Epoch) {
        let mut owners = self.owners.write().unwrap_or_else(PoisonError::into_inner);
        if owners.get(&shard).is_some_and(|owner| owner.epoch <= epoch) {
            owners.remove(&shard);
        }
    }

    /// Returns the owner of a shard.
    #[must_use]
    pub fn owner(&self, shard: ShardId) -> Option<Owner> {
        self.owners.read().unwrap_or_else(PoisonError::into_inner).get(&shard).cloned()
    }

    /// Returns the shards of a node.
    #[must_use]
    pub fn shards_of(&self, node: &str) -> Vec<ShardId> {
        let owners = self.owners.read().unwrap_or_else(PoisonError::into_inner);
        let of_node = owners.iter().filter(|(_, owner)| owner.node == *node);
        of_node.map(|(shard, _)| *shard).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_epoch_wins_whatever_the_order() {
        let map = OwnerMap::new(ShardCount::new(2));
        let shard = ShardId::new(1);
        for (node, epoch) in [("a", 1), ("c", 3), ("b", 2)] {
            map.learn(shard, &node.into(), Epoch(epoch));
        }
        let owner = map.owner(shard).map(|owner| owner.node);
        assert_eq!(owner.as_deref(), Some("c"));
        map.forget(shard, Epoch(2));
        assert!(map.owner(shard).is_some());
        map.forget(shard, Epoch(3));
        assert_eq!(map.owner(shard), None);
    }

    #[test]
    fn a_shard_that_is_not_there_has_no_owner() {
        let map = OwnerMap::new(ShardCount::new(2));
        map.learn(ShardId::new(2), &"a".into(), Epoch(1));
        assert_eq!((map.owner(ShardId::new(2)), map.shards_of("a")), (None, vec![]));
    }
}
