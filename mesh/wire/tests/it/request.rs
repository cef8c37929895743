//! Requests and replies: their bytes, their JSON, and what is refused.

use std::{fmt::Debug, sync::Arc, time::Duration};

use proptest::{collection::vec, option, prelude::*, sample::select};
use tapio_model::{
    Answer, Coverage, Ending, Entity, Epoch, Event, Handoff, Incarnation, Item, Op, Owned, Owner,
    Part, Refusal, RefusalReason, Reply, Request, ShardAnswer, ShardId, StoryId, Timestamp,
    TraceId, TraceReport,
};
use tapio_wire::{
    DecodeError, Form, REQUEST_BYTES_MAX, decode_reply, decode_request, encode_reply,
    encode_reply_within, encode_request,
};

use crate::{arbitrary, golden, sample, tree::Tree};

fn shards(numbers: &[u16]) -> Vec<ShardId> {
    numbers.iter().copied().map(ShardId::new).collect()
}

fn ask(op: Op) -> Request {
    Request::new(op)
}

/// One of each op, by the name of its golden file.
fn requests() -> Vec<(&'static str, Request)> {
    let trace = sample::event().trace.trace_id;
    let entities = sample::story().entities;
    let deliver = Op::Deliver { events: vec![Arc::new(sample::event())] };
    vec![
        ("request_story", ask(Op::Story(sample::story().id))),
        (
            "request_trace",
            Request {
                deadline: Some(Duration::from_millis(250)),
                shards: shards(&[3, 7]),
                ..ask(Op::Trace(trace))
            },
        ),
        ("request_entity", ask(Op::Entity(Entity::Node { name: "n1".into() }))),
        ("request_list", ask(Op::List { limit: 20 })),
        ("request_related", ask(Op::Related { entities, at: Some(sample::TIME) })),
        ("request_who_owns", ask(Op::WhoOwns(Owned::Shard(ShardId::new(7))))),
        ("request_deliver", ask(deliver)),
        ("request_handoff", ask(Op::Handoff(Handoff::Node("tapio-1".into())))),
    ]
}

fn trace_report() -> TraceReport {
    TraceReport {
        id: sample::event().trace.trace_id,
        incarnation: Incarnation(3),
        ended: None,
        opened_at: sample::TIME,
        last_at: sample::TIME.after(Duration::from_secs(1)),
        events_total: 300,
        events: vec![Arc::new(sample::event())],
        findings: vec![sample::finding()],
        stories: vec![sample::story().id],
    }
}

fn answer() -> Answer {
    let shard = ShardId::new(7);
    let owner = Owner { node: "tapio-1".into(), epoch: Epoch(12) };
    let story = sample::story();
    Answer {
        shards: Coverage {
            answered: shards(&[0, 1]),
            stale: shards(&[2]),
            missing: shards(&[3, 4]),
        },
        results: vec![
            Item::Story(Box::new(story.clone())),
            Item::Trace(Box::new(trace_report())),
            Item::Incident { id: story.id, opened_at: sample::TIME, touches: story.entities },
            Item::Owner { shard, owner: Some(owner) },
            Item::Owner { shard, owner: None },
            Item::Accepted { shard, events: 5 },
            Item::Released { shard },
        ],
        omitted: 1,
        took: Duration::from_micros(812),
        coordinator: "tapio-0".into(),
    }
}

fn part() -> Part {
    let known = ShardAnswer::Known {
        shard: ShardId::new(3),
        epoch: Epoch(5),
        results: vec![Item::Accepted { shard: ShardId::new(3), events: 2 }],
        omitted: 4,
    };
    let moved = |shard, owner: Option<&str>, epoch| ShardAnswer::Moved {
        shard: ShardId::new(shard),
        owner: owner.map(Into::into),
        epoch: Epoch(epoch),
    };
    let shards = vec![known, moved(4, Some("tapio-2"), 7), moved(5, None, 0)];
    Part { node: "tapio-1".into(), shards }
}

fn refusal() -> Refusal {
    Refusal::new(RefusalReason::Busy, "256 requests are under way")
}

#[test]
fn golden_requests_and_replies_stay() {
    for (name, request) in requests() {
        let encode = |request: &Request| encode_request(request, Form::MessagePack);
        let decode = |bytes: &[u8]| {
            decode_request(bytes)
                .map_err(|refusal| DecodeError::Malformed { what: refusal.to_string() })
        };
        golden::check(name, &request, encode, decode);
    }
    for (name, reply) in [
        ("reply_answer", Reply::Answer(answer())),
        ("reply_part", Reply::Part(part())),
        ("reply_refused", Reply::Refused(refusal())),
    ] {
        let encode = |reply: &Reply| encode_reply(reply, Form::MessagePack);
        golden::check(name, &reply, encode, decode_reply);
    }
}

fn json(bytes: &[u8]) -> serde_json::Value {
    serde_json::from_slice(bytes).unwrap()
}

#[test]
fn requests_read_like_this() {
    let all: Vec<_> =
        requests().iter().map(|(_, request)| json(&encode_request(request, Form::Json))).collect();
    insta::assert_json_snapshot!(all);
}

#[test]
fn replies_read_like_this() {
    let replies = [Reply::Answer(answer()), Reply::Part(part()), Reply::Refused(refusal())];
    let all = replies.map(|reply| json(&encode_reply(&reply, Form::Json)));
    insta::assert_json_snapshot!(all);
}

#[test]
fn a_request_may_leave_out_all_but_its_op_and_its_subject() {
    for (text, op) in [
        (r#"{"op":"query","list":{}}"#, Op::List { limit: 50 }),
        (
            r#" {"op":"query","trace":"4bf92f3577b34da6a3ce929d0e0e4736","x":1}"#,
            Op::Trace("4bf92f3577b34da6a3ce929d0e0e4736".parse().unwrap()),
        ),
        (
            r#"{"op":"related","entities":[{"type":"workload","kind":"Job","name":"x"}]}"#,
            Op::Related {
                entities: vec![Entity::Workload {
                    scope: "".into(),
                    kind: "Job".into(),
                    name: "x".into(),
                }],
                at: None,
            },
        ),
        (r#"{"op":"handoff","shard":3}"#, Op::Handoff(Handoff::Shard(ShardId::new(3)))),
    ] {
        assert_eq!(decode_request(text.as_bytes()), Ok(ask(op)), "{text}");
    }
}

#[test]
fn a_refusal_has_a_code_and_says_what_is_wrong() {
    use RefusalReason::{Malformed, TooLarge, UnknownOp, UnknownVersion};
    let many = vec![r#"{"type":"pod","uid":"u"}"#; 257].join(",");
    let too_many = format!(r#"{{"op":"related","entities":[{many}]}}"#);
    let too_long = format!("{{{}", " ".repeat(REQUEST_BYTES_MAX));
    for (text, reason, words) in [
        ("", Malformed, "empty"),
        ("{", Malformed, "EOF"),
        ("{}", Malformed, "`op`"),
        (r#"{"op":"query"}"#, Malformed, "one of `story`"),
        (r#"{"op":"query","list":{},"story":"00000001YG1040G2081040G208"}"#, Malformed, "one of"),
        (r#"{"op":"query","story":"x"}"#, Malformed, "26 letters"),
        (r#"{"op":"query","entity":{"type":"planet"}}"#, Malformed, "planet"),
        (r#"{"op":"related","entities":[]}"#, Malformed, "`entities`"),
        (
            r#"{"op":"deliver","events":[{"time":1,"source":"app","kind":"log"}]}"#,
            Malformed,
            "`id`",
        ),
        (r#"{"op":"deliver"}"#, Malformed, "`events`"),
        (r#"{"op":"handoff"}"#, Malformed, "`node`"),
        (
            r#"{"op":"who_owns","shard":1,"trace":"4bf92f3577b34da6a3ce929d0e0e4736"}"#,
            Malformed,
            "one of",
        ),
        (r#"{"op":"who_owns","shard":65536}"#, Malformed, "65536"),
        (r#"{"op":"conquer"}"#, UnknownOp, "conquer"),
        (r#"{"version":2,"op":"query","list":{}}"#, UnknownVersion, "version 2"),
        (r#"{"version":3,"op":[]}"#, UnknownVersion, "version 3"),
        ("\u{7}", UnknownVersion, "version 7"),
        (too_many.as_str(), TooLarge, "257"),
        (too_long.as_str(), TooLarge, "bytes"),
    ] {
        let refusal = decode_request(text.as_bytes()).unwrap_err();
        let shown = text.get(..80).unwrap_or(text);
        assert_eq!(refusal.reason, reason, "{shown}: {refusal}");
        assert!(refusal.text.contains(words), "{shown}: {refusal}");
        assert!(refusal.to_string().ends_with(reason.cure()));
    }
}

#[test]
fn a_reason_that_only_a_newer_node_knows_is_still_a_refusal() {
    let mut tree = Tree::of(&encode_reply(&Reply::Refused(refusal()), Form::MessagePack));
    *tree.field("error").field("code") = Tree::Text("bored".into());
    let Ok(Reply::Refused(refusal)) = decode_reply(&tree.seal()) else { panic!("a refusal") };
    assert_eq!(
        (refusal.reason, refusal.text.as_str()),
        (RefusalReason::Internal, "256 requests are under way")
    );
}

#[test]
fn a_reply_that_does_not_fit_leaves_out_and_counts() {
    let report = |events| TraceReport {
        events: std::iter::repeat_n(Arc::new(sample::event()), events).collect(),
        events_total: 100,
        ..trace_report()
    };
    let many = Answer { results: vec![Item::Trace(Box::new(report(100)))], omitted: 0, ..answer() };
    for form in [Form::MessagePack, Form::Json] {
        let bytes = encode_reply_within(Reply::Answer(many.clone()), form, 16 << 10);
        assert!(bytes.len() <= 16 << 10);
    }
    let bytes = encode_reply_within(Reply::Answer(many.clone()), Form::MessagePack, 16 << 10);
    let Ok(Reply::Answer(fitted)) = decode_reply(&bytes) else { panic!("an answer") };
    let Some(Item::Trace(trace)) = fitted.results.first() else { panic!("a trace") };
    assert_eq!(u64::try_from(trace.events.len()).unwrap() + fitted.omitted, 100);
    assert!(fitted.omitted > 0 && !fitted.is_complete());

    let bytes = encode_reply_within(Reply::Answer(many), Form::MessagePack, 100);
    let Ok(Reply::Refused(refusal)) = decode_reply(&bytes) else { panic!("a refusal") };
    assert_eq!(refusal.reason, RefusalReason::TooLarge);
}

fn shard() -> impl Strategy<Value = ShardId> {
    any::<u16>().prop_map(ShardId::new)
}

fn story_id() -> impl Strategy<Value = StoryId> {
    any::<[u8; 16]>().prop_map(StoryId::from_bytes)
}

fn trace_id() -> impl Strategy<Value = TraceId> {
    any::<[u8; 16]>().prop_map(TraceId::from_bytes)
}

fn time() -> impl Strategy<Value = Timestamp> {
    any::<i64>().prop_map(Timestamp::from_nanos)
}

fn events() -> impl Strategy<Value = Vec<Arc<Event>>> {
    vec(arbitrary::event().prop_map(Arc::new), 1..4)
}

fn owned() -> impl Strategy<Value = Owned> {
    prop_oneof![
        trace_id().prop_map(Owned::Trace),
        arbitrary::entity().prop_map(Owned::Entity),
        shard().prop_map(Owned::Shard),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        story_id().prop_map(Op::Story),
        trace_id().prop_map(Op::Trace),
        arbitrary::entity().prop_map(Op::Entity),
        any::<u32>().prop_map(|limit| Op::List { limit }),
        (vec(arbitrary::entity(), 1..5), option::of(time()))
            .prop_map(|(entities, at)| Op::Related { entities, at }),
        owned().prop_map(Op::WhoOwns),
        events().prop_map(|events| Op::Deliver { events }),
        shard().prop_map(|shard| Op::Handoff(Handoff::Shard(shard))),
        arbitrary::text().prop_map(|node| Op::Handoff(Handoff::Node(node))),
    ]
}

prop_compose! {
    fn request()(
        op in op(),
        deadline in option::of(any::<u64>().prop_map(Duration::from_millis)),
        shards in vec(shard(), 0..5),
    ) -> Request {
        Request { op, deadline, shards }
    }
}

prop_compose! {
    fn report()(
        id in trace_id(),
        incarnation in any::<u32>().prop_map(Incarnation),
        ended in option::of(select(&[Ending::Closed, Ending::Quarantined, Ending::Refused])),
        (opened_at, last_at) in (time(), time()),
        events_total: u64,
        events in events(),
        findings in vec(arbitrary::finding(), 0..2),
        stories in vec(story_id(), 0..3),
    ) -> TraceReport {
        TraceReport {
            id, incarnation, ended, opened_at, last_at, events_total, events, findings, stories,
        }
    }
}

fn item() -> impl Strategy<Value = Item> {
    let owner = (arbitrary::text(), any::<u64>().prop_map(Epoch))
        .prop_map(|(node, epoch)| Owner { node, epoch });
    prop_oneof![
        arbitrary::story().prop_map(|story| Item::Story(Box::new(story))),
        report().prop_map(|report| Item::Trace(Box::new(report))),
        (story_id(), time(), vec(arbitrary::entity(), 0..3))
            .prop_map(|(id, opened_at, touches)| Item::Incident { id, opened_at, touches }),
        (shard(), option::of(owner)).prop_map(|(shard, owner)| Item::Owner { shard, owner }),
        (shard(), any::<u64>()).prop_map(|(shard, events)| Item::Accepted { shard, events }),
        shard().prop_map(|shard| Item::Released { shard }),
    ]
}

fn shard_answer() -> impl Strategy<Value = ShardAnswer> {
    let epoch = || any::<u64>().prop_map(Epoch);
    prop_oneof![
        (shard(), epoch(), vec(item(), 0..2), any::<u64>()).prop_map(
            |(shard, epoch, results, omitted)| ShardAnswer::Known {
                shard,
                epoch,
                results,
                omitted
            }
        ),
        (shard(), option::of(arbitrary::text()), epoch())
            .prop_map(|(shard, owner, epoch)| ShardAnswer::Moved { shard, owner, epoch }),
    ]
}

fn reply() -> impl Strategy<Value = Reply> {
    let list = || vec(shard(), 0..4);
    let coverage = (list(), list(), list()).prop_map(|(answered, stale, missing)| Coverage {
        answered,
        stale,
        missing,
    });
    let took = (0_u64..10_000_000).prop_map(Duration::from_micros);
    let answer = (coverage, vec(item(), 0..3), any::<u64>(), took, arbitrary::text()).prop_map(
        |(shards, results, omitted, took, coordinator)| {
            Reply::Answer(Answer { shards, results, omitted, took, coordinator })
        },
    );
    let part = (arbitrary::text(), vec(shard_answer(), 0..3))
        .prop_map(|(node, shards)| Reply::Part(Part { node, shards }));
    let refused = (select(RefusalReason::ALL), arbitrary::text())
        .prop_map(|(reason, text)| Reply::Refused(Refusal { reason, text }));
    prop_oneof![answer, part, refused]
}

fn same<T: Debug + PartialEq, E: Debug>(read: Result<T, E>, sent: &T) -> Result<(), TestCaseError> {
    let read = read.map_err(|error| TestCaseError::fail(format!("{error:?}")))?;
    prop_assert_eq!(&read, sent);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn a_request_comes_back_in_both_forms(request in request()) {
        for form in [Form::MessagePack, Form::Json] {
            let bytes = encode_request(&request, form);
            prop_assert_eq!(Form::of(&bytes), form);
            same(decode_request(&bytes), &request)?;
        }
    }

    #[test]
    fn a_reply_comes_back_and_has_a_json_form(reply in reply()) {
        same(decode_reply(&encode_reply(&reply, Form::MessagePack)), &reply)?;
        let shown: serde_json::Value = serde_json::from_slice(&encode_reply(&reply, Form::Json))?;
        if let Reply::Answer(answer) = &reply {
            prop_assert_eq!(shown["complete"].as_bool(), Some(answer.is_complete()));
        }
    }

    #[test]
    fn garbage_is_refused(bytes in vec(any::<u8>(), 0..300), first in select(&[b'{', 1, 0xc1])) {
        let bytes = [vec![first], bytes].concat();
        prop_assert!(decode_request(&bytes).is_err());
        prop_assert!(decode_reply(&bytes).is_err());
    }

    #[test]
    fn a_message_cut_short_is_refused(request in request(), cut in any::<prop::sample::Index>()) {
        for form in [Form::MessagePack, Form::Json] {
            let bytes = encode_request(&request, form);
            prop_assert!(decode_request(&bytes[..cut.index(bytes.len())]).is_err());
        }
    }

    #[test]
    fn a_message_with_some_bytes_changed_is_read_or_refused(
        request in request(),
        reply in reply(),
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let change = |mut bytes: Vec<u8>| {
            for (at, to) in &changes {
                let at = at.index(bytes.len());
                bytes[at] = *to;
            }
            bytes
        };
        for form in [Form::MessagePack, Form::Json] {
            if let Ok(read) = decode_request(&change(encode_request(&request, form))) {
                same(decode_request(&encode_request(&read, form)), &read)?;
            }
        }
        if let Ok(read) = decode_reply(&change(encode_reply(&reply, Form::MessagePack))) {
            // A number may have become not-a-number, which equals nothing: bytes are compared.
            let again = encode_reply(&read, Form::MessagePack);
            let read = decode_reply(&again).map_err(|error| TestCaseError::fail(error.to_string()))?;
            prop_assert_eq!(encode_reply(&read, Form::MessagePack), again);
        }
    }
}
