//! The same figures as OpenTelemetry instruments.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use opentelemetry::{
    KeyValue,
    metrics::{AsyncInstrument, Meter},
};

use crate::{
    label::Labels,
    meters::{Links, Meters, Reading, Sheet},
    metric::{BOUNDS, Metric, MetricKind, Unit},
};

/// Makes an instrument of every metric. Says whether `meters` had none before.
pub(super) fn link(meter: &Meter, meters: &Meters) -> bool {
    let histograms = Metric::ALL.iter().filter(|metric| metric.kind() == MetricKind::Histogram);
    let links: Links = histograms.map(|metric| (*metric, histogram(meter, *metric))).collect();
    if !meters.link(links) {
        return false;
    }
    let rounds = Arc::new(Rounds { meters: meters.clone(), last: Mutex::default() });
    for metric in Metric::ALL {
        observe(meter, *metric, Round { rounds: Arc::clone(&rounds), seen: AtomicU64::new(0) });
    }
    true
}

fn histogram(meter: &Meter, metric: Metric) -> opentelemetry::metrics::Histogram<f64> {
    meter
        .f64_histogram(metric.name())
        .with_unit(metric.unit().ucum())
        .with_description(metric.help())
        .with_boundaries(BOUNDS.iter().map(std::time::Duration::as_secs_f64).collect())
        .build()
}

/// Looks once for all instruments of one export, so that what leaves together is of one moment.
#[derive(Debug)]
struct Rounds {
    meters: Meters,
    last: Mutex<(u64, Arc<Sheet>)>,
}

/// One instrument's part in the rounds.
#[derive(Debug)]
struct Round {
    rounds: Arc<Rounds>,
    /// The last look it used. The SDK asks each instrument once an export: whoever has used the
    /// last look already is the first of the next export.
    seen: AtomicU64,
}

impl Round {
    fn sheet(&self) -> Arc<Sheet> {
        let mut last = self.rounds.last.lock().unwrap_or_else(PoisonError::into_inner);
        if self.seen.load(Ordering::Relaxed) == last.0 {
            *last = (last.0 + 1, Arc::new(self.rounds.meters.look()));
        }
        self.seen.store(last.0, Ordering::Relaxed);
        Arc::clone(&last.1)
    }
}

fn observe(meter: &Meter, metric: Metric, round: Round) {
    let (name, unit, help) = (metric.name(), metric.unit().ucum(), metric.help());
    macro_rules! build {
        ($builder:ident, $value:expr) => {{
            let builder = meter.$builder(name).with_unit(unit).with_description(help);
            let tell = move |to: &dyn AsyncInstrument<_>| tell(&round, metric, to, $value);
            // The SDK keeps the callback; the instrument itself is a token that nobody needs.
            let _token = builder.with_callback(tell).build();
        }};
    }
    match (metric.kind(), metric.unit()) {
        (MetricKind::Histogram, _) => {}
        (MetricKind::Counter, Unit::Seconds) => build!(f64_observable_counter, seconds),
        (MetricKind::Counter, Unit::Count | Unit::Bytes) => build!(u64_observable_counter, count),
        (MetricKind::Level | MetricKind::Peak, Unit::Seconds) => {
            build!(f64_observable_gauge, seconds);
        }
        (MetricKind::Level, Unit::Count | Unit::Bytes) => {
            build!(i64_observable_up_down_counter, signed);
        }
        (MetricKind::Peak, Unit::Count | Unit::Bytes) => build!(u64_observable_gauge, count),
    }
}

fn tell<T>(round: &Round, metric: Metric, to: &dyn AsyncInstrument<T>, of: fn(Reading) -> T) {
    for (labels, value) in round.sheet().of(metric) {
        to.observe(of(value), &attributes(labels));
    }
}

fn attributes(labels: Labels) -> Vec<KeyValue> {
    labels.iter().map(|label| KeyValue::new(label.key().name(), label.value())).collect()
}

fn seconds(value: Reading) -> f64 {
    match value {
        Reading::Time(time) => time.as_secs_f64(),
        Reading::Count(_) => 0.0,
    }
}

fn count(value: Reading) -> u64 {
    match value {
        Reading::Count(count) => count,
        Reading::Time(_) => 0,
    }
}

fn signed(value: Reading) -> i64 {
    i64::try_from(count(value)).unwrap_or(i64::MAX)
}
