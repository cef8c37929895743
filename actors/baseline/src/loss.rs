//! How much of everybody's lines gets lost on its way here: that is no fault of one service, and
//! what is then sure is less than always.

use crate::{
    counts::{Counts, Seen},
    feature::Sort,
    latency::median,
    operation::{Mark, Op, Operations},
};

/// Traces of an operation from which its share says something.
const LEARNT_TRACES_MIN: f64 = 20.0;

/// The same of the traces that are looked at now, of which there are few.
const PRESENT_TRACES_MIN: f64 = 4.0;

/// Operations that must agree: of fewer it could as well be their way.
const OPERATIONS_MIN: usize = 6;

/// What hits everybody alike leaves shares this close to their middle...
const LEARNT_NEAR: f64 = 0.07;

/// ...and of a few traces, this close.
const PRESENT_NEAR: f64 = 0.2;

/// ...for such a share of the operations. Mixes of users crowd nowhere.
const CROWD_MIN: f64 = 0.6;

/// Less than this is not told from none.
const LOST_MIN: f64 = 0.03;

/// With more than this, what is missing says nothing in any way.
const LOST_MAX: f64 = 0.5;

/// What gets lost on its way here, of the lines of everybody.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Loss {
    /// The share that got lost of all that was learnt.
    pub(crate) learnt: f64,
    /// The share of what used to arrive that gets lost now.
    pub(crate) more: f64,
}

impl Loss {
    /// Reads it off the line that each operation writes most often: nearly all of them have one that
    /// they always write, and a loss takes the same share of each.
    pub(crate) fn of(learnt: &Counts, seen: &Counts, operations: &Operations) -> Self {
        let entry = |(op, seen): (&Op, &Seen)| Some((*op, entry(*op, seen, operations)?));
        let known = learnt.by_op.iter().filter(|(_, it)| it.traces >= LEARNT_TRACES_MIN);
        let known: Vec<(Op, (Mark, f64))> = known.filter_map(entry).collect();
        let shares: Vec<f64> = known.iter().map(|(_, (_, share))| *share).collect();
        let now = known.iter().filter_map(|(op, (mark, share))| {
            let seen = seen.by_op.get(op).filter(|it| it.traces >= PRESENT_TRACES_MIN)?;
            let hits = seen.alone.get(mark).copied().unwrap_or_default();
            Some(hits / seen.traces / share)
        });
        let now: Vec<f64> = now.collect();
        Self { learnt: lost(&shares, LEARNT_NEAR), more: lost(&now, PRESENT_NEAR) }
    }

    /// Returns the share of lines that arrives, of those that arrived all along.
    pub(crate) const fn arrives(&self) -> f64 {
        (1.0 - self.learnt) * (1.0 - self.more)
    }
}

/// Returns the wanted line that an operation writes most often, and in what share of its traces.
fn entry(op: Op, seen: &Seen, operations: &Operations) -> Option<(Mark, f64)> {
    let is_line = |mark: Mark| {
        let feature = operations.feature(op, mark);
        feature.is_some_and(|it| it.is_wanted() && it.sort != Sort::Call)
    };
    let lines = seen.alone.iter().filter(|(mark, _)| is_line(**mark));
    let most = lines.max_by(|a, b| a.1.total_cmp(b.1).then(b.0.cmp(a.0)));
    most.map(|(mark, hits)| (*mark, hits / seen.traces))
}

/// Returns what is missing of most shares alike; nothing if they do not agree.
fn lost(shares: &[f64], near: f64) -> f64 {
    let Some(middle) = median(shares).filter(|_| shares.len() >= OPERATIONS_MIN) else {
        return 0.0;
    };
    let count = |shares: usize| u32::try_from(shares).map_or(f64::MAX, f64::from);
    let crowd = shares.iter().filter(|share| (**share - middle).abs() <= near).count();
    let lost = 1.0 - middle;
    let is_alike = count(crowd) >= CROWD_MIN * count(shares.len());
    if is_alike && (LOST_MIN..=LOST_MAX).contains(&lost) { lost } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_hits_everybody_alike_is_loss_and_a_mix_is_not() {
        let near = |lost: f64, want: f64| assert!((lost - want).abs() < 0.01, "{lost}");
        near(lost(&[1.0, 1.0, 0.6, 1.0, 0.3, 1.0, 1.0], LEARNT_NEAR), 0.0);
        near(lost(&[0.8, 0.82, 0.5, 0.79, 0.8, 0.78, 0.96], LEARNT_NEAR), 0.2);
        // Shares that crowd nowhere are what users do.
        near(lost(&[1.0, 0.7, 0.6, 0.9, 0.3, 0.8, 0.5], LEARNT_NEAR), 0.0);
        // Three cannot agree, and a fault that silences most is no loss.
        near(lost(&[0.8, 0.8, 0.8], LEARNT_NEAR), 0.0);
        near(lost(&[0.0, 0.0, 0.1, 0.0, 0.0, 1.0, 1.0], PRESENT_NEAR), 0.0);
    }
}
