//! Whose fault the unlike spans are: of those of a trace, the deepest.

use std::collections::{BTreeMap, BTreeSet};

use tapio_model::{Text, TraceId};

use crate::{
    BaselineLimits, Part,
    assembly::Row,
    change::{Change, Changes, How},
    latency::Slow,
    operation::{Mark, Op, Operations},
    window::Segment,
};

/// How unlike a span must be to count.
const UNLIKE_MIN: f64 = 0.7;

/// What a slow span adds: how long something takes differs for many reasons.
const SLOW_SCORE: f64 = 1.0;

/// What it adds where everything takes longer than nearly everything did.
const SHIFTED_SCORE: f64 = 2.0;

/// A chain of callers is followed so far: a broken trace may go round in circles.
const DEPTH_MAX: usize = 64;

/// What makes a span unlike.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Reason {
    /// A feature appeared or vanished.
    Changed(Change),
    /// It takes longer by itself.
    Slow(Slow),
}

/// A reason, and how often it held.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Held {
    pub(crate) op: Op,
    pub(crate) reason: Reason,
    pub(crate) score: f64,
    pub(crate) spans: u32,
    /// One of the traces that show it.
    pub(crate) example: TraceId,
}

/// An unlike span that a service is blamed for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Witness {
    pub(crate) trace: TraceId,
    pub(crate) op: Op,
    pub(crate) reason: Reason,
    pub(crate) score: f64,
}

/// A service that unlike spans are blamed on.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Suspect {
    pub(crate) score: f64,
    pub(crate) held: Vec<Held>,
    pub(crate) witnesses: Vec<Witness>,
    /// The traces in which any span of it is unlike, whosever fault that is.
    pub(crate) unlike_in: BTreeSet<TraceId>,
    /// Whether any of it is of the last minute: what is past only adds to that.
    is_present: bool,
}

/// The services that unlike spans are blamed on.
pub(crate) type Suspects = BTreeMap<Text, Suspect>;

/// What is unlike in this window.
#[derive(Debug, Default)]
pub(crate) struct Unlike {
    pub(crate) changes: Changes,
    /// Whether lines get lost on their way here: then one that is missing says little, and several
    /// together say more.
    pub(crate) is_lossy: bool,
    pub(crate) slow: BTreeMap<Op, Slow>,
}

impl Unlike {
    pub(crate) fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.slow.is_empty()
    }

    /// Says whether a span is unlike enough to count.
    pub(crate) fn is_unlike(&self, row: &Row, operations: &Operations) -> bool {
        self.changes.contains_key(&row.op) && self.judge(row, operations).0 > UNLIKE_MIN
    }

    /// Returns how unlike a span is, and by what most.
    ///
    /// A call or an everyday line that is new is no fault, but somebody who wants something else:
    /// so it counts only beside a complaint, and what is missing beside it is no fault either.
    fn judge(&self, row: &Row, operations: &Operations) -> (f64, Option<Reason>) {
        let (mut appeared, mut vanished) = ((0.0, None), (0.0, None));
        let mut is_elsewhere = false;
        // Where lines get lost, each that is missing is a further accident.
        let mut accidents: BTreeMap<Mark, f64> = BTreeMap::new();
        for change in self.changes.get(&row.op).into_iter().flatten() {
            let has = |mark: &Mark| row.marks.binary_search(mark).is_ok();
            let (score, best) = match change.how {
                How::Appeared if has(&change.mark) => {
                    let feature = operations.feature(row.op, change.mark);
                    let weight = feature.map_or(0.0, |feature| feature.weight());
                    is_elsewhere |= feature.is_some_and(|feature| feature.is_wanted());
                    ((change.now / change.before).ln() * weight, &mut appeared)
                }
                How::Vanished { beside }
                    if row.is_heard
                        && !has(&change.mark)
                        && beside.is_none_or(|beside| has(&beside)) =>
                {
                    let score = ((1.0 - change.now) / (1.0 - change.before)).ln();
                    let accident = accidents.entry(change.mark).or_default();
                    *accident = accident.max(score);
                    (score, &mut vanished)
                }
                How::Appeared | How::Vanished { .. } => continue,
            };
            if score > best.0 {
                *best = (score, Some(Reason::Changed(*change)));
            }
        }
        if self.is_lossy {
            vanished.0 = accidents.values().sum();
        }
        if is_elsewhere {
            vanished = (0.0, None);
        }
        let mut reason = if appeared.0 >= vanished.0 { appeared.1 } else { vanished.1 };
        let mut score = appeared.0 + vanished.0;
        if let Some(slow) = self.slow.get(&row.op).filter(|slow| row.own_us > Some(slow.from_us)) {
            score += if slow.is_shifted { SHIFTED_SCORE } else { SLOW_SCORE };
            reason = reason.or(Some(Reason::Slow(*slow)));
        }
        (score, reason)
    }
}

/// Blames the unlike spans of whole traces on services. Of what is past, only the spans that are
/// still looked at count; the others excuse their callers like any.
pub(crate) fn blame(
    segments: &[Segment],
    unlike: &Unlike,
    operations: &Operations,
    limits: &BaselineLimits,
) -> Suspects {
    let mut suspects = Suspects::new();
    let mut unlike_in: BTreeMap<&Text, BTreeSet<TraceId>> = BTreeMap::new();
    let shown = |segment| {
        let segment: &Segment = segment;
        segment.digests.iter().map(move |digest| (segment, digest))
    };
    for (segment, digest) in segments.iter().flat_map(shown) {
        let rows = &digest.rows;
        let judged: Vec<_> = rows.iter().map(|row| unlike.judge(row, operations)).collect();
        let is_unlike = |index: usize| {
            judged.get(index).is_some_and(|(score, _)| *score > UNLIKE_MIN)
                && !(limits.has(Part::Unreached) && is_excused(rows, index, operations))
        };
        let mut is_covered = vec![false; rows.len()];
        for (index, row) in rows.iter().enumerate() {
            let is_deeper = row.is_unreached && limits.has(Part::Unreached) || is_unlike(index);
            if limits.has(Part::Deepest) && is_deeper {
                for caller in callers(rows, index) {
                    if let Some(covered) = is_covered.get_mut(caller) {
                        *covered = true;
                    }
                }
            }
        }
        for (index, covered) in is_covered.iter().enumerate() {
            let Some((row, (score, Some(reason)))) = rows.get(index).zip(judged.get(index)) else {
                continue;
            };
            let Some(operation) = operations.get(row.op).filter(|_| is_unlike(index)) else {
                continue;
            };
            unlike_in.entry(&operation.service).or_default().insert(digest.trace);
            if !covered && segment.shows(row) {
                let suspect = suspects.entry(operation.service.clone()).or_default();
                let score = score.min(limits.span_score_max) * row.share;
                let (trace, op, reason) = (digest.trace, row.op, *reason);
                suspect.add(Witness { trace, op, reason, score });
                suspect.is_present |= !segment.is_past();
            }
        }
    }
    suspects.retain(|_, suspect| suspect.is_present);
    for (service, suspect) in &mut suspects {
        suspect.unlike_in = unlike_in.remove(service).unwrap_or_default();
    }
    suspects
}

impl Suspect {
    fn add(&mut self, witness: Witness) {
        let Witness { trace: example, op, reason, score } = witness;
        self.witnesses.push(witness);
        self.score += score;
        let known = self.held.iter_mut().find(|held| held.op == op && held.reason == reason);
        match known {
            Some(held) => {
                held.score += score;
                held.spans += 1;
            }
            None => self.held.push(Held { op, reason, score, spans: 1, example }),
        }
    }
}

/// Says whether a span is part of what its service did on the way to somebody it did not reach.
fn is_excused(rows: &[Row], index: usize, operations: &Operations) -> bool {
    let service = |index: usize| {
        let row: &Row = rows.get(index)?;
        operations.get(row.op).map(|operation| &operation.service)
    };
    let is_it = |caller: usize| {
        rows.get(caller).is_some_and(|row| row.is_unreached) && service(caller) == service(index)
    };
    is_it(index) || callers(rows, index).any(is_it)
}

/// Returns the callers of a span, the nearest first.
fn callers(rows: &[Row], index: usize) -> impl Iterator<Item = usize> {
    let parent = |index: usize| rows.get(index).and_then(|row| row.parent);
    std::iter::successors(parent(index), move |index| parent(*index)).take(DEPTH_MAX)
}

#[cfg(test)]
mod tests {
    use tapio_model::{Severity, Timestamp};

    use super::*;
    use crate::feature::{Feature, Sort};

    #[test]
    fn where_lines_get_lost_several_that_are_missing_add_up() {
        let mut operations = Operations::default();
        let op = operations.number(&"cart".into(), &"GET".into(), Timestamp::ZERO, 9).unwrap();
        let mut gone = |text: &str, beside: Option<Mark>| {
            let feature = Feature { sort: Sort::Line(Severity::Info), text: text.into() };
            let mark = operations.mark(op, feature, 9).unwrap();
            let (how, before, now) = (How::Vanished { beside }, 0.8, 0.1);
            Change { mark, how, known: 9.0, before, now, traces: 9.0 }
        };
        // Beside another or not, a line is missing once.
        let changes = vec![gone("checked", None), gone("stored", None), gone("stored", None)];
        let row = Row {
            op,
            share: 1.0,
            marks: Box::default(),
            parent: None,
            own_us: None,
            is_way: false,
            way_us: None,
            is_heard: true,
            is_unreached: false,
        };
        let score = |is_lossy| {
            let changes = [(op, changes.clone())].into();
            Unlike { changes, is_lossy, slow: BTreeMap::new() }.judge(&row, &operations).0
        };
        let one = (0.9_f64 / 0.2).ln();
        assert!((score(false) - one).abs() < 1e-9, "{}", score(false));
        assert!((score(true) - 2.0 * one).abs() < 1e-9, "{}", score(true));
    }
}
