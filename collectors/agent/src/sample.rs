//! Batches for tests.
#![cfg(test)]

use std::{ops::Range, sync::Arc};

use tapio_model::{
    Attributes, Binding, Class, Event, EventId, Impact, Kind, Level, Place, Severity, ShardId,
    Source, Timestamp, TraceContext, TraceId,
};
use tapio_wire::EventBatch;

/// Makes a batch of an event for each number, which is its id.
pub(crate) fn batch(level: Level, shard: u16, numbers: Range<u64>) -> EventBatch {
    let impact = match level {
        Level::Normal => Impact::NONE,
        Level::High => Impact::new(0.8),
        Level::Critical => Impact::CRITICAL,
    };
    let trace = TraceContext {
        trace_id: TraceId::from_bytes([7; 16]),
        span_id: None,
        parent_span_id: None,
        binding: Binding::Explicit,
    };
    let event = |number: u64| Event {
        id: EventId::from_bytes(u128::from(number).to_be_bytes()),
        time: Timestamp::from_secs(1),
        source: Source::Kernel,
        kind: Kind::ProcessExit,
        trace,
        place: Arc::new(Place::default()),
        severity: Severity::Info,
        impact,
        class: Class::Other,
        attributes: Attributes::default(),
    };
    let events = numbers.map(|number| Arc::new(event(number))).collect();
    EventBatch { shard: ShardId::new(shard), level, time: Timestamp::from_secs(2), events }
}

/// Returns the numbers behind the ids of a batch.
pub(crate) fn numbers(events: &[Arc<Event>]) -> Vec<u64> {
    let number = |event: &Arc<Event>| u128::from_be_bytes(*event.id.as_bytes());
    events.iter().filter_map(|event| u64::try_from(number(event)).ok()).collect()
}
