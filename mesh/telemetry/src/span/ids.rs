//! Ids and the sampling of traces, from one seed.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use opentelemetry::trace::{SpanId, TraceId};
use opentelemetry_sdk::trace::IdGenerator;

/// Numbers that look random and follow from a seed: `SplitMix64`. Cloning shares the sequence.
///
/// # Source
/// Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, OOPSLA 2014.
#[derive(Debug, Clone)]
pub(crate) struct Ids(Arc<AtomicU64>);

impl Ids {
    /// Begins the sequence of `seed`. Two processes that share a seed share ids.
    pub(crate) fn new(seed: u64) -> Self {
        Self(Arc::new(AtomicU64::new(seed)))
    }

    fn next(&self) -> u64 {
        const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
        let state = self.0.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn next_not_zero(&self) -> u64 {
        // Zero is no id. It comes once in 2^64.
        self.next().max(1)
    }

    /// Says, for `share` of all calls, yes.
    pub(super) fn draw(&self, share: Share) -> bool {
        self.next() < share.below || share.is_all()
    }
}

impl IdGenerator for Ids {
    fn new_trace_id(&self) -> TraceId {
        let (high, low) = (u128::from(self.next_not_zero()), u128::from(self.next()));
        TraceId::from((high << 64) | low)
    }

    fn new_span_id(&self) -> SpanId {
        SpanId::from(self.next_not_zero())
    }
}

/// Which part of all traces is sampled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Share {
    below: u64,
}

impl Share {
    /// Makes it from a ratio between 0 and 1; what is beyond counts as the nearest of the two.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a float becomes the nearest integer there is, which is what is wanted"
    )]
    pub(crate) const fn new(ratio: f64) -> Self {
        Self { below: (ratio * u64::MAX as f64) as u64 }
    }

    /// Says whether every trace is sampled.
    pub(super) const fn is_all(self) -> bool {
        self.below == u64::MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_that_was_asked_for_is_drawn() {
        let cases = [(0.0, 0..=0), (0.01, 80..=120), (0.5, 4_850..=5_150), (1.0, 10_000..=10_000)];
        let beyond = [(-1.0, 0..=0), (7.0, 10_000..=10_000), (f64::NAN, 0..=0)];
        for (ratio, expected) in cases.into_iter().chain(beyond) {
            let (ids, share) = (Ids::new(7), Share::new(ratio));
            let drawn = (0..10_000).filter(|_| ids.draw(share)).count();
            assert!(expected.contains(&drawn), "{drawn} of 10,000 at {ratio}");
        }
    }

    #[test]
    fn seeds_repeat_and_differ() {
        let first = |seed| Ids::new(seed).new_trace_id();
        assert_eq!(first(1), first(1));
        assert_ne!(first(1), first(2));
        let ids = Ids::new(1);
        assert_ne!(ids.clone().new_span_id(), ids.new_span_id(), "clones share the sequence");
    }
}
