//! Rates and change points in the shape of events.

use std::sync::Arc;

use tapio_model::{
    Attributes, Class, Event, EventId, Impact, Kind, Place, Severity, Source, Text, Timestamp,
    Value, keys,
};
use xxhash_rust::xxh3::xxh3_128;

use crate::{
    episode::trace_of,
    level::{Direction, Step},
    points::Point,
    rate::{RateStep, Signal},
};

/// Load is no fault, and a metric no verdict: nobody is woken for it before its trace is looked at.
const IMPACT: f32 = 0.4;

/// Returns the event that tells of a rate.
pub(crate) fn of_rate(rate: &RateStep, place: Arc<Place>, at: Timestamp) -> Event {
    let RateStep { service, signal, operation, step } = rate;
    let (before, now) = (step.before, step.now);
    let (signal, message) = match signal {
        Signal::Requests => {
            let message =
                format!("{service} gets {now:.1} requests a second; {before:.1} are usual");
            ("request_rate", message)
        }
        Signal::Errors => {
            let what = operation.as_ref().unwrap_or(service);
            let (now, before) = (now * 100.0, before * 100.0);
            let message = format!(
                "{now:.0} % of the requests to {what} fail by themselves; it was {before:.1} %"
            );
            ("error_rate", message)
        }
    };
    let mut event = event(signal, step, place, at);
    let mut more = vec![(keys::MESSAGE, Value::from(message))];
    more.extend(operation.clone().map(|name| (keys::SPAN_NAME, Value::Text(name))));
    describe(&mut event, more);
    event
}

/// Returns the event that tells of a change point.
pub(crate) fn of_point(point: &Point, at: Timestamp) -> Event {
    let Point { place, trace, metric, resource, step } = point;
    let change = if step.direction == Direction::Rose { "more" } else { "less" };
    let what = place.label();
    let message = format!(
        "{what} has {change} {resource}: {metric} is {}, and {} is usual",
        figure(step.now),
        figure(step.before)
    );
    let mut event = event(resource, step, Arc::clone(place), at);
    event.source = Source::Metrics;
    event.class = match *resource {
        "cpu" => Class::Cpu,
        "memory" => Class::Memory,
        "network" => Class::Network,
        _ => Class::Storage,
    };
    event.trace = trace.unwrap_or(event.trace);
    let metric = Value::Text(metric.clone());
    describe(&mut event, vec![(keys::MESSAGE, message.into()), (keys::ANOMALY_METRIC, metric)]);
    event
}

fn event(signal: &str, step: &Step, place: Arc<Place>, at: Timestamp) -> Event {
    Event {
        id: EventId::default(),
        time: at,
        source: Source::Otlp,
        kind: Kind::Anomaly,
        trace: trace_of(&place),
        place,
        severity: Severity::Warn,
        impact: Impact::new(IMPACT),
        class: Class::Application,
        attributes: Attributes::new(
            [
                (keys::ANOMALY_SIGNAL, Value::from(signal)),
                (keys::ANOMALY_CHANGE, step.direction.name().into()),
                (keys::ANOMALY_SCORE, Value::Float(step.score)),
                (keys::ANOMALY_BEFORE, Value::Float(step.before)),
                (keys::ANOMALY_AFTER, Value::Float(step.now)),
            ]
            .map(|(key, value)| (Text::from(key), value)),
        ),
    }
}

/// Adds what else is known, and gives the event the id that follows from all of it.
fn describe(event: &mut Event, more: Vec<(&str, Value)>) {
    let known = event.attributes.iter().map(|(key, value)| (key.clone(), value.clone()));
    let more = more.into_iter().map(|(key, value)| (Text::from(key), value));
    event.attributes = Attributes::new(known.chain(more));
    let text = |key| event.attributes.text(key).unwrap_or_default();
    let parts = [
        &*event.place.label(),
        text(keys::ANOMALY_SIGNAL),
        text(keys::ANOMALY_CHANGE),
        text(keys::SPAN_NAME),
        text(keys::ANOMALY_METRIC),
        &event.time.as_nanos().to_string(),
        &event.trace.trace_id.to_string(),
    ];
    event.id = EventId::from_bytes(xxh3_128(parts.join("\u{0}").as_bytes()).to_be_bytes());
}

/// Writes a number as people would: shares with digits, bytes without.
fn figure(number: f64) -> String {
    if number.abs() < 100.0 { format!("{number:.2}") } else { format!("{number:.0}") }
}
