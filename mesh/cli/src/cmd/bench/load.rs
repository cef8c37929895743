//! Synthetic load: spans of small requests, as a service mesh would send them.

use std::{sync::Arc, time::Duration};

use tapio_model::{
    Attributes, Binding, Class, Event, EventId, Impact, Kind, Place, Severity, Source, SpanId,
    Timestamp, TraceContext, TraceId, Value, keys,
};

/// The load begins here; recorded time, not the clock's.
pub(crate) const BEGIN: Timestamp = Timestamp::from_secs(1_700_000_000);

/// Makes events one after the other: `traces` traces side by side take turns until each has had its
/// events, then the next `traces` begin.
///
/// Places and attribute keys are shared, as a collector shares them; values are not.
#[derive(Debug)]
pub(crate) struct Load {
    traces: u64,
    events_per_trace: u64,
    made: u64,
    places: Vec<Arc<Place>>,
    attributes: Attributes,
    step: Duration,
}

impl Load {
    /// Makes a load of `traces` concurrent traces of so many events each, `step` apart.
    pub(crate) fn new(traces: u64, events_per_trace: u64, step: Duration) -> Self {
        let place = |number: u32| {
            Arc::new(Place {
                namespace: Some("bench".into()),
                pod: Some(format!("pod-{number}").into()),
                pod_uid: Some(format!("uid-{number}").into()),
                service: Some(format!("service-{}", number % 8).into()),
                ..Place::default()
            })
        };
        let attributes: Attributes = [
            (keys::SPAN_NAME, Value::from("GET /cart")),
            (keys::SPAN_KIND, Value::from("server")),
            (keys::SPAN_STATUS, Value::from("unset")),
            (keys::DURATION, Value::from(1_250_000_i64)),
        ]
        .into_iter()
        .collect();
        let places = (0..64).map(place).collect();
        let (traces, events_per_trace) = (traces.max(1), events_per_trace.max(1));
        Self { traces, events_per_trace, made: 0, places, attributes, step }
    }

    /// Returns the number of events made so far.
    pub(crate) const fn made(&self) -> u64 {
        self.made
    }

    /// Makes the next event.
    pub(crate) fn next(&mut self) -> Arc<Event> {
        let nanos = u64::try_from(self.step.as_nanos()).unwrap_or(u64::MAX);
        let time = BEGIN.after(Duration::from_nanos(nanos.saturating_mul(self.made)));
        self.next_at(time)
    }

    /// Makes the next event, of a time of its own.
    pub(crate) fn next_at(&mut self, time: Timestamp) -> Arc<Event> {
        let number = self.made;
        let round = number / (self.traces * self.events_per_trace);
        let trace = round * self.traces + number % self.traces;
        self.made += 1;
        let place = usize::try_from(trace).unwrap_or_default() % self.places.len();
        let place = self.places.get(place).map(Arc::clone).unwrap_or_default();
        Arc::new(Event {
            id: EventId::from_bytes(spread(number, 1)),
            time,
            source: Source::Otlp,
            kind: Kind::Span,
            trace: TraceContext {
                trace_id: trace_id(trace),
                span_id: Some(SpanId::from_bytes(number.to_be_bytes())),
                parent_span_id: None,
                binding: Binding::Explicit,
            },
            place,
            severity: Severity::Info,
            impact: Impact::NONE,
            class: Class::Application,
            attributes: self.attributes.clone(),
        })
    }

    /// Makes the next `events` events.
    pub(crate) fn chunk(&mut self, events: u64) -> Vec<Arc<Event>> {
        (0..events).map(|_| self.next()).collect()
    }
}

/// Returns the id of the trace with this number.
pub(crate) fn trace_id(number: u64) -> TraceId {
    TraceId::from_bytes(spread(number, 0))
}

/// Spreads a number over sixteen bytes, so that ids look like ids and hash like them.
fn spread(number: u64, salt: u64) -> [u8; 16] {
    let mix = |mut x: u64| {
        // SplitMix64's finaliser: every bit of the number reaches every bit of the id.
        x ^= x >> 30;
        x = x.wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x ^= x >> 27;
        x = x.wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    };
    let high = mix(number.wrapping_add(0x9e37_79b9_7f4a_7c15) ^ (salt << 56));
    let low = number ^ (salt << 60);
    (u128::from(high) << 64 | u128::from(low)).to_be_bytes()
}
