//! How the mesh looks from one node.

use std::collections::BTreeMap;

use tapio_model::ShardId;
use tapio_shard::{Candidate, NodeId, NodeState, SignOfLife};

use crate::{OwnerStatus, Phase};

/// Who is thought to own a shard: a hint, the root is the truth.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShardOwner {
    /// The node.
    pub node: NodeId,
    /// The epoch of its claim.
    pub epoch: u64,
}

/// How the mesh looks from one node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MeshView {
    /// How far this node is; `None` before it began.
    pub state: Option<NodeState>,
    /// Whether its signs of life are not heard at the moment.
    pub is_cut_off: bool,
    /// The nodes that are alive.
    pub live: Vec<SignOfLife>,
    /// The shards this node holds, and how far each is.
    pub held: BTreeMap<ShardId, OwnerStatus>,
    /// Who is thought to own which shard.
    pub owners: BTreeMap<ShardId, ShardOwner>,
    /// What shards are placed on.
    pub candidates: Vec<Candidate>,
}

impl MeshView {
    pub(super) fn new(
        state: NodeState,
        is_cut_off: bool,
        live: &[SignOfLife],
        held: BTreeMap<ShardId, OwnerStatus>,
        candidates: Vec<Candidate>,
    ) -> Self {
        let mut owners: BTreeMap<ShardId, ShardOwner> = BTreeMap::new();
        for sign in live {
            for (shard, epoch) in &sign.held {
                // Two may say so for a moment; the younger claim is right.
                if owners.get(shard).is_none_or(|known| known.epoch < *epoch) {
                    let owner = ShardOwner { node: sign.node.clone(), epoch: *epoch };
                    owners.insert(*shard, owner);
                }
            }
        }
        Self { state: Some(state), is_cut_off, live: live.to_vec(), held, owners, candidates }
    }

    /// Returns how many of this node's shards take events in.
    #[must_use]
    pub fn owning(&self) -> usize {
        self.held.values().filter(|status| status.phase == Phase::Owning).count()
    }
}
