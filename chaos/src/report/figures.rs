//! Figures of a report: spreads of times, lateness, questions.

use std::{collections::BTreeMap, time::Duration};

use serde::Serialize;

use super::is_complete;
use crate::record::{QueryAnswer, QuerySeen};

/// Times of one kind, in milliseconds.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Spread {
    /// The middle one.
    pub median_ms: Option<u64>,
    /// The longest.
    pub max_ms: Option<u64>,
    /// All, in order of length.
    pub all_ms: Vec<u64>,
}

impl Spread {
    /// Gathers times.
    #[must_use]
    pub fn of(times: impl Iterator<Item = Duration>) -> Self {
        Self::sorted(times.map(millis).collect())
    }

    /// Gathers the times of several.
    #[must_use]
    pub fn join(spreads: &[&Self]) -> Self {
        Self::sorted(spreads.iter().flat_map(|spread| &spread.all_ms).copied().collect())
    }

    fn sorted(mut all_ms: Vec<u64>) -> Self {
        all_ms.sort_unstable();
        let median_ms = all_ms.get(all_ms.len() / 2).copied();
        Self { median_ms, max_ms: all_ms.last().copied(), all_ms }
    }
}

/// How long events waited until they were taken in for good.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Late {
    /// Half of them waited no longer; of several runs the worst.
    pub p50_ms: u64,
    /// Ninety-nine of a hundred waited no longer; of several runs the worst.
    pub p99_ms: u64,
    /// The longest.
    pub max_ms: u64,
    /// For how many this is known.
    pub events: u64,
}

impl Late {
    /// Gathers waits.
    #[must_use]
    pub fn of(mut waits: Vec<Duration>) -> Self {
        waits.sort_unstable();
        Self {
            p50_ms: quantile(&waits, 50),
            p99_ms: quantile(&waits, 99),
            max_ms: waits.last().copied().map(millis).unwrap_or_default(),
            events: count(&waits),
        }
    }

    /// Joins those of several runs.
    #[must_use]
    pub fn join(each: &[&Self]) -> Self {
        each.iter().fold(Self::default(), |sum, it| Self {
            p50_ms: sum.p50_ms.max(it.p50_ms),
            p99_ms: sum.p99_ms.max(it.p99_ms),
            max_ms: sum.max_ms.max(it.max_ms),
            events: sum.events + it.events,
        })
    }
}

/// Questions to the mesh, and what came of them.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Queries {
    /// Asked.
    pub asked: u64,
    /// Answered by the owners of all shards needed.
    pub complete: u64,
    /// Answered with shards named that are stale or missing.
    pub partial: u64,
    /// Refused with a reason.
    pub refused: BTreeMap<String, u64>,
    /// Not answered.
    pub unanswered: u64,
    /// Half of the answers took no longer, in microseconds; of several runs the worst.
    pub p50_us: u64,
    /// Ninety-nine of a hundred answers took no longer; of several runs the worst.
    pub p99_us: u64,
}

impl Queries {
    /// Gathers questions.
    #[must_use]
    pub fn of(queries: &[QuerySeen]) -> Self {
        let mut sum = Self { asked: count(queries), ..Self::default() };
        let mut took = Vec::new();
        for query in queries {
            match &query.answer {
                QueryAnswer::Answered { .. } => {
                    took.push(query.took);
                    let complete = u64::from(is_complete(&query.answer));
                    sum.complete += complete;
                    sum.partial += 1 - complete;
                }
                QueryAnswer::Refused(reason) => {
                    *sum.refused.entry(reason.to_string()).or_default() += 1;
                }
                QueryAnswer::Nothing => sum.unanswered += 1,
            }
        }
        took.sort_unstable();
        let micros = |percent| {
            let at = took.get(place(took.len(), percent)).copied().unwrap_or_default();
            u64::try_from(at.as_micros()).unwrap_or(u64::MAX)
        };
        Self { p50_us: micros(50), p99_us: micros(99), ..sum }
    }

    /// Joins those of several runs.
    #[must_use]
    pub fn join(each: &[&Self]) -> Self {
        each.iter().fold(Self::default(), |mut sum, it| {
            for (reason, times) in &it.refused {
                *sum.refused.entry(reason.clone()).or_default() += times;
            }
            Self {
                asked: sum.asked + it.asked,
                complete: sum.complete + it.complete,
                partial: sum.partial + it.partial,
                unanswered: sum.unanswered + it.unanswered,
                p50_us: sum.p50_us.max(it.p50_us),
                p99_us: sum.p99_us.max(it.p99_us),
                refused: sum.refused,
            }
        })
    }
}

fn quantile(sorted: &[Duration], percent: usize) -> u64 {
    sorted.get(place(sorted.len(), percent)).copied().map(millis).unwrap_or_default()
}

const fn place(len: usize, percent: usize) -> usize {
    len.saturating_sub(1) * percent / 100
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Returns a time in seconds, to the millisecond.
pub(super) fn seconds(time: Duration) -> f64 {
    Duration::from_millis(millis(time)).as_secs_f64()
}

pub(super) fn count(things: impl IntoIterator) -> u64 {
    u64::try_from(things.into_iter().count()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_has_a_middle_and_an_end() {
        let spread = Spread::of([30, 10, 20].map(Duration::from_millis).into_iter());
        assert_eq!((spread.median_ms, spread.max_ms), (Some(20), Some(30)));
        let none = Spread::of(std::iter::empty());
        assert_eq!((none.median_ms, none.max_ms), (None, None));
        assert_eq!(Spread::join(&[&spread, &none, &spread]).all_ms.len(), 6);
    }

    #[test]
    fn every_question_is_counted_once() {
        let answers = [
            QueryAnswer::Answered { is_complete: true, answered: 1, stale: 0, missing: 0 },
            QueryAnswer::Answered { is_complete: false, answered: 0, stale: 1, missing: 0 },
            QueryAnswer::Refused("busy".into()),
            QueryAnswer::Nothing,
        ];
        let at = Duration::ZERO;
        let seen = answers.map(|answer| QuerySeen { at, took: at, shards_needed: 1, answer });
        let sum = Queries::of(&seen);
        assert_eq!((sum.asked, sum.complete, sum.partial, sum.unanswered), (4, 1, 1, 1));
        assert_eq!(sum.refused.get("busy"), Some(&1));
        assert_eq!(Queries::join(&[&sum, &sum]).asked, 8);
    }
}
