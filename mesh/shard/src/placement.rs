//! Which node holds which shard.
//!
//! Every node computes the placement by itself, and all who see the same members and the same
//! owners compute the same. Disagreement is safe, because the root decides who owns a shard, but it
//! costs a takeover; so nothing here depends on a clock, a machine or an order of arrival.

mod affinity;
#[cfg(test)]
mod tests;

use std::{cmp::Reverse, collections::BTreeMap};

use tapio_model::{ShardId, Text};

use self::affinity::{Affinity, Gain};
use crate::{NodeId, NodeState, ShardCount, SignOfLife};

/// A node that may hold shards.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Candidate {
    /// The node.
    pub node: NodeId,
    /// How much it takes, relative to the others; 0 takes nothing and keeps nothing.
    pub capacity: u32,
}

impl From<&SignOfLife> for Candidate {
    /// A node that is not ready takes nothing.
    fn from(sign: &SignOfLife) -> Self {
        let capacity = match sign.state {
            NodeState::Ready => sign.capacity,
            NodeState::Joining | NodeState::Leaving => 0,
        };
        Self { node: sign.node.clone(), capacity }
    }
}

/// When a shard leaves an owner that could keep it. The same on all nodes of a mesh.
///
/// # Units
/// Percent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlacementLimits {
    /// How far a node may be above its share before it must give shards away.
    pub slack_percent: u32,
    /// How much better a node below its share must suit a shard to get it from one above its share.
    pub gain_percent: u32,
}

impl PlacementLimits {
    /// Every move costs a pause of the shard: a tenth too much load is cheaper.
    pub const SLACK_PERCENT: u32 = 10;
    /// Small enough that a newcomer comes near its share, large enough that not all shards qualify.
    pub const GAIN_PERCENT: u32 = 20;
}

impl Default for PlacementLimits {
    fn default() -> Self {
        Self { slack_percent: Self::SLACK_PERCENT, gain_percent: Self::GAIN_PERCENT }
    }
}

/// Places every shard on a node: capacity-weighted rendezvous, bounded, and reluctant to move.
///
/// An owner keeps its shard unless it is gone, takes nothing, holds more than its bound, or holds
/// more than its share while a node below its share gains enough. Shards that must go somewhere
/// fill nodes up to their share, those that suit best first. Owners are known by name: a restarted
/// node is the owner it was. Of two members of one name the one with the larger boot counts.
///
/// The result is empty if no member takes anything. Placing again with the result as `current`
/// changes nothing: the shares, bounds and gains that a second run sees are those that the first
/// one ended with.
///
/// # Units
/// With `share = count * capacity / sum of capacities`, a node's bound is
/// `ceil(share * (100 + slack_percent) / 100)`. What moves fills nodes to `floor(share)` first, then
/// to `ceil(share)`.
/// # Shape
/// `O(n log n)` time and `O(n)` memory for `n` = shards x members.
#[must_use]
pub fn place(
    count: ShardCount,
    members: &[Candidate],
    current: &BTreeMap<ShardId, NodeId>,
    limits: &PlacementLimits,
) -> BTreeMap<ShardId, NodeId> {
    let mut seating = Seating::new(count, members, limits.slack_percent);
    seating.keep(current);
    seating.house();
    seating.relieve();
    seating.improve(Gain::from_percent(limits.gain_percent));
    seating.into_placement()
}

/// A member, and how many shards it holds and should hold.
#[derive(Debug)]
struct Seat<'a> {
    member: &'a Candidate,
    load: u128,
    share_floor: u128,
    share_ceil: u128,
    bound: u128,
}

/// One possible move.
#[derive(Debug)]
struct Offer<'a> {
    gain: Gain,
    shard: ShardId,
    from: Option<&'a Text>,
    to: &'a Text,
}

/// A placement in the making: seats by name, and who sits where.
///
/// # Invariant
/// The loads of the seats count `held`. The sum of `share_ceil`, and so of `bound`, is at least the
/// number of shards: whoever must move finds room.
#[derive(Debug)]
struct Seating<'a> {
    count: ShardCount,
    seats: BTreeMap<&'a Text, Seat<'a>>,
    held: BTreeMap<ShardId, &'a Text>,
}

impl<'a> Seating<'a> {
    fn new(count: ShardCount, members: &'a [Candidate], slack_percent: u32) -> Self {
        let mut by_name: BTreeMap<&Text, &Candidate> = BTreeMap::new();
        for member in members {
            let known = by_name.entry(&member.node.name).or_insert(member);
            // Capacity decides between equal boots, so that the order of members never does.
            *known = (*known).max_by_boot(member);
        }
        by_name.retain(|_, member| member.capacity > 0);
        let total: u128 = by_name.values().map(|member| u128::from(member.capacity)).sum();
        let seat = |member: &'a Candidate| {
            let share = u128::from(count.get()) * u128::from(member.capacity);
            let bound = (share * (100 + u128::from(slack_percent))).div_ceil(total * 100);
            let (share_floor, share_ceil) = (share / total, share.div_ceil(total));
            Seat { member, load: 0, share_floor, share_ceil, bound }
        };
        let seats = by_name.into_iter().map(|(name, member)| (name, seat(member))).collect();
        Self { count, seats, held: BTreeMap::new() }
    }

    /// Leaves every shard with its owner, if that is still there.
    fn keep(&mut self, current: &BTreeMap<ShardId, NodeId>) {
        for shard in self.count.shards() {
            let Some(owner) = current.get(&shard) else { continue };
            let Some(seat) = self.seats.get_mut(&owner.name) else { continue };
            seat.load += 1;
            self.held.insert(shard, &seat.member.node.name);
        }
    }

    /// Gives a node to every shard that has none.
    fn house(&mut self) {
        let offers = self.offers(|from, _| from.is_none(), |_| true);
        self.accept(&offers, |_, to| to.load < to.share_floor);
        self.accept(&offers, |_, to| to.load < to.share_ceil);
    }

    /// Takes shards from nodes above their bound.
    fn relieve(&mut self) {
        let offers = self.offers(
            |from, to| is_seat(from, |from| from.load > from.bound) && to.load < to.share_ceil,
            |_| true,
        );
        let is_above = |from: Option<&Seat<'_>>| is_seat(from, |from| from.load > from.bound);
        self.accept(&offers, |from, to| is_above(from) && to.load < to.share_floor);
        self.accept(&offers, |from, to| is_above(from) && to.load < to.share_ceil);
    }

    /// Takes shards from nodes above their share to nodes below theirs, where they gain more than
    /// `least`. One round is enough: who gives never takes, and who takes never gives.
    fn improve(&mut self, least: Gain) {
        let is_better = |from: Option<&Seat<'_>>, to: &Seat<'_>| {
            is_seat(from, |from| from.load > from.share_floor) && to.load < to.share_floor
        };
        let offers = self.offers(is_better, |gain| gain > least);
        self.accept(&offers, is_better);
    }

    /// Lists the possible moves, the best first; among equals by shard and name.
    fn offers(
        &self,
        may_move: impl Fn(Option<&Seat<'_>>, &Seat<'_>) -> bool,
        is_worth: impl Fn(Gain) -> bool,
    ) -> Vec<Offer<'a>> {
        let mut offers = Vec::new();
        for shard in self.count.shards() {
            let from = self.held.get(&shard).copied();
            let from_seat = from.and_then(|name| self.seats.get(name));
            let present = from_seat.and_then(|seat| seat.affinity(shard));
            for (to, seat) in &self.seats {
                if from == Some(*to) || !may_move(from_seat, seat) {
                    continue;
                }
                let Some(affinity) = seat.affinity(shard) else { continue };
                let gain = present
                    .map_or_else(|| affinity.gain_over_none(), |held| affinity.gain_over(held));
                if is_worth(gain) {
                    offers.push(Offer { gain, shard, from, to });
                }
            }
        }
        offers.sort_unstable_by_key(|offer| (Reverse(offer.gain), offer.shard, offer.to));
        offers
    }

    /// Makes the moves that are still open and allowed when their turn comes.
    fn accept(
        &mut self,
        offers: &[Offer<'a>],
        may_move: impl Fn(Option<&Seat<'_>>, &Seat<'_>) -> bool,
    ) {
        for offer in offers {
            let from = offer.from.and_then(|name| self.seats.get(name));
            let is_open = self.held.get(&offer.shard).copied() == offer.from;
            if !is_open || !self.seats.get(offer.to).is_some_and(|to| may_move(from, to)) {
                continue;
            }
            if let Some(from) = offer.from.and_then(|name| self.seats.get_mut(name)) {
                from.load = from.load.saturating_sub(1);
            }
            if let Some(to) = self.seats.get_mut(offer.to) {
                to.load += 1;
            }
            self.held.insert(offer.shard, offer.to);
        }
    }

    fn into_placement(self) -> BTreeMap<ShardId, NodeId> {
        let node = |name: &Text| self.seats.get(name).map(|seat| seat.member.node.clone());
        self.held.iter().filter_map(|(shard, name)| Some((*shard, node(name)?))).collect()
    }
}

impl Seat<'_> {
    fn affinity(&self, shard: ShardId) -> Option<Affinity> {
        Affinity::of(&self.member.node.name, self.member.capacity, shard)
    }
}

impl Candidate {
    /// Returns the one of the two that counts.
    fn max_by_boot<'a>(&'a self, other: &'a Self) -> &'a Self {
        let rank = |candidate: &Self| (candidate.node.boot, candidate.capacity);
        if rank(other) > rank(self) { other } else { self }
    }
}

/// Says whether there is a seat and the predicate holds for it.
fn is_seat(seat: Option<&Seat<'_>>, holds: impl Fn(&Seat<'_>) -> bool) -> bool {
    seat.is_some_and(holds)
}
