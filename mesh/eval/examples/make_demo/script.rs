//! Events on their way into the recording: shapes, times and arrival.

use std::{collections::BTreeMap, sync::Arc};

use tapio_model::{
    Attributes, Binding, Class, Impact, Kind, Place, Severity, Source, SpanId, Text, Timestamp,
    TraceContext, TraceId, Value, keys,
};
use tapio_wire::EventJson;

/// 2026-11-20T02:47:00Z, in milliseconds.
const BEGIN_MS: i64 = 1_795_142_820_000;

/// An event before it is given out.
#[derive(Debug, Clone)]
pub(crate) struct Draft(EventJson);

/// What has been written so far.
#[derive(Debug)]
pub(crate) struct Script {
    /// By arrival, then in the order of writing.
    events: BTreeMap<(Timestamp, usize), EventJson>,
    seed: u64,
}

/// Where the numbers of what is kept begin.
pub(crate) const SEED: u64 = 0x7461_7069_6f21;

impl Script {
    pub(crate) const fn new(seed: u64) -> Self {
        Self { events: BTreeMap::new(), seed }
    }

    /// Writes an event; it arrives as long after its time as its source usually takes.
    pub(crate) fn add(&mut self, Draft(event): Draft) {
        let lag = match event.source {
            Source::Kernel | Source::Network => 5,
            Source::Cgroup | Source::Journal => 120,
            Source::App => 180,
            Source::Kubernetes => 350,
            Source::Otlp | Source::Metrics => 900,
        };
        let arrival = event.time.as_nanos() + lag * 1_000_000;
        self.events.insert((Timestamp::from_nanos(arrival), self.events.len()), event);
    }

    pub(crate) fn by_arrival(self) -> impl Iterator<Item = EventJson> {
        self.events.into_values()
    }

    /// Returns the next number of the seed (`SplitMix64`).
    pub(crate) fn random(&mut self) -> u64 {
        self.seed = self.seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.seed ^ (self.seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Returns a number from `low` to `high`, in which both are included.
    pub(crate) fn between(&mut self, low: i64, high: i64) -> i64 {
        let width = high.abs_diff(low) + 1;
        low + i64::try_from(self.random() % width).unwrap_or_default()
    }

    pub(crate) fn trace_id(&mut self) -> TraceId {
        let bits = (u128::from(self.random()) << 64) | u128::from(self.random());
        TraceId::from_bytes(bits.to_be_bytes())
    }

    pub(crate) fn span_id(&mut self) -> SpanId {
        SpanId::from_bytes(self.random().to_be_bytes())
    }
}

impl Draft {
    /// Begins an event `at_us` microseconds after the recording begins.
    pub(crate) fn new(at_us: i64, source: Source, kind: Kind, place: &Arc<Place>) -> Self {
        Self(EventJson {
            id: None,
            time: Timestamp::from_nanos(BEGIN_MS * 1_000_000 + at_us * 1_000),
            source,
            kind,
            trace: None,
            place: Arc::clone(place),
            severity: Severity::Info,
            impact: Impact::NONE,
            class: Class::Other,
            attributes: Attributes::default(),
        })
    }

    pub(crate) const fn rated(mut self, severity: Severity, impact: f32, class: Class) -> Self {
        self.0.severity = severity;
        self.0.impact = Impact::new(impact);
        self.0.class = class;
        self
    }

    pub(crate) fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        let known = self.0.attributes.iter().map(|(key, value)| (key.clone(), value.clone()));
        let new = (Text::from(key), value.into());
        self.0.attributes = Attributes::new(known.chain([new]).collect::<Vec<_>>());
        self
    }

    pub(crate) fn message(self, text: impl Into<Text>) -> Self {
        self.with(keys::MESSAGE, Value::Text(text.into()))
    }

    pub(crate) const fn traced(mut self, trace_id: TraceId, span_id: SpanId) -> Self {
        self.0.trace = Some(TraceContext {
            trace_id,
            span_id: Some(span_id),
            parent_span_id: None,
            binding: Binding::Explicit,
        });
        self
    }

    pub(crate) fn called_by(mut self, parent: Option<SpanId>) -> Self {
        self.0.trace = self.0.trace.map(|trace| TraceContext { parent_span_id: parent, ..trace });
        self
    }
}
