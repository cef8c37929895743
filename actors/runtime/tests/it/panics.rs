//! What a panic costs: its trace, after three tries, and nothing else.

use std::sync::{Arc, atomic::Ordering};

use tapio_model::{Kind, Sentence};

use crate::support::{
    House, Plan, Sketch, Toy, at, breaking, dead, hush, millis, secs, stories, trace_id,
};

/// One shard, so that everybody is a neighbour.
fn neighbours() -> Plan {
    Plan { shards: 1, arbiters: 1, ..Plan::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn poison_costs_its_trace_and_no_neighbour() {
    hush();
    let mut house = House::open(&neighbours()).await.expect("actors");
    let mut sketches: Vec<_> = (1..=3).flat_map(|trace| breaking(trace, secs(0))).collect();
    sketches[2].poison = true;
    house.publish(secs(0), &sketches).await.expect("a bus");
    house.pass(millis(600)).await;
    let first = house.system.stats().await;
    assert_eq!((first.restarts, first.quarantined, first.live_traces), (1, 0, 3));
    // While it backs off, its events wait; they share its end.
    let waiting = Sketch { number: 1, at: millis(600), ..breaking(2, secs(0))[0] };
    house.publish(millis(600), &[waiting]).await.expect("a bus");
    house.pass(millis(700)).await;
    // This one brings the time of the last try with it, and is still in the inbox when that fails.
    let last = Sketch { number: 2, at: secs(2), ..waiting };
    house.publish(secs(2), &[last]).await.expect("a bus");
    house.pass(secs(5)).await;
    let after = Sketch { number: 3, at: secs(5), ..waiting };
    house.publish(secs(5), &[after]).await.expect("a bus");
    let (stats, told) = house.finish().await;
    assert_eq!((stats.restarts, stats.quarantined, stats.live_traces), (2, 1, 2));
    assert_eq!(dead(&told), [(trace_id(2), 4)]);
    assert_eq!((stats.ledger.dead_letter, stats.ledger.story, stats.ledger.open), (5, 4, 0));
    let found: Vec<_> = stories(&told).into_iter().flat_map(|story| story.trace_ids).collect();
    assert_eq!(found.len(), 2, "the neighbours' stories");
    assert!(!found.contains(&trace_id(2)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_that_passes_costs_nothing() {
    hush();
    let toy = Arc::new(Toy::default());
    let plan = Plan { toy: Arc::clone(&toy), ..neighbours() };
    let mut house = House::open(&plan).await.expect("actors");
    toy.panics_left.store(2, Ordering::SeqCst);
    house.publish(secs(0), &breaking(1, secs(0))).await.expect("a bus");
    house.pass(secs(2)).await;
    let first = house.system.stats().await;
    assert_eq!((first.restarts, first.quarantined, first.ledger.story), (2, 0, 2));
    // A success wipes the slate: two more panics are not the third and the fourth.
    toy.panics_left.store(2, Ordering::SeqCst);
    let more =
        Sketch { number: 3, kind: Kind::ContainerKilling, at: secs(2), ..breaking(1, secs(0))[0] };
    house.publish(secs(2), &[more]).await.expect("a bus");
    house.pass(secs(10)).await;
    let (stats, told) = house.finish().await;
    assert_eq!((stats.restarts, stats.quarantined, stats.ledger.story), (4, 0, 3));
    let cited: Vec<_> = stories(&told).iter().map(|story| story.event_ids.len()).collect();
    assert_eq!(cited, [2, 3]);
    assert_eq!(dead(&told), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn back_off_doubles() {
    hush();
    let toy = Arc::new(Toy::default());
    let plan = Plan { toy: Arc::clone(&toy), ..neighbours() };
    let mut house = House::open(&plan).await.expect("actors");
    toy.panics_left.store(2, Ordering::SeqCst);
    house.publish(secs(0), &breaking(1, secs(0))).await.expect("a bus");
    // Settled at 500, each try up to one bucket late.
    for (until, restarts, story) in
        [(500, 0, 0), (550, 1, 0), (650, 1, 0), (700, 2, 0), (900, 2, 0), (950, 2, 2)]
    {
        house.pass(millis(until)).await;
        let stats = house.system.stats().await;
        assert_eq!((stats.restarts, stats.ledger.story), (restarts, story), "at {until} ms");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_does_not_take_the_thought_before_it_along() {
    hush();
    let mut house = House::open(&neighbours()).await.expect("actors");
    house.publish(secs(0), &breaking(1, secs(0))).await.expect("a bus");
    let poison = Sketch { number: 3, at: secs(10), poison: true, ..breaking(1, secs(0))[0] };
    house.publish(secs(10), &[poison]).await.expect("a bus");
    // One wake thinks twice: of what broke, and of the poison.
    house.system.advance(at(secs(12))).await;
    house.pass(secs(20)).await;
    let (stats, told) = house.finish().await;
    assert_eq!((stats.ledger.story, stats.ledger.dead_letter, stats.quarantined), (2, 1, 1));
    let Some(Sentence { events, .. }) =
        stories(&told).first().map(|story| story.root_cause.clone())
    else {
        panic!("the finding before the panic is lost");
    };
    assert!(!events.is_empty());
    assert_eq!(dead(&told), [(trace_id(1), 1)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_trace_has_no_actor_and_forgets_nothing() {
    let mut house = House::open(&Plan::default()).await.expect("actors");
    let [probe, killing] = breaking(1, secs(0));
    house
        .publish(secs(0), &[probe, Sketch { number: 5, impact: 0.8, ..probe }])
        .await
        .expect("a bus");
    assert_eq!(house.system.stats().await.live_actors, 1);
    house.pass(secs(1)).await;
    let idle = house.system.stats().await;
    assert_eq!((idle.live_actors, idle.live_traces, idle.ledger.open), (0, 1, 2));
    let late = Sketch { at: secs(2), ..killing };
    house.publish(secs(2), &[late]).await.expect("a bus");
    assert_eq!(house.system.stats().await.live_actors, 1, "an event revives it");
    // A repeat is known although the actor that saw the first is gone.
    house.publish(secs(2), &[probe]).await.expect("a bus");
    house.pass(secs(3)).await;
    assert_eq!(house.system.stats().await.live_actors, 0);
    let (stats, told) = house.finish().await;
    assert_eq!((stats.ledger.story, stats.ledger.duplicate, stats.live_traces), (2, 1, 1));
    let stories = stories(&told);
    let cites: Vec<_> = stories.iter().flat_map(|story| &story.chain).collect();
    assert!(cites.iter().any(|link| link.evidence.time == at(secs(0))), "from before: {cites:?}");
}
