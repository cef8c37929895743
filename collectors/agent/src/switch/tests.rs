mod load;

use std::{path::Path, sync::atomic::AtomicUsize};

use tapio_bus::{MemoryBus, MemoryBusLimits};
use tempfile::tempdir;

use super::*;
use crate::{
    SpoolLimits,
    sample::{batch, numbers},
};

/// How an output fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mood {
    Well,
    /// Refuses.
    Closed,
    /// Never answers.
    Silent,
    /// Takes the batch and never answers.
    Mute,
}

/// An output that fails as it is told, and remembers what it took in order.
#[derive(Debug)]
struct Moody {
    mood: watch::Sender<Mood>,
    taken: std::sync::Mutex<Vec<Batch>>,
    asked: AtomicUsize,
}

impl Moody {
    fn new(mood: Mood) -> Arc<Self> {
        let mood = watch::Sender::new(mood);
        Arc::new(Self { mood, taken: std::sync::Mutex::default(), asked: AtomicUsize::default() })
    }

    fn feels(&self, mood: Mood) {
        self.mood.send_replace(mood);
    }

    fn taken(&self, level: Level) -> Vec<u64> {
        let taken = self.taken.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        taken.iter().filter(|one| one.level == level).flat_map(|one| numbers(&one.events)).collect()
    }
}

#[async_trait]
impl Bus for Moody {
    async fn publish(&self, batch: Batch) -> Result<Offset, PublishError> {
        self.asked.fetch_add(1, Relaxed);
        let mood = *self.mood.borrow();
        if matches!(mood, Mood::Well | Mood::Mute) {
            self.taken.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(batch);
        }
        match mood {
            Mood::Well => Ok(Offset(0)),
            Mood::Closed => Err(PublishError::Closed),
            Mood::Silent | Mood::Mute => std::future::pending().await,
        }
    }

    async fn subscribe(
        &self,
        _shards: &[tapio_model::ShardId],
        _start: Start,
    ) -> Result<Box<dyn Subscription>, SubscribeError> {
        Err(SubscribeError::UnknownShard(tapio_model::ShardId::new(0)))
    }

    async fn close(&self) {}

    fn stats(&self) -> BusStats {
        BusStats::default()
    }
}

fn spool(folder: &Path, bytes_max: u64) -> Option<Spool> {
    let limits =
        SpoolLimits { bytes_max, segment_bytes_max: bytes_max / 8, sync_each: false, seed: 3 };
    Spool::open(folder, limits).ok()
}

fn one(level: Level, shard: u16, number: u64) -> Batch {
    let wire = batch(level, shard, number..number + 1);
    Batch { shard: wire.shard, level, time: wire.time, events: wire.events }
}

fn start(output: &Arc<Moody>, spool: Option<Spool>) -> SwitchBus {
    let output: Arc<dyn Bus> = Arc::<Moody>::clone(output);
    SwitchBus::start("first", output, spool, SwitchLimits::default(), None)
}

const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test(start_paused = true)]
async fn the_spool_bridges_a_dead_output_and_drains_in_order() {
    let folder = tempdir().expect("a folder");
    let output = Moody::new(Mood::Silent);
    let bus = start(&output, spool(folder.path(), 1 << 20));
    for number in 0..20 {
        assert!(bus.publish(one(Level::Normal, 1, number)).await.is_ok(), "the spool has it");
    }
    let figures = bus.figures();
    assert_eq!((figures.spooled_events, figures.published_events), (20, 0));
    assert!(!figures.is_available);
    assert_eq!(output.taken(Level::Normal), [0_u64; 0]);
    output.feels(Mood::Well);
    assert!(bus.drained(MINUTE).await);
    assert!(bus.publish(one(Level::Normal, 1, 20)).await.is_ok());
    assert_eq!(output.taken(Level::Normal), (0..21).collect::<Vec<_>>());
    let figures = bus.figures();
    assert_eq!((figures.drained_events, figures.published_events), (20, 1));
    let stats = bus.stats();
    assert_eq!((stats.accepted_events, stats.acknowledged_events, stats.held_events), (21, 21, 0));
}

#[tokio::test(start_paused = true)]
async fn what_an_earlier_process_spooled_is_sent_first() {
    let folder = tempdir().expect("a folder");
    let output = Moody::new(Mood::Closed);
    let bus = start(&output, spool(folder.path(), 1 << 20));
    for number in 0..3 {
        assert!(bus.publish(one(Level::High, 1, number)).await.is_ok());
    }
    bus.close().await;
    assert_eq!(bus.publish(one(Level::High, 1, 9)).await, Err(PublishError::Closed));
    // The lock goes with the last handle.
    while Arc::strong_count(&bus.shared) > 1 {
        sleep(Duration::from_millis(1)).await;
    }
    drop(bus);
    output.feels(Mood::Well);
    let bus = start(&output, spool(folder.path(), 1 << 20));
    assert!(bus.publish(one(Level::High, 1, 3)).await.is_ok());
    assert!(bus.drained(MINUTE).await);
    assert_eq!(output.taken(Level::High), [0, 1, 2, 3]);
}

#[tokio::test(start_paused = true)]
async fn what_is_under_way_goes_to_the_new_output() {
    for mood in [Mood::Silent, Mood::Mute] {
        let folder = tempdir().expect("a folder");
        let (first, second) = (Moody::new(mood), Moody::new(Mood::Well));
        let bus = Arc::new(start(&first, spool(folder.path(), 1 << 20)));
        let publisher = Arc::clone(&bus);
        let publishing =
            spawn_named("test", async move { publisher.publish(one(Level::Normal, 1, 7)).await });
        while first.asked.load(Relaxed) == 0 {
            tokio::task::yield_now().await;
        }
        let new: Arc<dyn Bus> = Arc::<Moody>::clone(&second);
        let old = bus.switch("second", new);
        assert!(publishing.await.expect("no panic").is_ok());
        assert_eq!(second.taken(Level::Normal), [7], "{mood:?}");
        assert_eq!(old.stats(), BusStats::default());
        let figures = bus.figures();
        assert_eq!((figures.switches, figures.resent_events, figures.spooled_events), (1, 1, 0));
        assert_eq!(figures.output, "second");
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_spool_it_waits_and_sheds_the_lowest_first() {
    let output = Moody::new(Mood::Closed);
    let limits = SwitchLimits { parked_events_max: 4, ..SwitchLimits::default() };
    let bus: Arc<dyn Bus> = Arc::<Moody>::clone(&output);
    let bus = Arc::new(SwitchBus::start("first", bus, None, limits, None));
    let waiting: Vec<_> = (0..2)
        .map(|number| {
            let bus = Arc::clone(&bus);
            spawn_named("test", async move { bus.publish(one(Level::Normal, 1, number)).await })
        })
        .collect();
    while bus.figures().parked_events < 2 {
        sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(bus.publish(one(Level::Normal, 1, 2)).await, Err(PublishError::Full));
    assert_eq!(bus.figures().refused_events, [1, 0, 0]);
    output.feels(Mood::Well);
    for publishing in waiting {
        assert!(publishing.await.expect("no panic").is_ok(), "it waited and was published");
    }
    assert!(bus.publish(one(Level::Critical, 1, 3)).await.is_ok());
    assert_eq!(bus.figures().parked_events, 0);
}

#[tokio::test(start_paused = true)]
async fn losses_are_told_when_the_output_is_back() {
    let folder = tempdir().expect("a folder");
    let output = Moody::new(Mood::Closed);
    let teller: Teller = Arc::new(|loss: Loss| {
        assert_eq!((loss.level, loss.events), (Level::Normal, loss.events_ever));
        one(Level::Critical, 2, 1_000 + loss.events)
    });
    let bus: Arc<dyn Bus> = Arc::<Moody>::clone(&output);
    let spool = spool(folder.path(), 4_000);
    let bus = SwitchBus::start("first", bus, spool, SwitchLimits::default(), Some(teller));
    for number in 0..40 {
        assert!(bus.publish(one(Level::Normal, 1, number)).await.is_ok());
    }
    let dropped = bus.figures().spool.dropped_events[0];
    assert!(dropped > 0);
    output.feels(Mood::Well);
    assert!(bus.drained(MINUTE).await);
    sleep(Duration::from_secs(3)).await;
    assert_eq!(output.taken(Level::Normal), (dropped..40).collect::<Vec<_>>());
    assert_eq!(output.taken(Level::Critical), [1_000 + dropped], "once");
    assert_eq!(bus.figures().spool.told_events, [dropped, 0, 0]);
}

#[tokio::test]
async fn it_only_publishes() {
    let bus: Arc<dyn Bus> = Arc::new(MemoryBus::new(MemoryBusLimits::default()));
    let bus = SwitchBus::start("memory", bus, None, SwitchLimits::default(), None);
    assert!(bus.subscribe(&[tapio_model::ShardId::new(0)], Start::New).await.is_err());
    let nothing = Batch { events: Vec::new(), ..one(Level::Normal, 0, 0) };
    assert_eq!(bus.publish(nothing).await, Err(PublishError::Empty));
    let unknown = one(Level::Normal, 999, 0);
    let shard = unknown.shard;
    assert_eq!(bus.publish(unknown).await, Err(PublishError::UnknownShard(shard)));
}
