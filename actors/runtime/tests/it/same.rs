//! What the ring finds, the actors find: the same stories, told at the same times.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use proptest::prelude::*;
use tapio_bus::PublishError;
use tapio_engine::{Limits, Ring, Told};
use tapio_model::{EventId, Kind, Ledger, State, Story};
use tapio_shard::ShardCount;

use crate::support::{
    House, Plan, STEP, Sketch, at, batches, breaking, millis, rules, secs, stories,
};

/// What happens when; the times are whole steps.
type History = BTreeMap<Duration, Vec<Sketch>>;

/// What was told, in an order that does not depend on who thinks first.
#[derive(Debug, PartialEq)]
struct Account {
    ledger: Ledger,
    stories: Vec<Story>,
    evidence: Vec<EventId>,
}

fn account(ledger: Ledger, told: &[Told]) -> Account {
    let mut evidence: Vec<_> = told
        .iter()
        .filter_map(|telling| match telling {
            Told::Evidence(events) => Some(events.iter().map(|event| event.id)),
            Told::Story(_) | Told::Dead { .. } => None,
        })
        .flatten()
        .collect();
    evidence.sort_unstable();
    Account { ledger, stories: stories(told), evidence }
}

fn ring_account(plan: &Plan, history: &History, end: Duration) -> Account {
    let mut ring = Ring::new(&rules(&Arc::default(), plan.limits.clone()));
    let mut now = Duration::ZERO;
    while now <= end {
        ring.advance(at(now));
        let sketches = history.get(&now).map_or(&[][..], Vec::as_slice);
        for batch in batches(ShardCount::new(plan.shards), now, sketches) {
            for event in batch.events {
                ring.observe(event, batch.time);
            }
        }
        now += STEP;
    }
    let told = ring.take_told();
    account(*ring.shard().ledger(), &told)
}

async fn actors_account(
    plan: &Plan,
    history: &History,
    end: Duration,
) -> Result<Account, PublishError> {
    let Ok(mut house) = House::open(plan).await else { return Err(PublishError::Closed) };
    for (after, sketches) in history {
        house.pass(*after).await;
        house.publish(*after, sketches).await?;
    }
    house.pass(end).await;
    let (stats, told) = house.finish().await;
    Ok(account(stats.ledger, &told))
}

/// Short times, so that a whole life passes in few steps.
fn short() -> Limits {
    Limits {
        window: secs(3),
        settle: millis(200),
        quiet: secs(2),
        amend_every: secs(1),
        late_horizon: secs(8),
        ..Limits::default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn joined_resolved_and_returning_incidents_are_told_alike() {
    let mut history = History::new();
    for (after, trace, pod) in [(0, 1, 1), (100, 2, 2), (1_000, 3, 1), (4_500, 1, 1), (5_000, 4, 2)]
    {
        let sketches = breaking(trace, millis(after)).map(|sketch| Sketch { pod, ..sketch });
        history.entry(millis(after)).or_default().extend(sketches);
    }
    // A killing in the one pod that the other's trace sees too joins the two.
    let bridge = Sketch { number: 7, trace: 5, pod: 2, at: millis(5_500), ..Sketch::default() };
    let killing = Sketch { number: 8, kind: Kind::ContainerKilling, pod: 1, ..bridge };
    history.insert(millis(5_500), vec![bridge, killing]);
    let plan = Plan { limits: short(), ..Plan::default() };
    let expected = ring_account(&plan, &history, secs(12));
    let states: Vec<_> = expected.stories.iter().map(|story| story.state).collect();
    let merged = states.iter().filter(|state| matches!(state, State::Merged { .. })).count();
    let amended = states.iter().filter(|state| **state == State::Amended).count();
    let resolved = states.iter().filter(|state| **state == State::Resolved).count();
    assert!(
        merged > 0 && amended > 0 && resolved > 0,
        "the history is worth comparing: {states:?}"
    );
    assert!(expected.stories.iter().any(|story| story.predecessor.is_some()));
    let found = actors_account(&plan, &history, secs(12)).await.expect("a bus");
    assert_eq!(found, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tick_that_was_due_before_an_event_does_not_see_it() {
    let plan = Plan::default();
    let mut house = House::open(&plan).await.expect("actors");
    let mut ring = Ring::new(&rules(&Arc::default(), plan.limits.clone()));
    let later =
        Sketch { number: 9, kind: Kind::ContainerKilling, at: secs(10), ..breaking(1, secs(0))[0] };
    for (after, sketches) in [(0, breaking(1, secs(0)).to_vec()), (10, vec![later])] {
        // Nobody lets time pass in between: the second batch brings the first one's tick with it.
        house.publish(secs(after), &sketches).await.expect("a bus");
        for batch in batches(ShardCount::new(plan.shards), secs(after), &sketches) {
            for event in batch.events {
                ring.observe(event, batch.time);
            }
        }
    }
    // When it is told differs: the ring goes through the time between, the actors leap over it.
    let cites = |told: &[Told]| stories(told).pop().map(|story| (story.telling, story.event_ids));
    let expected = cites(&ring.take_told());
    assert_eq!(expected.as_ref().map(|(_, events)| events.len()), Some(2));
    let (_, told) = house.finish().await;
    assert_eq!(cites(&told), expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_long_advance_thinks_as_much_as_many_short_ones() {
    let mut house = House::open(&Plan::default()).await.expect("actors");
    let sketches: Vec<_> = (1..=8).flat_map(|trace| breaking(trace, secs(0))).collect();
    house.publish(secs(0), &sketches).await.expect("a bus");
    house.system.advance(at(secs(1_000))).await;
    let stats = house.system.stats().await;
    assert_eq!((stats.live_traces, stats.ledger.open, stats.ledger.story), (0, 0, 16));
    assert_eq!(house.told.len(), 16, "told before it returns: evidence and a story for each");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]

    /// Duplicates, late events, closed traces and their next lives included.
    #[test]
    fn any_history_is_told_alike(
        inputs in proptest::collection::vec(
            (0_u64..40, 1_u8..9, 0_u32..200, 0_u32..60, any::<bool>(), 0_usize..3, 0_u8..3), 0..80,
        ),
    ) {
        let kinds = [Kind::ProbeFailed, Kind::ContainerKilling, Kind::Log];
        let mut history = History::new();
        for (number, trace, step, age, inferred, kind, impact) in inputs {
            let after = STEP * step;
            let sketch = Sketch {
                // A trace and a pod of its own for each event: which of two findings comes first
                // in one step is not promised, only what each of them is.
                number: u64::from(trace) * 100 + number,
                trace,
                pod: trace,
                at: after.saturating_sub(STEP * age),
                kind: kinds[kind],
                impact: [0.1, 0.8, 0.95][usize::from(impact)],
                inferred,
                poison: false,
            };
            history.entry(after).or_default().push(sketch);
        }
        let plan = Plan { limits: short(), ..Plan::default() };
        let expected = ring_account(&plan, &history, secs(20));
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build();
        let found = runtime.expect("threads").block_on(actors_account(&plan, &history, secs(20)));
        prop_assert_eq!(found, Ok(expected));
    }
}
