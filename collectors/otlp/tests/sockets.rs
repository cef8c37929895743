//! The receiver behind real sockets, as exporters see it.
#![expect(clippy::unwrap_used, reason = "the helpers of a test may fail it")]

use std::{error::Error, io::Write as _, net::SocketAddr, sync::Arc};

use flate2::{Compression, write::GzEncoder};
use opentelemetry_proto::tonic::{
    collector::{
        logs::v1::{ExportLogsServiceRequest, logs_service_client::LogsServiceClient},
        trace::v1::{ExportTraceServiceRequest, trace_service_client::TraceServiceClient},
    },
    common::v1::{AnyValue, any_value::Value as Any},
    logs::v1::{LogRecord, ResourceLogs, ScopeLogs},
    trace::v1::{ResourceSpans, ScopeSpans, Span},
};
use prost::Message as _;
use tapio_collect::{
    Account, Collector as _, CollectorError, DropReason, Outlet, Stopper, Unbound, stop_signal,
};
use tapio_collect_otlp::{Bound, Limits, OtlpCollector, OtlpConfig};
use tapio_model::{Kind, TraceId};
use tapio_telemetry::{SystemClock, spawn_named};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::mpsc,
    task::JoinHandle,
};
use tonic::{Code, codec::CompressionEncoding::Gzip};

const TRACE: [u8; 16] = [0x4b; 16];
const PROTOBUF: &str = "content-type: application/x-protobuf\r\n";

/// A running receiver.
struct Receiver {
    bound: Bound,
    events: mpsc::Receiver<Unbound>,
    account: Arc<Account>,
    stopper: Stopper,
    running: JoinHandle<Result<(), CollectorError>>,
}

fn anywhere(limits: Limits) -> OtlpConfig {
    let address = SocketAddr::from(([127, 0, 0, 1], 0));
    OtlpConfig { grpc: address, http: address, limits }
}

async fn start(limits: Limits) -> Receiver {
    let (collector, bound) =
        OtlpCollector::bind(anywhere(limits), Box::new(SystemClock)).await.unwrap();
    let (sender, events) = mpsc::channel(64);
    let account = Arc::new(Account::default());
    let (stopper, stop) = stop_signal();
    let outlet = Outlet::new(sender, Arc::clone(&account));
    let running = spawn_named("otlp-test", Box::new(collector).run(outlet, stop));
    Receiver { bound, events, account, stopper, running }
}

fn span(trace_id: &[u8]) -> Span {
    Span {
        trace_id: trace_id.into(),
        span_id: vec![1; 8],
        name: "GET /cart".into(),
        start_time_unix_nano: 1,
        end_time_unix_nano: 2,
        ..Span::default()
    }
}

fn traces(spans: Vec<Span>) -> ExportTraceServiceRequest {
    let scope_spans = vec![ScopeSpans { spans, ..ScopeSpans::default() }];
    let resource_spans = vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }];
    ExportTraceServiceRequest { resource_spans }
}

fn logs(body: &str) -> ExportLogsServiceRequest {
    let body = Some(AnyValue { value: Some(Any::StringValue(body.into())) });
    let log_records = vec![LogRecord { body, trace_id: TRACE.into(), ..LogRecord::default() }];
    let scope_logs = vec![ScopeLogs { log_records, ..ScopeLogs::default() }];
    let resource_logs = vec![ResourceLogs { scope_logs, ..ResourceLogs::default() }];
    ExportLogsServiceRequest { resource_logs }
}

/// Sends one HTTP/1.1 request; returns the status and the whole answer as text.
async fn send(
    to: SocketAddr,
    line: &str,
    headers: &str,
    body: &[u8],
) -> std::io::Result<(u16, String)> {
    let mut socket = TcpStream::connect(to).await?;
    let length = body.len();
    let head = format!(
        "{line} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n"
    );
    socket.write_all(head.as_bytes()).await?;
    socket.write_all(body).await?;
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).await?;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    Ok((status, answer))
}

#[tokio::test]
async fn grpc_traces_and_logs_become_events() -> Result<(), Box<dyn Error>> {
    let mut receiver = start(Limits::default()).await;
    let address = format!("http://{}", receiver.bound.grpc);
    let mut client = TraceServiceClient::connect(address.clone()).await?.send_compressed(Gzip);
    let answer = client.export(traces(vec![span(&TRACE), span(&[1; 3])])).await?.into_inner();
    let partial = answer.partial_success.unwrap();
    assert_eq!(partial.rejected_spans, 1);
    assert!(partial.error_message.contains("trace id"), "{}", partial.error_message);
    let told = receiver.events.recv().await.unwrap();
    assert_eq!((told.kind, told.trace_id), (Kind::Span, Some(TraceId::from_bytes(TRACE))));

    let mut client = LogsServiceClient::connect(address).await?;
    let answer = client.export(logs("cart is empty")).await?.into_inner();
    assert_eq!(answer.partial_success, None);
    let told = receiver.events.recv().await.unwrap();
    assert_eq!((told.kind, told.trace_id), (Kind::Log, Some(TraceId::from_bytes(TRACE))));

    let account = receiver.account.snapshot();
    assert_eq!((account.read, account.emitted), (3, 2));
    assert_eq!(account.dropped(DropReason::Malformed), 1);
    Ok(())
}

#[tokio::test]
async fn grpc_refuses_what_is_too_large_for_good() -> Result<(), Box<dyn Error>> {
    let receiver = start(Limits { request_bytes_max: 1_000, ..Limits::default() }).await;
    let address = format!("http://{}", receiver.bound.grpc);
    let large = traces(vec![Span { name: "x".repeat(100_000), ..span(&TRACE) }]);
    for packed in [false, true] {
        let client = TraceServiceClient::connect(address.clone()).await?;
        let mut client = if packed { client.send_compressed(Gzip) } else { client };
        let status = client.export(large.clone()).await.unwrap_err();
        assert_eq!(status.code(), Code::ResourceExhausted, "{packed}: {status}");
        assert!(status.message().contains("BATCH_SIZE"), "{packed}: {status}");
    }
    assert_eq!(receiver.account.snapshot().dropped(DropReason::TooLarge), 2);
    Ok(())
}

#[tokio::test]
async fn grpc_asks_to_come_again_once_nobody_takes_events() -> Result<(), Box<dyn Error>> {
    let mut receiver = start(Limits::default()).await;
    receiver.events.close();
    let mut client = TraceServiceClient::connect(format!("http://{}", receiver.bound.grpc)).await?;
    let status = client.export(traces(vec![span(&TRACE)])).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    Ok(())
}

#[tokio::test]
async fn grpc_bytes_that_are_no_message_are_refused_and_counted() -> Result<(), Box<dyn Error>> {
    let receiver = start(Limits::default()).await;
    let mut client = LogsServiceClient::connect(format!("http://{}", receiver.bound.grpc)).await?;
    // Sent to the service for logs, a span's name is where a log record's body should be.
    let mistaken = ExportTraceServiceRequest::encode_to_vec(&traces(vec![span(&TRACE)]));
    assert!(ExportLogsServiceRequest::decode(mistaken.as_slice()).is_err());
    drop(client.export(logs("x")).await?);

    let channel = tonic::transport::Endpoint::new(format!("http://{}", receiver.bound.grpc))?
        .connect()
        .await?;
    let mut raw = tonic::client::Grpc::new(channel);
    raw.ready().await?;
    let codec = tonic_codec::Bytes;
    let path = "/opentelemetry.proto.collector.logs.v1.LogsService/Export".parse()?;
    let status = raw.unary(tonic::Request::new(mistaken), path, codec).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument, "{status}");
    assert_eq!(receiver.account.snapshot().dropped(DropReason::Malformed), 1);

    let path = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export".parse()?;
    raw.ready().await?;
    let status = raw.unary(tonic::Request::new(vec![]), path, codec).await.unwrap_err();
    assert_eq!(status.code(), Code::Unimplemented, "{status}");
    Ok(())
}

/// A codec that sends bytes as they are.
mod tonic_codec {
    use bytes::{Buf as _, BufMut as _};
    use tonic::{
        Status,
        codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    };

    #[derive(Debug, Clone, Copy)]
    pub(crate) struct Bytes;

    impl Codec for Bytes {
        type Encode = Vec<u8>;
        type Decode = Vec<u8>;
        type Encoder = Self;
        type Decoder = Self;
        fn encoder(&mut self) -> Self {
            *self
        }
        fn decoder(&mut self) -> Self {
            *self
        }
    }

    impl Encoder for Bytes {
        type Item = Vec<u8>;
        type Error = Status;
        fn encode(&mut self, item: Vec<u8>, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
            buffer.put_slice(&item);
            Ok(())
        }
    }

    impl Decoder for Bytes {
        type Item = Vec<u8>;
        type Error = Status;
        fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Vec<u8>>, Status> {
            Ok(Some(buffer.copy_to_bytes(buffer.remaining()).to_vec()))
        }
    }
}

#[tokio::test]
async fn http_takes_protobuf_and_json_plain_and_packed() -> Result<(), Box<dyn Error>> {
    let mut receiver = start(Limits::default()).await;
    let to = receiver.bound.http;
    let plain = traces(vec![span(&TRACE)]).encode_to_vec();
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(&plain)?;
    let packed = encoder.finish()?;
    let id = "4b".repeat(16);
    let json = format!(
        r#"{{"resourceSpans":[{{"resource":{{"attributes":[{{"key":"service.name","value":{{"stringValue":"cart"}}}},
        {{"key":"process.command_args","value":{{"arrayValue":{{}}}}}}]}},"scopeSpans":[{{"spans":[
        {{"traceId":"{id}","spanId":"0101010101010101","name":"x","kind":2,"startTimeUnixNano":"1",
        "endTimeUnixNano":"2","attributes":[{{"key":"http.response.status_code","value":{{"intValue":"500"}}}}]}}]}}]}}]}}"#
    );
    let packed_headers = format!("{PROTOBUF}content-encoding: gzip\r\n");
    for (headers, body) in [
        (PROTOBUF, plain.as_slice()),
        (packed_headers.as_str(), &packed),
        ("content-type: application/json\r\n", json.as_bytes()),
    ] {
        let (status, answer) = send(to, "POST /v1/traces", headers, body).await?;
        assert_eq!(status, 200, "{headers}: {answer}");
        let told = receiver.events.recv().await.unwrap();
        assert_eq!(told.trace_id, Some(TraceId::from_bytes(TRACE)), "{headers}");
    }
    let body = logs("cart is empty").encode_to_vec();
    let (status, answer) = send(to, "POST /v1/logs", PROTOBUF, &body).await?;
    assert_eq!((status, receiver.events.recv().await.unwrap().kind), (200, Kind::Log), "{answer}");
    Ok(())
}

#[tokio::test]
async fn http_refusals_have_the_status_exporters_expect() -> Result<(), Box<dyn Error>> {
    let receiver = start(Limits { request_bytes_max: 100_000, ..Limits::default() }).await;
    let json = "content-type: application/json\r\n";
    let large = vec![0; 150_000];
    for (line, headers, body, expected, cure) in [
        ("POST /v1/traces", PROTOBUF, &[0xff; 9][..], 400, "content type"),
        ("POST /v1/logs", json, b"{", 400, "content type"),
        ("POST /v1/traces", "content-type: text/plain\r\n", b"x", 415, "application/json"),
        ("POST /v1/traces", "", b"x", 415, "application/json"),
        ("POST /v1/traces", PROTOBUF, &large, 413, "BATCH_SIZE"),
        ("GET /v1/traces", "", b"", 405, "POST"),
        ("POST /v1/metrics", PROTOBUF, b"", 404, "OTEL_METRICS_EXPORTER"),
        ("POST /", PROTOBUF, b"", 404, "/v1/traces"),
    ] {
        let (status, answer) = send(receiver.bound.http, line, headers, body).await?;
        assert_eq!(status, expected, "{line} {headers}: {answer}");
        assert!(answer.contains(cure), "{line} {headers}: {answer}");
    }
    let account = receiver.account.snapshot();
    assert_eq!(account.dropped(DropReason::Malformed), 4);
    assert_eq!(account.dropped(DropReason::TooLarge), 1);
    Ok(())
}

#[tokio::test]
async fn http_asks_to_come_again_once_nobody_takes_events() -> Result<(), Box<dyn Error>> {
    let mut receiver = start(Limits::default()).await;
    receiver.events.close();
    let body = traces(vec![span(&TRACE)]).encode_to_vec();
    let (status, answer) = send(receiver.bound.http, "POST /v1/traces", PROTOBUF, &body).await?;
    assert_eq!(status, 503, "{answer}");
    assert!(answer.contains("retry-after: 1"), "{answer}");
    Ok(())
}

#[tokio::test]
async fn an_acknowledgement_waits_for_the_last_event() -> Result<(), Box<dyn Error>> {
    let mut receiver = start(Limits::default()).await;
    let spans: Vec<_> = (1..=100).map(|id| Span { span_id: vec![id; 8], ..span(&TRACE) }).collect();
    let body = traces(spans).encode_to_vec();
    let to = receiver.bound.http;
    let sending =
        spawn_named("sender", async move { send(to, "POST /v1/traces", PROTOBUF, &body).await });
    // With 35 taken and 64 waiting in the channel, the last of the 100 is not handed over.
    for _ in 0..35 {
        receiver.events.recv().await.unwrap();
    }
    assert!(!sending.is_finished());
    for _ in 35..100 {
        receiver.events.recv().await.unwrap();
    }
    assert_eq!(sending.await??.0, 200);
    assert_eq!(receiver.account.snapshot().emitted, 100);
    Ok(())
}

#[tokio::test]
async fn stopping_frees_the_ports_while_senders_stay_connected() -> Result<(), Box<dyn Error>> {
    let receiver = start(Limits::default()).await;
    let idle_grpc = TraceServiceClient::connect(format!("http://{}", receiver.bound.grpc)).await?;
    let idle_http = TcpStream::connect(receiver.bound.http).await?;
    receiver.stopper.stop();
    receiver.running.await??;
    let config = OtlpConfig {
        grpc: receiver.bound.grpc,
        http: receiver.bound.http,
        limits: Limits::default(),
    };
    let (_again, bound) = OtlpCollector::bind(config, Box::new(SystemClock)).await?;
    assert_eq!(bound, receiver.bound);
    drop((idle_grpc, idle_http));
    Ok(())
}

#[tokio::test]
async fn a_taken_port_is_told_with_its_cure() {
    let receiver = start(Limits::default()).await;
    let config = OtlpConfig { http: receiver.bound.http, ..anywhere(Limits::default()) };
    let error = OtlpCollector::bind(config, Box::new(SystemClock)).await.unwrap_err().to_string();
    assert!(error.contains(&receiver.bound.http.to_string()), "{error}");
    assert!(error.contains("choose another port"), "{error}");
}
