//! Several batches on their way at once, over a bus that takes its time.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use tapio_bus::{Batch, Bus, BusStats, Offset, PublishError, Start, SubscribeError, Subscription};
use tapio_model::{EventId, Level, ShardId};
use tokio::{
    sync::Semaphore,
    time::{Instant, sleep, timeout},
};

use super::{SHARDS, Stopped, emit, event};
use crate::{Account, Binder, Home, Linger, Outlet, Pump, PumpLimits};

/// How long the bus takes over a batch.
const TAKES: Duration = Duration::from_millis(10);

/// What the bus saw.
#[derive(Debug, Default)]
struct Seen {
    flying: BTreeSet<(ShardId, Level)>,
    flying_max: usize,
    has_overtaken: bool,
    sizes: Vec<usize>,
    order: BTreeMap<(ShardId, Level), Vec<EventId>>,
}

/// A bus that takes its time, or for ever until it is let go.
#[derive(Debug)]
struct Slow {
    seen: Mutex<Seen>,
    gate: Semaphore,
}

impl Slow {
    fn new(is_stuck: bool) -> Arc<Self> {
        let gate = Semaphore::new(if is_stuck { 0 } else { Semaphore::MAX_PERMITS });
        Arc::new(Self { seen: Mutex::default(), gate })
    }

    fn see<T>(&self, look: impl FnOnce(&mut Seen) -> T) -> T {
        let mut seen = self.seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        look(&mut seen)
    }
}

#[async_trait]
impl Bus for Slow {
    async fn publish(&self, batch: Batch) -> Result<Offset, PublishError> {
        let key = (batch.shard, batch.level);
        self.see(|seen| {
            seen.has_overtaken |= !seen.flying.insert(key);
            seen.flying_max = seen.flying_max.max(seen.flying.len());
            seen.sizes.push(batch.events.len());
        });
        let _let_go = self.gate.acquire().await;
        sleep(TAKES).await;
        self.see(|seen| {
            seen.flying.remove(&key);
            let order = seen.order.entry(key).or_default();
            order.extend(batch.events.iter().map(|event| event.id));
        });
        Ok(Offset(0))
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

fn start(bus: &Arc<Slow>, limits: PumpLimits) -> (Pump, Outlet) {
    let bus: Arc<dyn Bus> = Arc::<Slow>::clone(bus);
    let binder = Arc::new(Binder::new(Home::default()));
    let pump = Pump::start(binder, bus, SHARDS, Arc::new(Stopped), limits);
    let outlet = pump.outlet(Arc::new(Account::default()));
    (pump, outlet)
}

const LIMITS: PumpLimits = PumpLimits {
    queue_events_max: 64,
    batch_events_max: 16,
    linger: Linger::fixed(Duration::from_millis(1)),
    in_flight_max: 8,
};

#[tokio::test(start_paused = true)]
async fn shards_do_not_wait_for_each_other_and_each_stays_in_order() {
    let bus = Slow::new(false);
    let (pump, outlet) = start(&bus, LIMITS);
    let began = Instant::now();
    emit(&outlet, (0..200).map(|n| event(n, 1 + n % 11, [0.0, 0.8, 1.0][usize::from(n % 3)])))
        .await;
    drop(outlet);
    assert_eq!(pump.drain().await.published_events, 200);
    let passed = began.elapsed();
    bus.see(|seen| {
        assert!(!seen.has_overtaken, "two of one shard and level at once");
        let one_by_one = TAKES * u32::try_from(seen.sizes.len()).expect("few");
        assert!(passed * 3 < one_by_one, "{passed:?} for what takes {one_by_one:?}");
        assert!((4..=LIMITS.in_flight_max).contains(&seen.flying_max), "{}", seen.flying_max);
        for events in seen.order.values() {
            assert!(events.is_sorted(), "{events:?}");
        }
        assert_eq!(seen.order.values().map(Vec::len).sum::<usize>(), 200);
    });
}

#[tokio::test(start_paused = true)]
async fn what_waits_behind_a_slow_bus_travels_together() {
    let bus = Slow::new(false);
    let (pump, outlet) = start(&bus, LIMITS);
    for number in 0..40 {
        // One shard and level, one event a millisecond, critical: each would go alone.
        emit(&outlet, [event(number, 1, 1.0)]).await;
        sleep(Duration::from_millis(1)).await;
    }
    drop(outlet);
    assert_eq!(pump.drain().await.published_events, 40);
    bus.see(|seen| {
        assert_eq!(seen.sizes.first(), Some(&1), "the first does not wait");
        assert!(seen.sizes.len() <= 6, "{:?}", seen.sizes);
    });
}

#[tokio::test(start_paused = true)]
async fn a_stuck_bus_makes_the_outlets_wait_and_loses_nothing() {
    let bus = Slow::new(true);
    let (pump, outlet) = start(&bus, LIMITS);
    let mut emitted = 0_u8;
    while timeout(Duration::from_secs(1), outlet.emit(event(emitted, emitted % 7, 0.0)))
        .await
        .is_ok_and(|taken| taken.is_ok())
    {
        emitted += 1;
    }
    // The queue, and as many again in the pump.
    assert_eq!(usize::from(emitted), LIMITS.queue_events_max * 2);
    bus.gate.add_permits(1_000);
    drop(outlet);
    let figures = pump.drain().await;
    assert_eq!((figures.received_events, figures.lost()), (u64::from(emitted), 0));
    assert_eq!(figures.published_events, u64::from(emitted));
}
