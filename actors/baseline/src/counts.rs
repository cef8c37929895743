//! How many spans of an operation showed what, alone and together.

use std::collections::BTreeMap;

use ahash::AHashMap;

use crate::{
    assembly::Row,
    operation::{Mark, Op},
};

/// What the spans of one operation showed.
///
/// A trace counts once, however many spans of the operation it has: they are one customer's, and
/// alike for that reason. So these numbers are of traces, and may be fractions.
#[derive(Debug, Clone, Default)]
pub(crate) struct Seen {
    pub(crate) traces: f64,
    pub(crate) alone: AHashMap<Mark, f64>,
    /// The first and the second in one span; both orders are kept.
    pub(crate) together: AHashMap<(Mark, Mark), f64>,
}

/// What is left of a feature that was in one trace, when the past has counted half.
const HARDLY: f64 = 0.5;

impl Seen {
    fn add(&mut self, marks: &[Mark], share: f64) {
        self.traces += share;
        for first in marks {
            *self.alone.entry(*first).or_default() += share;
            for second in marks.iter().filter(|second| *second != first) {
                *self.together.entry((*first, *second)).or_default() += share;
            }
        }
    }

    /// Returns what it takes to hold it.
    pub(crate) fn bytes(&self) -> usize {
        let alone = self.alone.capacity() * size_of::<(Mark, f64)>();
        let together = self.together.capacity() * size_of::<((Mark, Mark), f64)>();
        size_of::<Self>() + alone + together
    }

    fn merge(&mut self, other: &Self) {
        self.traces += other.traces;
        for (mark, count) in &other.alone {
            *self.alone.entry(*mark).or_default() += count;
        }
        for (pair, count) in &other.together {
            *self.together.entry(*pair).or_default() += count;
        }
    }

    /// Lets the past count half, and forgets what hardly ever was.
    fn halve(&mut self) {
        self.traces /= 2.0;
        self.alone.values_mut().for_each(|count| *count /= 2.0);
        self.together.values_mut().for_each(|count| *count /= 2.0);
        self.alone.retain(|_, count| *count > HARDLY);
        self.together.retain(|_, count| *count > HARDLY);
    }
}

/// What the spans of all operations showed; in order of operation, so that all that follows is.
#[derive(Debug, Clone, Default)]
pub(crate) struct Counts {
    pub(crate) by_op: BTreeMap<Op, Seen>,
}

impl Counts {
    /// Counts a span, if what it does not show could be missed.
    pub(crate) fn add(&mut self, row: &Row) {
        if row.is_heard && !row.is_unreached {
            self.by_op.entry(row.op).or_default().add(&row.marks, row.share);
        }
    }

    /// Adds what other spans of an operation showed; the past counts half at `traces_max`.
    pub(crate) fn learn(&mut self, op: Op, seen: &Seen, traces_max: f64) {
        let known = self.by_op.entry(op).or_default();
        known.merge(seen);
        if known.traces > traces_max {
            known.halve();
        }
    }

    /// Returns what it takes to hold them.
    pub(crate) fn bytes(&self) -> usize {
        self.by_op.values().map(Seen::bytes).sum()
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        for (op, seen) in &other.by_op {
            self.by_op.entry(*op).or_default().merge(seen);
        }
    }
}
