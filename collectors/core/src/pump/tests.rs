mod flights;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use tapio_bus::{Batch, Bus, BusStats, Offset, PublishError, Start, SubscribeError, Subscription};
use tapio_model::{
    Class, Clock, EventId, Kind, Level, Severity, ShardId, Source, Timestamp, TraceId,
};
use tapio_shard::ShardCount;
use tokio::{sync::Notify, time::Instant};

use super::{Linger, Pump, PumpLimits, Pumped};
use crate::{Account, Binder, Home, Outlet, Unbound};

const SHARDS: ShardCount = ShardCount::new(4);
const LINGER: Duration = Duration::from_millis(2);

/// A bus that keeps what it gets and answers as it is told.
#[derive(Debug)]
struct Recorder {
    answer: fn(&Batch) -> Result<Offset, PublishError>,
    batches: Mutex<Vec<(Duration, Batch)>>,
    started: Instant,
    news: Notify,
}

impl Recorder {
    fn new(answer: fn(&Batch) -> Result<Offset, PublishError>) -> Arc<Self> {
        Arc::new(Self {
            answer,
            batches: Mutex::default(),
            started: Instant::now(),
            news: Notify::new(),
        })
    }

    /// Waits until `count` batches were accepted.
    async fn has_taken(&self, count: usize) {
        while self.taken().len() < count {
            self.news.notified().await;
        }
    }

    /// Returns what was accepted, and when.
    fn taken(&self) -> Vec<(Duration, Batch)> {
        self.batches.lock().map(|batches| batches.clone()).unwrap_or_default()
    }
}

#[async_trait]
impl Bus for Recorder {
    async fn publish(&self, batch: Batch) -> Result<Offset, PublishError> {
        let offset = (self.answer)(&batch)?;
        if let Ok(mut batches) = self.batches.lock() {
            batches.push((self.started.elapsed(), batch));
        }
        self.news.notify_one();
        Ok(offset)
    }

    async fn subscribe(
        &self,
        _: &[ShardId],
        _: Start,
    ) -> Result<Box<dyn Subscription>, SubscribeError> {
        Err(SubscribeError::UnknownShard(ShardId::new(0)))
    }

    async fn close(&self) {}

    fn stats(&self) -> BusStats {
        BusStats::default()
    }
}

#[derive(Debug)]
struct Stopped;

impl Clock for Stopped {
    fn now(&self) -> Timestamp {
        Timestamp::from_secs(7)
    }
}

fn start(bus: &Arc<Recorder>, batch_events_max: usize) -> (Pump, Outlet) {
    let linger = Linger::fixed(LINGER);
    let limits =
        PumpLimits { queue_events_max: 16, batch_events_max, linger, ..PumpLimits::default() };
    let binder = Arc::new(Binder::new(Home::default()));
    let bus: Arc<dyn Bus> = Arc::<Recorder>::clone(bus);
    let pump = Pump::start(binder, bus, SHARDS, Arc::new(Stopped), limits);
    let outlet = pump.outlet(Arc::new(Account::default()));
    (pump, outlet)
}

/// An event that is told apart by `number`, of trace `trace`.
fn event(number: u8, trace: u8, impact: f32) -> Unbound {
    let id = EventId::from_bytes([number; 16]);
    Unbound {
        trace_id: Some(TraceId::from_bytes([trace; 16])),
        ..Unbound::new(id, Timestamp::ZERO, Source::Otlp, Kind::OomKill)
    }
    .rated(Severity::Info, impact, Class::Other)
}

async fn emit(outlet: &Outlet, events: impl IntoIterator<Item = Unbound>) {
    for event in events {
        assert!(outlet.emit(event).await.is_ok(), "the pump ended");
    }
}

fn accept(_: &Batch) -> Result<Offset, PublishError> {
    Ok(Offset(0))
}

fn shed_the_less_urgent(batch: &Batch) -> Result<Offset, PublishError> {
    if batch.level == Level::Critical { Ok(Offset(0)) } else { Err(PublishError::Full) }
}

#[tokio::test(start_paused = true)]
async fn everything_comes_out_once_in_batches_of_one_shard_and_level_in_order() {
    let bus = Recorder::new(accept);
    let (pump, outlet) = start(&bus, 8);
    emit(&outlet, (0..200).map(|n| event(n, 1 + n % 11, [0.0, 0.8, 1.0][usize::from(n % 3)])))
        .await;
    drop(outlet);
    let figures = pump.drain().await;
    assert_eq!(
        figures,
        Pumped { received_events: 200, published_events: 200, ..Pumped::default() }
    );
    let mut last = BTreeMap::new();
    let mut count = 0;
    for (_, batch) in bus.taken() {
        assert!((1..=8).contains(&batch.events.len()));
        assert_eq!(batch.time, Timestamp::from_secs(7));
        for event in &batch.events {
            count += 1;
            assert_eq!(event.level(), batch.level);
            assert_eq!(SHARDS.shard_of(event.trace.trace_id), batch.shard);
            let before = last.insert((event.trace.trace_id, batch.level), event.id);
            assert!(before < Some(event.id), "one trace and level, out of order");
        }
    }
    assert_eq!(count, 200);
}

#[tokio::test(start_paused = true)]
async fn a_critical_event_goes_at_once_and_others_linger() {
    let bus = Recorder::new(accept);
    let (pump, outlet) = start(&bus, 128);
    emit(&outlet, [event(1, 1, 0.0), event(2, 1, 0.0), event(3, 1, 1.0)]).await;
    bus.has_taken(2).await;
    let travelled: Vec<_> =
        bus.taken().iter().map(|(at, batch)| (*at, batch.level, batch.events.len())).collect();
    let [critical, normal] = travelled[..] else { panic!("{travelled:?}") };
    assert_eq!(critical, (Duration::ZERO, Level::Critical, 1));
    assert_eq!((normal.1, normal.2), (Level::Normal, 2));
    assert!(normal.0 >= LINGER && normal.0 < LINGER * 2, "{normal:?}");
    drop(outlet);
    assert_eq!(pump.drain().await.published_events, 3);
}

#[tokio::test(start_paused = true)]
async fn a_full_batch_does_not_linger() {
    let bus = Recorder::new(accept);
    let (pump, outlet) = start(&bus, 4);
    emit(&outlet, (0..4).map(|n| event(n, 1, 0.0))).await;
    bus.has_taken(1).await;
    assert_eq!(bus.taken()[0].0, Duration::ZERO);
    drop(outlet);
    assert_eq!(pump.drain().await.published_events, 4);
}

#[tokio::test(start_paused = true)]
async fn what_a_full_bus_refuses_is_counted_by_level() {
    let bus = Recorder::new(shed_the_less_urgent);
    let (pump, outlet) = start(&bus, 8);
    let impacts = [0.0, 0.0, 0.0, 0.8, 0.8, 1.0];
    emit(&outlet, (0..).zip(impacts).map(|(n, impact)| event(n, n, impact))).await;
    drop(outlet);
    let figures = pump.drain().await;
    assert_eq!((figures.received_events, figures.published_events), (6, 1));
    assert_eq!(Level::ALL.map(|level| figures.shed(level)), [3, 2, 0]);
    assert_eq!(figures.lost(), 5);
}

#[tokio::test(start_paused = true)]
async fn a_closed_bus_ends_the_pump_and_nothing_goes_uncounted() {
    let bus = Recorder::new(|_| Err(PublishError::Closed));
    let (pump, outlet) = start(&bus, 2);
    let meter = pump.meter();
    let mut emitted = 0;
    while outlet.emit(event(1, 1, 0.0)).await.is_ok() {
        emitted += 1;
    }
    let figures = pump.drain().await;
    assert!(emitted >= 2);
    assert_eq!((figures.received_events, figures.closed_events), (emitted, emitted));
    assert_eq!(meter(), figures);
}

#[tokio::test(start_paused = true)]
async fn a_bus_that_never_takes_a_batch_is_counted_apart() {
    let bus = Recorder::new(|batch| Err(PublishError::UnknownShard(batch.shard)));
    let (pump, outlet) = start(&bus, 2);
    emit(&outlet, (0..5).map(|n| event(n, 1, 0.0))).await;
    drop(outlet);
    let figures = pump.drain().await;
    assert_eq!((figures.received_events, figures.refused_events), (5, 5));
}
