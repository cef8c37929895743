//! Which features of an operation's spans are unlike what was learnt of it.

use std::collections::BTreeMap;

use crate::{
    BaselineLimits, Part,
    counts::{Counts, Seen},
    evidence::{change, share},
    feature::Sort,
    loss::Loss,
    operation::{Mark, Op, Operations},
};

/// A vanished feature must now be missing in at least a fifth of the spans.
const STILL_THERE: f64 = 0.8;

/// An appeared feature must now be so many times as frequent.
const APPEARED_TIMES: f64 = 5.0;

/// Where lines get lost, shares of a few hundred traces are off by so much.
const LOSSY_OFF: f64 = 0.04;

/// Traces that must show now that something is gone.
const SEEN_MIN: f64 = 2.0;

/// What sums of fractions may lack to a whole.
pub(crate) const NEARLY: f64 = 1e-6;

/// How a feature changed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum How {
    /// It is there, and never was.
    Appeared,
    /// It is not there, and always was where `beside` is; in every span, where that is none.
    Vanished {
        /// What it always came with.
        beside: Option<Mark>,
    },
}

impl How {
    /// Returns what a vanished feature always came with.
    const fn beside(self) -> Option<Mark> {
        match self {
            Self::Appeared => None,
            Self::Vanished { beside } => beside,
        }
    }
}

/// A feature that is unlike what was learnt.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Change {
    pub(crate) mark: Mark,
    pub(crate) how: How,
    /// The traces that are known.
    pub(crate) known: f64,
    /// Its share of the spans before and now.
    pub(crate) before: f64,
    pub(crate) now: f64,
    /// The traces these are shares of, now.
    pub(crate) traces: f64,
}

/// The changes of all operations that have any.
pub(crate) type Changes = BTreeMap<Op, Vec<Change>>;

/// Compares what was seen with what was learnt.
pub(crate) fn changes(
    learnt: &Counts,
    seen: &Counts,
    operations: &Operations,
    loss: Loss,
    limits: &BaselineLimits,
) -> Changes {
    let mut changes = Changes::new();
    for (op, now) in &seen.by_op {
        let Some(known) = learnt.by_op.get(op).filter(|it| it.traces + NEARLY >= limits.learnt_min)
        else {
            continue;
        };
        let compare = Compare { known, now, loss, limits };
        let wanted = |mark| {
            let feature = operations.feature(*op, mark).filter(|it| it.is_wanted())?;
            Some(feature.sort)
        };
        let mut found = compare.found(&wanted);
        if !found.is_empty() {
            found.sort_by_key(|change| (change.mark, change.how.beside()));
            changes.insert(*op, found);
        }
    }
    changes
}

/// One operation, then and now.
struct Compare<'a> {
    known: &'a Seen,
    now: &'a Seen,
    loss: Loss,
    limits: &'a BaselineLimits,
}

/// What a mark is of, if it can be missed.
type Wanted<'a> = dyn Fn(Mark) -> Option<Sort> + 'a;

impl Compare<'_> {
    fn found(&self, wanted: &Wanted<'_>) -> Vec<Change> {
        let changes = self.appeared().chain(self.vanished(wanted));
        let part = |change: &Change| match change.how {
            How::Appeared => Part::Appeared,
            How::Vanished { beside: None } => Part::Vanished,
            How::Vanished { beside: Some(_) } => Part::Beside,
        };
        changes.filter(|change| self.limits.has(part(change))).collect()
    }

    fn appeared(&self) -> impl Iterator<Item = Change> {
        let (of, of_now) = (self.known.traces, self.now.traces);
        self.now.alone.iter().filter_map(move |(mark, hits_now)| {
            let hits = self.known.alone.get(mark).copied().unwrap_or_default();
            let hits_now = *hits_now;
            let (before, now) = (share(hits, of), share(hits_now, of_now));
            let is_new = hits / of <= self.limits.rare
                && now > APPEARED_TIMES * before
                && change(hits, of, hits_now, of_now) > self.limits.change_min;
            let (how, traces) = (How::Appeared, of_now);
            let known = of;
            is_new.then_some(Change { mark: *mark, how, known, before, now, traces })
        })
    }

    fn vanished(&self, wanted: &Wanted<'_>) -> impl Iterator<Item = Change> {
        let every = self.known.alone.iter().map(|(mark, hits)| {
            let hits_now = self.now.alone.get(mark).copied().unwrap_or_default();
            (*mark, None, (*hits, self.known.traces), (hits_now, self.now.traces))
        });
        let beside = self.known.together.iter().map(|((beside, mark), hits)| {
            let of = self.known.alone.get(beside).copied().unwrap_or_default();
            let hits_now = self.now.together.get(&(*beside, *mark)).copied().unwrap_or_default();
            let of_now = self.now.alone.get(beside).copied().unwrap_or_default();
            (*mark, Some(*beside), (*hits, of), (hits_now, of_now))
        });
        let changes = every.chain(beside).filter_map(|(mark, beside, (hits, of), now)| {
            let (hits_now, of_now) = now;
            let is_known = of + NEARLY >= self.limits.learnt_min && of_now + NEARLY >= SEEN_MIN;
            let sort = wanted(mark).filter(|_| is_known)?;
            let Usual { sure, arrives, still_there } = self.usual(sort);
            let hits = hits * arrives;
            let is_gone = hits / of > sure
                && hits_now / of_now < still_there
                && change(hits, of, hits_now, of_now) > self.limits.change_min;
            let (how, before, now) =
                (How::Vanished { beside }, share(hits, of), share(hits_now, of_now));
            let known = of;
            is_gone.then_some(Change { mark, how, known, before, now, traces: of_now })
        });
        changes.collect::<Vec<_>>().into_iter()
    }

    /// Returns what is usual of something that can be missed. A call is no line, and is not lost
    /// with them.
    fn usual(&self, sort: Sort) -> Usual {
        let Loss { learnt, more } = self.loss;
        if sort == Sort::Call || self.loss == Loss::default() {
            return Usual { sure: self.limits.sure, arrives: 1.0, still_there: STILL_THERE };
        }
        let off = if learnt > 0.0 { LOSSY_OFF } else { 0.0 };
        Usual {
            sure: self.limits.sure * self.loss.arrives() - off,
            arrives: 1.0 - more,
            still_there: STILL_THERE * self.loss.arrives(),
        }
    }
}

/// What is usual where lines get lost.
struct Usual {
    /// A share from which something is sure.
    sure: f64,
    /// What arrives now of what arrived all along.
    arrives: f64,
    /// A share from which it is still there.
    still_there: f64,
}

#[cfg(test)]
mod tests {
    use tapio_model::{Severity, Timestamp};

    use super::*;
    use crate::{
        assembly::Row,
        feature::{Feature, Sort},
    };

    /// An operation that writes a line on entry and, mostly, one on exit.
    struct Scene {
        operations: Operations,
        op: Op,
        entry: Mark,
        exit: Mark,
        error: Mark,
    }

    impl Scene {
        fn new() -> Self {
            let mut operations = Operations::default();
            let op = operations.number(&"cart".into(), &"GET".into(), Timestamp::ZERO, 9).unwrap();
            let mut mark = |severity, text: &str| {
                let feature = Feature { sort: Sort::Line(severity), text: text.into() };
                operations.mark(op, feature, 9).unwrap()
            };
            let (entry, exit) = (mark(Severity::Info, "entry"), mark(Severity::Info, "exit"));
            let error = mark(Severity::Error, "error");
            Self { operations, op, entry, exit, error }
        }

        fn counts(&self, spans: &[(u32, &[Mark])]) -> Counts {
            let mut counts = Counts::default();
            for (times, marks) in spans {
                for _ in 0..*times {
                    let row = Row {
                        op: self.op,
                        marks: marks.to_vec().into(),
                        parent: None,
                        share: 1.0,
                        is_way: false,
                        own_us: None,
                        way_us: None,
                        is_heard: true,
                        is_unreached: false,
                    };
                    counts.add(&row);
                }
            }
            counts
        }

        fn changed(&self, learnt: &[(u32, &[Mark])], now: &[(u32, &[Mark])]) -> Vec<Mark> {
            self.changed_with(Loss::default(), learnt, now)
        }

        fn changed_with(
            &self,
            loss: Loss,
            learnt: &[(u32, &[Mark])],
            now: &[(u32, &[Mark])],
        ) -> Vec<Mark> {
            let limits = BaselineLimits::default();
            let (learnt, now) = (self.counts(learnt), self.counts(now));
            let changes = changes(&learnt, &now, &self.operations, loss, &limits);
            let mut marks: Vec<_> = changes.values().flatten().map(|change| change.mark).collect();
            marks.dedup();
            marks
        }
    }

    #[test]
    fn an_early_return_is_a_line_that_vanished_beside_another() {
        let it = Scene::new();
        let (entry, exit) = (it.entry, it.exit);
        // Half of the calls never get that far, so that neither line is in every span.
        let healthy: &[(u32, &[Mark])] = &[(40, &[entry, exit]), (40, &[])];
        assert_eq!(it.changed(healthy, &[(9, &[entry]), (9, &[])]), [exit]);
        assert_eq!(it.changed(healthy, &[(9, &[entry, exit]), (9, &[])]), []);
        // Another mix of callers is no fault.
        assert_eq!(it.changed(healthy, &[(18, &[entry, exit])]), []);
    }

    #[test]
    fn an_error_that_never_was_appears_and_one_that_is_gone_is_good_news() {
        let it = Scene::new();
        let (entry, error) = (it.entry, it.error);
        let changed = it.changed(&[(50, &[entry])], &[(6, &[entry, error]), (3, &[entry])]);
        assert_eq!(changed, [error]);
        let changed = it.changed(&[(50, &[entry, error])], &[(9, &[entry])]);
        assert_eq!(changed, []);
        // Errors that were always there in part are everyday.
        let everyday: &[(u32, &[Mark])] = &[(30, &[entry]), (10, &[entry, error])];
        assert_eq!(it.changed(everyday, &[(5, &[entry]), (5, &[entry, error])]), []);
    }

    #[test]
    fn nothing_is_said_of_what_is_hardly_known() {
        let it = Scene::new();
        let (entry, error) = (it.entry, it.error);
        assert_eq!(it.changed(&[(3, &[entry])], &[(9, &[entry, error])]), []);
        assert_eq!(it.changed(&[(4, &[entry])], &[(9, &[entry, error])]), [error]);
        assert_eq!(it.changed(&[(4, &[entry])], &[(1, &[entry, error])]), []);
    }

    #[test]
    fn where_lines_get_lost_one_that_is_gone_is_still_missed() {
        let it = Scene::new();
        let (entry, exit) = (it.entry, it.exit);
        let learnt: &[(u32, &[Mark])] = &[(80, &[entry, exit]), (20, &[entry])];
        let gone: &[(u32, &[Mark])] = &[(12, &[entry])];
        assert_eq!(it.changed(learnt, gone), []);
        let loss = Loss { learnt: 0.2, more: 0.0 };
        assert_eq!(it.changed_with(loss, learnt, gone), [exit]);
        // As much is missing as ever.
        assert_eq!(it.changed_with(loss, learnt, &[(8, &[entry, exit]), (4, &[entry])]), []);
    }

    #[test]
    fn what_more_gets_lost_of_everybody_is_not_missing() {
        let it = Scene::new();
        let (entry, exit) = (it.entry, it.exit);
        let learnt: &[(u32, &[Mark])] = &[(80, &[entry, exit])];
        let now: &[(u32, &[Mark])] = &[(14, &[entry, exit]), (6, &[entry])];
        assert_eq!(it.changed(learnt, now), [exit]);
        assert_eq!(it.changed_with(Loss { learnt: 0.0, more: 0.25 }, learnt, now), []);
    }
}
