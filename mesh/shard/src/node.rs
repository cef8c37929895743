//! A node of the mesh, and what it says of itself.

use std::fmt;

use tapio_model::{ShardId, Text};

/// One run of one node: a restarted node has the same name and another boot.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId {
    /// The name that outlives a restart: the ordinal name in a StatefulSet, `tapio-0`.
    pub name: Text,
    /// A number drawn at start. Boots are told apart by it, not ordered.
    pub boot: u64,
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{:016x}", self.name, self.boot)
    }
}

/// How far a node is between its start and its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NodeState {
    /// It watches the others and takes nothing yet.
    Joining,
    /// It takes what is placed on it.
    Ready,
    /// It hands over what it holds and takes nothing any more.
    Leaving,
}

/// What a node's heartbeat says.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SignOfLife {
    /// Who says it.
    pub node: NodeId,
    /// How much it takes, relative to the others; 0 takes nothing.
    pub capacity: u32,
    /// How far it is.
    pub state: NodeState,
    /// The shards it owns, each with the epoch of its claim: a hint, the roots are the truth.
    pub held: Vec<(ShardId, u64)>,
    /// Which version it runs, for people.
    pub version: Text,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boots_of_one_name_are_told_apart() {
        let one = NodeId { name: "tapio-0".into(), boot: 0x1f3a };
        let other = NodeId { boot: 0x1f3b, ..one.clone() };
        assert!(one < other);
        assert_eq!(one.to_string(), "tapio-0#0000000000001f3a");
    }
}
