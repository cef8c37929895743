//! Every limit of the shells is reached, named and counted; a slow listener loses nothing.

use std::sync::Arc;

use tapio_engine::{Limits, Told};
use tapio_model::{Outcome, ShedReason, State};
use tapio_telemetry::spawn_named;

use crate::support::{House, Plan, Sketch, at, breaking, secs, stories};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_inbox_takes_so_many_and_sheds_the_rest() {
    let limits = Limits { mailbox_events_max: 4, ..Limits::default() };
    let mut house = House::open(&Plan { limits, ..Plan::default() }).await.expect("actors");
    for (second, numbers) in [(0, 0..10), (1, 10..12)] {
        let beats: Vec<_> = numbers
            .map(|number| Sketch { number, at: secs(second), ..Sketch::default() })
            .collect();
        house.publish(secs(second), &beats).await.expect("a bus");
        house.pass(secs(second)).await;
    }
    let mut ledger = house.system.stats().await.ledger;
    assert_eq!(*ledger.count(Outcome::Shed(ShedReason::Mailbox)), 6);
    assert_eq!(ledger.open, 6, "four of the first batch, and room again for the second");
    house.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shard_holds_so_many_traces_and_sheds_further_ones() {
    let limits = Limits { node_traces_max: 2, ..Limits::default() };
    let plan = Plan { shards: 1, arbiters: 1, limits, ..Plan::default() };
    let mut house = House::open(&plan).await.expect("actors");
    let sketches: Vec<_> = (1..=4).flat_map(|trace| breaking(trace, secs(0))).collect();
    house.publish(secs(0), &sketches).await.expect("a bus");
    house.pass(secs(1)).await;
    let (mut stats, told) = house.finish().await;
    assert_eq!(*stats.ledger.count(Outcome::Shed(ShedReason::NodeTraces)), 4);
    assert_eq!((stats.ledger.story, stats.live_traces), (4, 2));
    assert_eq!(stories(&told).len(), 2);
}

/// More shards find something, twice, than the incidents' mailbox holds messages.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_listener_loses_nothing_and_hears_everything_in_order() {
    let plan = Plan { shards: 100, told_max: 1, ..Plan::default() };
    let mut house = House::open(&plan).await.expect("actors");
    // One half of the traces thinks soon, the other when half its window is over.
    let sketches: Vec<_> = (0..=249)
        .flat_map(|trace| breaking(trace, secs(0)))
        .map(|sketch| Sketch { impact: if sketch.trace < 125 { 0.8 } else { 0.1 }, ..sketch })
        .collect();
    house.publish(secs(0), &sketches).await.expect("a bus");
    let (system, mut told) = (Arc::new(house.system), house.told);
    let mut driving = Vec::new();
    for (second, thought) in [(1, 250), (16, 500)] {
        let system = Arc::clone(&system);
        let figures = Arc::clone(&system);
        driving.push(spawn_named("time", async move { system.advance(at(secs(second))).await }));
        // The shards think on and answer, although their findings cannot be told.
        while told.is_empty() || figures.stats().await.ledger.story < thought {
            tokio::task::yield_now().await;
        }
        assert_eq!(told.len(), 1, "the listener's queue is full");
    }
    let listening = spawn_named("listener", async move {
        let mut all = Vec::new();
        while let Some(telling) = told.recv().await {
            all.push(telling);
        }
        all
    });
    for drive in driving {
        drive.await.expect("time passes");
    }
    Arc::into_inner(system).expect("nobody else").finish().await;
    let all = listening.await.expect("a listener");
    let opened = stories(&all).iter().filter(|story| story.state == State::Opened).count();
    assert_eq!(opened, 250);
    let evidence = all.iter().position(|telling| matches!(telling, Told::Evidence(_)));
    assert_eq!(evidence, Some(0), "evidence comes before its story");
    let pairs = all.iter().zip(all.iter().skip(1));
    for (before, telling) in pairs {
        let Told::Story(story) = telling else { continue };
        if story.state != State::Opened {
            continue;
        }
        let Told::Evidence(events) = before else { panic!("no evidence before {story:?}") };
        assert!(events.iter().all(|event| story.event_ids.contains(&event.id)));
    }
}
