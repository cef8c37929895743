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

/// How far above its median a sample must be, where it is not known how much it swings: memory
/// grows by itself.
const MEDIAN_TIMES: f64 = 4.0;

/// How far above the highest remembered.
const HIGHEST_TIMES: f64 = 1.5;

/// How many times its usual swing above its median a CPU must be.
const SWINGS: f64 = 10.0;

/// The median of how far samples are from their median, as a standard deviation.
const DEVIATION: f64 = 1.4826;

/// A swing is no smaller than this share of the median, and than this: few samples show little.
const SWING_SHARE_MIN: f64 = 0.1;
const SWING_MIN: f64 = 0.005;

/// A CPU that is used more than ever, but not up, rose if it is so far above the highest...
const RISEN_TIMES: f64 = 2.0;

/// ...of so many samples (the highest of a few is not high, and every CPU has its minutes)...
const RISEN_SAMPLES_MIN: usize = 20;

/// ...and by such a share of its limit. Nobody need suffer from that.
const RISEN_BY: f64 = 0.1;

/// It is far up by itself from this share of its limit on...
const FAR: f64 = 0.3;

/// ...so far above the highest...
const FAR_TIMES: f64 = 4.0;

/// ...in so many samples in a row: a job that is done within a minute is nobody's trouble.
const FAR_SAMPLES: u32 = 2;

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
    /// Whether its limit is reached.
    pub(crate) is_limit: bool,
    /// Whether that says enough by itself; else the service must be seen to be slower too.
    pub(crate) is_sure: bool,
    seen: Timestamp,
}

/// How high a sample is above what was usual.
#[derive(Debug, Clone, Copy, PartialEq)]
struct High {
    usual: f64,
    is_limit: bool,
    is_sure: bool,
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
            match series.take(*value, resource) {
                None => drop(self.reached.remove(&key)),
                Some(High { usual, is_limit, is_sure }) => {
                    let since = self.reached.get(&key).map_or(event.time, |known| known.since);
                    let reached = Reached {
                        service: service.clone(),
                        place: Arc::clone(&event.place),
                        resource,
                        before: usual,
                        now: *value,
                        since,
                        is_limit,
                        is_sure,
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
    /// Takes a sample in; returns what was usual if this one is far above it.
    fn take(&mut self, value: f64, resource: &str) -> Option<High> {
        let known: Vec<_> = self.samples.iter().copied().collect();
        let high = height(&known, value, resource == "cpu");
        if let Some(high) = high.filter(|_| self.held < HELD_MAX) {
            self.held += 1;
            let is_sure = high.is_sure && (high.is_limit || self.held >= FAR_SAMPLES);
            return Some(High { is_sure, ..high });
        }
        self.held = 0;
        self.samples.push_back(value);
        if self.samples.len() > SAMPLES_MAX {
            self.samples.pop_front();
        }
        None
    }
}

/// Returns how high a sample is above what was usual, if it is.
fn height(known: &[f64], value: f64, is_cpu: bool) -> Option<High> {
    let usual = median(known).filter(|_| known.len() >= SAMPLES_MIN)?;
    let apart: Vec<_> = known.iter().map(|it| (it - usual).abs()).collect();
    let swing = (median(&apart)? * DEVIATION).max(usual * SWING_SHARE_MIN).max(SWING_MIN);
    let highest = known.iter().copied().fold(0.0, f64::max);
    let is_above = value > usual * MEDIAN_TIMES || (is_cpu && value > usual + swing * SWINGS);
    let is_limit = value >= REACHED && is_above && value > highest * HIGHEST_TIMES;
    let is_up = value > highest * RISEN_TIMES && value > usual + RISEN_BY;
    let is_risen = is_cpu && is_above && is_up && known.len() >= RISEN_SAMPLES_MIN;
    let is_far = is_risen && value >= FAR && value > highest * FAR_TIMES;
    let is_sure = is_limit || is_far;
    (is_limit || is_risen).then_some(High { usual, is_limit, is_sure })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A series that was like this.
    fn series(samples: &[f64], resource: &str) -> Series {
        let mut series = Series::default();
        for value in samples {
            assert_eq!(series.take(*value, resource), None);
        }
        series
    }

    fn told(high: Option<High>) -> [bool; 3] {
        [high.is_some(), high.is_some_and(|it| it.is_sure), high.is_some_and(|it| it.is_limit)]
    }

    #[test]
    fn a_limit_is_reached_by_what_was_far_below_it() {
        let mut series = series(&[0.01; SAMPLES_MIN], "cpu");
        assert_eq!(told(series.take(0.99, "cpu")), [true, true, true]);
        assert_eq!(told(series.take(0.99, "cpu")), [true, true, true]);
        assert_eq!(told(series.take(0.02, "cpu")), [false; 3]);
    }

    #[test]
    fn a_cpu_that_rose_is_told_once_it_stays_up_or_with_a_slower_service() {
        let mut far = series(&[0.01; RISEN_SAMPLES_MIN], "cpu");
        assert_eq!(told(far.take(0.45, "cpu")), [true, false, false]);
        assert_eq!(told(far.take(0.45, "cpu")), [true, true, false]);
        let mut risen = series(&[0.05, 0.06, 0.04, 0.05, 0.06].repeat(4), "cpu");
        for _ in 0..3 {
            assert_eq!(told(risen.take(0.2, "cpu")), [true, false, false]);
        }
        let mut memory = series(&[0.01; RISEN_SAMPLES_MIN], "memory");
        assert_eq!(told(memory.take(0.45, "memory")), [false; 3]);
        let mut young = series(&[0.01; RISEN_SAMPLES_MIN - 1], "cpu");
        assert_eq!(told(young.take(0.45, "cpu")), [false; 3]);
    }

    #[test]
    fn how_much_a_cpu_swings_is_learnt() {
        let mut steady = series(&[0.30, 0.32, 0.31, 0.29, 0.33, 0.30], "cpu");
        assert_eq!(told(steady.take(0.95, "cpu")), [true, true, true]);
        let mut restless = series(&[0.1, 0.6, 0.2, 0.5, 0.3, 0.4], "cpu");
        assert_eq!(told(restless.take(0.95, "cpu")), [false; 3]);
        // Memory that grew with what it holds is no news.
        let mut memory = series(&[0.30, 0.32, 0.31, 0.29, 0.33, 0.30], "memory");
        assert_eq!(told(memory.take(0.75, "memory")), [false; 3]);
    }

    #[test]
    fn what_was_always_busy_is_no_news_and_what_stays_is_normal() {
        let mut busy = Series::default();
        assert!((0..50).all(|_| busy.take(0.9, "cpu").is_none()));
        let mut series = series(&[0.01; SAMPLES_MIN], "cpu");
        let told = (0..200).filter(|_| series.take(1.0, "cpu").is_some()).count();
        assert!(told <= 2 * usize::try_from(HELD_MAX).unwrap(), "{told}");
    }
}
