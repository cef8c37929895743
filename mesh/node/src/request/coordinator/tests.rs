//! Three nodes, and what becomes of a question when one of them is in trouble.

use std::sync::Arc;

use tapio_model::{
    Attributes, Binding, Class, Coverage, Epoch, Event, EventId, Impact, Item, Kind, Place,
    Severity, Source, Timestamp, TraceContext, TraceId,
};

use super::*;
use crate::request::fixture::{Mesh, SHARDS, TRAVEL, Trouble, list, shards};

fn ask(op: Op) -> Request {
    Request::new(op)
}

fn coverage(answered: &[u16], stale: &[u16], missing: &[u16]) -> Coverage {
    let [answered, stale, missing] = [answered, stale, missing].map(shards);
    Coverage { answered, stale, missing }
}

fn event(trace: u8) -> Arc<Event> {
    Arc::new(Event {
        id: EventId::from_bytes([trace; 16]),
        time: Timestamp::ZERO,
        source: Source::App,
        kind: Kind::Log,
        trace: TraceContext {
            trace_id: TraceId::from_bytes([trace; 16]),
            span_id: None,
            parent_span_id: None,
            binding: Binding::Explicit,
        },
        place: Arc::new(Place::default()),
        severity: Severity::default(),
        impact: Impact::NONE,
        class: Class::default(),
        attributes: Attributes::default(),
    })
}

#[tokio::test(start_paused = true)]
async fn all_shards_answer_in_one_round_with_one_request_for_each_other_node() {
    let (mesh, desks) = Mesh::of_three();
    let answer = desks[0].coordinator().run(&list()).await.expect("an answer");
    assert!(answer.is_complete());
    assert_eq!(answer.shards, coverage(&[0, 1, 2, 3, 4, 5], &[], &[]));
    assert_eq!((answer.results.len(), answer.coordinator.as_str()), (6, "a"));
    assert_eq!(mesh.change(|world| world.sent.len()), 2, "its own shards it does not ask for");
    assert!(answer.took < TRAVEL * 10, "{:?}", answer.took);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_gone_costs_no_wait_and_its_shards_are_named() {
    let (mesh, desks) = Mesh::of_three();
    mesh.change(|world| {
        world.trouble.insert("b".into(), Trouble::Gone);
        world.roots.extend(shards(&[1]));
    });
    let answer = desks[0].coordinator().run(&list()).await.expect("an answer");
    assert_eq!(answer.shards, coverage(&[0, 2, 3, 5], &[1], &[4]));
    assert!(!answer.is_complete());
    assert!(answer.took < TRAVEL * 20, "{:?}", answer.took);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_paused_costs_the_deadline_and_no_more() {
    let (mesh, desks) = Mesh::of_three();
    mesh.change(|world| {
        world.trouble.insert("c".into(), Trouble::Paused);
        world.roots.extend(shards(&[5]));
    });
    for (deadline, want) in [
        (None, Request::DEADLINE),
        (Some(Duration::from_millis(30)), Duration::from_millis(30)),
        (Some(Duration::from_secs(3_600)), Request::DEADLINE_MAX),
    ] {
        let request = Request { deadline, ..list() };
        let answer = desks[0].coordinator().run(&request).await.expect("an answer");
        assert_eq!(answer.shards, coverage(&[0, 1, 3, 4], &[5], &[2]));
        assert!(
            (want..want + Duration::from_millis(2)).contains(&answer.took),
            "{:?}",
            answer.took
        );
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_makes_no_sense_is_none() {
    let (mesh, desks) = Mesh::of_three();
    mesh.change(|world| world.trouble.insert("b".into(), Trouble::Garbled));
    let answer = desks[0].coordinator().run(&list()).await.expect("an answer");
    assert_eq!(answer.shards, coverage(&[0, 2, 3, 5], &[], &[1, 4]));
}

#[tokio::test(start_paused = true)]
async fn shards_that_moved_are_found_and_remembered() {
    let (mesh, desks) = Mesh::of_three();
    mesh.change(|world| world.owners.insert(ShardId::new(4), ("c".into(), Epoch(2))));
    let answer = desks[0].coordinator().run(&list()).await.expect("an answer");
    assert!(answer.is_complete(), "{:?}", answer.shards);
    let first = mesh.change(|world| std::mem::take(&mut world.sent).len());
    assert!(desks[0].coordinator().run(&list()).await.expect("an answer").is_complete());
    assert_eq!((first, mesh.change(|world| world.sent.len())), (3, 2));
}

#[tokio::test(start_paused = true)]
async fn a_trace_concerns_its_shard_only() {
    let (_, desks) = Mesh::of_three();
    for trace in 0..20 {
        let trace = TraceId::from_bytes([trace; 16]);
        let answer = desks[1].coordinator().run(&ask(Op::Trace(trace))).await.expect("an answer");
        assert_eq!(answer.shards.answered, [SHARDS.shard_of(trace)]);
    }
}

#[tokio::test(start_paused = true)]
async fn events_are_accepted_by_their_owner_and_missing_where_there_is_none() {
    let (mesh, desks) = Mesh::of_three();
    let shard = SHARDS.shard_of(event(7).trace.trace_id);
    let deliver = ask(Op::Deliver { events: vec![event(7), event(7)] });
    let answer = desks[2].coordinator().run(&deliver).await.expect("an answer");
    assert_eq!(answer.results, [Item::Accepted { shard, events: 2 }]);
    assert_eq!(mesh.change(|world| world.log.get(&shard).copied()), Some(2));

    mesh.change(|world| {
        world.owners.remove(&shard);
        world.roots.insert(shard);
    });
    let answer = desks[2].coordinator().run(&deliver).await.expect("an answer");
    assert_eq!((answer.shards.missing, answer.results), (vec![shard], vec![]));
}

#[tokio::test(start_paused = true)]
async fn events_of_several_shards_are_refused() {
    let (_, desks) = Mesh::of_three();
    let others = (0..50).map(event).find(|other| {
        SHARDS.shard_of(other.trace.trace_id) != SHARDS.shard_of(event(7).trace.trace_id)
    });
    let events = [Some(event(7)), others].into_iter().flatten().collect();
    let refusal = desks[0].coordinator().run(&ask(Op::Deliver { events })).await;
    assert_eq!(refusal.map_err(|it| it.reason), Err(RefusalReason::MixedShards));
}

#[tokio::test(start_paused = true)]
async fn a_node_is_asked_to_give_back_all_it_owns() {
    let (_, desks) = Mesh::of_three();
    let drain = |node: &str| ask(Op::Handoff(Handoff::Node(node.into())));
    let answer = desks[0].coordinator().run(&drain("b")).await.expect("an answer");
    let want = shards(&[1, 4]).into_iter().map(|shard| Item::Released { shard });
    assert_eq!(answer.results, want.collect::<Vec<_>>());
    let refusal = desks[0].coordinator().run(&drain("nobody")).await;
    assert_eq!(refusal.map_err(|it| it.reason), Err(RefusalReason::NotFound));
}

#[tokio::test(start_paused = true)]
async fn who_owns_asks_the_owner_itself() {
    let (mesh, desks) = Mesh::of_three();
    for (owned, want) in
        [(Owned::Shard(ShardId::new(5)), 5), (Owned::Entity(Entity::Node { name: "n1".into() }), 4)]
    {
        let answer = desks[0].coordinator().run(&ask(Op::WhoOwns(owned))).await;
        assert_eq!(answer.expect("an answer").shards, coverage(&[want], &[], &[]));
    }
    assert_eq!(mesh.change(|world| world.sent.clone()), shards(&[5, 4]));
    let beyond = ask(Op::WhoOwns(Owned::Shard(ShardId::new(6))));
    let refusal = desks[0].coordinator().run(&beyond).await.expect_err("six are 0 to 5");
    assert!(refusal.to_string().contains("0 to 5"), "{refusal}");
}

#[tokio::test(start_paused = true)]
async fn a_list_is_cut_at_its_limit_and_says_so() {
    let (_, desks) = Mesh::of_three();
    let answer = desks[0].coordinator().run(&ask(Op::List { limit: 4 })).await.expect("an answer");
    assert_eq!((answer.results.len(), answer.omitted, answer.is_complete()), (4, 2, false));
}
