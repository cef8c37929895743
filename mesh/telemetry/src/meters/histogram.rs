//! How often what took how long.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use opentelemetry::{KeyValue, metrics::Histogram as OtelHistogram};

use super::{Meters, Series};
use crate::metric::{BOUNDS, Metric};

/// The histograms that leave by OTLP.
pub(crate) type Links = BTreeMap<Metric, OtelHistogram<f64>>;

/// Records durations of one series. Cloning shares it.
#[derive(Clone)]
pub struct Histogram {
    metric: Metric,
    buckets: Arc<Buckets>,
    attributes: Arc<[KeyValue]>,
    meters: Meters,
}

impl fmt::Debug for Histogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Histogram").field("metric", &self.metric).finish_non_exhaustive()
    }
}

impl Histogram {
    pub(super) fn new((metric, labels): Series, buckets: Arc<Buckets>, meters: Meters) -> Self {
        let attributes =
            labels.iter().map(|label| KeyValue::new(label.key().name(), label.value()));
        Self { metric, buckets, attributes: attributes.collect(), meters }
    }

    /// Records that something took `time`.
    pub fn record(&self, time: Duration) {
        self.buckets.record(time);
        if let Some(link) = self.meters.links().and_then(|links| links.get(&self.metric)) {
            link.record(time.as_secs_f64(), &self.attributes);
        }
    }
}

/// Counts by upper bound. The last has none.
#[derive(Debug, Default)]
pub(super) struct Buckets {
    counts: [AtomicU64; BOUNDS.len() + 1],
    sum_ns: AtomicU64,
}

impl Buckets {
    fn record(&self, time: Duration) {
        let place = BOUNDS.iter().position(|bound| time <= *bound).unwrap_or(BOUNDS.len());
        // Sum first: a reader in between sees a sum that is ahead, never a count without its time.
        self.sum_ns
            .fetch_add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
        if let Some(count) = self.counts.get(place) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn read(&self) -> HistogramReading {
        let mut total = 0;
        let cumulative = self.counts.each_ref().map(|count| {
            total += count.load(Ordering::Relaxed);
            total
        });
        let sum = Duration::from_nanos(self.sum_ns.load(Ordering::Relaxed));
        HistogramReading { cumulative, total, sum }
    }
}

/// A histogram of one moment.
#[derive(Debug, Clone, Copy)]
pub(super) struct HistogramReading {
    /// How many took at most the bound of that place.
    pub(super) cumulative: [u64; BOUNDS.len() + 1],
    /// How many there were.
    pub(super) total: u64,
    /// How long all took together.
    pub(super) sum: Duration,
}
