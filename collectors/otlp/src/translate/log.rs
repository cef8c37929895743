//! Log records.

use std::borrow::Cow;

use opentelemetry_proto::tonic::logs::v1::LogRecord;
use prost::Message as _;
use tapio_collect::{TraceParent, Unbound, event_id, find_trace_context};
use tapio_model::{Class, EventId, Kind, Severity, Source, Timestamp, keys};

use super::{
    attributes::{Writer, find, find_text, text},
    origin::{Origin, bytes},
    span::{span_id, time, trace_id, write_exception},
};
use crate::Limits;

/// The part of a message that is searched for a trace context.
const SEARCHED_BYTES_MAX: usize = 16 << 10;

/// Translates a log record. One without a time happened when it was observed, or `received_at`.
pub(crate) fn translate_log(
    origin: &Origin,
    record: &LogRecord,
    received_at: Timestamp,
    limits: &Limits,
) -> Unbound {
    let attributes = &record.attributes;
    let is_exception = find(attributes, &["exception.type", "exception.message"]).is_some()
        || find(attributes, &[keys::STACKTRACE]).is_some();
    let kind = if is_exception { Kind::Exception } else { Kind::Log };
    let at = time(record.time_unix_nano)
        .or_else(|| time(record.observed_time_unix_nano))
        .unwrap_or(received_at);
    let message = message(record);

    let mut event =
        Unbound::new(id(origin, record), at, Source::Otlp, kind).at(origin.place.clone());
    let context = context(record, message.as_deref());
    event.trace_id = context.map(|context| context.trace_id);
    event.span_id = context.and_then(|context| context.span_id);
    let severity = severity(record, is_exception);
    let (impact, class) = rate(severity);
    let mut writer = Writer::new(event.rated(severity, impact, class), *limits);
    writer.text(keys::MESSAGE, message);
    writer.text(keys::LOGGER, Some(&*origin.scope));
    writer.text("event.name", Some(&record.event_name));
    write_exception(&mut writer, attributes, limits);
    writer.rest(attributes, record.dropped_attributes_count);
    writer.finish()
}

fn message(record: &LogRecord) -> Option<Cow<'_, str>> {
    let body = record.body.as_ref().and_then(|body| body.value.as_ref());
    body.and_then(text)
        .filter(|body| !body.is_empty())
        .or_else(|| find_text(&record.attributes, &["exception.message"]))
}

/// Returns the trace context of the record, or of its message: a logger that is not instrumented
/// may still have written it there.
fn context(record: &LogRecord, message: Option<&str>) -> Option<TraceParent> {
    let own = trace_id(&record.trace_id)
        .map(|trace_id| TraceParent { trace_id, span_id: span_id(&record.span_id) });
    own.or_else(|| {
        let message = message?;
        find_trace_context(message.get(..message.floor_char_boundary(SEARCHED_BYTES_MAX))?)
    })
}

/// Derives the id from everything the source said. The observed time is not part of it: a
/// collector that reads a file again observes the same line later.
fn id(origin: &Origin, record: &LogRecord) -> EventId {
    event_id(&[
        b"log",
        origin.resource_id.as_bytes(),
        origin.scope.as_bytes(),
        &record.trace_id,
        &record.span_id,
        &record.time_unix_nano.to_le_bytes(),
        &record.severity_number.to_le_bytes(),
        record.severity_text.as_bytes(),
        record.event_name.as_bytes(),
        &record.body.as_ref().map(|body| body.encode_to_vec()).unwrap_or_default(),
        &bytes(&record.attributes),
    ])
}

/// Reads the severity, by number before text.
///
/// # Source
/// <https://opentelemetry.io/docs/specs/otel/logs/data-model/#field-severitynumber>
fn severity(record: &LogRecord, is_exception: bool) -> Severity {
    match record.severity_number {
        1..=4 => Severity::Trace,
        5..=8 => Severity::Debug,
        9..=12 => Severity::Info,
        13..=16 => Severity::Warn,
        17..=20 => Severity::Error,
        21..=24 => Severity::Fatal,
        _ => Severity::from_name(record.severity_text.trim()).unwrap_or(if is_exception {
            Severity::Error
        } else {
            Severity::Info
        }),
    }
}

const fn rate(severity: Severity) -> (f32, Class) {
    match severity {
        Severity::Trace | Severity::Debug | Severity::Info => (0.0, Class::Other),
        Severity::Warn => (0.1, Class::Application),
        Severity::Error => (0.4, Class::Application),
        Severity::Fatal => (0.6, Class::Application),
    }
}

#[cfg(test)]
mod tests;
