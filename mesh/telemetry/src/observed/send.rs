//! The way to the receiver.

use std::time::Duration;

use async_trait::async_trait;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response, hyper::HyperClient};
use opentelemetry_otlp::{
    MetricExporter, Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _,
};
use opentelemetry_sdk::{Resource, error::OTelSdkResult, trace as sdk};
use tokio::runtime::Handle;

use super::{ObserveError, OtlpProtocol};
use crate::{
    label::{Label, SpanFate},
    meters::{Counter, Meters},
    metric::Metric,
    task::spawn_named,
};

/// How long an export may take, repetitions included.
const EXPORT_WITHIN: Duration = Duration::from_secs(5);

/// Where to send.
#[derive(Debug)]
pub(super) struct Receiver<'a> {
    endpoint: &'a str,
    protocol: OtlpProtocol,
    runtime: Handle,
}

impl<'a> Receiver<'a> {
    /// Sends to `endpoint`, on `runtime`, which must be the current one.
    pub(super) const fn new(endpoint: &'a str, protocol: OtlpProtocol, runtime: Handle) -> Self {
        Self { endpoint, protocol, runtime }
    }

    /// Makes what sends spans.
    pub(super) fn spans(&self) -> Result<SpanExporter, ObserveError> {
        let exporter = match self.protocol {
            OtlpProtocol::Grpc => SpanExporter::builder()
                .with_tonic()
                .with_endpoint(self.endpoint)
                .with_timeout(EXPORT_WITHIN)
                .build(),
            OtlpProtocol::Http => SpanExporter::builder()
                .with_http()
                .with_http_client(self.client())
                .with_protocol(Protocol::HttpBinary)
                .with_endpoint(format!("{}/v1/traces", self.endpoint))
                .with_timeout(EXPORT_WITHIN)
                .build(),
        };
        exporter.map_err(|error| ObserveError::Exporter(error.to_string()))
    }

    /// Makes what sends metrics.
    pub(super) fn metrics(&self) -> Result<MetricExporter, ObserveError> {
        let exporter = match self.protocol {
            OtlpProtocol::Grpc => MetricExporter::builder()
                .with_tonic()
                .with_endpoint(self.endpoint)
                .with_timeout(EXPORT_WITHIN)
                .build(),
            OtlpProtocol::Http => MetricExporter::builder()
                .with_http()
                .with_http_client(self.client())
                .with_protocol(Protocol::HttpBinary)
                .with_endpoint(format!("{}/v1/metrics", self.endpoint))
                .with_timeout(EXPORT_WITHIN)
                .build(),
        };
        exporter.map_err(|error| ObserveError::Exporter(error.to_string()))
    }

    fn client(&self) -> RuntimeClient {
        let client = HyperClient::with_default_connector(EXPORT_WITHIN, None);
        RuntimeClient { client, runtime: self.runtime.clone() }
    }
}

/// Sends on the runtime, whoever asks: the SDK exports from threads of its own, where hyper finds
/// no runtime, and the client that works there would bring a second HTTP stack.
#[derive(Debug)]
struct RuntimeClient {
    client: HyperClient,
    runtime: Handle,
}

#[async_trait]
impl HttpClient for RuntimeClient {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let client = self.client.clone();
        let sending = {
            let _entered = self.runtime.enter();
            spawn_named("otlp-export", async move { client.send_bytes(request).await })
        };
        sending.await?
    }
}

/// Counts the spans that were taken, and those that were not.
#[derive(Debug)]
pub(super) struct CountedExporter<E> {
    exporter: E,
    sent: Counter,
    failed: Counter,
}

impl<E> CountedExporter<E> {
    pub(super) fn new(exporter: E, meters: &Meters) -> Self {
        let counter = |fate| meters.counter(Metric::Spans, Label::Span(fate));
        Self { exporter, sent: counter(SpanFate::Sent), failed: counter(SpanFate::Failed) }
    }
}

impl<E: sdk::SpanExporter> sdk::SpanExporter for CountedExporter<E> {
    async fn export(&self, batch: Vec<sdk::SpanData>) -> OTelSdkResult {
        let spans = u64::try_from(batch.len()).unwrap_or(u64::MAX);
        let result = self.exporter.export(batch).await;
        let counter = if result.is_ok() { &self.sent } else { &self.failed };
        counter.add(spans);
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}
