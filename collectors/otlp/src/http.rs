//! OTLP over HTTP.

use std::{
    future::{Future, IntoFuture as _},
    io::{self, Read as _},
    sync::Arc,
};

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::{
        HeaderMap, HeaderName, HeaderValue,
        header::{ALLOW, CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER},
    },
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse as _, Response},
    routing::{any, post},
};
use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use prost::Message;
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::net::TcpListener;
use tokio_stream::StreamExt as _;

use crate::{
    grpc::{logs_response, traces_response},
    intake::{Intake, Rejected},
    json,
    refusal::Refusal,
};

/// A body over the limit is read on and thrown away up to this many times the limit: a sender cut
/// off while it writes sees a broken pipe and not the answer.
const DRAIN_LIMITS_MAX: usize = 4;

/// What a request carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Signal {
    Traces,
    Logs,
}

/// How a request, and so its answer, is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Protobuf,
    Json,
}

/// The body of a refusal: `google.rpc.Status`.
///
/// # Source
/// <https://opentelemetry.io/docs/specs/otlp/#failures-1>
#[derive(Clone, PartialEq, prost::Message)]
struct RpcStatus {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
}

/// Serves until `stopped`, and then until the open requests are done.
///
/// # Errors
/// Whatever ends the server before that.
pub(crate) async fn serve(
    listener: TcpListener,
    intake: Arc<Intake>,
    stopped: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    axum::serve(listener, router(intake)).with_graceful_shutdown(stopped).into_future().await
}

fn router(intake: Arc<Intake>) -> Router {
    Router::new()
        .route("/v1/traces", post(take_traces).fallback(refuse_method))
        .route("/v1/logs", post(take_logs).fallback(refuse_method))
        .route("/v1/metrics", any(refuse_metrics))
        .fallback(refuse_path)
        .layer(from_fn_with_state(Arc::clone(&intake), guard))
        .with_state(intake)
}

async fn guard(State(intake): State<Arc<Intake>>, request: Request, next: Next) -> Response {
    let format = Format::of(request.headers());
    match intake.admit(next.run(request)).await {
        Ok(response) => response,
        Err(refusal) => refuse(format, &refusal),
    }
}

async fn take_traces(State(intake): State<Arc<Intake>>, request: Request) -> Response {
    take(&intake, Signal::Traces, request).await
}

async fn take_logs(State(intake): State<Arc<Intake>>, request: Request) -> Response {
    take(&intake, Signal::Logs, request).await
}

async fn refuse_method(request: Request) -> Response {
    refuse(Format::of(request.headers()), &Refusal::Method)
}

async fn refuse_metrics(request: Request) -> Response {
    refuse(Format::of(request.headers()), &Refusal::Metrics)
}

async fn refuse_path(request: Request) -> Response {
    refuse(Format::of(request.headers()), &Refusal::NotFound)
}

async fn take(intake: &Intake, signal: Signal, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = read_body(body, intake.limits().request_bytes_max).await;
    answer(intake, signal, &parts.headers, body).await
}

async fn read_body(body: Body, bytes_max: usize) -> Result<Vec<u8>, Refusal> {
    let mut chunks = body.into_data_stream();
    let mut whole = Vec::new();
    let mut bytes: usize = 0;
    while let Some(chunk) = chunks.next().await {
        let chunk: Bytes = chunk.map_err(Refusal::malformed)?;
        bytes = bytes.saturating_add(chunk.len());
        if bytes <= bytes_max {
            whole.extend_from_slice(&chunk);
        } else if bytes > bytes_max.saturating_mul(DRAIN_LIMITS_MAX) {
            break;
        } else {
            whole = Vec::new();
        }
    }
    if bytes > bytes_max { Err(Refusal::TooLarge { bytes_max }) } else { Ok(whole) }
}

/// Answers a request: everything between its bytes and those of the answer.
async fn answer(
    intake: &Intake,
    signal: Signal,
    headers: &HeaderMap,
    body: Result<Vec<u8>, Refusal>,
) -> Response {
    let format = Format::of(headers);
    match work(intake, signal, headers, body).await {
        Ok(rejected) => accept(format.unwrap_or(Format::Json), signal, &rejected),
        Err(refusal) => {
            intake.count(&refusal);
            refuse(format, &refusal)
        }
    }
}

async fn work(
    intake: &Intake,
    signal: Signal,
    headers: &HeaderMap,
    body: Result<Vec<u8>, Refusal>,
) -> Result<Rejected, Refusal> {
    let format = Format::of(headers).ok_or(Refusal::Unsupported { header: "content-type" })?;
    let body = unpack(headers, body?, intake.limits().request_bytes_max)?;
    match signal {
        Signal::Traces => intake.take_traces(format.read(&body)?).await,
        Signal::Logs => intake.take_logs(format.read(&body)?).await,
    }
}

fn unpack(headers: &HeaderMap, body: Vec<u8>, bytes_max: usize) -> Result<Vec<u8>, Refusal> {
    let encoding = headers.get(CONTENT_ENCODING).map_or(&b"identity"[..], HeaderValue::as_bytes);
    if encoding.eq_ignore_ascii_case(b"identity") {
        return Ok(body);
    }
    if !encoding.eq_ignore_ascii_case(b"gzip") {
        return Err(Refusal::Unsupported { header: "content-encoding" });
    }
    let mut unpacked = Vec::new();
    // One byte more than allowed tells a full body from one that goes on.
    let room = u64::try_from(bytes_max).unwrap_or(u64::MAX).saturating_add(1);
    let mut reader = MultiGzDecoder::new(body.as_slice()).take(room);
    reader.read_to_end(&mut unpacked).map_err(Refusal::malformed)?;
    if unpacked.len() > bytes_max { Err(Refusal::TooLarge { bytes_max }) } else { Ok(unpacked) }
}

impl Format {
    fn of(headers: &HeaderMap) -> Option<Self> {
        let value = headers.get(CONTENT_TYPE)?.to_str().ok()?;
        let media = value.split(';').next().unwrap_or(value).trim();
        [Self::Protobuf, Self::Json]
            .into_iter()
            .find(|format| media.eq_ignore_ascii_case(format.media_type()))
    }

    const fn media_type(self) -> &'static str {
        match self {
            Self::Protobuf => "application/x-protobuf",
            Self::Json => "application/json",
        }
    }

    fn read<M: Message + Default + DeserializeOwned>(self, body: &[u8]) -> Result<M, Refusal> {
        match self {
            Self::Protobuf => M::decode(body).map_err(Refusal::malformed),
            Self::Json => json::read(body),
        }
    }
}

fn accept(format: Format, signal: Signal, rejected: &Rejected) -> Response {
    let body = match (format, signal) {
        (Format::Protobuf, Signal::Traces) => traces_response(rejected).encode_to_vec(),
        (Format::Protobuf, Signal::Logs) => logs_response(rejected).encode_to_vec(),
        (Format::Json, Signal::Traces) => partial_success("rejectedSpans", rejected),
        (Format::Json, Signal::Logs) => partial_success("rejectedLogRecords", rejected),
    };
    ([(CONTENT_TYPE, format.media_type())], body).into_response()
}

/// Written by hand: the mapping has 64-bit numbers as text and leaves out what is not set.
fn partial_success(count: &str, rejected: &Rejected) -> Vec<u8> {
    let body = rejected.message().map_or_else(
        || json!({}),
        |message| {
            let records = rejected.records().to_string();
            json!({ "partialSuccess": { count: records, "errorMessage": message } })
        },
    );
    body.to_string().into_bytes()
}

fn refuse(format: Option<Format>, refusal: &Refusal) -> Response {
    let format = format.unwrap_or(Format::Json);
    let status = RpcStatus { code: refusal.grpc().into(), message: refusal.to_string() };
    let body = match format {
        Format::Protobuf => status.encode_to_vec(),
        Format::Json => {
            json!({ "code": status.code, "message": status.message }).to_string().into_bytes()
        }
    };
    let hint = match refusal {
        Refusal::Closed | Refusal::Busy => Some((RETRY_AFTER, "1")),
        Refusal::Method => Some((ALLOW, "POST")),
        Refusal::Malformed { .. }
        | Refusal::TooLarge { .. }
        | Refusal::Unsupported { .. }
        | Refusal::Metrics
        | Refusal::NotFound => None,
    };
    let mut response =
        (refusal.http(), [(CONTENT_TYPE, format.media_type())], body).into_response();
    response
        .headers_mut()
        .extend(hint.map(|(name, value): (HeaderName, _)| (name, HeaderValue::from_static(value))));
    response
}

#[cfg(test)]
mod tests;
