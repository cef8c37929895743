//! Sends what Tapio sees of itself to an OTLP receiver.

mod config;
mod instruments;
mod send;

use std::{thread, time::Duration};

use opentelemetry::{KeyValue, metrics::MeterProvider as _, trace::TracerProvider as _};
use opentelemetry_sdk::{
    Resource,
    metrics::{PeriodicReader, SdkMeterProvider},
    trace::{BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracerProvider},
};
use tokio::{
    runtime::Handle,
    sync::oneshot,
    time::{Instant, timeout},
};
use tracing::info;

use crate::{
    label::{Label, SpanFate},
    meters::Meters,
    metric::Metric,
    span::{Ids, Share, Telemetry},
};

pub use config::{ObserveConfig, ObserveError, OtlpProtocol};
use send::{CountedExporter, Receiver};

/// Spans that wait to be sent; more are dropped, and missing from `tapio_spans_total`'s balance.
const SPANS_WAITING_MAX: usize = 2_048;
/// How long a span waits for others to travel with.
const SPAN_LINGER: Duration = Duration::from_secs(1);

/// Tapio, observed: the metrics and spans of this process on their way to an OTLP receiver.
///
/// Shut it down at the end; dropping it sends what is left in the background, and a process that
/// ends at once loses that.
#[derive(Debug)]
pub struct Observed {
    telemetry: Telemetry,
    providers: Option<Providers>,
}

#[derive(Debug)]
struct Providers {
    traces: SdkTracerProvider,
    metrics: SdkMeterProvider,
}

impl Observed {
    /// Begins to send, if `config` names an endpoint. Without one, [`Observed::telemetry`] is off
    /// and `meters` are read as Prometheus text only.
    ///
    /// An endpoint that does not answer is no error: what cannot be sent is counted and dropped.
    ///
    /// # Errors
    /// [`ObserveError`] if it can never work as configured.
    pub fn start(config: &ObserveConfig, meters: &Meters) -> Result<Self, ObserveError> {
        let started_at = Instant::now();
        meters.observe(Metric::BuildInfo, Label::Version(config.version), || 1).keep();
        meters.observe(Metric::Uptime, (), move || started_at.elapsed()).keep();
        let Some(endpoint) = config.endpoint()? else {
            return Ok(Self { telemetry: Telemetry::off(), providers: None });
        };
        let runtime = Handle::try_current().map_err(|_none| ObserveError::NoRuntime)?;
        let receiver = Receiver::new(endpoint, config.protocol, runtime);
        let resource = Resource::builder()
            .with_service_name(config.service_name.clone())
            .with_attribute(KeyValue::new("service.instance.id", config.instance.clone()))
            .with_attribute(KeyValue::new("service.version", config.version))
            .build();
        let ids = Ids::new(config.seed);
        let traces = traces(&receiver, resource.clone(), ids.clone(), meters)?;
        let reader = PeriodicReader::builder(receiver.metrics()?);
        let reader = reader.with_interval(config.metrics_every).build();
        let metrics =
            SdkMeterProvider::builder().with_resource(resource).with_reader(reader).build();
        let providers = Providers { traces, metrics };
        let tracer = providers.traces.tracer("tapio");
        let ended = meters.counter(Metric::Spans, Label::Span(SpanFate::Ended));
        let telemetry = Telemetry::new(tracer, ids, Share::new(config.sample_ratio), ended);
        let meter = providers.metrics.meter("tapio");
        // From here on, dropping ends the exporters' threads.
        let observed = Self { telemetry, providers: Some(providers) };
        if !instruments::link(&meter, meters) {
            return Err(ObserveError::Twice);
        }
        info!(endpoint, protocol = config.protocol.name(), "sending our own traces and metrics");
        Ok(observed)
    }

    /// Returns what makes spans.
    #[must_use]
    pub fn telemetry(&self) -> Telemetry {
        self.telemetry.clone()
    }

    /// Sends what is left, for at most `within`, and ends.
    ///
    /// # Errors
    /// [`ObserveError::NotFlushed`] if not everything was taken in time.
    /// # Cancel safety
    /// Dropping the future lets the rest be sent in the background.
    pub async fn shutdown(mut self, within: Duration) -> Result<(), ObserveError> {
        let Some(providers) = self.providers.take() else { return Ok(()) };
        let (done, flushed) = oneshot::channel();
        end_on_a_thread(providers, within, done);
        match timeout(within, flushed).await {
            Ok(Ok(true)) => Ok(()),
            Ok(Ok(false) | Err(_)) | Err(_) => Err(ObserveError::NotFlushed(within)),
        }
    }
}

impl Drop for Observed {
    fn drop(&mut self) {
        if let Some(providers) = self.providers.take() {
            end_on_a_thread(providers, SPAN_LINGER, oneshot::channel().0);
        }
    }
}

fn traces(
    receiver: &Receiver<'_>,
    resource: Resource,
    ids: Ids,
    meters: &Meters,
) -> Result<SdkTracerProvider, ObserveError> {
    let waiting = BatchConfigBuilder::default()
        .with_max_queue_size(SPANS_WAITING_MAX)
        .with_scheduled_delay(SPAN_LINGER)
        .build();
    let exporter = CountedExporter::new(receiver.spans()?, meters);
    let processor = BatchSpanProcessor::builder(exporter).with_batch_config(waiting).build();
    let provider = SdkTracerProvider::builder()
        .with_resource(resource)
        // What comes here was sampled already.
        .with_sampler(Sampler::AlwaysOn)
        .with_id_generator(ids)
        .with_span_processor(processor);
    Ok(provider.build())
}

/// Ends the exporters, and says whether they got rid of everything.
///
/// On a thread of its own, because it blocks: on a task it would hold up the exporters, which need
/// the runtime, and as a blocking task it would hold up the runtime's end.
fn end_on_a_thread(providers: Providers, within: Duration, done: oneshot::Sender<bool>) {
    let Providers { traces, metrics } = providers;
    let end = move || {
        // Spans first: the metrics count them.
        let is_flushed = traces.shutdown_with_timeout(within).is_ok();
        let is_flushed = metrics.shutdown_with_timeout(within).is_ok() && is_flushed;
        // Nobody may be waiting any more.
        done.send(is_flushed).unwrap_or_default();
    };
    // Without a thread, `done` is dropped, which says the same as false.
    drop(thread::Builder::new().name("otlp-flush".into()).spawn(end));
}

#[cfg(test)]
mod tests;
