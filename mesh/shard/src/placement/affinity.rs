//! How well a node suits a shard, as a number that is the same on every machine.

use tapio_model::{ShardId, Text};
use xxhash_rust::xxh3::xxh3_64;

/// Bits behind the point of a logarithm.
const FRACTION_BITS: u32 = 40;

/// How well a node suits a shard: larger is better.
///
/// With `h` the hash of both as a number between 0 and 1 and `w` the capacity, it is
/// `log2(w / -log2(h))`: the weighted rendezvous score, on a logarithmic scale so that a gain is a
/// difference. The node with the best score is node `i` with probability `w_i / sum(w)`.
///
/// Integers only. The logarithm of a floating point library differs in the last digit from machine
/// to machine, and two nodes that disagree on one comparison both want the same shard.
///
/// # Units
/// Binary logarithm, fixed point, 40 bits behind the point, up to a constant common to all.
/// # Source
/// Schindelhauer and Schomaker, Weighted Distributed Hash Tables (2005): the logarithmic method.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Affinity(i64);

impl Affinity {
    /// Computes how well the node of this name suits `shard`; `None` if it takes nothing.
    ///
    /// The boot plays no part, so that a restarted node gets back what it had.
    pub(super) fn of(name: &Text, capacity: u32, shard: ShardId) -> Option<Self> {
        let weight = log2(u64::from(capacity))?;
        let distance = i64::from(u64::BITS) << FRACTION_BITS;
        // A hash of 0 is as far away as one of 1; a hash that rounds to no distance is one step away.
        let distance = distance - log2(hash(name, shard).max(1))?;
        Some(Self(weight - log2(distance.max(1).unsigned_abs())?))
    }

    /// Returns what a shard gains by moving from `other` to here.
    pub(super) const fn gain_over(self, other: Self) -> Gain {
        Gain(self.0 - other.0)
    }

    /// Returns the gain over nothing, to order shards without an owner.
    pub(super) const fn gain_over_none(self) -> Gain {
        Gain(self.0)
    }
}

/// How much better one node suits a shard than another: the logarithm of the scores' ratio.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Gain(i64);

impl Gain {
    /// Returns the gain of a score that is `percent` better.
    pub(super) fn from_percent(percent: u32) -> Self {
        let raised = log2(100 + u64::from(percent)).unwrap_or_default();
        Self(raised - log2(100).unwrap_or_default())
    }
}

/// Hashes a pair: XXH3-64 (seed 0) of the name's bytes and then the shard's number, little endian.
fn hash(name: &Text, shard: ShardId) -> u64 {
    let mut bytes = Vec::with_capacity(name.len() + size_of::<u16>());
    bytes.extend_from_slice(name.as_bytes());
    bytes.extend_from_slice(&shard.number().to_le_bytes());
    xxh3_64(&bytes)
}

/// Computes the binary logarithm, rounded down to [`FRACTION_BITS`]; `None` for 0.
///
/// Squaring a number between 1 and 2 doubles its logarithm, so each square yields one more bit.
/// What a square rounds away weighs less with each step: 2^-62 in all.
fn log2(number: u64) -> Option<i64> {
    let whole = number.checked_ilog2()?;
    let one = 1_u128 << 63;
    let mut mantissa = u128::from(number << number.leading_zeros());
    let mut log = i64::from(whole);
    for _ in 0..FRACTION_BITS {
        mantissa = (mantissa * mantissa) >> 63;
        let bit = mantissa >= 2 * one;
        mantissa >>= u32::from(bit);
        log = (log << 1) | i64::from(bit);
    }
    Some(log)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn logarithms_of_powers_are_whole() {
        assert_eq!(log2(0), None);
        for exponent in 0..u64::BITS {
            assert_eq!(log2(1 << exponent), Some(i64::from(exponent) << FRACTION_BITS));
        }
        assert_eq!(log2(u64::MAX), Some((64 << FRACTION_BITS) - 1));
    }

    #[test]
    fn golden_vectors() {
        let pairs = [("tapio-0", 1, 0), ("tapio-0", 1, 1), ("tapio-1", 1, 0), ("tapio-1", 7, 15)];
        let scores = pairs.map(|(name, capacity, shard)| {
            Affinity::of(&name.into(), capacity, ShardId::new(shard)).map(|affinity| affinity.0)
        });
        let expected =
            [-44_960_566_423_452, -43_601_904_405_554, -45_983_024_543_821, -39_321_277_954_368];
        assert_eq!(scores, expected.map(Some));
        assert_eq!(Affinity::of(&"tapio-0".into(), 0, ShardId::new(0)), None);
    }

    #[test]
    fn the_best_node_is_chosen_as_often_as_its_capacity_says() {
        let nodes = [("tapio-0", 1_u32), ("tapio-1", 2), ("tapio-2", 5)];
        let mut wins = nodes.map(|_| 0_u32);
        for shard in 0..8000 {
            let scores = nodes
                .map(|(name, capacity)| Affinity::of(&name.into(), capacity, ShardId::new(shard)));
            let best = (0..nodes.len()).max_by_key(|node| scores[*node]).expect("three nodes");
            wins[best] += 1;
        }
        for ((name, capacity), wins) in nodes.into_iter().zip(wins) {
            assert!(wins.abs_diff(1000 * capacity) < 130, "{name} {wins}");
        }
    }

    #[test]
    fn a_gain_of_a_hundred_percent_is_one_doubling() {
        assert_eq!(Gain::from_percent(0), Gain(0));
        assert_eq!(Gain::from_percent(100), Gain(1 << FRACTION_BITS));
    }

    proptest! {
        #[test]
        fn logarithm_agrees_with_floating_point(number in 1_u64..) {
            #[expect(clippy::cast_precision_loss, reason = "twelve digits are compared")]
            let (ours, theirs) = (
                log2(number).expect("not 0") as f64 / (1_u64 << FRACTION_BITS) as f64,
                (number as f64).log2(),
            );
            prop_assert!((ours - theirs).abs() < 1e-11, "{ours} {theirs}");
        }

        #[test]
        fn larger_numbers_have_no_smaller_logarithm(one: u64, other: u64) {
            prop_assert_eq!(log2(one.min(other)), log2(one).min(log2(other)));
        }
    }
}
