//! How it ends: everything told, or at least every thread joined.

use std::sync::Arc;

use tapio_actors::{ActorSystem, StartError, SystemParts, TimeSource};
use tapio_bus::{Bus, MemoryBus, MemoryBusLimits, SubscribeError};
use tapio_engine::{Limits, Told};
use tapio_model::{Kind, ShardId, State};
use tapio_shard::ShardCount;
use tapio_telemetry::spawn_named;
use tokio::sync::mpsc;

use crate::support::{House, Plan, Sketch, breaking, millis, rules, secs, stories};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn finish_tells_the_amendment_that_waits_for_its_time() {
    let mut house = House::open(&Plan::default()).await.expect("actors");
    house.publish(secs(0), &breaking(1, secs(0))).await.expect("a bus");
    house.pass(secs(1)).await;
    let more = Sketch { kind: Kind::ContainerKilling, at: secs(1), ..Sketch::default() };
    house.publish(secs(1), &[more]).await.expect("a bus");
    house.pass(secs(2)).await;
    assert_eq!(house.told.len(), 2, "evidence and its story; no amendment yet");
    let (stats, told) = house.finish().await;
    assert_eq!((stats.ledger.story, stats.ledger.open), (3, 0));
    let states: Vec<_> = stories(&told).iter().map(|story| story.state).collect();
    assert_eq!(states, [State::Opened, State::Amended]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn finish_waits_for_a_listener_that_takes_one_at_a_time() {
    let mut house = House::open(&Plan { told_max: 1, ..Plan::default() }).await.expect("actors");
    let mut told = std::mem::replace(&mut house.told, mpsc::channel(1).1);
    let listening = spawn_named("listener", async move {
        let mut all = Vec::new();
        while let Some(telling) = told.recv().await {
            all.push(telling);
            tokio::task::yield_now().await;
        }
        all
    });
    for second in [0, 1] {
        let sketches: Vec<_> = (1..=50).flat_map(|trace| breaking(trace, secs(second))).collect();
        house.publish(secs(second), &sketches).await.expect("a bus");
        house.pass(secs(second + 1)).await;
    }
    house.finish().await;
    let states = stories(&listening.await.expect("a listener")).into_iter().map(|it| it.state);
    assert_eq!(states.filter(|state| *state == State::Amended).count(), 50);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_on_the_bus_when_it_closes_is_delivered() {
    let mut house = House::open(&Plan::default()).await.expect("actors");
    let sketches: Vec<_> = (1..=50).flat_map(|trace| breaking(trace, secs(0))).collect();
    for batch in crate::support::batches(ShardCount::new(4), secs(0), &sketches) {
        house.bus.publish(batch).await.expect("a bus");
    }
    house.bus.close().await;
    house.system.fed().await;
    assert_eq!(house.bus.stats().held_events, 0);
    house.pass(secs(1)).await;
    let stats = house.system.finish().await;
    assert_eq!((stats.ledger.received, stats.ledger.story), (100, 100));
    assert_eq!(house.told.len(), 100, "evidence and a story for each of fifty");
}

/// Whoever holds the rules still runs: shards, incidents and every trace actor do.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropping_waits_for_every_thread() {
    let plan = Plan { shards: 8, arbiters: 4, ..Plan::default() };
    let mut house = House::open(&plan).await.expect("actors");
    let sketches: Vec<_> = (1..=50).flat_map(|trace| breaking(trace, secs(0))).collect();
    house.publish(secs(0), &sketches).await.expect("a bus");
    let House { system, bus, rules, .. } = house;
    assert!(Arc::strong_count(&rules) > 8);
    drop(system);
    assert_eq!((Arc::strong_count(&rules), Arc::strong_count(&bus)), (1, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropping_does_not_wait_for_a_listener() {
    let mut house = House::open(&Plan { told_max: 1, ..Plan::default() }).await.expect("actors");
    let sketches: Vec<_> = (1..=8).flat_map(|trace| breaking(trace, secs(0))).collect();
    house.publish(secs(0), &sketches).await.expect("a bus");
    let House { system, rules, mut told, .. } = house;
    tokio::select! {
        () = system.advance(crate::support::at(secs(1))) => panic!("nobody listens"),
        () = async { while told.is_empty() { tokio::task::yield_now().await } } => {}
    }
    drop(system);
    assert_eq!(Arc::strong_count(&rules), 1);
    assert!(matches!(told.recv().await, Some(Told::Evidence(_))));
    assert_eq!(told.recv().await, None, "what was not told by then is not told");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listener_that_went_away_stops_nobody() {
    let mut house = House::open(&Plan::default()).await.expect("actors");
    house.told.close();
    let sketches: Vec<_> = (1..=8).flat_map(|trace| breaking(trace, secs(0))).collect();
    house.publish(secs(0), &sketches).await.expect("a bus");
    house.pass(millis(600)).await;
    let (stats, told) = house.finish().await;
    assert_eq!((stats.ledger.story, told.len()), (16, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_that_fails_leaves_nothing_behind() {
    // The first arbiter finds its shard on the bus, the second does not.
    let shards = ShardCount::new(1);
    let bus = Arc::new(MemoryBus::new(MemoryBusLimits { shards, ..MemoryBusLimits::default() }));
    let rules = rules(&Arc::default(), Limits::default());
    let (told, mut listener) = mpsc::channel(1);
    let started = ActorSystem::start(SystemParts {
        bus: Arc::<MemoryBus>::clone(&bus),
        shards: ShardCount::new(2),
        arbiters: 2,
        rules: Arc::clone(&rules),
        time: TimeSource::Batches,
        told,
    });
    let refused = started.await.err();
    let expected = SubscribeError::UnknownShard(ShardId::new(1));
    assert!(matches!(refused, Some(StartError::Subscribe(error)) if error == expected));
    assert_eq!((Arc::strong_count(&rules), Arc::strong_count(&bus)), (1, 1));
    assert_eq!(listener.recv().await, None);
}
