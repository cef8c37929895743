//! Does a stock OTLP receiver see the way of a batch as one trace, and our figures as they are?

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{BufRead as _, BufReader, Write as _},
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver as Lines, channel},
    thread,
    time::Duration,
};

use serde_json::{Value, json};
use tapio_telemetry::{
    CommitResult, Label, Meters, Metric, ObserveConfig, Observed, OtlpProtocol, RequestOp, SpanKey,
    SpanName, SpanValue,
};
use tapio_tests::{python_with_opentelemetry, root, text};

use crate::Case;

/// How long anything may take: a machine under load is slow, not wrong.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) fn cases() -> Vec<Case> {
    let need = python_with_opentelemetry().map(drop);
    vec![
        Case::with_need("observed::a_way_is_one_trace_over_grpc", need.clone(), || {
            travel(OtlpProtocol::Grpc)
        }),
        Case::with_need("observed::a_way_is_one_trace_over_http", need.clone(), || {
            travel(OtlpProtocol::Http)
        }),
        Case::with_need("observed::the_page_is_what_prometheus_reads", need, page),
    ]
}

/// The receiver's process. Ended when dropped.
pub(crate) struct Receiver {
    child: Child,
    lines: Lines<String>,
    /// Where it listens, by protocol.
    pub(crate) endpoints: Value,
}

impl Receiver {
    pub(crate) fn start() -> Result<Self, String> {
        let mut child = python("receiver.py")?
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| error.to_string())?;
        let output = child.stdout.take().ok_or("no output")?;
        let (sender, lines) = channel();
        // Ends with the stream, which ends with the process.
        drop(thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        }));
        let mut receiver = Self { child, lines, endpoints: Value::Null };
        receiver.endpoints = receiver.next()?;
        Ok(receiver)
    }

    fn next(&self) -> Result<Value, String> {
        let line = self.lines.recv_timeout(PATIENCE).map_err(|error| error.to_string())?;
        serde_json::from_str(&line).map_err(|error| format!("{error}: {line}"))
    }

    /// Returns everything it took in, once it has ended.
    pub(crate) fn end(mut self) -> Result<Vec<Value>, String> {
        drop(self.child.stdin.take());
        let mut taken = Vec::new();
        while let Ok(line) = self.lines.recv_timeout(PATIENCE) {
            taken.push(serde_json::from_str(&line).map_err(|error| format!("{error}: {line}"))?);
        }
        Ok(taken)
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        // Gone already is what `end` leaves behind.
        self.child.kill().unwrap_or_default();
        drop(self.child.wait());
    }
}

fn python(script: &str) -> Result<Command, String> {
    let python = python_with_opentelemetry().map_err(|need| need.to_string())?;
    let mut command = Command::new(python);
    command.arg(root().join("tests/it/observed").join(script));
    Ok(command)
}

/// Has a collector and a node, each with telemetry of its own, send a batch its way.
fn travel(protocol: OtlpProtocol) -> Result<(), String> {
    let receiver = Receiver::start()?;
    let endpoint = text(&receiver.endpoints, protocol.name()).to_owned();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    let page = runtime.block_on(send(protocol, &endpoint))?;
    let taken = receiver.end()?;
    check_trace(&taken)?;
    check_metrics(&taken, &page)
}

/// Returns what the node's page showed at the end.
async fn send(protocol: OtlpProtocol, endpoint: &str) -> Result<String, String> {
    let config = |instance, seed, sample_ratio| ObserveConfig {
        otlp_endpoint: Some(endpoint.to_owned()),
        protocol,
        sample_ratio,
        ..ObserveConfig::new(instance, seed)
    };
    let observe = |config, meters: &Meters| {
        Observed::start(&config, meters).map_err(|error| error.to_string())
    };
    let meters = Meters::new();
    let collector = observe(config("collector-1", 1, ObserveConfig::SAMPLE_ALL), &Meters::new())?;
    // The node samples nothing by itself: what it records, the collector has decided.
    let node = observe(config("node-0", 2, 0.0), &meters)?;

    let mut publish = collector.telemetry().start(SpanName::Publish, None);
    publish.set(SpanKey::Messages, 100);
    let mut process = node.telemetry().start(SpanName::Process, publish.traceparent().as_deref());
    process.set(SpanKey::Shard, 17);
    let commit = node.telemetry().start(SpanName::Commit, process.traceparent().as_deref());
    let mut tell = node.telemetry().start(SpanName::Tell, commit.traceparent().as_deref());
    tell.set(SpanKey::Story, SpanValue::Shown(&"01ARZ3NDEKTSV4RRFFQ69G5FAV"));
    if let Some(other) = publish.traceparent() {
        tell.link(&other);
    }
    [tell, commit, process, publish].into_iter().for_each(drop);

    meters.observe(Metric::LiveTraces, (), || 42).keep();
    meters.counter(Metric::Commits, Label::Commit(CommitResult::Ok)).add(7);
    meters.counter(Metric::Commits, Label::Commit(CommitResult::Lost)).add(1);
    meters.observe(Metric::LogLag, (), || Duration::from_millis(1_250)).keep();
    let duration = meters.histogram(Metric::RequestDuration, Label::Op(RequestOp::Query));
    [1, 2, 30_000].map(Duration::from_millis).into_iter().for_each(|time| duration.record(time));

    for observed in [collector, node] {
        observed.shutdown(PATIENCE).await.map_err(|error| error.to_string())?;
    }
    Ok(meters.prometheus())
}

fn check_trace(taken: &[Value]) -> Result<(), String> {
    let spans: BTreeMap<_, _> = taken
        .iter()
        .filter(|it| it.get("span").is_some())
        .map(|it| (text(it, "span"), it))
        .collect();
    let traces: BTreeSet<_> = spans.values().map(|span| text(span, "trace")).collect();
    let names: Vec<_> = spans.keys().copied().collect();
    if names != ["commit", "process", "publish", "tell"] || traces.len() != 1 {
        return Err(format!("not one trace of four spans: {taken:?}"));
    }
    let way = [
        (
            "publish",
            "",
            "SPAN_KIND_PRODUCER",
            "collector-1",
            ("messaging.batch.message_count", json!(100)),
        ),
        ("process", "publish", "SPAN_KIND_CONSUMER", "node-0", ("tapio.shard", json!(17))),
        ("commit", "process", "SPAN_KIND_INTERNAL", "node-0", ("messaging.system", Value::Null)),
        ("tell", "commit", "SPAN_KIND_PRODUCER", "node-0", ("messaging.system", json!("nats"))),
    ];
    for (name, parent, kind, instance, (key, value)) in way {
        let field = |name: &str, field: &str| spans.get(name).map_or("", |span| text(span, field));
        let span = spans.get(name).copied().unwrap_or(&Value::Null);
        let resource = span.get("resource").unwrap_or(&Value::Null);
        let said = span.get("attributes").and_then(|it| it.get(key)).unwrap_or(&Value::Null);
        let is_so = field(name, "parent") == field(parent, "id")
            && field(name, "kind") == kind
            && text(resource, "service.name") == "tapio"
            && text(resource, "service.instance.id") == instance
            && *said == value;
        if !is_so {
            return Err(format!(
                "{name} is not below {parent:?} as {kind} of {instance}: {taken:?}"
            ));
        }
    }
    let linked = spans.get("tell").and_then(|tell| tell.get("links")?.get(0)?.as_str());
    let published = spans.get("publish").map(|publish| text(publish, "id"));
    if linked == published { Ok(()) } else { Err(format!("tell is not linked: {taken:?}")) }
}

fn check_metrics(taken: &[Value], page: &str) -> Result<(), String> {
    let ours = |it: &&Value| {
        it.get("resource").is_some_and(|of| text(of, "service.instance.id") == "node-0")
    };
    let metrics: BTreeMap<_, _> = taken
        .iter()
        .filter(ours)
        .filter(|it| it.get("metric").is_some())
        .map(|it| (text(it, "metric"), it))
        .collect();
    // What the page shows leaves, and nothing else.
    let shown: BTreeSet<_> = page.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
    let shown: BTreeSet<_> = shown.iter().filter_map(|line| line.split(' ').next()).collect();
    let sent: BTreeSet<_> = metrics.keys().copied().collect();
    if shown != sent || !sent.iter().all(|name| Metric::ALL.iter().any(|it| it.name() == *name)) {
        return Err(format!("the page shows {shown:?}, sent was {sent:?}"));
    }
    let expected = [
        ("tapio_live_traces", "1", "sum", json!([{"labels": {}, "value": 42}])),
        ("tapio_log_lag_seconds", "s", "gauge", json!([{"labels": {}, "value": 1.25}])),
        (
            "tapio_request_duration_seconds",
            "s",
            "histogram",
            json!([{
                "labels": {"op": "query"}, "count": 3, "sum": 30.003,
                "buckets": [0, 0, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
            }]),
        ),
    ];
    for (name, unit, kind, points) in expected {
        let metric = metrics.get(name).copied().unwrap_or(&Value::Null);
        let is_so = text(metric, "unit") == unit && text(metric, "kind") == kind;
        if !is_so || metric.get("points") != Some(&points) {
            return Err(format!("{name} in {unit} as {kind} is not {points}: {metric}"));
        }
    }
    let commits = metrics.get("tapio_commits_total").and_then(|it| it.get("points")?.as_array());
    let ok = json!({"labels": {"result": "ok"}, "value": 7});
    if commits.is_some_and(|points| points.len() == 2 && points.contains(&ok)) {
        return Ok(());
    }
    Err(format!("not two results of commits: {commits:?}"))
}

/// Has Prometheus' own parser read a page with every metric on it.
fn page() -> Result<(), String> {
    let meters = Meters::new();
    Observed::start(&ObserveConfig::new("node-0", 1), &meters)
        .map_err(|error| error.to_string())?;
    meters.counter(Metric::Commits, Label::Commit(CommitResult::Unsure)).add(5);
    meters.observe(Metric::LogLag, (), || Duration::from_nanos(1_500_000_001)).keep();
    meters.histogram(Metric::CommitDuration, ()).record(Duration::from_micros(2_500));
    let mut child = python("page.py")?
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| error.to_string())?;
    let mut input = child.stdin.take().ok_or("no input")?;
    input.write_all(meters.prometheus().as_bytes()).map_err(|error| error.to_string())?;
    drop(input);
    let output = child.wait_with_output().map_err(|error| error.to_string())?;
    let families: Vec<Value> =
        serde_json::from_slice(&output.stdout).map_err(|error| error.to_string())?;
    let sample = |name: &str| {
        let all = families.iter().filter_map(|family| family.get("samples")?.as_array()).flatten();
        all.filter(|sample| text(sample, "name") == name).cloned().collect::<Vec<_>>()
    };
    let expected = [
        ("tapio_commits_total", json!([{"result": "unsure"}, 5.0])),
        ("tapio_log_lag_seconds", json!([{}, 1.500_000_001])),
        ("tapio_commit_duration_seconds_sum", json!([{}, 0.0025])),
        ("tapio_commit_duration_seconds_count", json!([{}, 1.0])),
    ];
    for (name, wanted) in expected {
        let found = sample(name);
        let [one] = found.as_slice() else { return Err(format!("{name}: {found:?}")) };
        if json!([one.get("labels"), one.get("value")]) != wanted {
            return Err(format!("{name} is {one}, not {wanted}"));
        }
    }
    let types: BTreeMap<_, _> =
        families.iter().map(|family| (text(family, "name"), text(family, "type"))).collect();
    let wanted = [
        ("tapio_build_info", "gauge"),
        ("tapio_commit_duration_seconds", "histogram"),
        // Prometheus' parser takes the end off the name of a counter.
        ("tapio_commits", "counter"),
        ("tapio_log_lag_seconds", "gauge"),
        ("tapio_uptime_seconds", "gauge"),
    ];
    if types == BTreeMap::from(wanted) { Ok(()) } else { Err(format!("{types:?}")) }
}
