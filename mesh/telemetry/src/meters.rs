//! Where components register what can be read of them.

mod histogram;
mod prometheus;
mod sheet;

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
};

use crate::{
    label::Labels,
    metric::{Metric, MetricKind},
};

pub use histogram::Histogram;
pub(crate) use histogram::Links;
use histogram::{Buckets, HistogramReading};
pub use sheet::{Reading, Sheet};

/// One series: a metric and its labels.
pub(crate) type Series = (Metric, Labels);

type Ask = Arc<dyn Fn(&mut Sheet) + Send + Sync>;

/// All that can be read of this process. Cloning shares it.
///
/// # Invariant
/// A look asks every observer once, so what one observer writes is of one moment.
#[derive(Clone, Default)]
pub struct Meters(Arc<Registry>);

#[derive(Default)]
struct Registry {
    observers: Mutex<BTreeMap<u64, Ask>>,
    observers_made: AtomicU64,
    counters: Mutex<BTreeMap<Series, Counter>>,
    histograms: Mutex<BTreeMap<Series, Arc<Buckets>>>,
    /// Set once if the same figures also leave by OTLP.
    links: OnceLock<Links>,
}

impl fmt::Debug for Meters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Meters").field("observers", &lock(&self.0.observers).len()).finish()
    }
}

impl Meters {
    /// Makes an empty registry.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks `read` for the value of a series whenever somebody looks, until the observer is dropped.
    ///
    /// `read` is called on whatever thread looks: it is short, and does not wait.
    #[must_use = "dropping the observer ends it; call keep() for one that stays"]
    pub fn observe<R: Into<Reading>>(
        &self,
        metric: Metric,
        labels: impl Into<Labels>,
        read: impl Fn() -> R + Send + Sync + 'static,
    ) -> Observer {
        let labels = labels.into();
        self.observe_all(move |sheet| sheet.set(metric, labels, read()))
    }

    /// Asks `read` for several series at once, so that they are of one moment.
    #[must_use = "dropping the observer ends it; call keep() for one that stays"]
    pub fn observe_all(&self, read: impl Fn(&mut Sheet) + Send + Sync + 'static) -> Observer {
        let number = self.0.observers_made.fetch_add(1, Ordering::Relaxed);
        lock(&self.0.observers).insert(number, Arc::new(read));
        Observer { registry: Arc::downgrade(&self.0), number }
    }

    /// Returns the counter of a series; asking twice gives the same one.
    #[must_use]
    pub fn counter(&self, metric: Metric, labels: impl Into<Labels>) -> Counter {
        debug_assert_eq!(metric.kind(), MetricKind::Counter, "{metric:?}");
        let series = sheet::series(metric, labels.into());
        lock(&self.0.counters).entry(series).or_default().clone()
    }

    /// Returns the histogram of a series; asking twice gives the same one.
    #[must_use]
    pub fn histogram(&self, metric: Metric, labels: impl Into<Labels>) -> Histogram {
        debug_assert_eq!(metric.kind(), MetricKind::Histogram, "{metric:?}");
        let series = sheet::series(metric, labels.into());
        let buckets = Arc::clone(lock(&self.0.histograms).entry(series).or_default());
        Histogram::new(series, buckets, self.clone())
    }

    /// Returns all figures as Prometheus text, version 0.0.4.
    #[must_use]
    pub fn prometheus(&self) -> String {
        let readings = lock(&self.0.histograms);
        let histograms: BTreeMap<_, _> =
            readings.iter().map(|(series, buckets)| (*series, buckets.read())).collect();
        drop(readings);
        prometheus::text(&self.look(), &histograms)
    }

    /// Asks everybody once.
    pub(crate) fn look(&self) -> Sheet {
        // Outside of the lock: an observer may use these meters.
        let observers: Vec<_> = lock(&self.0.observers).values().map(Arc::clone).collect();
        let mut sheet = Sheet::default();
        for observer in observers {
            observer(&mut sheet);
        }
        for (&(metric, labels), counter) in &*lock(&self.0.counters) {
            sheet.set(metric, labels, counter.get());
        }
        sheet
    }

    /// Also records histograms with `links` from now on. Says whether this was the first time.
    pub(crate) fn link(&self, links: Links) -> bool {
        self.0.links.set(links).is_ok()
    }

    fn links(&self) -> Option<&Links> {
        self.0.links.get()
    }
}

/// Something that is asked when somebody looks. Dropping it ends that.
#[derive(Debug)]
pub struct Observer {
    registry: Weak<Registry>,
    number: u64,
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Registry")
    }
}

impl Observer {
    /// Lets it be asked as long as the meters live.
    pub fn keep(mut self) {
        self.registry = Weak::new();
    }
}

impl Drop for Observer {
    fn drop(&mut self) {
        if let Some(registry) = self.registry.upgrade() {
            // Taken out first: what it holds may drop an observer of its own.
            let ended = lock(&registry.observers).remove(&self.number);
            drop(ended);
        }
    }
}

/// A number that only grows.
#[derive(Debug, Clone, Default)]
pub struct Counter(Arc<AtomicU64>);

impl Counter {
    /// Adds to it.
    pub fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    /// Returns it.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
