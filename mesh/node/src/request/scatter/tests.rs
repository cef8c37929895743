//! The account of shards, whatever happens to the requests.

use std::collections::{BTreeMap, BTreeSet};

use proptest::{collection::vec, prelude::*};

use super::*;

const PLAN: Plan =
    Plan { deadline: Duration::from_millis(100), hedge_at: Some(Duration::from_millis(10)) };
const EARLY: Duration = Duration::from_millis(1);

fn shard(number: u16) -> ShardId {
    ShardId::new(number)
}

fn shards(numbers: &[u16]) -> Vec<ShardId> {
    numbers.iter().copied().map(ShardId::new).collect()
}

/// Shards 0 and 1 belong to `a`, shard 2 to `b`, shard 3 to nobody known.
fn owner(of: ShardId) -> Option<Owner> {
    let node = match of.number() {
        0 | 1 => "a",
        2 => "b",
        _ => return None,
    };
    Some(Owner { node: node.into(), epoch: Epoch(5) })
}

fn known(number: u16, epoch: u64) -> ShardAnswer {
    let item = Item::Owner { shard: shard(number), owner: None };
    ShardAnswer::Known {
        shard: shard(number),
        epoch: Epoch(epoch),
        results: vec![item],
        omitted: 0,
    }
}

fn moved(number: u16, owner: &str, epoch: u64) -> ShardAnswer {
    ShardAnswer::Moved { shard: shard(number), owner: Some(owner.into()), epoch: Epoch(epoch) }
}

fn copy() -> Option<Recalled> {
    Some(Recalled { epoch: Epoch(4), results: vec![], omitted: 0 })
}

fn asks(effects: &[Effect]) -> Vec<Asking> {
    let asks = effects.iter().filter_map(|effect| match effect {
        Effect::Ask(asking) => Some(asking.clone()),
        Effect::Recall(_) => None,
    });
    asks.collect()
}

fn recalls(effects: &[Effect]) -> Vec<ShardId> {
    let recalls = effects.iter().filter_map(|effect| match effect {
        Effect::Ask(_) => None,
        Effect::Recall(shard) => Some(*shard),
    });
    recalls.collect()
}

#[test]
fn one_request_goes_to_each_owner_and_lists_all_its_shards() {
    let (_, effects) = Scatter::begin(shards(&[0, 1, 2, 3]), owner, PLAN);
    let mut sent: Vec<_> =
        asks(&effects).into_iter().map(|asking| (asking.via, asking.shards)).collect();
    sent.sort();
    let want = [(0, vec![0, 1]), (2, vec![2]), (3, vec![3])];
    assert_eq!(sent, want.map(|(via, of)| (shard(via), shards(&of))));
}

#[test]
fn it_is_done_as_soon_as_all_have_answered() {
    let (mut scatter, effects) = Scatter::begin(shards(&[0, 1, 2]), owner, PLAN);
    let [one, other] = asks(&effects).try_into().expect("two owners");
    let Asking { id, .. } = one;
    assert_eq!(
        scatter.on(Input::Answered { ask: id, shards: vec![known(0, 5), known(1, 5)] }, EARLY),
        []
    );
    assert!(!scatter.is_done());
    assert_eq!(scatter.on(Input::Answered { ask: other.id, shards: vec![known(2, 6)] }, EARLY), []);
    assert!(scatter.is_done());
    let gathered = scatter.finish();
    assert_eq!(gathered.shards.answered, shards(&[0, 1, 2]));
    assert_eq!(gathered.results.len(), 3);
}

#[test]
fn without_listeners_a_shard_is_unowned_at_once_and_the_others_of_the_group_are_asked() {
    let (mut scatter, effects) = Scatter::begin(shards(&[0, 1]), owner, PLAN);
    let [asking] = asks(&effects).try_into().expect("one owner");
    let effects = scatter.on(Input::Unowned { ask: asking.id }, EARLY);
    assert_eq!(recalls(&effects), [shard(0)]);
    let [again] = asks(&effects).try_into().expect("the other shard, by itself");
    assert_eq!((again.via, again.owner), (shard(1), None));
    let none = scatter.on(Input::Recalled { shard: shard(0), found: copy() }, EARLY);
    assert_eq!((none, scatter.is_done()), (vec![], false));
    let effects = scatter.on(Input::Unowned { ask: again.id }, EARLY);
    assert_eq!((asks(&effects), recalls(&effects)), (vec![], vec![shard(1)]));
    assert_eq!(scatter.on(Input::Recalled { shard: shard(1), found: None }, EARLY), []);
    assert!(scatter.is_done(), "nothing more can come");
    let Coverage { answered, stale, missing } = scatter.finish().shards;
    assert_eq!((answered, stale, missing), (vec![], shards(&[0]), shards(&[1])));
}

#[test]
fn shards_that_moved_to_one_node_are_asked_there_together() {
    let (mut scatter, effects) = Scatter::begin(shards(&[0, 1]), owner, PLAN);
    let [asking] = asks(&effects).try_into().expect("one owner");
    let both = vec![moved(0, "c", 6), moved(1, "c", 7)];
    let effects = scatter.on(Input::Answered { ask: asking.id, shards: both }, EARLY);
    let [again] = asks(&effects).try_into().expect("one new owner");
    assert_eq!((again.shards, again.owner.as_deref()), (shards(&[0, 1]), Some("c")));
}

#[test]
fn an_answer_from_before_a_change_of_hands_does_not_count() {
    let (mut scatter, effects) = Scatter::begin(shards(&[2]), owner, PLAN);
    let [asking] = asks(&effects).try_into().expect("one owner");
    let effects =
        scatter.on(Input::Answered { ask: asking.id, shards: vec![moved(2, "c", 9)] }, EARLY);
    let [again] = asks(&effects).try_into().expect("the new owner");
    let effects = scatter.on(Input::Answered { ask: again.id, shards: vec![known(2, 5)] }, EARLY);
    let [last] = asks(&effects).try_into().expect("a third and last time");
    let effects = scatter.on(Input::Answered { ask: last.id, shards: vec![known(2, 8)] }, EARLY);
    assert_eq!((asks(&effects), recalls(&effects)), (vec![], shards(&[2])));
}

#[test]
fn slow_owners_are_hedged_once_and_fresh_answers_still_win() {
    let (mut scatter, effects) = Scatter::begin(shards(&[0, 2]), owner, PLAN);
    let [one, other] = asks(&effects).try_into().expect("two owners");
    assert_eq!(scatter.wakes_at(), Duration::from_millis(10));
    assert_eq!(scatter.on(Input::Tick, Duration::from_millis(9)), []);
    let effects = scatter.on(Input::Tick, Duration::from_millis(10));
    assert_eq!(recalls(&effects), shards(&[0, 2]));
    assert_eq!(scatter.wakes_at(), PLAN.deadline);
    for number in [0, 2] {
        let found = Input::Recalled { shard: shard(number), found: copy() };
        assert_eq!(scatter.on(found, Duration::from_millis(11)), []);
    }
    assert!(!scatter.is_done(), "a copy in hand does not end the wait for an owner");
    let fresh = Input::Answered { ask: one.id, shards: vec![known(0, 5)] };
    assert_eq!(scatter.on(fresh, Duration::from_millis(50)), []);
    assert_eq!(scatter.on(Input::Tick, PLAN.deadline), []);
    assert!(scatter.is_done());
    let Coverage { answered, stale, missing } = scatter.finish().shards;
    assert_eq!((answered, stale, missing), (shards(&[0]), shards(&[2]), vec![]));
    assert_eq!(other.owner.as_deref(), Some("b"));
}

#[test]
fn what_is_to_be_done_is_never_taken_from_a_root() {
    let plan = Plan { hedge_at: None, ..PLAN };
    let (mut scatter, effects) = Scatter::begin(shards(&[2]), owner, plan);
    let [asking] = asks(&effects).try_into().expect("one owner");
    assert_eq!(scatter.on(Input::Tick, Duration::from_millis(99)), []);
    assert_eq!(scatter.on(Input::Unowned { ask: asking.id }, Duration::from_millis(99)), []);
    assert!(scatter.is_done());
    assert_eq!(scatter.finish().shards.missing, shards(&[2]));
}

#[derive(Debug, Clone)]
enum Event {
    Answer(Vec<(u16, bool, u64)>),
    Unowned,
    Failed,
    Root(bool),
    Wait(u64),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => vec((0_u16..9, any::<bool>(), 0_u64..8), 0..9).prop_map(Event::Answer),
        1 => Just(Event::Unowned),
        1 => Just(Event::Failed),
        2 => any::<bool>().prop_map(Event::Root),
        1 => (0_u64..30).prop_map(Event::Wait),
    ]
}

proptest! {
    #[test]
    fn every_expected_shard_is_accounted_for_exactly_once(
        expected in proptest::collection::btree_set(0_u16..8, 0..8),
        owners in vec(proptest::option::of((0_u8..3, 0_u64..6)), 8),
        is_read: bool,
        events in vec((event(), any::<prop::sample::Index>()), 0..60),
    ) {
        let plan = Plan { hedge_at: PLAN.hedge_at.filter(|_| is_read), ..PLAN };
        let owner = |of: ShardId| {
            let (node, epoch) = (*owners.get(of.index())?)?;
            Some(Owner { node: format!("n{node}").into(), epoch: Epoch(epoch) })
        };
        let expected: BTreeSet<_> = expected.into_iter().map(ShardId::new).collect();
        let (mut scatter, effects) = Scatter::begin(expected.iter().copied(), owner, plan);
        let first: Vec<_> = asks(&effects).into_iter().filter_map(|asking| asking.owner).collect();
        prop_assert_eq!(first.iter().collect::<BTreeSet<_>>().len(), first.len(), "one an owner");

        let mut asked = asks(&effects);
        let mut recalled = recalls(&effects);
        let (mut now, mut highest) = (Duration::ZERO, BTreeMap::<ShardId, u64>::new());
        for (event, index) in events {
            if scatter.is_done() {
                break;
            }
            let pick = |from: &[Asking]| (!from.is_empty()).then(|| index.get(from).id);
            let input = match event {
                Event::Answer(answers) => {
                    let Some(ask) = pick(&asked) else { continue };
                    let shards = answers.into_iter().map(|(number, is_known, epoch)| {
                        let best = highest.entry(shard(number)).or_default();
                        *best = (*best).max(epoch);
                        if is_known { known(number, epoch) } else { moved(number, "n9", epoch) }
                    });
                    Input::Answered { ask, shards: shards.collect() }
                }
                Event::Unowned => match pick(&asked) { Some(ask) => Input::Unowned { ask }, None => continue },
                Event::Failed => match pick(&asked) { Some(ask) => Input::Failed { ask }, None => continue },
                Event::Root(is_there) => {
                    if recalled.is_empty() { continue }
                    Input::Recalled { shard: *index.get(&recalled), found: copy().filter(|_| is_there) }
                }
                Event::Wait(millis) => { now += Duration::from_millis(millis); Input::Tick }
            };
            let effects = scatter.on(input, now);
            asked.extend(asks(&effects));
            recalled.extend(recalls(&effects));
        }
        for asking in &asked {
            prop_assert!(asking.shards.contains(&asking.via));
            prop_assert!(asking.shards.iter().all(|of| expected.contains(of)));
        }
        for of in &expected {
            let times = asked.iter().filter(|asking| asking.shards.contains(of)).count();
            prop_assert!((1..=usize::from(SCATTER_ASKS_MAX)).contains(&times));
            prop_assert!(recalled.iter().filter(|it| *it == of).count() <= usize::from(is_read));
        }
        if !scatter.is_done() {
            prop_assert!(scatter.on(Input::Tick, plan.deadline).iter().all(|it| matches!(it, Effect::Recall(_))));
        }
        prop_assert!(scatter.is_done(), "nothing outlives its deadline");
        for (of, slot) in &scatter.slots {
            if let Some((epoch, _, _)) = slot.known {
                let mapped = owner(*of).map_or(0, |owner| owner.epoch.0);
                prop_assert!(epoch == slot.epoch || epoch.0 < highest[of], "the highest epoch wins");
                prop_assert!(epoch.0 >= mapped);
            }
        }
        let Coverage { answered, stale, missing } = scatter.finish().shards;
        let lists = [&answered, &stale, &missing];
        prop_assert!(lists.iter().all(|list| list.is_sorted()));
        prop_assert!(is_read || stale.is_empty());
        let all: Vec<_> = lists.into_iter().flatten().copied().collect();
        prop_assert_eq!(all.len(), expected.len());
        prop_assert_eq!(all.into_iter().collect::<BTreeSet<_>>(), expected);
    }
}
