//! The traces that are looked at: of most operations those of the last minute, of rare ones the
//! last few.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use tapio_model::{Text, Timestamp};

use crate::{
    BaselineLimits,
    assembly::{Digest, Row},
    change::NEARLY,
    counts::{Counts, Seen},
    latency::SlowOnes,
    operation::Op,
    stall::Stalls,
};

/// A segment of time: what its traces showed.
#[derive(Debug, Default)]
pub(crate) struct Segment {
    pub(crate) end: Timestamp,
    pub(crate) digests: Vec<Digest>,
    /// Of the operations that are still looked at.
    pub(crate) counts: Counts,
    /// Operations that were unlike in a window with this segment: they are not learnt from it.
    pub(crate) unlike: BTreeSet<Op>,
    pub(crate) slow: SlowOnes,
    /// What requests met with, and the services that kept them waiting.
    pub(crate) stalls: Stalls,
    pub(crate) stalled: BTreeSet<Text>,
    /// Whether it is older than the window of most operations.
    is_past: bool,
}

/// The segments with anything that is looked at, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Window {
    pub(crate) segments: Vec<Segment>,
}

impl Segment {
    pub(crate) fn new(end: Timestamp, digests: Vec<Digest>) -> Self {
        let mut counts = Counts::default();
        for row in digests.iter().flat_map(|digest| &digest.rows) {
            counts.add(row);
        }
        Self { end, digests, counts, ..Self::default() }
    }

    /// Adds what its requests met with.
    pub(crate) fn met(self, stalls: Stalls) -> Self {
        Self { stalls, ..self }
    }

    fn bytes(&self) -> usize {
        self.digests.iter().map(Digest::bytes).sum::<usize>() + self.counts.bytes()
    }

    /// Says whether it is older than the window of most operations.
    pub(crate) const fn is_past(&self) -> bool {
        self.is_past
    }

    /// Says whether a span of its traces is looked at.
    pub(crate) fn shows(&self, row: &Row) -> bool {
        !self.is_past || self.counts.by_op.contains_key(&row.op)
    }

    /// Lets go of what operations showed that are no longer looked at.
    fn take_out(&mut self, ops: &[Op]) -> Vec<(Op, Seen, bool)> {
        let unlike = &self.unlike;
        let seen = ops.iter().filter_map(|op| {
            let seen = self.counts.by_op.remove(op)?;
            Some((*op, seen, unlike.contains(op)))
        });
        let seen = seen.collect();
        let counts = &self.counts.by_op;
        self.digests.retain(|digest| digest.rows.iter().any(|row| counts.contains_key(&row.op)));
        seen
    }
}

impl Window {
    pub(crate) const fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }

    /// Returns what it takes to hold it.
    pub(crate) fn bytes(&self) -> usize {
        self.segments.iter().map(Segment::bytes).sum()
    }

    /// Returns the segments of the window of most operations.
    pub(crate) fn present(&self) -> impl Iterator<Item = &Segment> {
        self.segments.iter().filter(|segment| !segment.is_past)
    }

    /// Marks the segments that have become past at `end`; hands them to `learn` before.
    pub(crate) fn age(
        &mut self,
        end: Timestamp,
        limits: &BaselineLimits,
        mut learn: impl FnMut(&Segment),
    ) {
        let begin = end.before(long(limits, limits.window_segments));
        for segment in self.segments.iter_mut().filter(|it| !it.is_past && it.end <= begin) {
            learn(segment);
            segment.is_past = true;
        }
    }

    /// Returns what leaves at `end`, oldest first: of past segments the operations of which enough
    /// traces came later, and all that is too long ago. Hands them to `learn` before.
    pub(crate) fn leave(
        &mut self,
        end: Timestamp,
        limits: &BaselineLimits,
        mut learn: impl FnMut(&Segment, &[Op]),
    ) -> Vec<(Op, Seen, bool)> {
        let begin = end.before(long(limits, limits.window_segments_max));
        let mut traces: BTreeMap<Op, f64> = BTreeMap::new();
        let mut left = Vec::new();
        for segment in self.segments.iter_mut().rev() {
            let mut leaving = Vec::new();
            for (op, seen) in &segment.counts.by_op {
                let later = traces.entry(*op).or_default();
                let is_enough = *later + NEARLY >= limits.window_traces || segment.end <= begin;
                if segment.is_past && is_enough {
                    leaving.push(*op);
                } else {
                    *later += seen.traces;
                }
            }
            if segment.is_past {
                learn(segment, &leaving);
                left.push(segment.take_out(&leaving));
            }
        }
        self.segments.retain(|segment| !segment.is_past || !segment.counts.by_op.is_empty());
        left.into_iter().rev().flatten().collect()
    }
}

/// Returns how long so many segments are.
pub(crate) fn long(limits: &BaselineLimits, segments: usize) -> Duration {
    limits.step.saturating_mul(u32::try_from(segments).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use tapio_model::TraceId;

    use super::*;
    use crate::operation::Operations;

    /// A trace with a span of each operation.
    fn digest(ops: &[Op], end: Timestamp) -> Digest {
        let row = |op: &Op| Row {
            op: *op,
            share: 1.0,
            marks: Box::default(),
            parent: None,
            is_way: false,
            own_us: None,
            way_us: None,
            is_heard: true,
            is_unreached: false,
        };
        let rows = ops.iter().map(row).collect();
        Digest { trace: TraceId::from_bytes([7; 16]), end, rows }
    }

    #[test]
    fn what_is_frequent_leaves_after_a_minute_and_what_is_rare_once_enough_came() {
        let mut operations = Operations::default();
        let mut op = |name: &str| {
            operations.number(&"cart".into(), &name.into(), Timestamp::ZERO, 9).unwrap()
        };
        let (frequent, rare) = (op("GET"), op("PUT"));
        let limits = BaselineLimits::default();
        let mut window = Window::default();
        let mut left = Vec::new();
        for step in 1..=20_u64 {
            let end = Timestamp::from_secs(i64::try_from(step * 15).unwrap());
            let often: Vec<_> = (0..9).map(|_| digest(&[frequent], end)).collect();
            let seldom = (step <= 2).then(|| digest(&[rare, frequent], end));
            window.segments.push(Segment::new(end, often.into_iter().chain(seldom).collect()));
            window.age(end, &limits, |_| {});
            let ops = window.leave(end, &limits, |_, _| {}).into_iter().map(|(op, ..)| op);
            left.extend(ops.map(|op| (op == rare, step)));
        }
        let steps = |is_rare: bool| -> Vec<u64> {
            left.iter().filter(|(rare, _)| *rare == is_rare).map(|(_, step)| *step).collect()
        };
        assert_eq!(steps(false), (5..=20).collect::<Vec<_>>());
        // Too few ever came: they leave when they are too long ago.
        assert_eq!(steps(true), [13, 14]);
        // Of what is past only traces with somebody rare are held.
        assert!(window.segments.len() <= 5, "{}", window.segments.len());
    }
}
