//! A shard stays on its thread, and its traces with it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, PoisonError},
};

use tapio_shard::ShardCount;

use crate::support::{House, Plan, Sketch, Toy, breaking, secs};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_traces_of_a_shard_think_on_one_thread() {
    let toy = Arc::new(Toy::default());
    let plan = Plan { toy: Arc::clone(&toy), ..Plan::default() };
    let mut house = House::open(&plan).await.expect("actors");
    // Twice, with new actors the second time.
    for second in [0, 2] {
        let sketches: Vec<_> = (1..=40)
            .flat_map(|trace| breaking(trace, secs(second)))
            .map(|sketch| Sketch { pod: sketch.trace, ..sketch })
            .collect();
        house.publish(secs(second), &sketches).await.expect("a bus");
        house.pass(secs(second + 1)).await;
    }
    house.finish().await;
    let mut by_shard: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for (trace, threads) in &*toy.threads.lock().unwrap_or_else(PoisonError::into_inner) {
        assert_eq!(threads.len(), 2, "{trace:?} thinks twice");
        by_shard.entry(ShardCount::new(4).shard_of(*trace)).or_default().extend(threads.clone());
    }
    assert_eq!(by_shard.len(), 4);
    let name = |thread: &std::thread::ThreadId| format!("{thread:?}");
    let threads: Vec<BTreeSet<_>> =
        by_shard.values().map(|threads| threads.iter().map(name).collect()).collect();
    assert!(threads.iter().all(|threads| threads.len() == 1), "{threads:?}");
    assert_eq!(threads.iter().flatten().collect::<BTreeSet<_>>().len(), 2);
}
