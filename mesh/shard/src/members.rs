//! Who is in the mesh, by heartbeats on the observer's own clock.
//!
//! Clocks of other machines play no part: what counts is that a node's key was written again while
//! this observer watched. Whether a node lives is a hint for placement; that a dead one does no harm
//! is the root's business.

#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, time::Duration};

use tapio_model::Text;

use crate::{Candidate, NodeId, NodeState, SignOfLife};

/// Limits of membership.
///
/// # Units
/// Durations on the observer's monotonic clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemberLimits {
    /// How long a node may be silent before it is dead.
    pub ttl: Duration,
    /// How long the observer itself may be away before it watches anew. A process that was stopped
    /// wakes to a clock that has run on and to heartbeats that it has not read yet: it must not
    /// take everybody for dead.
    pub absence_max: Duration,
    /// How long a dead node is remembered.
    pub forget: Duration,
    /// How many nodes are remembered.
    pub nodes_max: usize,
}

impl MemberLimits {
    /// Six heartbeats of 250 ms.
    pub const TTL: Duration = Duration::from_millis(1500);
    /// Half a TTL: three heartbeats are then left to be late.
    pub const ABSENCE_MAX: Duration = Duration::from_millis(750);
    /// Long enough for a node's restart to be seen as one.
    pub const FORGET: Duration = Duration::from_secs(60);
    /// Ten times the largest mesh in mind; a bound on what a stranger's writes may cost.
    pub const NODES_MAX: usize = 1024;
}

impl Default for MemberLimits {
    fn default() -> Self {
        Self {
            ttl: Self::TTL,
            absence_max: Self::ABSENCE_MAX,
            forget: Self::FORGET,
            nodes_max: Self::NODES_MAX,
        }
    }
}

/// Whether a node lives, as far as the observer can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Life {
    /// Its heartbeat moved within the TTL.
    Alive,
    /// It was silent for a whole TTL of watching, has signed off, or was replaced by another boot.
    Dead,
    /// It is silent, but it was not watched for long enough.
    Unknown,
}

/// What came of a heartbeat.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Heard {
    /// The node's first; it may be old, so it does not make the node alive.
    First,
    /// It moved: the node is alive.
    Moved,
    /// It moved and is of a new boot: the old one is dead.
    Replaced,
    /// The node says that it has gone.
    SignedOff,
    /// No newer than what was heard before.
    Stale,
    /// Of a boot that was replaced or has signed off; ignored.
    Outlived,
    /// Under another name's key; ignored.
    Misnamed,
    /// One node too many; ignored.
    Refused,
}

/// A change among the live nodes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Change {
    /// It is alive and was not before.
    Came(NodeId),
    /// Its state or its capacity changed.
    Changed(NodeId),
    /// It is dead.
    Went(NodeId),
}

/// The members of the mesh, as one observer sees them.
///
/// # Units
/// Every `at` is the time since the observer started, on a clock that never jumps back.
#[derive(Debug)]
pub struct Members {
    limits: MemberLimits,
    watching_since: Duration,
    attended_at: Duration,
    nodes: BTreeMap<Text, Member>,
    told: BTreeMap<NodeId, (NodeState, u32)>,
}

impl Members {
    /// Begins to watch; the time is 0.
    #[must_use]
    pub const fn new(limits: MemberLimits) -> Self {
        Self {
            limits,
            watching_since: Duration::ZERO,
            attended_at: Duration::ZERO,
            nodes: BTreeMap::new(),
            told: BTreeMap::new(),
        }
    }

    /// Takes in a heartbeat: the write `revision` of `key`, which is the node's name. `None` for
    /// `sign` says that the node has signed off.
    ///
    /// A heartbeat that cannot be read is the caller's to count; it must not come here as `None`.
    pub fn hear(
        &mut self,
        key: &Text,
        revision: u64,
        sign: Option<SignOfLife>,
        at: Duration,
    ) -> Heard {
        self.attend(at);
        if sign.as_ref().is_some_and(|sign| sign.node.name != *key) {
            return Heard::Misnamed;
        }
        if let Some(member) = self.nodes.get_mut(key) {
            return member.hear(revision, sign, (at, self.limits.ttl));
        }
        let Some(sign) = sign else { return Heard::SignedOff };
        self.forget(at);
        if self.nodes.len() >= self.limits.nodes_max {
            return Heard::Refused;
        }
        self.nodes.insert(key.clone(), Member::new(revision, sign, at));
        Heard::First
    }

    /// Notes that the observer listens, though there may be nothing to hear.
    ///
    /// An observer that neither hears nor attends for `absence_max` watches anew. One that is a
    /// member and hears its own heartbeats need not call it, except after [`Self::next_deadline`].
    pub fn attend(&mut self, at: Duration) {
        self.watching_since = self.watching_since(at);
        self.attended_at = self.attended_at.max(at);
    }

    /// Watches anew: whoever is silent gets a fresh TTL, because the observer could not hear.
    ///
    /// The next write of a node may have any number: the store may have been made anew.
    pub fn reconnected(&mut self, at: Duration) {
        self.attend(at);
        self.watching_since = at;
        for member in self.nodes.values_mut() {
            member.may_fall_back = true;
        }
    }

    /// Says whether the observer has watched for a TTL without a break. Before that, a node keeps
    /// what it holds and takes nothing: it does not know who else is there.
    #[must_use]
    pub fn is_settled(&self, at: Duration) -> bool {
        at >= self.watching_since(at).saturating_add(self.limits.ttl)
    }

    /// Says whether this boot of this node lives.
    ///
    /// A boot that was never heard is dead once the observer is settled. A node must therefore be
    /// heard for a TTL before it takes anything, which waiting to be settled itself brings about.
    #[must_use]
    pub fn life_of(&self, node: &NodeId, at: Duration) -> Life {
        let Some(member) = self.nodes.get(&node.name) else {
            return self.life_of_unheard(at);
        };
        if member.gone.contains(&node.boot) {
            return Life::Dead;
        }
        match &member.sign {
            Some(sign) if sign.node == *node => self.life_of_member(member, at),
            Some(_) | None => self.life_of_unheard(at),
        }
    }

    /// Returns what the live nodes say of themselves, in the order of their names. Leaving nodes
    /// are among them.
    pub fn live(&self, at: Duration) -> impl Iterator<Item = &SignOfLife> {
        let live = move |member: &&Member| self.life_of_member(member, at) == Life::Alive;
        self.nodes.values().filter(live).filter_map(|member| member.sign.as_ref())
    }

    /// Returns the live nodes as placement wants them.
    #[must_use]
    pub fn candidates(&self, at: Duration) -> Vec<Candidate> {
        self.live(at).map(Candidate::from).collect()
    }

    /// Returns what changed among the live nodes since the last call. A node of which nothing is
    /// known stays what it was.
    pub fn changes(&mut self, at: Duration) -> Vec<Change> {
        let live = |sign: &SignOfLife| (sign.node.clone(), (sign.state, sign.capacity));
        let live: BTreeMap<_, _> = self.live(at).map(live).collect();
        let mut told = std::mem::take(&mut self.told);
        let mut changes = Vec::new();
        told.retain(|node, _| {
            let has_gone = self.life_of(node, at) == Life::Dead;
            if has_gone {
                changes.push(Change::Went(node.clone()));
            }
            !has_gone
        });
        for (node, profile) in live {
            match told.insert(node.clone(), profile) {
                None => changes.push(Change::Came(node)),
                Some(before) if before != profile => changes.push(Change::Changed(node)),
                Some(_) => {}
            }
        }
        self.told = told;
        changes
    }

    /// Returns when the observer should attend again if it hears nothing; `None` if silence changes
    /// nothing. It is after the last time that it attended.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Duration> {
        let settles_at = self.watching_since.saturating_add(self.limits.ttl);
        let ends = self.nodes.values().filter(|member| member.sign.is_some()).flat_map(|member| {
            let fades_at = member.heard_at.saturating_add(self.limits.ttl);
            [fades_at, self.dies_at(member, self.watching_since)]
        });
        let next = ends.chain([settles_at]).filter(|end| *end > self.attended_at).min()?;
        // Twice as often as needed: a timer that fires late must not look like an absence.
        Some(next.min(self.attended_at.saturating_add(self.limits.absence_max / 2)))
    }

    /// Returns since when the observer watches without a break.
    fn watching_since(&self, at: Duration) -> Duration {
        let was_away = at.saturating_sub(self.attended_at) > self.limits.absence_max;
        if was_away { at } else { self.watching_since }
    }

    fn dies_at(&self, member: &Member, watching_since: Duration) -> Duration {
        member.heard_at.max(watching_since).saturating_add(self.limits.ttl)
    }

    fn life_of_member(&self, member: &Member, at: Duration) -> Life {
        if member.sign.is_none() || at >= self.dies_at(member, self.watching_since(at)) {
            Life::Dead
        } else if member.has_moved && at < member.heard_at.saturating_add(self.limits.ttl) {
            Life::Alive
        } else {
            Life::Unknown
        }
    }

    fn life_of_unheard(&self, at: Duration) -> Life {
        if self.is_settled(at) { Life::Dead } else { Life::Unknown }
    }

    /// Drops nodes that have been dead for long.
    fn forget(&mut self, at: Duration) {
        let kept = self.limits.ttl.saturating_add(self.limits.forget);
        self.nodes.retain(|_, member| at < member.heard_at.saturating_add(kept));
    }
}

/// What was heard of one name.
#[derive(Debug)]
struct Member {
    /// The last write heard.
    revision: u64,
    /// When it was heard.
    heard_at: Duration,
    /// Whether it was written while the observer watched.
    has_moved: bool,
    /// Whether the next write may have a smaller number.
    may_fall_back: bool,
    /// What it said last; `None` once it has signed off.
    sign: Option<SignOfLife>,
    /// Boots that were replaced or have signed off, the last ones.
    gone: Vec<u64>,
}

impl Member {
    /// Boots remembered as gone. Two processes that fight for one name are told apart as long as
    /// not more than this many do; older boots are dead for being unheard.
    const GONE_MAX: usize = 8;

    const fn new(revision: u64, sign: SignOfLife, at: Duration) -> Self {
        Self {
            revision,
            heard_at: at,
            has_moved: false,
            may_fall_back: false,
            sign: Some(sign),
            gone: Vec::new(),
        }
    }

    fn hear(
        &mut self,
        revision: u64,
        sign: Option<SignOfLife>,
        (at, ttl): (Duration, Duration),
    ) -> Heard {
        let may_fall_back = std::mem::take(&mut self.may_fall_back);
        if revision <= self.revision {
            // Only the number is taken over: a lagging replica of the store looks alike, and what
            // it says is old.
            if may_fall_back {
                self.revision = revision;
            }
            return Heard::Stale;
        }
        self.revision = revision;
        let before = self.sign.as_ref().map(|sign| sign.node.boot);
        let now = sign.as_ref().map(|sign| sign.node.boot);
        if let Some(boot) = now.filter(|boot| self.gone.contains(boot)) {
            // What replaced it may have been an older boot's last word, long on its way. Silence for a
            // TTL says so, and who is heard then lives.
            if at < self.heard_at.saturating_add(ttl) {
                return Heard::Outlived;
            }
            self.gone.retain(|gone| *gone != boot);
        }
        if let Some(before) = before.filter(|_| before != now) {
            self.gone.push(before);
            if self.gone.len() > Self::GONE_MAX {
                self.gone.remove(0);
            }
        }
        self.sign = sign;
        self.heard_at = at;
        self.has_moved = true;
        match (before, now) {
            (_, None) => Heard::SignedOff,
            (Some(before), Some(now)) if before != now => Heard::Replaced,
            (_, Some(_)) => Heard::Moved,
        }
    }
}
