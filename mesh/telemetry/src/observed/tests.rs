use std::sync::{
    Arc, Mutex,
    atomic::{AtomicU64, Ordering},
};

use opentelemetry_sdk::{
    error::OTelSdkResult,
    metrics::{
        Temporality,
        data::{AggregatedMetrics, MetricData, ResourceMetrics},
        exporter::PushMetricExporter,
    },
};

use super::*;
use crate::{
    label::RequestOp,
    span::{SpanName, Telemetry},
};

/// Writes down what leaves: name, kind, value.
#[derive(Debug, Clone, Default)]
struct Book(Arc<Mutex<Vec<String>>>);

impl PushMetricExporter for Book {
    async fn export(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
        let mut lines = self.0.lock().unwrap();
        lines.clear();
        for metric in metrics.scope_metrics().flat_map(|scope| scope.metrics()) {
            let (name, unit) = (metric.name(), metric.unit());
            let data = match metric.data() {
                AggregatedMetrics::F64(data) => shown(data),
                AggregatedMetrics::U64(data) => shown(data),
                AggregatedMetrics::I64(data) => shown(data),
            };
            lines.push(format!("{name} {unit} {data}"));
        }
        lines.sort();
        Ok(())
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _timeout: Duration) -> OTelSdkResult {
        Ok(())
    }

    fn temporality(&self) -> Temporality {
        Temporality::Cumulative
    }
}

fn shown<T: Copy + std::fmt::Debug>(data: &MetricData<T>) -> String {
    let pairs = |pairs: &mut dyn Iterator<Item = &KeyValue>| {
        let pairs: Vec<_> = pairs.map(|pair| format!("{}={}", pair.key, pair.value)).collect();
        pairs.join(",")
    };
    let points: Vec<_> = match data {
        MetricData::Sum(sum) => sum
            .data_points()
            .map(|it| (pairs(&mut it.attributes()), format!("{:?}", it.value())))
            .map(|it| format!("sum monotonic={} {{{}}} {}", sum.is_monotonic(), it.0, it.1))
            .collect(),
        MetricData::Gauge(gauge) => gauge
            .data_points()
            .map(|it| format!("gauge {{{}}} {:?}", pairs(&mut it.attributes()), it.value()))
            .collect(),
        MetricData::Histogram(histogram) => histogram
            .data_points()
            .map(|it| (pairs(&mut it.attributes()), it.bounds().count(), it.count(), it.sum()))
            .map(|it| {
                format!("histogram {{{}}} bounds={} count={} sum={:?}", it.0, it.1, it.2, it.3)
            })
            .collect(),
        MetricData::ExponentialHistogram(_) => vec!["not ours".to_owned()],
    };
    points.join("; ")
}

#[test]
fn what_leaves_is_what_the_page_shows_and_of_one_moment() {
    let (meters, book) = (Meters::new(), Book::default());
    let early = meters.histogram(Metric::RequestDuration, Label::Op(RequestOp::Query));
    early.record(Duration::from_secs(9));
    let reader = PeriodicReader::builder(book.clone()).with_interval(Duration::from_secs(3600));
    let provider = SdkMeterProvider::builder().with_reader(reader.build()).build();
    assert!(instruments::link(&provider.meter("test"), &meters));
    let looks = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&looks);
    let observer = meters.observe_all(move |sheet| {
        let look = counted.fetch_add(1, Ordering::Relaxed);
        sheet.set(Metric::LiveTraces, (), look);
        sheet.set(Metric::LiveActors, (), look);
        sheet.set(Metric::LogLag, (), Duration::from_millis(1_500));
        sheet.set(Metric::CircuitOpen, (), true);
    });
    meters.counter(Metric::Claims, ()).add(7);
    meters.histogram(Metric::CommitDuration, ()).record(Duration::from_millis(4));
    early.record(Duration::from_millis(500));
    for look in 0..3 {
        provider.force_flush().unwrap();
        let expected = [
            "tapio_circuit_open 1 gauge {} 1".to_owned(),
            "tapio_claims_total 1 sum monotonic=true {} 7".to_owned(),
            "tapio_commit_duration_seconds s histogram {} bounds=15 count=1 sum=0.004".to_owned(),
            format!("tapio_live_actors 1 sum monotonic=false {{}} {look}"),
            format!("tapio_live_traces 1 sum monotonic=false {{}} {look}"),
            "tapio_log_lag_seconds s gauge {} 1.5".to_owned(),
            // What was recorded before anybody listened is on the page only.
            "tapio_request_duration_seconds s histogram {op=query} bounds=15 count=1 sum=0.5"
                .to_owned(),
        ];
        assert_eq!(*book.0.lock().unwrap(), expected, "look {look}");
    }
    assert_eq!(looks.load(Ordering::Relaxed), 3);
    assert!(meters.prometheus().contains("tapio_live_traces 3\n"));
    assert!(meters.prometheus().contains("tapio_request_duration_seconds_count{op=\"query\"} 2"));
    drop(observer);
    provider.force_flush().unwrap();
    assert_eq!(book.0.lock().unwrap().len(), 3, "{:?}", book.0);
    provider.shutdown().unwrap();
}

#[test]
fn without_an_endpoint_there_is_a_page_and_no_span() {
    let meters = Meters::new();
    let observed = Observed::start(&ObserveConfig::new("node-0", 1), &meters).unwrap();
    assert!(!observed.telemetry().is_on());
    let version = env!("CARGO_PKG_VERSION");
    let info = format!("tapio_build_info{{version=\"{version}\"}} 1\n");
    assert!(meters.prometheus().contains(&info), "{}", meters.prometheus());
    assert!(meters.prometheus().contains("\ntapio_uptime_seconds "));
}

fn config(protocol: OtlpProtocol, port: u16) -> ObserveConfig {
    let otlp_endpoint = Some(format!("http://127.0.0.1:{port}"));
    let sample_ratio = ObserveConfig::SAMPLE_ALL;
    ObserveConfig { otlp_endpoint, protocol, sample_ratio, ..ObserveConfig::new("node-0", 1) }
}

#[test]
fn sending_needs_a_runtime_and_meters_of_its_own() {
    let meters = Meters::new();
    let config = config(OtlpProtocol::Http, 9);
    assert_eq!(Observed::start(&config, &meters).unwrap_err(), ObserveError::NoRuntime);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let _entered = runtime.enter();
    let first = Observed::start(&config, &meters).unwrap();
    assert!(first.telemetry().is_on());
    assert_eq!(Observed::start(&config, &meters).unwrap_err(), ObserveError::Twice);
}

/// Sends to somebody who takes connections and never answers.
async fn send_to_a_wall(protocol: OtlpProtocol) {
    let wall = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let meters = Meters::new();
    let config = config(protocol, wall.local_addr().unwrap().port());
    let observed = Observed::start(&config, &meters).unwrap();
    let telemetry: Telemetry = observed.telemetry();
    telemetry.start(SpanName::Publish, None).end();
    let within = Duration::from_millis(300);
    let began = Instant::now();
    let error = observed.shutdown(within).await.unwrap_err();
    assert_eq!(error, ObserveError::NotFlushed(within));
    assert!(began.elapsed() < within * 10, "{:?}", began.elapsed());
    assert!(meters.prometheus().contains("tapio_spans_total{fate=\"ended\"} 1\n"));
    // Whoever still holds it makes spans that go nowhere.
    telemetry.start(SpanName::Publish, None).end();
}

#[tokio::test]
async fn the_end_is_bounded_when_nobody_answers_over_http() {
    send_to_a_wall(OtlpProtocol::Http).await;
}

#[tokio::test]
async fn the_end_is_bounded_when_nobody_answers_over_grpc() {
    send_to_a_wall(OtlpProtocol::Grpc).await;
}
