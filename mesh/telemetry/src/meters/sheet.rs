//! What one look brought.

use std::{collections::BTreeMap, time::Duration};

use tapio_model::{Ledger, ShedReason};

use super::Series;
use crate::{
    label::{Account, Label, Labels},
    metric::{Metric, MetricKind, Unit},
};

/// A value that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reading {
    /// A number of things or bytes.
    Count(u64),
    /// A time.
    Time(Duration),
}

impl From<u64> for Reading {
    fn from(count: u64) -> Self {
        Self::Count(count)
    }
}

impl From<bool> for Reading {
    fn from(is_so: bool) -> Self {
        Self::Count(u64::from(is_so))
    }
}

impl From<Duration> for Reading {
    fn from(time: Duration) -> Self {
        Self::Time(time)
    }
}

impl Reading {
    fn plus(self, other: Self) -> Self {
        match (self, other) {
            (Self::Count(mine), Self::Count(theirs)) => Self::Count(mine.saturating_add(theirs)),
            (Self::Time(mine), Self::Time(theirs)) => Self::Time(mine.saturating_add(theirs)),
            // `set` lets a series have one unit only.
            (Self::Count(_), Self::Time(_)) | (Self::Time(_), Self::Count(_)) => self,
        }
    }
}

/// Values of one moment. Observers write into it.
#[derive(Debug, Default)]
pub struct Sheet(BTreeMap<Series, Reading>);

impl Sheet {
    /// Writes the value of a series. Values that others wrote are added to, or the largest counts:
    /// see [`MetricKind`].
    pub fn set(&mut self, metric: Metric, labels: impl Into<Labels>, value: impl Into<Reading>) {
        let (series, value) = (series(metric, labels.into()), value.into());
        let is_time = matches!(value, Reading::Time(_));
        debug_assert_eq!(is_time, metric.unit() == Unit::Seconds, "{metric:?}");
        debug_assert_ne!(metric.kind(), MetricKind::Histogram, "{metric:?} is recorded, not read");
        let merge = |old: &mut Reading| match metric.kind() {
            MetricKind::Peak => *old = value.max(*old),
            MetricKind::Counter | MetricKind::Level | MetricKind::Histogram => {
                *old = old.plus(value);
            }
        };
        self.0.entry(series).and_modify(merge).or_insert(value);
    }

    /// Writes the seven outcomes, and the reasons of the last.
    pub fn set_ledger(&mut self, ledger: &Ledger) {
        for account in Account::ALL {
            let events = match account {
                Account::Story => ledger.story,
                Account::Open => ledger.open,
                Account::Expired => ledger.expired,
                Account::Duplicate => ledger.duplicate,
                Account::Late => ledger.late,
                Account::DeadLetter => ledger.dead_letter,
                Account::Shed => ledger.shed_total(),
            };
            self.set(Metric::OutcomeEvents, Label::Outcome(*account), events);
        }
        for (reason, events) in ShedReason::ALL.into_iter().zip(ledger.shed) {
            self.set(Metric::ShedEvents, Label::Shed(reason), events);
        }
    }

    /// Returns the series and their values, sorted.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Series, Reading)> {
        self.0.iter().map(|(series, value)| (series, *value))
    }

    /// Returns the series of `metric` and their values.
    pub(crate) fn of(&self, metric: Metric) -> impl Iterator<Item = (Labels, Reading)> {
        let series = self.iter().filter(move |((of, _), _)| *of == metric);
        series.map(|((_, labels), value)| (*labels, value))
    }
}

/// Names a series, whose labels must be those that the metric lists.
pub(super) fn series(metric: Metric, labels: Labels) -> Series {
    debug_assert!(
        labels.iter().map(Label::key).eq(metric.labels().iter().copied()),
        "{metric:?} has the labels {:?}, not {labels:?}",
        metric.labels(),
    );
    (metric, labels)
}
