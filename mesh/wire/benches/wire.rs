//! What an event costs on the wire: throughput is events, so time an element is time an event.

use std::{hint::black_box, sync::Arc};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tapio_model::Level;
use tapio_wire::{decode_batch, encode_batch, event_to_json, parse_event_line};

#[path = "../tests/it/sample.rs"]
#[expect(dead_code, reason = "a bench needs the event, not the stories")]
mod sample;

const EVENTS: u64 = 100;

fn wire(criterion: &mut Criterion) {
    let mut batch = sample::batch();
    batch.level = Level::Critical;
    batch.events = (0..EVENTS).map(|_| Arc::new(sample::event())).collect();
    let bytes = encode_batch(&batch);
    let line = serde_json::to_vec(&event_to_json(&sample::event())).unwrap_or_default();

    let mut group = criterion.benchmark_group("wire");
    group.throughput(Throughput::Elements(EVENTS));
    group.bench_function("encode_batch", |b| b.iter(|| encode_batch(black_box(&batch))));
    group.bench_function("decode_batch", |b| b.iter(|| decode_batch(black_box(&bytes))));
    group.throughput(Throughput::Elements(1));
    group.bench_function("parse_event_line", |b| b.iter(|| parse_event_line(black_box(&line))));
    group.finish();
}

criterion_group!(benches, wire);
criterion_main!(benches);
