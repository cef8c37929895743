//! What log records become.

use opentelemetry_proto::tonic::common::v1::{
    AnyValue, KeyValue, KeyValueList, any_value::Value as Any,
};
use tapio_model::{Attributes, SpanId, TraceId};

use super::*;

const RECEIVED_AT: Timestamp = Timestamp::from_nanos(9_000);
const CONTEXT: &str = "trace_id=4bf92f3577b34da6a3ce929d0e0e4736 span_id=00f067aa0ba902b7";

fn string(key: &str, value: &str) -> KeyValue {
    let value = AnyValue { value: Some(Any::StringValue(value.into())) };
    KeyValue { key: key.into(), value: Some(value), ..KeyValue::default() }
}

fn record(body: &str) -> LogRecord {
    LogRecord {
        time_unix_nano: 5_000,
        severity_number: 9,
        body: Some(AnyValue { value: Some(Any::StringValue(body.into())) }),
        ..LogRecord::default()
    }
}

fn translate(record: &LogRecord) -> Unbound {
    translate_log(&Origin::new(&[], "app.Cart"), record, RECEIVED_AT, &Limits::default())
}

fn attributes(event: &Unbound) -> Attributes {
    event.attributes.iter().cloned().collect()
}

#[test]
fn a_record_becomes_a_log_event() {
    let event = translate(&record("cart is empty"));
    assert_eq!((event.kind, event.source), (Kind::Log, Source::Otlp));
    assert_eq!((event.time, event.trace_id), (Timestamp::from_nanos(5_000), None));
    assert_eq!(attributes(&event).text(keys::MESSAGE), Some("cart is empty"));
    assert_eq!(attributes(&event).text(keys::LOGGER), Some("app.Cart"));
}

#[test]
fn severity_is_the_number_then_the_text() {
    for (number, text, expected) in [
        (1, "", Severity::Trace),
        (8, "", Severity::Debug),
        (12, "ERROR", Severity::Info),
        (13, "", Severity::Warn),
        (17, "", Severity::Error),
        (24, "", Severity::Fatal),
        (0, " Warning ", Severity::Warn),
        (0, "", Severity::Info),
        (-7, "whatever", Severity::Info),
        (25, "crit", Severity::Fatal),
    ] {
        let mut record = record("x");
        record.severity_number = number;
        record.severity_text = text.into();
        assert_eq!(translate(&record).severity, expected, "{number} {text}");
    }
}

#[test]
fn the_record_s_own_context_comes_before_the_one_in_its_message() {
    let found: TraceId = "4bf92f3577b34da6a3ce929d0e0e4736".parse().unwrap();
    let written: SpanId = "00f067aa0ba902b7".parse().unwrap();
    let own = (Some(TraceId::from_bytes([7; 16])), Some(SpanId::from_bytes([8; 8])));
    for (trace_id, span_id, message, expected) in [
        (vec![7; 16], vec![8; 8], CONTEXT, own),
        (vec![7; 16], vec![8; 3], "x", (own.0, None)),
        (vec![], vec![], CONTEXT, (Some(found), Some(written))),
        (vec![0; 16], vec![0; 8], CONTEXT, (Some(found), Some(written))),
        (vec![7; 5], vec![8; 8], "x", (None, None)),
    ] {
        let mut record = record(message);
        record.trace_id = trace_id.clone();
        record.span_id = span_id;
        let event = translate(&record);
        assert_eq!((event.trace_id, event.span_id), expected, "{trace_id:?} {message}");
    }
}

#[test]
fn a_record_without_a_time_happened_when_somebody_saw_it() {
    for (time, observed, expected) in
        [(5, 6, 5), (0, 6, 6), (0, 0, 9_000), (u64::MAX, 6, 6), (u64::MAX, u64::MAX, 9_000)]
    {
        let mut record = record("x");
        record.time_unix_nano = time;
        record.observed_time_unix_nano = observed;
        assert_eq!(translate(&record).time.as_nanos(), expected, "{time} {observed}");
    }
}

#[test]
fn a_record_with_an_exception_is_one() {
    let mut record = record("");
    record.severity_number = 0;
    record.attributes = vec![
        string("exception.type", "ValueError"),
        string("exception.message", "no such cart"),
        string("exception.stacktrace", "Traceback"),
    ];
    let event = translate(&record);
    assert_eq!((event.kind, event.severity), (Kind::Exception, Severity::Error));
    let attributes = attributes(&event);
    assert_eq!(attributes.text(keys::ERROR_TYPE), Some("ValueError"));
    assert_eq!(attributes.text(keys::MESSAGE), Some("no such cart"));
    assert_eq!(attributes.text(keys::STACKTRACE), Some("Traceback"));
}

#[test]
fn a_structured_body_is_told_as_json() {
    let mut record = record("");
    let list = KeyValueList { values: vec![string("cart", "7")] };
    record.body = Some(AnyValue { value: Some(Any::KvlistValue(list)) });
    assert_eq!(attributes(&translate(&record)).text(keys::MESSAGE), Some(r#"{"cart":"7"}"#));
}

#[test]
fn ids_repeat_for_the_same_record_and_differ_for_another() {
    let first = record("x");
    let mut seen_again = first.clone();
    seen_again.observed_time_unix_nano = 77;
    assert_eq!(translate(&first).id, translate(&seen_again).id);

    let changes: [fn(&mut LogRecord); 6] = [
        |record| record.time_unix_nano += 1,
        |record| record.trace_id = vec![7; 16],
        |record| record.span_id = vec![7; 8],
        |record| record.body = None,
        |record| record.attributes = vec![string("a", "b")],
        |record| record.severity_number = 17,
    ];
    for (number, change) in changes.into_iter().enumerate() {
        let mut other = first.clone();
        change(&mut other);
        assert_ne!(translate(&first).id, translate(&other).id, "change {number}");
    }
    let elsewhere = Origin::new(&[string("service.name", "other")], "app.Cart");
    let event = translate_log(&elsewhere, &first, RECEIVED_AT, &Limits::default());
    assert_ne!(translate(&first).id, event.id);
}
