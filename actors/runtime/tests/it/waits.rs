//! Who lets time pass waits until it has passed for everybody.

use std::sync::{Arc, atomic::Ordering};

use tapio_telemetry::spawn_named;
use tokio::task::yield_now;

use crate::support::{House, Plan, Toy, at, breaking, secs};

/// A house of one shard, whose first trace to think does not get done.
async fn held(toy: &Arc<Toy>) -> Option<House> {
    let plan = Plan { shards: 1, toy: Arc::clone(toy), ..Plan::default() };
    let mut house = House::open(&plan).await.ok()?;
    let sketches: Vec<_> = (1..=200).flat_map(|trace| breaking(trace, secs(0))).collect();
    house.publish(secs(0), &sketches).await.ok()?;
    toy.holds.store(true, Ordering::SeqCst);
    Some(house)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn time_has_passed_once_every_trace_has_thought_and_its_story_is_told() {
    let toy = Arc::new(Toy::default());
    let House { system, told, .. } = held(&toy).await.expect("actors");
    let passing = spawn_named("time", async move {
        system.advance(at(secs(1))).await;
        told.len()
    });
    while !toy.is_holding.load(Ordering::SeqCst) {
        yield_now().await;
    }
    for _ in 0..1_000 {
        yield_now().await;
    }
    let is_early = passing.is_finished();
    toy.holds.store(false, Ordering::SeqCst);
    assert!(!is_early, "nobody has thought yet");
    let told = passing.await.expect("time passes");
    assert_eq!(told, 400, "evidence and a story for each of two hundred");
}
