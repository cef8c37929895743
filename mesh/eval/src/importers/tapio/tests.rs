use std::io::Cursor;

use proptest::prelude::*;
use tapio_collect::Home;
use tapio_model::{
    Attributes, Binding, Class, Impact, Kind, Rule, Severity, Source, SpanId, Timestamp,
    TraceContext, TraceId, Value, Workload,
};

use super::*;
use crate::{ReadAhead, write_recording};

fn open(text: impl Into<Vec<u8>>) -> Result<Box<dyn Recording>, ImportError> {
    let binder = Arc::new(Binder::new(Home::default()));
    Format.open(Input::Stream(Box::new(Cursor::new(text.into()))), binder)
}

fn read(text: impl Into<Vec<u8>>) -> Result<(Vec<Arc<Event>>, ImportAccount), ImportError> {
    let mut recording = open(text)?;
    let mut events = Vec::new();
    while recording.next_chunk(&mut events)? {}
    Ok((events, recording.account().clone()))
}

const HEADER: &str = r#"{"tapio_recording":1,"title":"a test"}"#;
const LATER: &str = r#"{"time":"2026-11-20T02:47:10Z","source":"app","kind":"log","place":{"namespace":"shop","pod":"cart-1","pod_uid":"u1"},"attributes":{"message":"hi"}}"#;
const EARLIER: &str = r#"{"time":"2026-11-20T02:47:00Z","source":"app","kind":"log","trace":{"trace_id":"4bf92f3577b34da6a3ce929d0e0e4736"},"attributes":{"message":"hi"}}"#;

#[test]
fn keeps_the_order_of_arrival() {
    let (events, account) = read(format!("{HEADER}\n\n{LATER}\n{EARLIER}")).unwrap();
    let [late, early] = events.as_slice() else { panic!("{events:?}") };
    assert!(late.time > early.time);
    assert_eq!(late.trace.binding, Binding::Inferred(Rule::Pod));
    assert_eq!(early.trace.binding, Binding::Explicit);
    assert_eq!((account.rows, account.events), (2, 2));
}

#[test]
fn an_id_comes_from_what_the_line_says_not_from_how() {
    let respelt = r#" {"source":"app", "kind":"log", "attributes":{"message":"hi"}, "place":{"pod":"cart-1","pod_uid":"u1","namespace":"shop"},"time":"2026-11-20T03:47:10.000+01:00"}"#;
    let (events, _) = read(format!("{LATER}\n{respelt}\n{EARLIER}")).unwrap();
    assert_eq!(events[0].id, events[1].id);
    assert_ne!(events[0].id, events[2].id);
}

#[test]
fn bad_lines_are_counted_and_shown_and_skipped() {
    let long =
        format!(r#"{{"time":0,"source":"app","kind":"log","x":"{}"}}"#, "x".repeat(LINE_BYTES_MAX));
    let bad = [
        ("malformed", "not json".to_owned()),
        ("unknown_kind", LATER.replace("\"log\"", "\"flood\"")),
        ("bad_time", LATER.replace("2026-", "26-")),
        ("malformed", "\u{fffd}{".to_owned()),
        ("too_large", long),
        ("malformed", HEADER.to_owned()),
    ];
    let lines = bad.iter().map(|(_, line)| format!("{line}\n{LATER}\n"));
    let text = format!("{HEADER}\n{}", lines.collect::<String>());
    let bytes = u64::try_from(text.len()).unwrap();
    let mut recording = open(text).unwrap();
    let mut events = Vec::new();
    while recording.next_chunk(&mut events).unwrap() {}
    assert_eq!(recording.progress().bytes_read, bytes);
    let account = recording.account();
    assert!(account.balances());
    assert_eq!((events.len(), account.rejected_total()), (6, 6));
    assert_eq!(account.rejected.get("malformed"), Some(&3));
    let shown = account.examples.iter().map(|example| (example.line, example.reason));
    let want = bad.iter().zip([2, 4, 6, 8, 10]).map(|((reason, _), line)| (line, *reason));
    assert!(shown.eq(want), "{:?}", account.examples);
}

#[test]
fn a_later_version_is_refused() {
    let error = read(r#"{"tapio_recording":2}"#).unwrap_err();
    assert!(matches!(error, ImportError::Version { found: 2, known: 1 }), "{error}");
}

#[test]
fn reading_ahead_changes_nothing() {
    let lines = (0..5_000)
        .map(|second| format!("{{\"time\":{second},\"source\":\"app\",\"kind\":\"log\"}}\n"));
    let text = format!("{HEADER}\n{}bad\n", lines.collect::<String>());
    let (want, account) = read(text.clone()).unwrap();
    let mut ahead = ReadAhead::start(open(text).unwrap()).unwrap();
    let mut events = Vec::new();
    while ahead.next_chunk(&mut events).unwrap() {}
    assert_eq!(events, want);
    assert_eq!(*ahead.account(), account);
    assert_eq!(ahead.header().and_then(|header| header.title.as_deref()), Some("a test"));
    assert!(!ahead.next_chunk(&mut events).unwrap(), "the end stays the end");
}

fn any_value() -> impl Strategy<Value = Value> {
    prop_oneof![
        ".*".prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-1e9..1e9_f64).prop_map(Value::from),
        any::<bool>().prop_map(Value::from),
    ]
}

fn any_place() -> impl Strategy<Value = Place> {
    let text = || proptest::option::of("[a-z0-9/-]{0,12}".prop_map(tapio_model::Text::from));
    let workload = proptest::option::of(("[A-Z][a-z]{1,9}", "[a-z-]{0,9}"));
    ((text(), text(), text(), text(), text()), (text(), text(), text(), text()), workload).prop_map(
        |((cluster, node, namespace, pod, pod_uid), rest, workload)| {
            let (container, container_id, service, cgroup) = rest;
            let workload =
                workload.map(|(kind, name)| Workload { kind: kind.into(), name: name.into() });
            Place {
                cluster,
                node,
                namespace,
                workload,
                pod,
                pod_uid,
                container,
                container_id,
                service,
                cgroup,
            }
        },
    )
}

fn any_event() -> impl Strategy<Value = Event> {
    let span = || proptest::option::of(any::<[u8; 8]>().prop_map(SpanId::from_bytes));
    let ids = (any::<[u8; 16]>(), any::<[u8; 16]>(), span(), span());
    let bindings: Vec<_> =
        [Binding::Explicit].into_iter().chain(Rule::ALL.map(Binding::Inferred)).collect();
    let names = (
        proptest::sample::select(Source::ALL.to_vec()),
        proptest::sample::select(Kind::ALL),
        proptest::sample::select(Severity::ALL.to_vec()),
        proptest::sample::select(Class::ALL.to_vec()),
        proptest::sample::select(bindings),
    );
    let attributes = proptest::collection::vec(("[a-z._]{1,12}", any_value()), 0..6);
    (ids, any::<i64>(), names, any_place(), 0.0..=1.0_f32, attributes).prop_map(
        |((id, trace_id, span_id, parent_span_id), time, names, place, impact, attributes)| {
            let (source, kind, severity, class, binding) = names;
            let trace_id = TraceId::from_bytes(trace_id);
            Event {
                id: EventId::from_bytes(id),
                time: Timestamp::from_nanos(time),
                source,
                kind,
                trace: TraceContext { trace_id, span_id, parent_span_id, binding },
                place: Arc::new(place),
                severity,
                impact: Impact::new(impact),
                class,
                attributes: attributes.into_iter().collect::<Attributes>(),
            }
        },
    )
}

proptest! {
    #[test]
    fn reads_back_what_it_writes(events in proptest::collection::vec(any_event(), 0..8)) {
        let header = RecordingHeader::new("a test", "by hand");
        let mut text = Vec::new();
        let written = write_recording(&header, &events, &mut text).unwrap();
        let (again, account) = read(text).unwrap();
        prop_assert_eq!(again.iter().map(|event| (**event).clone()).collect::<Vec<_>>(), events);
        prop_assert_eq!((written, account.rejected_total()), (account.events, 0));
    }

    #[test]
    fn no_bytes_are_fatal(text in proptest::collection::vec(any::<u8>(), 0..400)) {
        let (_, account) = read(text).unwrap();
        prop_assert!(account.balances());
    }
}

#[test]
fn what_is_true_of_a_recording_lies_beside_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("shop.jsonl");
    std::fs::write(&path, format!("{HEADER}\n{LATER}\n")).unwrap();
    let open = || Format.open_labelled(&path, Arc::new(Binder::new(Home::default())));
    let refused = open().err().unwrap();
    assert!(refused.to_string().ends_with("shop.labels.json"), "{refused}");
    let labels =
        r#"{"faults": [{"at": "2026-11-20T02:47:05Z", "service": "cart", "kind": "cpu"}]}"#;
    std::fs::write(directory.path().join("shop.labels.json"), labels).unwrap();
    let (mut recording, labels) = open().unwrap();
    let mut events = Vec::new();
    while recording.next_chunk(&mut events).unwrap() {}
    assert_eq!((events.len(), labels.faults.len()), (1, 1), "labels never become events");
}
