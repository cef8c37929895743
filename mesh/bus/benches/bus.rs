//! Events a second through publish, next and acknowledge of the memory bus.

use std::{hint::black_box, sync::Arc};

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use tapio_bus::{Batch, Bus, MemoryBus, MemoryBusLimits, Start, WhenFull};
use tapio_model::{
    Attributes, Binding, Class, Event, EventId, Impact, Kind, Level, Place, Severity, ShardId,
    Source, Timestamp, TraceContext, TraceId,
};
use tapio_shard::ShardCount;
use tokio::runtime::{Builder, Runtime};

const BATCHES: usize = 256;
const BATCH_EVENTS: usize = 128;
const SHARDS: ShardCount = ShardCount::DEFAULT;

fn batch() -> Batch {
    let event = Arc::new(Event {
        id: EventId::default(),
        time: Timestamp::ZERO,
        source: Source::Kernel,
        kind: Kind::OomKill,
        trace: TraceContext {
            trace_id: TraceId::default(),
            span_id: None,
            parent_span_id: None,
            binding: Binding::Explicit,
        },
        place: Arc::new(Place::default()),
        severity: Severity::Info,
        impact: Impact::NONE,
        class: Class::Other,
        attributes: Attributes::default(),
    });
    let events = vec![event; BATCH_EVENTS];
    Batch { shard: ShardId::new(0), level: Level::Normal, time: Timestamp::ZERO, events }
}

/// Publishes all batches over all shards and reads them back, and says whether that went well.
async fn pass(bus: &MemoryBus, batches: Vec<Batch>) -> bool {
    let shards: Vec<_> = SHARDS.shards().collect();
    let Ok(mut reader) = bus.subscribe(&shards, Start::Earliest).await else { return false };
    for (batch, shard) in batches.into_iter().zip(shards.into_iter().cycle()) {
        if bus.publish(Batch { shard, ..batch }).await.is_err() {
            return false;
        }
    }
    for _ in 0..BATCHES {
        let Some(delivery) = reader.next().await else { return false };
        reader.acknowledge(black_box(&delivery.batch).shard, delivery.offset);
    }
    bus.stats().held_events == 0
}

fn memory_bus(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("memory_bus");
    let events = u64::try_from(BATCHES * BATCH_EVENTS).unwrap_or_default();
    group.throughput(Throughput::Elements(events));
    for (name, when_full) in
        [("block", WhenFull::Block), ("shed_lowest_first", WhenFull::ShedLowestFirst)]
    {
        let bus = MemoryBus::new(MemoryBusLimits { when_full, ..MemoryBusLimits::default() });
        let runtime: Option<Runtime> = Builder::new_current_thread().build().ok();
        group.bench_function(name, |bencher| {
            bencher.iter_batched(
                || vec![batch(); BATCHES],
                |batches| {
                    let done =
                        runtime.as_ref().map(|runtime| runtime.block_on(pass(&bus, batches)));
                    assert_eq!(done, Some(true), "a batch was lost");
                },
                BatchSize::LargeInput,
            );
        });
    }
    group.finish();
}

criterion_group!(benches, memory_bus);
criterion_main!(benches);
