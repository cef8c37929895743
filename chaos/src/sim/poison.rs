//! What no node can digest: bytes that cannot be read, a trace on which a pattern panics, an entry
//! that ends every process that takes it in.

use std::{panic::resume_unwind, sync::Arc};

use tapio_engine::{Draft, Pattern, Patterns, Spec, View};
use tapio_model::{
    Attributes, Binding, Class, Event, EventId, Impact, Kind, Level, Place, Severity, ShardId,
    Source, Timestamp, TraceContext, TraceId,
};
use tapio_shard::ShardCount;
use tapio_wire::EventBatch;

/// First byte of the ids of events that end processes.
const DEADLY: u8 = 0xDE;
/// First byte of the ids of events on which a pattern panics.
const PANICKY: u8 = 0xBA;

/// Says whether taking an event in ends the process.
pub(super) const fn is_deadly(id: EventId) -> bool {
    let [first, ..] = *id.as_bytes();
    first == DEADLY
}

const fn is_panicky(id: EventId) -> bool {
    let [first, ..] = *id.as_bytes();
    first == PANICKY
}

/// What kind of poison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Poison {
    /// A trace on which a pattern panics; the number tells its batches apart.
    Panicky(u8),
    /// An entry that ends processes.
    Deadly,
}

/// Makes a batch of poison.
pub(super) fn batch(
    poison: Poison,
    (seed, shards): (u64, ShardCount),
    now: Timestamp,
) -> EventBatch {
    let (mark, batch) = match poison {
        Poison::Panicky(batch) => (PANICKY, batch),
        Poison::Deadly => (DEADLY, 0),
    };
    let [r, s, t, u, v, w, x, y] = seed.to_be_bytes();
    let trace_id = TraceId::from_bytes([mark, r, s, t, u, v, w, x, y, 0, 0, 0, 0, 0, 0, 1]);
    let event = |index: u8| Event {
        id: EventId::from_bytes([mark, r, s, t, u, v, w, x, y, 0, 0, 0, 0, 0, batch, index]),
        time: now,
        source: Source::Kernel,
        kind: Kind::TaskHung,
        trace: TraceContext {
            trace_id,
            span_id: None,
            parent_span_id: None,
            binding: Binding::Explicit,
        },
        place: Arc::new(Place { service: Some("poison".into()), ..Place::default() }),
        severity: Severity::Error,
        impact: Impact::CRITICAL,
        class: Class::Application,
        attributes: Attributes::new([]),
    };
    EventBatch {
        shard: shards.shard_of(trace_id),
        level: Level::Critical,
        time: now,
        events: (0..2).map(event).map(Arc::new).collect(),
    }
}

/// Makes bytes that cannot be read, for a shard.
pub(super) fn garbage(seed: u64, number: u16, shards: ShardCount) -> (ShardId, Vec<u8>) {
    let [.., a, b, c, d] = seed.to_be_bytes();
    let [x, y] = number.to_be_bytes();
    let shard = ShardId::new((u16::from_be_bytes([c, d]) ^ number) % shards.get());
    (shard, vec![0xFF, a, b, c, d, x, y])
}

/// Returns the patterns, and one that panics on poison.
pub(super) fn with_panic(patterns: &Patterns) -> Patterns {
    let panicky: Arc<dyn Pattern> = Arc::new(Panicky);
    patterns.iter().cloned().chain([panicky]).collect()
}

#[derive(Debug)]
struct Panicky;

impl Pattern for Panicky {
    fn spec(&self) -> &'static Spec {
        &Spec {
            slug: "panicky",
            title: "Panics on poison",
            wakes_on: &[Kind::TaskHung],
            leads_to: &[],
        }
    }

    fn detect(&self, view: &View<'_>) -> Vec<Draft> {
        if view.events().any(|event| is_panicky(event.id)) {
            // What unwinds is what counts: thousands of messages on stderr would help nobody.
            resume_unwind(Box::new("poison"));
        }
        Vec::new()
    }
}
