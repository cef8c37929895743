//! Metrics that leave the range in which they were.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use tapio_model::{Event, Place, Text, Timestamp, Value};

use crate::{BaselineLimits, assembly::service_of, latency::median};

/// Samples that are remembered: an hour of minutes.
const SAMPLES_MAX: usize = 60;

/// Samples that must be known.
const SAMPLES_MIN: usize = 5;

/// A limit counts as reached from this share on: throttling and stalls begin before the last tenth.
const REACHED: f64 = 0.7;

/// How far above its median a sample must be.
const MEDIAN_TIMES: f64 = 4.0;

/// How far above the highest remembered.
const HIGHEST_TIMES: f64 = 1.5;

/// How long a sample speaks for: the interval of a slow scraper, and a little.
const SPEAKS_FOR: Duration = Duration::from_secs(100);

/// Samples out of range that are not learnt; what stays is normal afterwards.
const HELD_MAX: u32 = 30;

/// Metrics that are shares of a limit, by the end of their names, and the resource they speak of.
///
/// # Source
/// OpenTelemetry Collector, kubeletstats receiver: `k8s.pod.cpu_limit_utilization` and its like.
const UTILIZATIONS: [(&str, &str); 2] =
    [("cpu_limit_utilization", "cpu"), ("memory_limit_utilization", "memory")];

/// A resource that is used up.
#[derive(Debug, Clone)]
pub(crate) struct Reached {
    pub(crate) service: Text,
    pub(crate) place: Arc<Place>,
    pub(crate) resource: &'static str,
    pub(crate) before: f64,
    pub(crate) now: f64,
    pub(crate) since: Timestamp,
    seen: Timestamp,
}

/// What a series was.
#[derive(Debug, Default)]
struct Series {
    samples: VecDeque<f64>,
    held: u32,
}

/// Series are known by place (its label) and name.
type Key = (Text, Text);

/// The series of metrics that are watched.
#[derive(Debug, Default)]
pub(crate) struct AllSeries {
    by_key: BTreeMap<Key, Series>,
    reached: BTreeMap<Key, Reached>,
}

impl AllSeries {
    /// Takes a sample in.
    pub(crate) fn take(&mut self, event: &Event, limits: &BaselineLimits) {
        let Some(service) = service_of(event) else { return };
        for (name, value) in event.attributes.iter() {
            let Value::Float(value) = value else { continue };
            let resource = UTILIZATIONS.iter().find(|(end, _)| name.ends_with(end));
            let Some((_, resource)) = resource else { continue };
            let key = (Text::from(event.place.label()), name.clone());
            if !self.by_key.contains_key(&key) && self.by_key.len() >= limits.series_max {
                continue;
            }
            let series = self.by_key.entry(key.clone()).or_default();
            match series.take(*value) {
                None => drop(self.reached.remove(&key)),
                Some(before) => {
                    let since = self.reached.get(&key).map_or(event.time, |known| known.since);
                    let reached = Reached {
                        service: service.clone(),
                        place: Arc::clone(&event.place),
                        resource,
                        before,
                        now: *value,
                        since,
                        seen: event.time,
                    };
                    self.reached.insert(key, reached);
                }
            }
        }
    }

    /// Says whether no sample speaks for the present any more.
    pub(crate) fn is_quiet(&self, now: Timestamp) -> bool {
        self.reached(now).next().is_none()
    }

    /// Returns the resources that are used up by the latest samples.
    pub(crate) fn reached(&self, now: Timestamp) -> impl Iterator<Item = &Reached> {
        self.reached.values().filter(move |reached| now.since(reached.seen) < SPEAKS_FOR)
    }
}

impl Series {
    /// Takes a sample in; returns what was usual if this one is far above it and near the limit.
    fn take(&mut self, value: f64) -> Option<f64> {
        let known: Vec<_> = self.samples.iter().copied().collect();
        let usual = median(&known).filter(|_| known.len() >= SAMPLES_MIN);
        let highest = known.iter().copied().fold(0.0, f64::max);
        let is_reached = usual.is_some_and(|usual| {
            value >= REACHED && value > usual * MEDIAN_TIMES && value > highest * HIGHEST_TIMES
        });
        if is_reached && self.held < HELD_MAX {
            self.held += 1;
            return usual;
        }
        self.held = 0;
        self.samples.push_back(value);
        if self.samples.len() > SAMPLES_MAX {
            self.samples.pop_front();
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_reached_by_what_was_far_below_it() {
        let mut series = Series::default();
        for _ in 0..SAMPLES_MIN {
            assert_eq!(series.take(0.01), None);
        }
        assert_eq!(series.take(0.45), None, "a peak far from the limit");
        assert_eq!(series.take(0.99), Some(0.01));
        assert_eq!(series.take(0.99), Some(0.01));
        assert_eq!(series.take(0.02), None);
    }

    #[test]
    fn what_was_always_busy_is_no_news_and_what_stays_is_normal() {
        let mut busy = Series::default();
        assert!((0..50).all(|_| busy.take(0.9).is_none()));
        let mut series = Series::default();
        assert!((0..SAMPLES_MIN).all(|_| series.take(0.01).is_none()));
        let told = (0..200).filter(|_| series.take(1.0).is_some()).count();
        assert!(told <= 2 * usize::try_from(HELD_MAX).unwrap(), "{told}");
    }
}
