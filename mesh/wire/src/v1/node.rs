//! Nodes, and their signs of life.

use serde::{Deserialize, Serialize};
use tapio_model::ShardId;
use tapio_shard::{NodeId, NodeState, SignOfLife};

use super::{
    code::Coded,
    leaf::{Capped, TextV1},
};
use crate::DecodeError;

/// One run of one node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct NodeIdV1 {
    name: TextV1,
    boot: u64,
}

impl From<&NodeId> for NodeIdV1 {
    fn from(node: &NodeId) -> Self {
        Self { name: TextV1::from(&node.name), boot: node.boot }
    }
}

impl From<NodeIdV1> for NodeId {
    fn from(node: NodeIdV1) -> Self {
        Self { name: node.name.into(), boot: node.boot }
    }
}

/// What a heartbeat says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct SignOfLifeV1 {
    node: NodeIdV1,
    capacity: u32,
    state: u32,
    /// Shard and epoch.
    #[serde(default)]
    held: Capped<(u16, u64)>,
    #[serde(default)]
    version: TextV1,
}

impl From<&SignOfLife> for SignOfLifeV1 {
    fn from(sign: &SignOfLife) -> Self {
        Self {
            node: NodeIdV1::from(&sign.node),
            capacity: sign.capacity,
            state: sign.state.code(),
            held: sign.held.iter().map(|(shard, epoch)| (shard.number(), *epoch)).collect(),
            version: TextV1::from(&sign.version),
        }
    }
}

impl TryFrom<SignOfLifeV1> for SignOfLife {
    type Error = DecodeError;

    fn try_from(sign: SignOfLifeV1) -> Result<Self, DecodeError> {
        Ok(Self {
            node: sign.node.into(),
            capacity: sign.capacity,
            state: NodeState::from_code(sign.state)?,
            held: sign
                .held
                .into_model("shards", |(shard, epoch)| Ok((ShardId::new(shard), epoch)))?,
            version: sign.version.into(),
        })
    }
}
