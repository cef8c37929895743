//! How long shards were without an owner after one died.

use std::{collections::BTreeMap, time::Duration};

use tapio_model::{ShardId, Text};

use super::{Record, RootSeen};
use crate::fault::FaultKind;

/// A shard whose owner died, until somebody else had it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Takeover {
    /// The shard.
    pub shard: ShardId,
    /// Who died.
    pub from: Text,
    /// When.
    pub at: Duration,
    /// How long until another had claimed it; `None` if nobody did.
    pub took: Option<Duration>,
    /// How long until the new owner had written a root of its own making.
    pub resumed: Option<Duration>,
}

/// Servers that were hit, until every shard was at work again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovery {
    /// What had hit them.
    pub kind: FaultKind,
    /// When they had come back.
    pub at: Duration,
    /// How long it took from then until every shard that works later on had written a root.
    pub took: Duration,
}

impl Record {
    /// Returns how long the mesh took to be back at work after the servers were.
    #[must_use]
    pub fn recoveries(&self) -> Vec<Recovery> {
        let killed = self.faults.iter().filter(|fault| {
            matches!(fault.kind, FaultKind::KillLeader | FaultKind::KillAllServers)
        });
        let recoveries = killed.filter_map(|fault| {
            let at = fault.ended?;
            let mut first: BTreeMap<ShardId, Duration> = BTreeMap::new();
            for root in self.roots.iter().filter(|root| root.at >= at) {
                first.entry(root.shard).or_insert(root.at);
            }
            let took = first.into_values().max()?.saturating_sub(at);
            Some(Recovery { kind: fault.kind, at, took })
        });
        recoveries.collect()
    }

    /// Returns what became of the shards of nodes that died by a fault of `kind`.
    #[must_use]
    pub fn takeovers(&self, kind: FaultKind) -> Vec<Takeover> {
        let mut by_shard: BTreeMap<ShardId, Vec<&RootSeen>> = BTreeMap::new();
        for root in &self.roots {
            by_shard.entry(root.shard).or_default().push(root);
        }
        let faults = self.faults.iter().filter(|fault| fault.kind == kind);
        let hits = faults.flat_map(|fault| fault.targets.iter().map(|node| (fault.at, node)));
        let takeovers = hits.flat_map(|(at, node)| {
            by_shard.values().filter_map(move |roots| takeover(roots, node, at))
        });
        takeovers.collect()
    }
}

fn takeover(roots: &[&RootSeen], node: &Text, at: Duration) -> Option<Takeover> {
    let last = roots.iter().rposition(|root| root.at <= at)?;
    let (before, after) = roots.split_at_checked(last + 1)?;
    let held = before.last()?;
    let owner = held.owner.as_ref().filter(|_| !held.is_released)?;
    if owner.name != *node {
        return None;
    }
    let claim = after.iter().find(|root| root.epoch > held.epoch);
    let resumed = claim.and_then(|claim| after.iter().find(|root| root.commit > claim.commit));
    let since = |root: &&RootSeen| root.at.saturating_sub(at);
    Some(Takeover {
        shard: held.shard,
        from: node.clone(),
        at,
        took: claim.copied().as_ref().map(since),
        resumed: resumed.copied().as_ref().map(since),
    })
}

#[cfg(test)]
mod tests {
    use tapio_shard::{NodeId, Root};

    use super::*;
    use crate::record::FaultSeen;

    fn seen(at: u64, epoch: u64, commit: u64, name: &str, released: bool) -> RootSeen {
        let owner = Some(NodeId { name: name.into(), boot: 1 });
        let root = Root { epoch, owner, commit, released, ..Root::default() };
        RootSeen::of(&root, ShardId::new(0), commit, Duration::from_millis(at))
    }

    #[test]
    fn a_takeover_lasts_from_death_to_claim_and_to_the_first_commit() {
        let kill = FaultSeen {
            at: Duration::from_millis(1_000),
            ended: None,
            kind: FaultKind::KillNode,
            targets: vec!["a".into()],
        };
        let first = seen(500, 1, 1, "a", false);
        let cases = [
            (
                vec![seen(2_600, 2, 2, "b", false), seen(2_700, 2, 3, "b", false)],
                Some((1_600, 1_700)),
            ),
            (vec![], None),
        ];
        for (after, expected) in cases {
            let roots = std::iter::once(first.clone()).chain(after).collect();
            let record = Record { roots, faults: vec![kill.clone()], ..Record::default() };
            let [takeover] = &record.takeovers(FaultKind::KillNode)[..] else {
                panic!("one takeover")
            };
            let millis = |took: Option<Duration>| took.map(|took| took.as_millis());
            assert_eq!(millis(takeover.took), expected.map(|(claimed, _)| claimed));
            assert_eq!(millis(takeover.resumed), expected.map(|(_, resumed)| resumed));
        }
    }

    #[test]
    fn a_shard_that_was_let_go_or_belongs_to_another_is_not_taken_over() {
        let kill = FaultSeen {
            at: Duration::from_millis(1_000),
            ended: None,
            kind: FaultKind::KillNode,
            targets: vec!["a".into()],
        };
        for root in [seen(500, 1, 1, "a", true), seen(500, 1, 1, "b", false)] {
            let record =
                Record { roots: vec![root], faults: vec![kill.clone()], ..Record::default() };
            assert_eq!(record.takeovers(FaultKind::KillNode), []);
        }
    }
}
