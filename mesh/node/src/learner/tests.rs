//! What is published is learnt from on its way in, and what is unlike it comes out.

use std::sync::atomic::AtomicI64;

use tapio_bus::{MemoryBus, MemoryBusLimits, Start};
use tapio_model::{
    Attributes, Binding, Class, EventId, Impact, Kind, Place, Severity, Source, SpanId,
    TraceContext, TraceId, keys,
};
use tokio::time::timeout;

use super::*;

const SHARDS: ShardCount = ShardCount::new(4);

/// Minutes of everyday before anything happens.
const LEARNT: u64 = 12;

/// Longer than any of this takes, by tokio's clock, which is paused.
const SOON: Duration = Duration::from_secs(3_600);

/// A clock that is set by hand, in milliseconds.
#[derive(Debug, Default)]
struct Hand(AtomicI64);

impl Clock for Hand {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.load(Relaxed))
    }
}

/// Makes the span of a request that ends at `time`; each is a trace of its own.
fn span(number: u64, time: Timestamp) -> Arc<Event> {
    let id = u128::from(number).to_be_bytes();
    Arc::new(Event {
        id: EventId::from_bytes(id),
        time,
        source: Source::Otlp,
        kind: Kind::Span,
        trace: TraceContext {
            trace_id: TraceId::from_bytes(id),
            span_id: Some(SpanId::from_bytes(number.to_be_bytes())),
            parent_span_id: None,
            binding: Binding::Explicit,
        },
        place: Arc::new(Place { service: Some("cart".into()), ..Place::default() }),
        severity: Severity::Info,
        impact: Impact::NONE,
        class: Class::Other,
        attributes: Attributes::new([
            (keys::SPAN_NAME.into(), "GET /cart".into()),
            (keys::SPAN_KIND.into(), "server".into()),
        ]),
    })
}

#[tokio::test(start_paused = true)]
async fn what_is_published_is_learnt_from_and_a_surge_comes_out_of_the_bus() {
    let limits = MemoryBusLimits { shards: SHARDS, ..MemoryBusLimits::default() };
    let memory: Arc<dyn Bus> = Arc::new(MemoryBus::new(limits));
    let clock = Arc::new(Hand::default());
    let bus = Learner::on(Arc::clone(&memory), SHARDS, Arc::<Hand>::clone(&clock));
    let shards: Vec<_> = SHARDS.shards().collect();
    let mut told = memory.subscribe(&shards, Start::New).await.unwrap();
    let publish = async {
        let mut number = 0;
        for second in 0..(LEARNT + 2) * 60 {
            let time = Timestamp::from_secs(i64::try_from(second).unwrap());
            clock.0.store(time.as_millis(), Relaxed);
            for _ in 0..if second < LEARNT * 60 { 2 } else { 20 } {
                number += 1;
                let event = span(number, time);
                let shard = SHARDS.shard_of(event.trace.trace_id);
                let batch = Batch { shard, level: event.level(), time, events: vec![event] };
                bus.publish(batch).await.unwrap();
            }
            // The learner's turn: a tick each second.
            tokio::time::sleep(TICK).await;
        }
        std::future::pending::<()>().await;
    };
    let listen = async {
        let mut spans = 0_u64;
        loop {
            let delivery = told.next().await.unwrap();
            for event in &delivery.batch.events {
                if event.kind == Kind::Anomaly {
                    return (Arc::clone(event), spans);
                }
                spans += 1;
            }
            told.acknowledge(delivery.batch.shard, delivery.offset);
        }
    };
    let first = async {
        tokio::select! {
            () = publish => None,
            first = listen => Some(first),
        }
    };
    let (anomaly, spans) = timeout(SOON, first).await.unwrap().unwrap();
    let text = |key| anomaly.attributes.text(key);
    assert_eq!(text(keys::ANOMALY_SIGNAL), Some("request_rate"));
    assert_eq!(text(keys::ANOMALY_CHANGE), Some("rose"));
    assert_eq!(anomaly.place.service.as_deref(), Some("cart"));
    assert!(spans > LEARNT * 120, "what is published goes on: {spans}");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_handed_on_that_nobody_learns_from() {
    let memory: Arc<dyn Bus> = Arc::new(MemoryBus::new(MemoryBusLimits::default()));
    let learner = Learner::start(memory, SHARDS, Arc::new(Hand::default()));
    let at = Timestamp::from_secs(1);
    let line = |kind, binding| {
        let event = (*span(1, at)).clone();
        Arc::new(Event { kind, trace: TraceContext { binding, ..event.trace }, ..event })
    };
    let workload = Binding::Inferred(tapio_model::Rule::Workload);
    let cases = [
        (Kind::Span, Binding::Explicit, 1),
        (Kind::ProbeFailed, workload, 1),
        (Kind::ProbeFailed, Binding::Explicit, 0),
        (Kind::ProcessStarted, workload, 0),
        (Kind::Anomaly, workload, 0),
    ];
    for (kind, binding, want) in cases {
        let before = learner.tap.capacity();
        learner.hand(&[line(kind, binding)]);
        assert_eq!(before - learner.tap.capacity(), want, "{kind:?} {binding}");
    }
}
