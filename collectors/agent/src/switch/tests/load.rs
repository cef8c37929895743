//! Ten switches under load, with an output that fails at random: nothing is lost, and what is
//! twice there has the same id.

use std::collections::{BTreeMap, BTreeSet};

use futures::future::join_all;
use proptest::prelude::*;

use super::*;

/// The publishers of a run: one for each shard and level, each one batch at a time, as a pump does.
const SHARDS: u16 = 4;

struct Load {
    batches: u64,
    events: u64,
    switches: u64,
    seed: u64,
    bytes_max: u64,
}

/// A generator that only has to be different from seed to seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

#[derive(Debug, PartialEq)]
struct Outcome {
    /// Events acknowledged that no output has, once the spool is empty.
    lost: usize,
    /// Events an output has more than once, which dedupe by id removes.
    again: usize,
    /// Shards and levels whose first arrivals are out of order.
    unordered: usize,
}

async fn play(load: &Load) -> Outcome {
    let folder = tempdir().expect("a folder");
    let outputs = [Moody::new(Mood::Well), Moody::new(Mood::Well)];
    let limits = SwitchLimits { patience: Duration::from_millis(50), ..SwitchLimits::default() };
    let first: Arc<dyn Bus> = Arc::<Moody>::clone(&outputs[0]);
    let spool = spool(folder.path(), load.bytes_max);
    let bus = SwitchBus::start("0", first, spool, limits, None);
    let publisher = |lane: u16| {
        let bus = &bus;
        async move {
            let mut dice = Dice(load.seed ^ u64::from(lane));
            let level = Level::ALL[usize::from(lane / SHARDS)];
            for number in 0..load.batches {
                let from = (u64::from(lane) * load.batches + number) * load.events;
                let wire = batch(level, lane % SHARDS, from..from + load.events);
                let Batch { shard, time, .. } = one(level, lane % SHARDS, 0);
                let batch = Batch { shard, level, time, events: wire.events };
                assert!(bus.publish(batch).await.is_ok(), "the output or the spool takes it");
                sleep(Duration::from_micros(dice.roll(2_000))).await;
            }
        }
    };
    let (failing, well) = (&outputs[0], &outputs[1]);
    let chaos = async {
        let mut dice = Dice(load.seed);
        let moods = [Mood::Well, Mood::Closed, Mood::Silent, Mood::Mute];
        for turn in 0..load.switches {
            for _ in 0..4 {
                failing.feels(moods[usize::try_from(dice.roll(4)).expect("small")]);
                sleep(Duration::from_millis(dice.roll(30))).await;
            }
            let next = if turn % 2 == 0 { well } else { failing };
            let next: Arc<dyn Bus> = Arc::<Moody>::clone(next);
            drop(bus.switch(turn.to_string(), next));
        }
        failing.feels(Mood::Well);
    };
    let lanes = SHARDS * 3;
    tokio::join!(join_all((0..lanes).map(publisher)), chaos);
    assert!(bus.drained(MINUTE).await);
    assert_eq!(bus.figures().switches, load.switches);
    judge(load, &outputs, lanes)
}

fn judge(load: &Load, outputs: &[Arc<Moody>; 2], lanes: u16) -> Outcome {
    let mut seen = BTreeMap::<u64, usize>::new();
    let mut unordered = 0;
    for output in outputs {
        let taken = output.taken.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        // Of each shard and level, what an output gets for the first time is in order.
        let mut newest = BTreeMap::new();
        let mut known = BTreeSet::new();
        for batch in taken.iter() {
            let numbers = numbers(&batch.events);
            let is_new = numbers.iter().all(|number| known.insert(*number));
            let before = newest.entry((batch.shard, batch.level)).or_insert(0);
            let first = numbers.first().copied().unwrap_or_default();
            if is_new && first < *before {
                unordered += 1;
            }
            *before = (*before).max(first);
            for number in numbers {
                *seen.entry(number).or_default() += 1;
            }
        }
    }
    let all = u64::from(lanes) * load.batches * load.events;
    Outcome {
        lost: (0..all).filter(|number| !seen.contains_key(number)).count(),
        again: seen.values().filter(|times| **times > 1).count(),
        unordered,
    }
}

fn run(load: &Load) -> Outcome {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_time().start_paused(true).build().expect("a runtime");
    runtime.block_on(play(load))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn ten_switches_lose_nothing(seed in any::<u64>()) {
        let load = Load { batches: 60, events: 2, switches: 10, seed, bytes_max: 8 << 20 };
        let outcome = run(&load);
        prop_assert_eq!((outcome.lost, outcome.unordered), (0, 0));
    }
}

#[test]
fn ten_switches_under_heavy_load_lose_nothing() {
    let mut again = 0;
    for seed in [1, 2, 3] {
        let load = Load { batches: 200, events: 50, switches: 10, seed, bytes_max: 64 << 20 };
        let outcome = run(&load);
        assert_eq!((outcome.lost, outcome.unordered), (0, 0), "120,000 events, seed {seed}");
        again += outcome.again;
    }
    assert!(again > 0, "a mute output leaves duplicates, or the test proves nothing");
}
