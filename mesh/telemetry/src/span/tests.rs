use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_sdk::{
    error::OTelSdkResult,
    trace::{Sampler, SdkTracerProvider, SpanData, SpanExporter},
};

use super::*;

/// Keeps what ended.
#[derive(Debug, Clone, Default)]
struct Album(Arc<Mutex<Vec<SpanData>>>);

impl SpanExporter for Album {
    async fn export(&self, mut batch: Vec<SpanData>) -> OTelSdkResult {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).append(&mut batch);
        Ok(())
    }
}

impl Album {
    fn spans(&self) -> Vec<SpanData> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn telemetry(seed: u64, ratio: f64) -> (Telemetry, Album, Counter) {
    let (album, ended, ids) = (Album::default(), Counter::default(), Ids::new(seed));
    let provider = SdkTracerProvider::builder()
        .with_sampler(Sampler::AlwaysOn)
        .with_id_generator(ids.clone())
        .with_simple_exporter(album.clone())
        .build();
    let tracer = provider.tracer("test");
    (Telemetry::new(tracer, ids, Share::new(ratio), ended.clone()), album, ended)
}

#[test]
fn a_way_is_one_trace_across_processes() {
    let (collector, sent, _) = telemetry(1, 1.0);
    let (node, processed, ended) = telemetry(2, 0.0);
    let mut publish = collector.start(SpanName::Publish, None);
    publish.set(SpanKey::Messages, 100_u64);
    publish.set(SpanKey::Destination, "tapio.events.kube.normal.7");
    let header = publish.traceparent().unwrap();
    let process = node.start(SpanName::Process, Some(&header));
    let tell = node.start(SpanName::Tell, process.traceparent().as_deref());
    assert_eq!(tell.trace_id(), publish.trace_id());
    assert!(header.contains(&publish.trace_id().unwrap().to_string()));
    tell.end();
    process.end();
    publish.end();
    let spans = [sent.spans(), processed.spans()].concat();
    let by_name: BTreeMap<_, _> = spans.iter().map(|span| (span.name.as_ref(), span)).collect();
    let id = |name: &str| by_name[name].span_context.span_id();
    assert_eq!(by_name["publish"].parent_span_id, opentelemetry::SpanId::INVALID);
    assert_eq!(by_name["process"].parent_span_id, id("publish"));
    assert_eq!(by_name["tell"].parent_span_id, id("process"));
    assert!(spans.iter().all(|span| header.contains(&span.span_context.trace_id().to_string())));
    let publish = by_name["publish"];
    let said = |key: &str| {
        let pair = publish.attributes.iter().find(|pair| pair.key.as_str() == key);
        pair.map(|pair| pair.value.to_string())
    };
    assert_eq!(said("messaging.system").as_deref(), Some("nats"));
    assert_eq!(said("messaging.operation.type").as_deref(), Some("send"));
    assert_eq!(said("messaging.batch.message_count").as_deref(), Some("100"));
    assert_eq!(said("messaging.destination.name").as_deref(), Some("tapio.events.kube.normal.7"));
    assert_eq!(ended.get(), 2);
}

#[test]
fn a_commit_is_linked_to_all_it_covers() {
    let (telemetry, album, _) = telemetry(1, 1.0);
    let batches = [0; 3].map(|_| telemetry.start(SpanName::Process, None));
    let headers = batches.each_ref().map(|span| span.traceparent().unwrap());
    let mut commit = telemetry.start(SpanName::Commit, Some(&headers[0]));
    headers[1..].iter().for_each(|header| commit.link(header));
    commit.link("not a header");
    commit.link("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00");
    commit.set(SpanKey::Story, SpanValue::Shown(&batches[0].trace_id().unwrap()));
    commit.fail("unreachable");
    commit.end();
    let [commit] = album.spans().try_into().unwrap();
    let linked: Vec<_> =
        commit.links.iter().map(|link| traceparent::write(&link.span_context)).collect();
    assert_eq!(linked, headers[1..], "and none that was not recorded");
    assert_eq!(commit.status, Status::error("unreachable"));
    let id = batches[0].trace_id().unwrap().to_string();
    let shown = commit.attributes.iter().any(|pair| pair.value.as_str() == id);
    assert!(shown, "{:?}", commit.attributes);
}

#[test]
fn whoever_is_not_sampled_is_silent_all_the_way() {
    let (never, album, ended) = telemetry(1, 0.0);
    let publish = never.start(SpanName::Publish, None);
    assert!(!publish.is_recorded());
    assert_eq!((publish.traceparent(), publish.trace_id()), (None, None));
    let unsampled = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";
    let (some, others, _) = telemetry(1, 0.999);
    for name in SpanName::ALL {
        for parent in [None, Some(unsampled), Some("garbage")] {
            drop(never.start(*name, parent));
            drop(Telemetry::off().start(*name, parent));
        }
        drop(some.start(*name, Some(unsampled)));
        if !name.begins_a_trace() {
            drop(some.start(*name, None));
        }
    }
    assert_eq!((album.spans().len(), others.spans().len(), ended.get()), (0, 0, 0));
}

#[test]
fn a_parent_that_is_sampled_decides() {
    let (never, album, ended) = telemetry(1, 0.0);
    let sampled = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    for name in SpanName::ALL {
        assert!(never.start(*name, Some(sampled)).is_recorded(), "{name:?}");
    }
    assert_eq!(album.spans().len(), SpanName::ALL.len());
    assert_eq!(ended.get(), 8);
}

#[test]
fn in_debug_mode_every_step_is_seen() {
    let (all, album, _) = telemetry(1, 1.0);
    SpanName::ALL.iter().for_each(|name| all.start(*name, None).end());
    assert_eq!(album.spans().len(), SpanName::ALL.len());
}
