//! How many spans of an operation showed what, alone and together.

use std::collections::BTreeMap;

use ahash::AHashMap;

use crate::{
    assembly::Row,
    operation::{Mark, Op},
};

/// What the spans of one operation showed.
#[derive(Debug, Clone, Default)]
pub(crate) struct Seen {
    pub(crate) spans: u32,
    pub(crate) alone: AHashMap<Mark, u32>,
    /// The first and the second in one span; both orders are kept.
    pub(crate) together: AHashMap<(Mark, Mark), u32>,
}

impl Seen {
    fn add(&mut self, marks: &[Mark]) {
        self.spans += 1;
        for first in marks {
            *self.alone.entry(*first).or_default() += 1;
            for second in marks.iter().filter(|second| *second != first) {
                *self.together.entry((*first, *second)).or_default() += 1;
            }
        }
    }

    fn merge(&mut self, other: &Self) {
        self.spans = self.spans.saturating_add(other.spans);
        for (mark, count) in &other.alone {
            *self.alone.entry(*mark).or_default() += count;
        }
        for (pair, count) in &other.together {
            *self.together.entry(*pair).or_default() += count;
        }
    }

    /// Lets the past count half, and forgets what hardly ever was.
    fn halve(&mut self) {
        self.spans /= 2;
        self.alone.values_mut().for_each(|count| *count /= 2);
        self.together.values_mut().for_each(|count| *count /= 2);
        self.alone.retain(|_, count| *count > 0);
        self.together.retain(|_, count| *count > 0);
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
            self.by_op.entry(row.op).or_default().add(&row.marks);
        }
    }

    /// Adds what other spans of an operation showed; the past counts half at `spans_max`.
    pub(crate) fn learn(&mut self, op: Op, seen: &Seen, spans_max: u32) {
        let known = self.by_op.entry(op).or_default();
        known.merge(seen);
        if known.spans > spans_max {
            known.halve();
        }
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        for (op, seen) in &other.by_op {
            self.by_op.entry(*op).or_default().merge(seen);
        }
    }
}
