//! Whatever comes in, an answer goes out.

use std::sync::Arc;

use proptest::prelude::*;
use tapio_model::{Op, Request, ShardAnswer};
use tapio_wire::{decode_reply, encode_request};

use super::*;
use crate::request::fixture::{Mesh, list, shards};

fn json(served: &Served) -> serde_json::Value {
    serde_json::from_slice(&served.body).expect("JSON for JSON")
}

#[tokio::test(start_paused = true)]
async fn a_reply_has_the_form_of_its_request() {
    let (_mesh, desks) = Mesh::of_three();
    let asked = encode_request(&list(), Form::MessagePack);
    let reply = desks[0].coordinate(asked.into()).await;
    assert!(matches!(decode_reply(&reply.body), Ok(Reply::Answer(answer)) if answer.is_complete()));

    let reply = json(&desks[0].coordinate(r#"{"op":"query","list":{}}"#.into()).await);
    assert_eq!(reply["complete"], true);
    assert_eq!(reply["shards"]["answered"], serde_json::json!([0, 1, 2, 3, 4, 5]));
    assert_eq!(reply["coordinator"], "a");
    let figures = desks[0].figures();
    assert_eq!((figures.complete, figures.coordinated["query"]), (2, 2));
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_answered_says_why_and_what_to_do_and_is_counted() {
    let (_mesh, desks) = Mesh::of_three();
    let huge = format!(r#"{{"op":"query","story":"{}"}}"#, "x".repeat(1 << 20));
    for (request, code) in [
        ("{", "malformed"),
        ("{}", "malformed"),
        (r#"{"op":"query"}"#, "malformed"),
        (r#"{"op":"conquer"}"#, "unknown_op"),
        (r#"{"version":2,"op":7}"#, "unknown_version"),
        (r#"{"op":"who_owns","shard":6}"#, "not_found"),
        (huge.as_str(), "too_large"),
    ] {
        let reply = json(&desks[0].coordinate(Bytes::from(request.to_owned())).await);
        assert_eq!(reply["error"]["code"], code, "{reply}");
        assert!(reply["error"]["cure"].as_str().is_some_and(|cure| !cure.is_empty()));
    }
    let refused = desks[0].figures().refused;
    let want = [
        ("malformed", 3),
        ("not_found", 1),
        ("too_large", 1),
        ("unknown_op", 1),
        ("unknown_version", 1),
    ];
    assert_eq!(refused.into_iter().collect::<Vec<_>>(), want);
}

#[tokio::test(start_paused = true)]
async fn an_owner_answers_for_the_shards_listed_or_the_one_it_was_asked_by() {
    let (_mesh, desks) = Mesh::of_three();
    for (listed, want) in [(vec![], vec![4]), (vec![1, 4, 2, 4, 9], vec![1, 2, 4])] {
        let request = Request { shards: shards(&listed), ..list() };
        let bytes = encode_request(&request, Form::MessagePack).into();
        let Ok(Reply::Part(part)) =
            decode_reply(&desks[1].answer(shards(&[4])[0], bytes).await.body)
        else {
            panic!("not a part")
        };
        let answered: Vec<_> = part.shards.iter().map(|it| it.shard().number()).collect();
        assert_eq!((part.node.as_str(), answered), ("b", want));
        let moved = part.shards.iter().filter(|it| matches!(it, ShardAnswer::Moved { .. })).count();
        assert_eq!(moved, usize::from(!listed.is_empty()));
    }
}

/// A shard that never answers.
#[derive(Debug)]
struct Stuck;

#[async_trait]
impl crate::request::Answering for Stuck {
    async fn answer(&self, _: &[ShardId], _: &Op) -> Vec<ShardAnswer> {
        std::future::pending().await
    }
}

#[tokio::test(start_paused = true)]
async fn an_owner_whose_shard_is_stuck_says_that_it_is_busy() {
    let (_mesh, mut desks) = Mesh::of_three();
    let desk = desks.remove(0);
    let desk =
        RequestDesk { local: Arc::new(Stuck), ..Arc::into_inner(desk).expect("the only one") };
    let reply = desk.answer(ShardId::new(0), r#"{"op":"query","list":{}}"#.into()).await;
    assert_eq!(json(&reply)["error"]["code"], "busy");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn garbage_is_answered(bytes in proptest::collection::vec(any::<u8>(), 0..200), is_json: bool) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time().start_paused(true).build()?;
        let (_mesh, desks) = runtime.block_on(async { Mesh::of_three() });
        let prefix: &[u8] = if is_json { b"{" } else { b"\x01" };
        let bytes = Bytes::from([prefix, &bytes].concat());
        for reply in runtime.block_on(async {
            [desks[0].coordinate(bytes.clone()).await, desks[0].answer(ShardId::new(0), bytes.clone()).await]
        }) {
            prop_assert!(!reply.body.is_empty());
            prop_assert_eq!(Form::of(&reply.body), Form::of(&bytes));
        }
    }
}
