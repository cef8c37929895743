use tapio_engine::{Limits, Patterns};
use tapio_model::{
    Attributes, Binding, Class, Event, EventId, Impact, Kind, Level, Place, Severity, Source as By,
    Timestamp, TraceContext, TraceId, WaitingState,
};
use tapio_wire::{EventBatch, encode_batch, encode_incident_state, encode_waiting};
use tokio::time::Instant;

use super::*;
use crate::fixture::{Middle, at, change, finding, incident};

const SHARD: ShardId = ShardId::new(0);

fn rules() -> Arc<Rules> {
    Arc::new(Rules::new(&Patterns::from([]), Limits::default()))
}

/// An entry with one event of a trace of its own.
fn entry(sequence: u8, time: u64) -> LogEntry {
    let event = Event {
        id: EventId::from_bytes([sequence; 16]),
        time: at(time),
        source: By::Kubernetes,
        kind: Kind::ProbeFailed,
        trace: TraceContext {
            trace_id: TraceId::from_bytes([sequence; 16]),
            span_id: None,
            parent_span_id: None,
            binding: Binding::Explicit,
        },
        place: Arc::new(Place::default()),
        severity: Severity::Warn,
        impact: Impact::new(0.5),
        class: Class::Health,
        attributes: Attributes::default(),
    };
    let events = vec![Arc::new(event)];
    let batch = EventBatch { shard: SHARD, level: Level::Normal, time: at(time), events };
    LogEntry {
        sequence: u64::from(sequence),
        time: at(time),
        waiting: 0,
        body: encode_batch(&batch).into(),
        traceparent: None,
    }
}

/// A root that has taken in so many entries, one a second, of which all traces live.
fn root(processed: u64) -> Root {
    let mut root = Root {
        processed,
        low: Mark { sequence: 1, now: at(1) },
        now: at(processed),
        live_traces: processed,
        ..Root::default()
    };
    root.ledger.received = processed;
    root.ledger.open = processed;
    root
}

fn source<'a>(
    middle: &'a Middle,
    (limits, figures): (&'a OwnerLimits, &'a OwnerFigures),
) -> Source<'a> {
    Source { fabric: middle, shard: SHARD, limits, figures }
}

async fn read_again(middle: &Middle, root: &Root) -> (Replayed, OwnerFigures) {
    let (limits, figures) = (OwnerLimits::default(), OwnerFigures::default());
    let source = source(middle, (&limits, &figures));
    let mut events = source.open(Log::Events, root.low.sequence).await.unwrap();
    let replayed = replay(
        root,
        Restored { low: root.low, ..Restored::default() },
        rules(),
        &mut events,
        source,
    );
    let replayed = replayed.await.unwrap();
    (replayed, figures)
}

#[tokio::test(start_paused = true)]
async fn an_outage_while_the_log_is_read_again_loses_nothing() {
    let middle = Middle::new();
    middle.store().events = (1..=5).map(|it| entry(it, u64::from(it))).collect();
    for silent_readers in [0, 1, 2] {
        middle.script().silent_readers = silent_readers;
        let (replayed, figures) = read_again(&middle, &root(4)).await;
        assert_eq!(replayed.shard.live_traces(), 4, "after {silent_readers} silent readers");
        assert_eq!((figures.replayed_entries.get(), figures.replay_mismatches.get()), (4, 0));
        assert_eq!(replayed.shard.now(), at(4), "what is beyond the root is not taken in");
    }
}

#[tokio::test(start_paused = true)]
async fn a_log_that_has_aged_out_is_waited_for_once_and_said() {
    let middle = Middle::new();
    middle.store().events = vec![entry(9, 9)];
    let (mut root, limits) = (root(4), OwnerLimits::default());
    root.low.sequence = 2;
    for first_kept in [1, 9] {
        middle.store().first_kept = first_kept;
        let begun = Instant::now();
        let (replayed, figures) = read_again(&middle, &root).await;
        assert_eq!(figures.replay_mismatches.get(), 1);
        assert_eq!(replayed.shard.live_traces(), 0);
        assert!(begun.elapsed() < limits.replay_wait, "{first_kept}");
    }
    middle.store().events.clear();
    middle.store().first_kept = 1;
    let begun = Instant::now();
    let (_, figures) = read_again(&middle, &root).await;
    assert_eq!(figures.replay_mismatches.get(), 1, "an empty log");
    assert_eq!(begun.elapsed(), limits.replay_wait * SILENCES_MAX);
}

#[tokio::test(start_paused = true)]
async fn what_was_given_up_is_left_out_again() {
    let middle = Middle::new();
    middle.store().events = (1..=4).map(|it| entry(it, u64::from(it))).collect();
    let mut root = Root { given_up: vec![2], ..root(4) };
    root.ledger.open = 3;
    let (replayed, figures) = read_again(&middle, &root).await;
    assert_eq!((replayed.shard.live_traces(), figures.replay_mismatches.get()), (3, 0));
}

#[tokio::test(start_paused = true)]
async fn times_pass_again_between_the_entries_where_they_passed() {
    let window = Limits::default().window.as_secs();
    let middle = Middle::new();
    // The second entry came after the first one's trace had closed, by a tick or by its own time.
    middle.store().events = vec![entry(1, 1), entry(2, 2)];
    let tick = |sequence| Mark { sequence, now: at(10 + window) };
    for (ticks, live) in [(vec![], 2), (vec![tick(1)], 1), (vec![tick(2)], 0)] {
        let now = ticks.last().map_or(at(2), |tick| tick.now);
        let mut root = Root { ticks: ticks.clone(), now, ..root(2) };
        root.ledger.open = live;
        let (replayed, figures) = read_again(&middle, &root).await;
        assert_eq!(replayed.shard.live_traces() as u64, live, "{ticks:?}");
        assert_eq!(figures.replay_mismatches.get(), 0);
        assert_eq!(replayed.shard.now(), now);
    }
}

#[tokio::test(start_paused = true)]
async fn parts_that_are_gone_or_unreadable_are_named_and_the_rest_is_read() {
    let (middle, limits) = (Middle::new(), OwnerLimits::default());
    let state = incident(1, vec![finding(1, "it broke")]);
    let gone = Content::Chunks { names: vec![ChunkName([1; 16])], until: Timestamp::MAX };
    let lost = PieceKey::Trace(TraceId::from_bytes([1; 16]));
    let finding = change(1, "it was changed");
    let waiting = WaitingState { number: 3, finding, events: Vec::new(), until: at(120) };
    let pieces = [
        (PieceKey::Incident(state.id), Content::Inline(encode_incident_state(&state))),
        (PieceKey::Resolved, Content::Inline(vec![0xff])),
        (PieceKey::Waiting(3), Content::Inline(encode_waiting(&waiting))),
        (PieceKey::Waiting(4), gone.clone()),
        (lost, gone),
    ];
    let root = Root { pieces: pieces.into(), ..Root::default() };
    let parts = fetch(&root, &*middle, &limits).await.unwrap();
    assert_eq!(parts.missing, [lost, PieceKey::Resolved, PieceKey::Waiting(4)]);
    assert_eq!((parts.incidents.open, parts.incidents.waiting), (vec![state], vec![waiting]));
    middle.script().refuses_chunks = true;
    let refused = fetch(&root, &*middle, &limits).await.unwrap_err();
    assert_eq!(refused, Dropped::Refused("scripted".into()), "not known to be lost");
}
