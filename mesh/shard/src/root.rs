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
    /// A change that waits for what follows from it; changes are counted upwards.
    Waiting(u64),
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
    /// The entry of the event log that a suspecting owner is taking in: if it stands here claim after
    /// claim, it is the culprit.
    pub trying: Option<u64>,
    /// The same of the findings log.
    pub hearing: Option<u64>,
    /// Entries from `low` on that were given up though they can be read: whoever reads the log again
    /// leaves them out too.
    pub given_up: Vec<u64>,
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
pub const SUSPECT_CLAIMS: u32 = 2;

/// Times an announced entry may end its process. More than [`SUSPECT_CLAIMS`], so that an entry of
/// another shard that ends the same process is suspected itself before an innocent one is given up.
pub const TRIES_MAX: u32 = SUSPECT_CLAIMS + 1;

/// An entry of one of a shard's logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Suspect {
    /// Of the event log.
    Event(u64),
    /// Of the findings log.
    Findings(u64),
}

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
            // Tries of an announced entry are counted where they are made.
            claims: match self.released {
                true => 0,
                false if self.trying.is_some() || self.hearing.is_some() => self.claims,
                false => self.claims.saturating_add(1),
            },
            trying: self.trying.filter(|_| !self.released),
            hearing: self.hearing.filter(|_| !self.released),
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

    /// Says whether `entry` was announced and has ended whoever tried it as often as it may.
    #[must_use]
    pub fn is_culprit(&self, entry: Suspect) -> bool {
        self.is_announced(entry) && self.claims >= SUSPECT_CLAIMS + TRIES_MAX
    }

    /// Returns the root that announces that `entry` is tried, once more or for the first time: all else
    /// stays.
    #[must_use]
    pub fn announcing(&self, entry: Suspect) -> Self {
        let tries = if self.is_announced(entry) { self.claims } else { SUSPECT_CLAIMS };
        let claims = tries.max(SUSPECT_CLAIMS).saturating_add(1);
        let (trying, hearing) = match entry {
            Suspect::Event(sequence) => (Some(sequence), None),
            Suspect::Findings(sequence) => (None, Some(sequence)),
        };
        Self { commit: self.commit + 1, claims, trying, hearing, ..self.clone() }
    }

    fn is_announced(&self, entry: Suspect) -> bool {
        match entry {
            Suspect::Event(sequence) => self.trying == Some(sequence),
            Suspect::Findings(sequence) => self.hearing == Some(sequence),
        }
    }

    /// Returns every chunk the root names.
    pub fn chunks(&self) -> impl Iterator<Item = ChunkName> {
        let pieces = self.pieces.values().flat_map(Content::chunks);
        let posted = self.outbox.iter().flat_map(|posted| posted.content.chunks());
        pieces.chain(posted).copied()
    }

    /// Forgets times and given up entries that nobody needs who reads the log again from `low` on.
    pub fn prune_ticks(&mut self) {
        let low = self.low;
        self.given_up.retain(|entry| *entry >= low.sequence);
        // The last one before `low` is in `low.now`.
        self.ticks.retain(|tick| tick.sequence >= low.sequence);
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    /// What may be done to a root.
    #[derive(Debug, Clone, Copy)]
    enum Step {
        Claim(u64),
        Announce(Suspect),
        Release,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (0..3_u64).prop_map(Step::Claim),
            (0..3_u64).prop_map(|it| Step::Announce(Suspect::Event(it))),
            (0..3_u64).prop_map(|it| Step::Announce(Suspect::Findings(it))),
            Just(Step::Release),
        ]
    }

    impl Step {
        fn of(self, root: &Root) -> Root {
            match self {
                Self::Claim(boot) => root.claimed_by(&node("tapio-0", boot)),
                Self::Announce(entry) => root.announcing(entry),
                Self::Release => Root { released: true, commit: root.commit + 1, ..root.clone() },
            }
        }
    }

    proptest! {
        #[test]
        fn every_write_is_another_and_only_grows(steps in vec(step(), 1..40)) {
            let mut writes = vec![Root { processed: 7, findings_read: 3, ..Root::default() }];
            for step in steps {
                let before = writes.last().unwrap();
                let after = step.of(before);
                prop_assert!(after.commit > before.commit && after.epoch >= before.epoch);
                let is_claim = matches!(step, Step::Claim(_));
                prop_assert_eq!(after.epoch > before.epoch, is_claim);
                prop_assert_eq!((after.processed, after.findings_read), (7, 3));
                prop_assert!(writes.iter().all(|known| !known.is_same_write(&after)));
                writes.push(after);
            }
        }

        #[test]
        fn an_entry_is_given_up_only_after_it_was_announced_as_often_as_it_may_end_processes(
            steps in vec(step(), 1..60),
        ) {
            let (mut root, mut tries) = (Root::default(), (None, 0));
            for step in steps {
                root = step.of(&root);
                tries = match step {
                    Step::Announce(entry) if tries.0 == Some(entry) => (Some(entry), tries.1 + 1),
                    Step::Announce(entry) => (Some(entry), 1),
                    Step::Claim(_) | Step::Release => tries,
                };
                for entry in (0..3).flat_map(|it| [Suspect::Event(it), Suspect::Findings(it)]) {
                    let is_tried = tries.0 == Some(entry) && tries.1 >= TRIES_MAX;
                    prop_assert!(!root.is_culprit(entry) || is_tried, "{entry:?} {root:?}");
                }
            }
        }

        #[test]
        fn only_what_is_from_low_on_is_remembered(
            low in 0..20_u64,
            ticks in vec(0..20_u64, 0..20),
            given_up in vec(0..20_u64, 0..20),
        ) {
            let ticks = ticks.into_iter().map(|sequence| Mark { sequence, now: Timestamp::ZERO });
            let mut root = Root { ticks: ticks.collect(), given_up, ..Root::default() };
            let kept = root.given_up.iter().filter(|entry| **entry >= low).count();
            root.low.sequence = low;
            root.prune_ticks();
            prop_assert!(root.ticks.iter().all(|tick| tick.sequence >= low));
            prop_assert_eq!(root.given_up.len(), kept);
        }
    }

    #[test]
    fn an_announced_entry_has_more_than_one_chance() {
        let me = node("tapio-0", 1);
        let suspect = Suspect::Event(9);
        let mut root = Root { claims: 50, ..Root::default() };
        for _ in 0..TRIES_MAX {
            assert!(!root.is_culprit(suspect), "{} claims", root.claims);
            root = root.announcing(suspect).claimed_by(&me);
        }
        assert!(root.is_culprit(suspect) && !root.is_culprit(Suspect::Event(8)));
        assert!(!root.is_culprit(Suspect::Findings(9)));
    }

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

    #[test]
    fn an_entry_is_given_up_after_so_many_tries_and_not_after_claims_that_did_not_try_it() {
        let me = node("tapio-0", 1);
        let entry = Suspect::Event(7);
        let mut root = Root::default();
        for tried in 0..TRIES_MAX {
            assert!(!root.is_culprit(entry), "after {tried} tries");
            root = root.announcing(entry);
            for _ in 0..9 {
                root = root.claimed_by(&me);
            }
            assert!(root.is_suspect());
        }
        assert!(root.is_culprit(entry));
        assert!(!root.is_culprit(Suspect::Findings(7)) && !root.is_culprit(Suspect::Event(8)));
        let other = root.announcing(Suspect::Findings(7));
        assert!(!other.is_culprit(entry), "another one was tried since");
        let released = Root { released: true, ..root }.claimed_by(&me);
        assert!(!released.is_suspect() && !released.is_culprit(entry), "its owner lived on");
    }
}
