//! Spans, and the exceptions recorded in them.

use opentelemetry_proto::tonic::{
    common::v1::KeyValue,
    trace::v1::{
        Span,
        span::{Event as SpanEvent, SpanKind},
        status::StatusCode,
    },
};
use tapio_collect::{Unbound, event_id};
use tapio_model::{Class, Kind, Severity, Source, SpanId, Timestamp, TraceId, keys};

use super::{
    attributes::{Writer, find_int, find_text},
    origin::Origin,
};
use crate::Limits;

/// Number of exceptions of a span that were left out.
const EXCEPTIONS_DROPPED: &str = "tapio.otlp.dropped_exceptions";

/// Why a span cannot be told as an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Malformed {
    /// Its trace id is no trace id.
    #[error("a trace id is not 16 bytes of which one is not zero")]
    TraceId,
    /// Its span id is no span id.
    #[error("a span id is not 8 bytes of which one is not zero")]
    SpanId,
    /// Nobody knows when it was.
    #[error("a span has neither an end nor a start before the year 2262")]
    Time,
}

/// Translates a span: the span itself, then the exceptions recorded in it.
///
/// # Errors
/// [`Malformed`].
pub(crate) fn translate_span(
    origin: &Origin,
    span: &Span,
    limits: &Limits,
) -> Result<Vec<Unbound>, Malformed> {
    let trace_id = trace_id(&span.trace_id).ok_or(Malformed::TraceId)?;
    let span_id = span_id(&span.span_id).ok_or(Malformed::SpanId)?;
    let start = time(span.start_time_unix_nano);
    let end = time(span.end_time_unix_nano).or(start).ok_or(Malformed::Time)?;

    let id = event_id(&[trace_id.as_bytes(), span_id.as_bytes(), b"span"]);
    let mut event = Unbound::new(id, end, Source::Otlp, Kind::Span).at(origin.place.clone());
    event.trace_id = Some(trace_id);
    event.span_id = Some(span_id);
    event.parent_span_id = self::span_id(&span.parent_span_id);
    let (severity, impact, class) = rate(span, event.parent_span_id.is_none());
    let event = event.rated(severity, impact, class);

    let exceptions = || span.events.iter().filter(|event| event.name == "exception");
    let mut writer = Writer::new(event.clone(), *limits);
    write(&mut writer, span, origin);
    writer.int(keys::DURATION, start.map(|start| nanos(start, end)));
    if find_text(&span.attributes, &[keys::ERROR_TYPE]).is_none() {
        let first = exceptions().next();
        writer.text(
            keys::ERROR_TYPE,
            first.and_then(|first| find_text(&first.attributes, &["exception.type"])),
        );
    }
    let beyond = exceptions().count().saturating_sub(limits.exceptions_max);
    writer.int(EXCEPTIONS_DROPPED, i64::try_from(beyond).ok().filter(|beyond| *beyond > 0));
    writer.rest(&span.attributes, span.dropped_attributes_count);

    let recorded = exceptions().take(limits.exceptions_max).enumerate();
    let translated = recorded.map(|(index, recorded)| exception(&event, recorded, index, limits));
    Ok(std::iter::once(writer.finish()).chain(translated).collect())
}

fn write(writer: &mut Writer, span: &Span, origin: &Origin) {
    let attributes = &span.attributes;
    let peer = peer_keys(span.kind());
    writer.text(keys::SPAN_NAME, Some(&span.name));
    writer.text(keys::SPAN_KIND, kind_name(span.kind()));
    writer.text(keys::SPAN_STATUS, Some(status_name(status(span))));
    writer.text(keys::MESSAGE, span.status.as_ref().map(|status| &status.message));
    writer.int(keys::HTTP_STATUS, http_status(attributes));
    writer.text(
        keys::PEER_SERVICE,
        find_text(attributes, &[keys::PEER_SERVICE, "service.peer.name"]),
    );
    writer.text(keys::PEER_ADDRESS, find_text(attributes, peer.address));
    writer.int(keys::PEER_PORT, find_int(attributes, peer.port));
    writer.text(keys::ERROR_TYPE, find_text(attributes, &[keys::ERROR_TYPE]));
    writer.text("otel.scope.name", Some(&*origin.scope));
}

/// Rates a span: by its status, and by HTTP's where it says nothing.
fn rate(span: &Span, is_root: bool) -> (Severity, f32, Class) {
    let failed = match status(span) {
        StatusCode::Error => true,
        StatusCode::Ok => false,
        StatusCode::Unset => http_status(&span.attributes).is_some_and(|status| status >= 500),
    };
    if !failed {
        return (Severity::Info, 0.0, Class::Other);
    }
    let (impact, class) = match span.kind() {
        SpanKind::Server => (0.6, Class::Application),
        SpanKind::Client | SpanKind::Producer => (0.4, Class::Dependency),
        SpanKind::Unspecified | SpanKind::Internal | SpanKind::Consumer => {
            (0.4, Class::Application)
        }
    };
    // Whoever began the trace got the error.
    (Severity::Error, if is_root { 0.6 } else { impact }, class)
}

fn exception(span: &Unbound, recorded: &SpanEvent, index: usize, limits: &Limits) -> Unbound {
    let ids = (span.trace_id.unwrap_or_default(), span.span_id.unwrap_or_default());
    let parts: [&[u8]; 5] = [
        ids.0.as_bytes(),
        ids.1.as_bytes(),
        b"exception",
        &index.to_le_bytes(),
        &recorded.time_unix_nano.to_le_bytes(),
    ];
    let at = time(recorded.time_unix_nano).unwrap_or(span.time);
    let mut event = Unbound::new(event_id(&parts), at, Source::Otlp, Kind::Exception)
        .at(span.place.clone())
        .rated(Severity::Error, 0.4, Class::Application);
    event.trace_id = span.trace_id;
    event.span_id = span.span_id;
    event.parent_span_id = span.parent_span_id;
    let mut writer = Writer::new(event, *limits);
    write_exception(&mut writer, &recorded.attributes, limits);
    writer.text(keys::MESSAGE, find_text(&recorded.attributes, &["exception.message"]));
    writer.rest(&recorded.attributes, recorded.dropped_attributes_count);
    writer.finish()
}

/// Writes what `exception.*` attributes say, but for the message.
pub(super) fn write_exception(writer: &mut Writer, attributes: &[KeyValue], limits: &Limits) {
    writer.text(keys::ERROR_TYPE, find_text(attributes, &["exception.type"]));
    let stacktrace = find_text(attributes, &[keys::STACKTRACE]);
    writer.text_within(keys::STACKTRACE, stacktrace, limits.stacktrace_bytes_max);
}

/// Reads a trace id; `None` unless it has 16 bytes and is not zero.
pub(super) fn trace_id(bytes: &[u8]) -> Option<TraceId> {
    bytes.try_into().ok().map(TraceId::from_bytes).filter(|id| !id.is_zero())
}

/// Reads a span id; `None` unless it has 8 bytes and is not zero.
pub(super) fn span_id(bytes: &[u8]) -> Option<SpanId> {
    bytes.try_into().ok().map(SpanId::from_bytes).filter(|id| !id.is_zero())
}

/// Reads a time; `None` for zero, which means unknown, and beyond the year 2262.
pub(super) fn time(nanos: u64) -> Option<Timestamp> {
    i64::try_from(nanos).ok().filter(|nanos| *nanos > 0).map(Timestamp::from_nanos)
}

fn nanos(start: Timestamp, end: Timestamp) -> i64 {
    i64::try_from(end.since(start).as_nanos()).unwrap_or(i64::MAX)
}

fn status(span: &Span) -> StatusCode {
    span.status.as_ref().map_or(StatusCode::Unset, |status| status.code())
}

fn http_status(attributes: &[KeyValue]) -> Option<i64> {
    find_int(attributes, &[keys::HTTP_STATUS, "http.status_code"])
}

const fn status_name(status: StatusCode) -> &'static str {
    match status {
        StatusCode::Unset => "unset",
        StatusCode::Ok => "ok",
        StatusCode::Error => "error",
    }
}

const fn kind_name(kind: SpanKind) -> Option<&'static str> {
    match kind {
        SpanKind::Unspecified => None,
        SpanKind::Internal => Some("internal"),
        SpanKind::Server => Some("server"),
        SpanKind::Client => Some("client"),
        SpanKind::Producer => Some("producer"),
        SpanKind::Consumer => Some("consumer"),
    }
}

/// Where the other end is named.
struct PeerKeys {
    address: &'static [&'static str],
    port: &'static [&'static str],
}

/// A server's own address is `server.address` too, and its peer is the client.
const fn peer_keys(kind: SpanKind) -> PeerKeys {
    match kind {
        SpanKind::Server => PeerKeys {
            address: &[keys::PEER_ADDRESS, "client.address", "net.sock.peer.addr", "net.peer.ip"],
            port: &[keys::PEER_PORT, "client.port", "net.sock.peer.port", "net.peer.port"],
        },
        SpanKind::Unspecified
        | SpanKind::Internal
        | SpanKind::Client
        | SpanKind::Producer
        | SpanKind::Consumer => PeerKeys {
            address: &["server.address", "net.peer.name", keys::PEER_ADDRESS, "net.peer.ip"],
            port: &["server.port", "net.peer.port", keys::PEER_PORT],
        },
    }
}

#[cfg(test)]
mod tests;
