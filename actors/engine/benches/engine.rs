//! What an event costs a shard, by the number of traces that live.

use std::{hint::black_box, sync::Arc, time::Duration};

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use tapio_engine::{Draft, Limits, Pattern, Patterns, Rules, Shard, Spec, View};
use tapio_model::{
    Attributes, Binding, Class, Event, EventId, Impact, Kind, Place, Severity, Source, Timestamp,
    TraceContext, TraceId,
};

const BEGIN: Timestamp = Timestamp::from_secs(1_700_000_000);
const EVENTS: u64 = 100_000;

/// Looks at every event and finds nothing.
#[derive(Debug)]
struct Reader;

const READER: Spec =
    Spec { slug: "reader", title: "Reader", wakes_on: &[Kind::ProbeFailed], leads_to: &[] };

impl Pattern for Reader {
    fn spec(&self) -> &'static Spec {
        &READER
    }

    fn detect(&self, view: &View<'_>) -> Vec<Draft> {
        black_box(view.events().filter(|event| event.kind == Kind::OomKill).count());
        Vec::new()
    }
}

fn events(traces: u64, kind: Kind) -> Vec<Arc<Event>> {
    let place = Arc::new(Place::default());
    let attributes: Attributes = [("message", "GET /cart 200")].into_iter().collect();
    let event = |number: u64| {
        let trace =
            u128::from(number % traces).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
        Arc::new(Event {
            id: EventId::from_bytes(u128::from(number).to_be_bytes()),
            time: BEGIN.after(Duration::from_micros(number)),
            source: Source::App,
            kind,
            trace: TraceContext {
                trace_id: TraceId::from_bytes(trace.to_be_bytes()),
                span_id: None,
                parent_span_id: None,
                binding: Binding::Explicit,
            },
            place: Arc::clone(&place),
            severity: Severity::Info,
            impact: Impact::NONE,
            class: Class::Application,
            attributes: attributes.clone(),
        })
    };
    (0..EVENTS).map(event).collect()
}

fn shard() -> Shard {
    let reader: Arc<dyn Pattern> = Arc::new(Reader);
    let patterns: Patterns = Arc::from([reader]);
    Shard::new(Arc::new(Rules::new(&patterns, Limits::default())))
}

fn fill(events: &[Arc<Event>]) -> Shard {
    let mut shard = shard();
    for event in events {
        shard.observe(Arc::clone(event), event.time);
    }
    shard
}

fn observe(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("observe");
    group.throughput(Throughput::Elements(EVENTS)).sample_size(10);
    for traces in [100, 10_000, 100_000] {
        let events = events(traces, Kind::Log);
        group.bench_with_input(BenchmarkId::from_parameter(traces), &events, |bencher, events| {
            bencher.iter_with_large_drop(|| fill(events));
        });
    }
    group.finish();
}

fn tick(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("tick_and_close");
    group.throughput(Throughput::Elements(EVENTS)).sample_size(10);
    for (name, kind) in [("hum", Kind::Log), ("signs", Kind::ProbeFailed)] {
        let events = events(10_000, kind);
        group.bench_with_input(BenchmarkId::from_parameter(name), &events, |bencher, events| {
            bencher.iter_batched(
                || fill(events),
                |mut shard| {
                    shard.advance(BEGIN.after(Duration::from_secs(120)));
                    shard
                },
                BatchSize::PerIteration,
            );
        });
    }
    group.finish();
}

criterion_group!(benches, observe, tick);
criterion_main!(benches);
