//! The root: the one value that says who owns a shard, how far it came, and what it still has to say.
//!
//! Every claim and every commit writes the whole root by compare-and-set on its revision. So
//! ownership, offset, state and outbox change together or not at all, and an owner that was paused
//! for too long fails its first write and has published nothing.

use std::collections::BTreeMap;

use tapio_model::{Address, ChunkName, Ledger, Mark, ShardId, StoryId, Text, Timestamp, TraceId};

use crate::NodeId;

/// Name of a part of a shard's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PieceKey {
    /// Traces that are over, in the order they ended; pieces are counted upwards.
    Graves(u64),
    /// A live trace that is written down.
    Trace(TraceId),
    /// An open incident.
    Incident(StoryId),
    /// Incidents that resolved and can still be named.
    Resolved,
}

/// Where the bytes of a part are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// In the root.
    Inline(Vec<u8>),
    /// In chunks, in this order.
    Chunks {
        /// Their names.
        names: Vec<ChunkName>,
        /// Until when the part matters, by the engine's time; [`Timestamp::MAX`] until it is replaced.
        until: Timestamp,
    },
}

impl Content {
    /// Returns the chunks it consists of.
    #[must_use]
    pub fn chunks(&self) -> &[ChunkName] {
        match self {
            Self::Inline(_) => &[],
            Self::Chunks { names, .. } => names,
        }
    }

    /// Returns about how many bytes it takes in the root.
    #[must_use]
    pub fn bytes(&self) -> usize {
        match self {
            Self::Inline(bytes) => bytes.len(),
            Self::Chunks { names, .. } => names.len() * size_of::<ChunkName>(),
        }
    }
}

/// Something in the outbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Posted {
    /// The commit that put it there.
    pub commit: u64,
    /// Where it goes.
    pub address: Address,
    /// What it is.
    pub content: Content,
    /// The `traceparent` it carries on, if any.
    pub traceparent: Option<Text>,
}

/// The one value of a shard.
///
/// # Invariant
/// `epoch` grows with every claim, `commit` with every write; `processed` and `findings_read` never
/// go back. `low.sequence` is at most `processed + 1`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Root {
    /// Which ownership this is: grows with every claim.
    pub epoch: u64,
    /// Who owns the shard, or did.
    pub owner: Option<NodeId>,
    /// Which write this is: grows with every write, over all owners.
    pub commit: u64,
    /// The owner has let go: anybody may claim it at once.
    pub released: bool,
    /// The engine's time.
    pub now: Timestamp,
    /// The last entry of the event log that was taken in.
    pub processed: u64,
    /// The first entry that is needed to have the live traces back, and the time there.
    pub low: Mark,
    /// Times that passed between entries from `low` on: after which entry, and how far.
    pub ticks: Vec<Mark>,
    /// The last entry of the findings log that was taken in.
    pub findings_read: u64,
    /// The last commit of each shard whose findings were taken in.
    pub received: BTreeMap<ShardId, u64>,
    /// What became of the events.
    pub ledger: Ledger,
    /// How many traces live.
    pub live_traces: u64,
    /// Events that aged out of the log unread, as far as that can be known: gaps, not events.
    pub unread_gaps: u64,
    /// How often the shard was claimed since it last made progress: see [`Root::is_suspect`].
    pub claims: u32,
    /// The entry a suspecting owner is taking in: if it stands here at a claim, it is the culprit.
    pub trying: Option<u64>,
    /// The parts of the state.
    pub pieces: BTreeMap<PieceKey, Content>,
    /// What was decided and may not be delivered yet, in order.
    pub outbox: Vec<Posted>,
}

/// Whether a shard can be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claimable {
    /// It was never owned, was let go, or its owner is dead.
    Free,
    /// I own it already.
    Mine,
    /// Somebody else owns it, who may be alive.
    Held(NodeId),
}

/// Claims without progress after which the next entry of the log is suspected of ending processes.
pub const SUSPECT_CLAIMS: u32 = 3;

impl Root {
    /// Says whether `me` may claim the shard, given whether a node is known to be dead.
    #[must_use]
    pub fn claimable(&self, me: &NodeId, is_dead: impl Fn(&NodeId) -> bool) -> Claimable {
        match &self.owner {
            Some(owner) if owner == me && !self.released => Claimable::Mine,
            // Another boot of my name is my own past: a name runs once.
            Some(owner) if !self.released && owner.name != me.name && !is_dead(owner) => {
                Claimable::Held(owner.clone())
            }
            Some(_) | None => Claimable::Free,
        }
    }

    /// Returns the root by which `me` claims the shard: all else stays.
    #[must_use]
    pub fn claimed_by(&self, me: &NodeId) -> Self {
        Self {
            epoch: self.epoch + 1,
            owner: Some(me.clone()),
            commit: self.commit + 1,
            released: false,
            claims: if self.released { 0 } else { self.claims.saturating_add(1) },
            ..self.clone()
        }
    }

    /// Says whether this write and `other` are the same write.
    #[must_use]
    pub fn is_same_write(&self, other: &Self) -> bool {
        (self.epoch, &self.owner, self.commit) == (other.epoch, &other.owner, other.commit)
    }

    /// Says whether the next entry of the log is suspected of ending processes.
    #[must_use]
    pub const fn is_suspect(&self) -> bool {
        self.claims > SUSPECT_CLAIMS
    }

    /// Returns every chunk the root names.
    pub fn chunks(&self) -> impl Iterator<Item = ChunkName> {
        let pieces = self.pieces.values().flat_map(Content::chunks);
        let posted = self.outbox.iter().flat_map(|posted| posted.content.chunks());
        pieces.chain(posted).copied()
    }

    /// Forgets times that nobody needs who reads the log again from `low` on.
    pub fn prune_ticks(&mut self) {
        let low = self.low;
        // The last one before `low` is in `low.now`.
        self.ticks.retain(|tick| tick.sequence >= low.sequence);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str, boot: u64) -> NodeId {
        NodeId { name: name.into(), boot }
    }

    #[test]
    fn a_shard_is_free_if_nobody_alive_holds_it() {
        let me = node("tapio-0", 2);
        let held_by = |owner: Option<NodeId>, released| Root { owner, released, ..Root::default() };
        let other = node("tapio-1", 1);
        let table = [
            (held_by(None, false), false, Claimable::Free),
            (held_by(Some(other.clone()), false), false, Claimable::Held(other.clone())),
            (held_by(Some(other.clone()), false), true, Claimable::Free),
            (held_by(Some(other), true), false, Claimable::Free),
            (held_by(Some(node("tapio-0", 1)), false), false, Claimable::Free),
            (held_by(Some(me.clone()), false), false, Claimable::Mine),
            (held_by(Some(me.clone()), true), false, Claimable::Free),
        ];
        for (root, is_dead, expected) in table {
            assert_eq!(root.claimable(&me, |_| is_dead), expected, "{root:?} {is_dead}");
        }
    }

    #[test]
    fn a_claim_is_a_new_epoch_and_another_write() {
        let me = node("tapio-0", 1);
        let root = Root { processed: 7, ..Root::default() };
        let claimed = root.claimed_by(&me);
        assert_eq!((claimed.epoch, claimed.commit, claimed.processed), (1, 1, 7));
        assert!(!claimed.is_same_write(&root) && claimed.is_same_write(&claimed.clone()));
        let mut again = claimed;
        for _ in 0..SUSPECT_CLAIMS {
            assert!(!again.is_suspect());
            again = again.claimed_by(&me);
        }
        assert!(again.is_suspect(), "claimed over and over without getting anywhere");
    }
}
