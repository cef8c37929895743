//! What spans become.

use opentelemetry_proto::tonic::{
    common::v1::{AnyValue, ArrayValue, any_value::Value as Any},
    trace::v1::Status,
};
use tapio_model::{Attributes, Value};

use super::*;

const TRACE: [u8; 16] = [1; 16];
const SPAN: [u8; 8] = [2; 8];

fn pair(key: &str, value: Any) -> KeyValue {
    KeyValue {
        key: key.into(),
        value: Some(AnyValue { value: Some(value) }),
        ..KeyValue::default()
    }
}

fn string(key: &str, value: &str) -> KeyValue {
    pair(key, Any::StringValue(value.into()))
}

fn span(kind: SpanKind, status: StatusCode, attributes: Vec<KeyValue>) -> Span {
    Span {
        trace_id: TRACE.into(),
        span_id: SPAN.into(),
        parent_span_id: vec![3; 8],
        name: "GET /cart".into(),
        kind: kind.into(),
        start_time_unix_nano: 1_000,
        end_time_unix_nano: 4_000,
        attributes,
        status: Some(Status { code: status.into(), message: String::new() }),
        ..Span::default()
    }
}

fn translate(span: &Span) -> Result<Vec<Unbound>, Malformed> {
    translate_span(&Origin::new(&[string("service.name", "cart")], "lib"), span, &Limits::default())
}

fn attributes(event: &Unbound) -> Attributes {
    event.attributes.iter().cloned().collect()
}

#[test]
fn a_span_becomes_one_event_at_its_end() {
    let events = translate(&span(SpanKind::Server, StatusCode::Unset, vec![])).unwrap();
    let [event] = events.as_slice() else { panic!("{events:?}") };
    assert_eq!((event.kind, event.source), (Kind::Span, Source::Otlp));
    assert_eq!(event.time, Timestamp::from_nanos(4_000));
    assert_eq!(event.id, event_id(&[&TRACE, &SPAN, b"span"]));
    assert_eq!(event.trace_id, Some(TraceId::from_bytes(TRACE)));
    assert_eq!(event.span_id, Some(SpanId::from_bytes(SPAN)));
    assert_eq!(event.parent_span_id, Some(SpanId::from_bytes([3; 8])));
    assert_eq!(event.place.service.as_deref(), Some("cart"));
    let attributes = attributes(event);
    assert_eq!(attributes.text(keys::SPAN_NAME), Some("GET /cart"));
    assert_eq!(attributes.text(keys::SPAN_KIND), Some("server"));
    assert_eq!(attributes.text(keys::SPAN_STATUS), Some("unset"));
    assert_eq!(attributes.int(keys::DURATION), Some(3_000));
    assert_eq!(attributes.text("otel.scope.name"), Some("lib"));
}

#[test]
fn severity_impact_and_class_follow_status_kind_and_place_in_the_trace() {
    use SpanKind::{Client, Internal, Server};
    use StatusCode::{Error, Ok, Unset};
    let http = |status: i64| vec![pair(keys::HTTP_STATUS, Any::IntValue(status))];
    let old = vec![string("http.status_code", "503")];
    for (kind, status, attributes, is_root, expected) in [
        (Server, Unset, vec![], false, (Severity::Info, 0.0, Class::Other)),
        (Server, Ok, http(500), false, (Severity::Info, 0.0, Class::Other)),
        (Server, Unset, http(404), false, (Severity::Info, 0.0, Class::Other)),
        (Server, Unset, http(500), false, (Severity::Error, 0.6, Class::Application)),
        (Client, Unset, old, false, (Severity::Error, 0.4, Class::Dependency)),
        (Client, Error, vec![], false, (Severity::Error, 0.4, Class::Dependency)),
        (Client, Error, vec![], true, (Severity::Error, 0.6, Class::Dependency)),
        (Internal, Error, vec![], false, (Severity::Error, 0.4, Class::Application)),
        (Internal, Error, vec![], true, (Severity::Error, 0.6, Class::Application)),
    ] {
        let mut span = span(kind, status, attributes);
        if is_root {
            span.parent_span_id = vec![];
        }
        let case = format!("{kind:?} {status:?} {is_root}");
        let events = translate(&span).unwrap();
        let (severity, impact, class) = expected;
        assert_eq!(events[0].severity, severity, "{case}");
        assert_eq!(events[0].impact, tapio_model::Impact::new(impact), "{case}");
        assert_eq!(events[0].class, class, "{case}");
    }
}

#[test]
fn ids_that_are_none_are_refused() {
    let good = span(SpanKind::Server, StatusCode::Unset, vec![]);
    let with = |change: fn(&mut Span)| {
        let mut span = good.clone();
        change(&mut span);
        translate(&span).map(|events| events[0].parent_span_id)
    };
    assert_eq!(with(|span| span.trace_id = vec![]), Err(Malformed::TraceId));
    assert_eq!(with(|span| span.trace_id = vec![1; 15]), Err(Malformed::TraceId));
    assert_eq!(with(|span| span.trace_id = vec![0; 16]), Err(Malformed::TraceId));
    assert_eq!(with(|span| span.span_id = vec![1; 16]), Err(Malformed::SpanId));
    assert_eq!(with(|span| span.span_id = vec![0; 8]), Err(Malformed::SpanId));
    assert_eq!(with(|span| span.parent_span_id = vec![0; 8]), Ok(None));
    assert_eq!(with(|span| span.parent_span_id = vec![1; 3]), Ok(None));
}

#[test]
fn times_are_what_they_can_be() {
    for (start, end, expected) in [
        (1_000, 4_000, Ok((4_000, Some(3_000)))),
        (4_000, 1_000, Ok((1_000, Some(0)))),
        (1_000, 0, Ok((1_000, Some(0)))),
        (0, 4_000, Ok((4_000, None))),
        (1_000, u64::MAX, Ok((1_000, Some(0)))),
        (0, 0, Err(Malformed::Time)),
        (u64::MAX, u64::MAX, Err(Malformed::Time)),
    ] {
        let mut span = span(SpanKind::Server, StatusCode::Unset, vec![]);
        span.start_time_unix_nano = start;
        span.end_time_unix_nano = end;
        let got = translate(&span)
            .map(|events| (events[0].time.as_nanos(), attributes(&events[0]).int(keys::DURATION)));
        assert_eq!(got, expected, "{start} {end}");
    }
}

#[test]
fn the_peer_is_the_other_end() {
    let ends = vec![
        string("server.address", "cart.shop"),
        pair("server.port", Any::IntValue(8080)),
        string("client.address", "10.0.0.9"),
        string("peer.service", "cart"),
    ];
    for (kind, address, port) in
        [(SpanKind::Client, "cart.shop", Some(8080)), (SpanKind::Server, "10.0.0.9", None)]
    {
        let events = translate(&span(kind, StatusCode::Unset, ends.clone())).unwrap();
        let attributes = attributes(&events[0]);
        assert_eq!(attributes.text(keys::PEER_ADDRESS), Some(address), "{kind:?}");
        assert_eq!(attributes.int(keys::PEER_PORT), port, "{kind:?}");
        assert_eq!(attributes.text(keys::PEER_SERVICE), Some("cart"), "{kind:?}");
    }
    let old = vec![string("net.peer.name", "db"), string("net.peer.port", "5432")];
    let events = translate(&span(SpanKind::Client, StatusCode::Unset, old)).unwrap();
    assert_eq!(attributes(&events[0]).text(keys::PEER_ADDRESS), Some("db"));
    assert_eq!(attributes(&events[0]).int(keys::PEER_PORT), Some(5432));
}

#[test]
fn a_recorded_exception_is_an_event_of_its_own() {
    let mut span = span(SpanKind::Internal, StatusCode::Error, vec![]);
    let recorded = SpanEvent {
        time_unix_nano: 3_000,
        name: "exception".into(),
        attributes: vec![
            string("exception.type", "java.net.ConnectException"),
            string("exception.message", "refused"),
            string("exception.stacktrace", &"at x\n".repeat(10_000)),
        ],
        ..SpanEvent::default()
    };
    let note = SpanEvent { name: "retry".into(), ..SpanEvent::default() };
    span.events = vec![note, recorded.clone(), recorded];
    let events = translate(&span).unwrap();
    let [told, first, second] = events.as_slice() else { panic!("{events:?}") };
    assert_eq!(attributes(told).text(keys::ERROR_TYPE), Some("java.net.ConnectException"));
    assert_eq!((first.kind, first.severity), (Kind::Exception, Severity::Error));
    assert_eq!(first.time, Timestamp::from_nanos(3_000));
    assert_eq!((first.trace_id, first.span_id), (told.trace_id, told.span_id));
    assert_ne!(first.id, second.id);
    let attributes = attributes(first);
    assert_eq!(attributes.text(keys::ERROR_TYPE), Some("java.net.ConnectException"));
    assert_eq!(attributes.text(keys::MESSAGE), Some("refused"));
    assert_eq!(attributes.text(keys::STACKTRACE).map(str::len), Some(16 << 10));
    assert_eq!(attributes.int("tapio.otlp.truncated"), Some(1));
}

#[test]
fn exceptions_beyond_the_limit_are_counted() {
    let mut span = span(SpanKind::Internal, StatusCode::Error, vec![]);
    let recorded = SpanEvent { name: "exception".into(), ..SpanEvent::default() };
    span.events = vec![recorded; 11];
    let events = translate(&span).unwrap();
    assert_eq!(events.len(), 1 + Limits::default().exceptions_max);
    assert_eq!(attributes(&events[0]).int(EXCEPTIONS_DROPPED), Some(3));
}

#[test]
fn attributes_are_bounded_and_the_telling_ones_stay() {
    let mut many: Vec<_> = (0..100).map(|n| string(&format!("custom.{n}"), "x")).collect();
    many.push(string("db.system", "postgresql"));
    many.push(string("db.query.text", &"é".repeat(4_000)));
    let events = translate(&span(SpanKind::Client, StatusCode::Unset, many)).unwrap();
    let attributes = attributes(&events[0]);
    assert_eq!(attributes.text("db.system"), Some("postgresql"));
    let cut = attributes.text("db.query.text").unwrap();
    assert_eq!((cut.len(), cut.chars().all(|letter| letter == 'é')), (4 << 10, true));
    assert_eq!(attributes.iter().filter(|(key, _)| key.starts_with("custom.")).count(), 62);
    assert_eq!(attributes.int("tapio.otlp.truncated"), Some(1));
    assert_eq!(attributes.int("tapio.otlp.dropped_attributes"), Some(38));
}

#[test]
fn values_keep_their_type_and_lists_become_json() {
    let list = ArrayValue {
        values: vec![
            AnyValue { value: Some(Any::StringValue("a".into())) },
            AnyValue { value: None },
            AnyValue { value: Some(Any::BytesValue(vec![0xff])) },
        ],
    };
    let given = vec![
        pair("list", Any::ArrayValue(list)),
        pair("truth", Any::BoolValue(true)),
        pair("number", Any::DoubleValue(0.5)),
        pair("index", Any::StringValueStrindex(7)),
    ];
    let events = translate(&span(SpanKind::Client, StatusCode::Unset, given)).unwrap();
    let attributes = attributes(&events[0]);
    assert_eq!(attributes.text("list"), Some(r#"["a",null,"ff"]"#));
    assert_eq!(attributes.get("truth"), Some(&Value::Bool(true)));
    assert_eq!(attributes.get("number"), Some(&Value::Float(0.5)));
    assert_eq!(attributes.get("index"), None);
}
