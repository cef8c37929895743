//! Traces that were looked at beside the cluster: which span of a slow request the others waited for.
//!
//! A trace is a tree as tools print it (`├─ name (service) - 12.5ms (span_id=...)`, with start,
//! labels and attributes below), or JSON of OTLP and Tempo (`resourceSpans`, `batches`). Of each that
//! took seconds the deepest span is told that took most of the time of the one above it, as a slow
//! call of its service is (see [`super::digest`]): all above it only waited.

use std::{collections::BTreeMap, time::Duration};

use serde_json::Value as Json;
use tapio_collect::{Unbound, event_id};
use tapio_collect_kube::Snapshot;
use tapio_model::{Class, Kind, Place, Severity, Source, Timestamp, Workload, keys};

use super::{
    name::{Name, Uids},
    outline::pair,
};

/// A request that takes so long keeps somebody waiting.
const SLOW: Duration = Duration::from_secs(2);

/// Spans of a recording that are read.
const SPANS_MAX: usize = 20_000;

/// How deep a trace is followed.
const DEPTH_MAX: usize = 64;

/// Attributes that say what was called, the most telling first.
const CALLED: &[&str] = &[
    "db.statement",
    "db.query.text",
    "db.operation",
    "downstream_url",
    "url.full",
    "http.url",
    "http.target",
    "rpc.method",
    "messaging.destination.name",
];

/// The traces of a recording.
#[derive(Debug, Default)]
pub(super) struct Traces {
    spans: Vec<Span>,
}

/// A span, as far as it matters who waits for whom.
#[derive(Debug, Default, Clone)]
struct Span {
    /// Where the span above it stands among all.
    above: Option<usize>,
    name: String,
    took: Duration,
    /// Of the resource and of the span itself.
    fields: BTreeMap<String, String>,
}

/// A span, and the root of its trace that waited for it.
type Wait<'a> = (&'a Span, &'a Span);

impl Span {
    fn get(&self, field: &str) -> Option<&str> {
        self.fields.get(field).map(String::as_str).filter(|value| !value.is_empty())
    }

    fn service(&self) -> &str {
        self.get("service.name").unwrap_or_default()
    }
}

/// Says whether a text is a trace.
pub(super) fn is_trace(text: &str) -> bool {
    let is_json = text.trim_start().starts_with('{');
    text.contains("(span_id=")
        || (is_json && text.contains("\"spans\"") && text.contains("UnixNano\""))
}

impl Traces {
    /// Reads a text of traces.
    pub(super) fn read(&mut self, text: &str) {
        match serde_json::from_str::<Json>(text.trim()) {
            Ok(json) => self.read_json(&json),
            Err(_) => self.read_tree(text),
        }
        self.spans.truncate(SPANS_MAX);
    }

    fn read_tree(&mut self, text: &str) {
        const BRANCHES: &[char] = &['│', '├', '└', '─', ' '];
        let mut above: Vec<(usize, usize)> = Vec::new();
        let begin = self.spans.len();
        for line in text.lines() {
            let bare = line.trim_start_matches(BRANCHES);
            if let Some(mut span) = header(bare) {
                let depth = line.chars().take_while(|letter| BRANCHES.contains(letter)).count();
                above.retain(|(at, _)| *at < depth);
                span.above = above.last().map(|(_, at)| *at);
                above.push((depth, self.spans.len()));
                self.spans.push(span);
            } else if let Some(span) = self.spans.get_mut(begin..).and_then(<[_]>::last_mut) {
                let labels = bare.strip_prefix("Resource labels: ");
                for (field, value) in labels.into_iter().flat_map(quoted) {
                    span.fields.insert(field.to_owned(), value.to_owned());
                }
                if let Some((field, value)) = pair(bare).filter(|_| labels.is_none()) {
                    span.fields.insert(field.to_owned(), value.to_owned());
                }
            }
        }
    }

    /// Reads OTLP's JSON, and that of Tempo, which calls its resources batches.
    fn read_json(&mut self, json: &Json) {
        let mut known: BTreeMap<String, usize> = BTreeMap::new();
        let mut parents = Vec::new();
        let inner = json.get("trace").unwrap_or(json);
        for resource in list(inner, &["resourceSpans", "batches"]) {
            let of_resource = attributes(resource.pointer("/resource/attributes"));
            let scopes = list(resource, &["scopeSpans", "instrumentationLibrarySpans"]);
            for span in scopes.iter().flat_map(|scope| list(scope, &["spans"])) {
                let text = |field: &str| span.get(field).and_then(Json::as_str).unwrap_or_default();
                let nanos = |field: &str| {
                    let value = span.get(field)?;
                    value.as_u64().or_else(|| value.as_str()?.parse().ok())
                };
                let times = nanos("startTimeUnixNano").zip(nanos("endTimeUnixNano"));
                let Some((start, end)) = times else { continue };
                let mut fields = of_resource.clone();
                fields.extend(attributes(span.get("attributes")));
                known.insert(text("spanId").to_owned(), self.spans.len());
                parents.push((self.spans.len(), text("parentSpanId").to_owned()));
                let took = Duration::from_nanos(end.saturating_sub(start));
                let name = text("name").to_owned();
                self.spans.push(Span { above: None, name, took, fields });
            }
        }
        for (at, parent) in parents {
            if let Some(span) = self.spans.get_mut(at) {
                span.above = known.get(&parent).copied().filter(|above| *above != at);
            }
        }
    }

    /// Tells whom the slow requests waited for.
    pub(super) fn tell(&self, snapshot: &Snapshot, uids: &Uids, end: Timestamp) -> Vec<Unbound> {
        let mut below: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (at, span) in self.spans.iter().enumerate() {
            if let Some(above) = span.above {
                below.entry(above).or_default().push(at);
            }
        }
        let mut blamed: BTreeMap<(&str, &str), Vec<Wait<'_>>> = BTreeMap::new();
        let roots = self.spans.iter().enumerate().filter(|(_, span)| span.above.is_none());
        let mut requests = 0;
        for (at, root) in roots.filter(|(_, root)| root.took >= SLOW) {
            requests += 1;
            let Some(span) = self.spans.get(self.deepest(at, &below)) else { continue };
            blamed.entry((span.service(), &span.name)).or_default().push((span, root));
        }
        let all = blamed.into_values();
        all.filter_map(|slow| event(&slow, requests, (snapshot, uids), end)).collect()
    }

    /// Follows a request to the span that the others waited for: down, as long as one below takes
    /// more than half of the time.
    fn deepest(&self, root: usize, below: &BTreeMap<usize, Vec<usize>>) -> usize {
        let took = |at: usize| self.spans.get(at).map(|span| span.took).unwrap_or_default();
        let mut at = root;
        for _ in 0..DEPTH_MAX {
            let longest = below.get(&at).into_iter().flatten().copied().max_by_key(|at| took(*at));
            match longest.filter(|next| took(*next).saturating_mul(2) > took(at)) {
                Some(next) => at = next,
                None => return at,
            }
        }
        at
    }
}

/// Reads `/checkout (backend) - 7327.36ms (span_id=8497c3b9f4fea8fe)`.
fn header(line: &str) -> Option<Span> {
    let (before, _) = line.split_once(" (span_id=")?;
    let (named, took) = before.rsplit_once(" - ")?;
    let millis: f64 = took.trim().strip_suffix("ms")?.parse().ok()?;
    let took = Duration::try_from_secs_f64(millis / 1_000.0).ok()?;
    let (name, service) = named.rsplit_once(" (")?;
    let service = service.trim_end_matches(')').to_owned();
    let fields = BTreeMap::from([("service.name".to_owned(), service)]);
    Some(Span { above: None, name: name.to_owned(), took, fields })
}

/// Reads `k8s.pod.name='cart-1' service.name='cart'`.
fn quoted(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.split("' ").filter_map(|part| part.trim_end_matches('\'').split_once("='"))
}

/// Returns the list that has one of these names.
fn list<'a>(json: &'a Json, names: &[&str]) -> &'a [Json] {
    let found = names.iter().find_map(|name| json.get(name)?.as_array());
    found.map(Vec::as_slice).unwrap_or_default()
}

/// Reads OTLP's list of keys and values.
fn attributes(list: Option<&Json>) -> BTreeMap<String, String> {
    let all = list.and_then(Json::as_array).into_iter().flatten();
    let pairs = all.filter_map(|one| {
        let value = one.get("value")?;
        let text = value.get("stringValue").or_else(|| value.get("value")).unwrap_or(value);
        Some((one.get("key")?.as_str()?.to_owned(), text.as_str()?.to_owned()))
    });
    pairs.collect()
}

/// Tells of a span that requests waited for: what it called, how long it took, and in how many of all
/// slow requests.
fn event(
    slow: &[Wait<'_>],
    requests: usize,
    (snapshot, uids): (&Snapshot, &Uids),
    end: Timestamp,
) -> Option<Unbound> {
    let (span, root) = slow.iter().max_by_key(|(span, _)| span.took)?;
    let called = CALLED.iter().find_map(|field| span.get(field));
    let called = called.map(|called| format!(" ({called})")).unwrap_or_default();
    let seconds = |took: Duration| format!("{}.{} s", took.as_secs(), took.subsec_millis() / 100);
    let said = format!(
        "{}{called} took {} of the {} of {}, says a trace",
        span.name,
        seconds(span.took),
        seconds(root.took),
        root.name
    );
    let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
    let id = event_id(&[b"waited for", span.service().as_bytes(), span.name.as_bytes()]);
    let class = if called.is_empty() { Class::Application } else { Class::Dependency };
    let event = Unbound::new(id, end, Source::App, Kind::Log)
        .at(place(span, snapshot, uids))
        .rated(Severity::Warn, 0.5, class)
        .with(keys::SAMPLED, number(requests))
        .with(keys::COUNT, number(slow.len()))
        .with(keys::DURATION, i64::try_from(span.took.as_nanos()).unwrap_or(i64::MAX))
        .message(said);
    Some(event)
}

/// Returns where a span was: its pod, if the recording knows it, else what its resource says.
fn place(span: &Span, snapshot: &Snapshot, uids: &Uids) -> Place {
    let namespace = span.get("k8s.namespace.name");
    let pod = span.get("k8s.pod.name");
    let known = pod.and_then(|pod| snapshot.pod(&uids.get(&Name::new("Pod", namespace, pod))));
    if let Some(known) = known {
        return (*known).clone();
    }
    let kinds = [
        ("k8s.deployment.name", "Deployment"),
        ("k8s.statefulset.name", "StatefulSet"),
        ("k8s.daemonset.name", "DaemonSet"),
    ];
    let owner = kinds.iter().find_map(|(field, kind)| Some((*kind, span.get(field)?)));
    Place {
        namespace: namespace.map(Into::into),
        pod: pod.map(Into::into),
        workload: owner.map(|(kind, name)| Workload { kind: kind.into(), name: name.into() }),
        service: Some(span.service()).filter(|name| !name.is_empty()).map(Into::into),
        ..Place::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str) -> Vec<String> {
        let mut traces = Traces::default();
        traces.read(text);
        let end = Timestamp::from_secs(9);
        let told = traces.tell(&Snapshot::new(None, end), &Uids::default(), end);
        told.iter()
            .map(|event| {
                let said = event.text(keys::MESSAGE).unwrap_or_default();
                format!("{}: {said}", event.place.label())
            })
            .collect()
    }

    #[test]
    fn the_span_that_all_above_it_wait_for_is_told() {
        let tree = "├─ /buy (web) - 4100.5ms (span_id=1)\n│  Resource labels: k8s.namespace.name='shop' service.name='web'\n  \
            ├─ call (web) - 40ms (span_id=2)\n  ├─ call (web) - 4000ms (span_id=3)\n    \
            ├─ pay (pay) - 3990ms (span_id=4)\n    │  Resource labels: k8s.namespace.name='shop' k8s.deployment.name='pay' service.name='pay'\n      \
            ├─ query (pay) - 3900ms (span_id=5)\n      │  Resource labels: k8s.namespace.name='shop' k8s.deployment.name='pay' service.name='pay'\n      \
            │  Attributes:\n      │    db.statement: SELECT 1\n";
        let want = "query (SELECT 1) took 3.9 s of the 4.1 s of /buy, says a trace";
        let told_of = told(tree);
        assert_eq!(told_of.len(), 1);
        assert!(
            told_of.iter().all(|one| one.ends_with(want) && one.contains("pay")),
            "{told_of:?}"
        );
        assert!(told(&tree.replace("4100.5ms", "900ms")).is_empty());
    }

    #[test]
    fn otlp_is_read_as_well() {
        let span = |id: &str, parent: &str, name: &str, end: u64| {
            serde_json::json!({ "spanId": id, "parentSpanId": parent, "name": name,
                "startTimeUnixNano": "1000", "endTimeUnixNano": (end + 1_000).to_string(),
                "attributes": [{ "key": "http.url", "value": { "stringValue": "http://b/" } }] })
        };
        let spans = [span("a", "", "GET /", 5_000_000_000), span("b", "a", "call", 4_900_000_000)];
        for outer in ["resourceSpans", "batches"] {
            let text = serde_json::json!({ outer: [{ "resource": { "attributes": [
                { "key": "service.name", "value": { "stringValue": "web" } }] },
                "scopeSpans": [{ "spans": spans }] }] });
            let told = told(&text.to_string());
            assert!(told.len() == 1 && told[0].contains("call (http://b/) took 4.9 s"), "{told:?}");
        }
    }

    #[test]
    fn what_is_no_trace_tells_nothing() {
        for text in
            ["", "├─", "├─ a (b) - xms (span_id=1)", "{\"batches\": 7}", "│    db.statement: x"]
        {
            assert!(told(text).is_empty(), "{text}");
        }
        assert!(!is_trace("{\"spans\": 1}") && is_trace("├─ a (b) - 1ms (span_id=1)"));
    }
}
