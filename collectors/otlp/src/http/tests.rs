//! Answers to bytes, without a socket.

use std::io::Write as _;

use flate2::{Compression, write::GzEncoder};
use opentelemetry_proto::tonic::{
    collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse},
    trace::v1::{ResourceSpans, ScopeSpans, Span},
};
use proptest::{
    collection::vec,
    prelude::{Strategy as _, any, any_with},
    prop_assert, prop_assert_eq, prop_oneof, proptest,
    sample::select,
};
use tapio_collect::{Account, Accounts, DropReason, Outlet, Unbound};
use tapio_model::{Clock, Timestamp};
use tokio::sync::mpsc;

use super::*;
use crate::Limits;

#[derive(Debug)]
struct NoClock;

impl Clock for NoClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_secs(1)
    }
}

fn intake(limits: Limits) -> (Intake, mpsc::Receiver<Unbound>) {
    let (events, received) = mpsc::channel(1_024);
    let outlet = Outlet::new(events, Arc::new(Account::default()));
    (Intake::new(outlet, Box::new(NoClock), limits), received)
}

fn span(id: u8) -> Span {
    Span { trace_id: vec![id; 16], span_id: vec![id; 8], end_time_unix_nano: 1, ..Span::default() }
}

fn request(spans: Vec<Span>) -> Vec<u8> {
    let scope_spans = vec![ScopeSpans { spans, ..ScopeSpans::default() }];
    let resource_spans = vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }];
    ExportTraceServiceRequest { resource_spans }.encode_to_vec()
}

fn gzip(body: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(body)?;
    encoder.finish()
}

fn headers(content_type: &str, encoding: &str) -> HeaderMap {
    [(CONTENT_TYPE, content_type), (CONTENT_ENCODING, encoding)]
        .into_iter()
        .filter_map(|(name, value)| Some((name, HeaderValue::from_str(value).ok()?)))
        .collect()
}

/// Answers a body; returns the status, the answer's body and the account.
async fn post(
    intake: &Intake,
    signal: Signal,
    headers: &HeaderMap,
    body: Vec<u8>,
) -> Result<(u16, Vec<u8>), axum::Error> {
    let body = read_body(Body::from(body), intake.limits().request_bytes_max).await;
    let response = answer(intake, signal, headers, body).await;
    let status = response.status().as_u16();
    let body = axum::body::to_bytes(response.into_body(), 1 << 20).await?;
    Ok((status, body.to_vec()))
}

#[tokio::test]
async fn statuses_and_drops_follow_what_is_wrong() {
    let limits = Limits { request_bytes_max: 1_000, ..Limits::default() };
    let protobuf = "application/x-protobuf";
    let good = request(vec![span(1)]);
    // A hundred times the limit, in a sixth of it.
    let bomb = gzip(&vec![0; 100_000]).unwrap();
    assert!(bomb.len() < 200, "{}", bomb.len());
    let cases = [
        (protobuf, "identity", good.clone(), 200, None),
        (protobuf, "GZIP", gzip(&good).unwrap(), 200, None),
        ("Application/JSON; charset=utf-8", "identity", b"{}".to_vec(), 200, None),
        (protobuf, "identity", vec![0xff; 9], 400, Some(DropReason::Malformed)),
        (protobuf, "gzip", good.clone(), 400, Some(DropReason::Malformed)),
        (protobuf, "zstd", good.clone(), 415, Some(DropReason::Malformed)),
        ("text/plain", "identity", good, 415, Some(DropReason::Malformed)),
        (protobuf, "identity", vec![0; 1_001], 413, Some(DropReason::TooLarge)),
        (protobuf, "gzip", bomb, 413, Some(DropReason::TooLarge)),
    ];
    for (content_type, encoding, body, expected, reason) in cases {
        let (intake, _received) = intake(limits);
        let headers = headers(content_type, encoding);
        let (status, body) = post(&intake, Signal::Traces, &headers, body).await.unwrap();
        let case = format!("{content_type} {encoding}: {}", String::from_utf8_lossy(&body));
        assert_eq!(status, expected, "{case}");
        let account = intake.snapshot();
        let lost = reason.map_or(0, |reason| account.dropped(reason));
        assert_eq!(lost, u64::from(reason.is_some()), "{case}");
        assert_eq!(account.read, account.emitted + account.dropped.iter().sum::<u64>(), "{case}");
    }
}

#[tokio::test]
async fn the_good_spans_of_a_bad_request_go_through() {
    let limits = Limits { records_max: 3, ..Limits::default() };
    let (intake, mut received) = intake(limits);
    let spans = vec![span(1), span(0), span(2), span(3), span(4)];
    let headers = headers("application/x-protobuf", "identity");
    let (status, body) = post(&intake, Signal::Traces, &headers, request(spans)).await.unwrap();
    let answer = ExportTraceServiceResponse::decode(body.as_slice()).unwrap();
    let partial = answer.partial_success.unwrap();
    assert_eq!((status, partial.rejected_spans), (200, 3));
    assert!(partial.error_message.contains("trace id"), "{}", partial.error_message);
    assert!(partial.error_message.contains("smaller batches"), "{}", partial.error_message);
    assert!(
        received.try_recv().is_ok() && received.try_recv().is_ok() && received.try_recv().is_err()
    );
    let Accounts { read, emitted, .. } = intake.snapshot();
    assert_eq!((read, emitted), (5, 2));
}

#[tokio::test]
async fn a_json_answer_writes_numbers_as_text() {
    let (intake, _received) = intake(Limits::default());
    let body = br#"{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"00","name":"x"}]}]}]}"#;
    let headers = headers("application/json", "identity");
    let (status, body) = post(&intake, Signal::Traces, &headers, body.to_vec()).await.unwrap();
    let answer: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!((status, &answer["partialSuccess"]["rejectedSpans"]), (200, &json!("1")));
}

#[tokio::test]
async fn a_sender_is_asked_to_come_again_once_nobody_takes_events() {
    let (intake, received) = intake(Limits::default());
    drop(received);
    let headers = headers("application/x-protobuf", "identity");
    let (status, body) =
        post(&intake, Signal::Traces, &headers, request(vec![span(1)])).await.unwrap();
    let answer = RpcStatus::decode(body.as_slice()).unwrap();
    assert_eq!((status, answer.code), (503, i32::from(tonic::Code::Unavailable)));
    assert!(answer.message.contains("again"), "{}", answer.message);
    assert_eq!(intake.snapshot(), Accounts::default());
}

#[tokio::test(start_paused = true)]
async fn a_request_that_the_pipeline_does_not_take_in_time_is_sent_away() {
    let limits = Limits { requests_max: 1, ..Limits::default() };
    let (intake, _received) = intake(limits);
    assert_eq!(intake.admit(std::future::pending::<()>()).await, Err(Refusal::Busy));
    assert_eq!(intake.admit(async { 7 }).await, Ok(7));
    let (first, second) =
        tokio::join!(intake.admit(std::future::pending::<()>()), intake.admit(async { 7 }));
    assert_eq!((first, second), (Err(Refusal::Busy), Err(Refusal::Busy)));
}

proptest! {
    #[test]
    fn any_bytes_get_an_answer(
        body in prop_oneof![
            vec(any::<u8>(), 0..512),
            // Bytes that look like protobuf, and text that looks like JSON, get further.
            vec(select(vec![0x0a, 0x12, 0x01, 0x02, 0x08, 0x10, 0x1a, 0x39, 0xff]), 0..128),
            any_with::<String>("[{}\\[\\]\":,0-9a-f]{0,64}|(resourceSpans|traceId){0,2}".into())
                .prop_map(String::into_bytes),
        ],
        is_traces in any::<bool>(),
        content_type in select(vec!["application/x-protobuf", "application/json", "x"]),
        encoding in select(vec!["identity", "gzip"]),
        packed in any::<bool>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build()?;
        let (intake, _received) = intake(Limits::default());
        let body = if packed { gzip(&body)? } else { body };
        let signal = if is_traces { Signal::Traces } else { Signal::Logs };
        let headers = headers(content_type, encoding);
        let (status, _) = runtime.block_on(post(&intake, signal, &headers, body))?;
        prop_assert!([200, 400, 415].contains(&status), "{status}");
        let account = intake.snapshot();
        prop_assert_eq!(account.read, account.emitted + account.dropped.iter().sum::<u64>());
    }
}
