//! Any state, root, message between shards and sign of life.

use std::sync::Arc;

use proptest::{
    collection::{btree_map, vec},
    option,
    prelude::*,
    sample::select,
};
use tapio_model::{
    Address, Audit, ChunkName, DeadLetter, DeadReason, Ending, Event, Findings, Grave, Incarnation,
    IncidentState, Ledger, Mark, Outcome, ResolvedState, Sent, ShardId, ShedReason, Telling,
    Timestamp, TraceMemory, TraceState, WaitingState,
};
use tapio_shard::{Content, NodeId, NodeState, PieceKey, Posted, Root, SignOfLife};

use super::{entity, event, event_id, finding, finding_id, story, story_id, text, time, trace_id};

fn shard() -> impl Strategy<Value = ShardId> {
    any::<u16>().prop_map(ShardId::new)
}

fn incarnation() -> impl Strategy<Value = Incarnation> {
    any::<u32>().prop_map(Incarnation)
}

fn events() -> impl Strategy<Value = Vec<Arc<Event>>> {
    vec(event().prop_map(Arc::new), 0..3)
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..40)
}

fn outcome() -> impl Strategy<Value = Outcome> {
    let plain = [
        Outcome::Story,
        Outcome::Open,
        Outcome::Expired,
        Outcome::Duplicate,
        Outcome::Late,
        Outcome::DeadLetter,
    ];
    prop_oneof![select(plain.to_vec()), select(&ShedReason::ALL).prop_map(Outcome::Shed)]
}

prop_compose! {
    fn memory()(
        findings in vec(finding(), 0..2),
        mut cited in vec(event_id(), 0..4),
        past in vec(event_id(), 0..4),
        newest in time(),
    ) -> TraceMemory {
        cited.sort();
        TraceMemory { findings, cited, past, newest }
    }
}

prop_compose! {
    pub(crate) fn trace_state()(
        (id, incarnation, upto) in (trace_id(), incarnation(), any::<u64>()),
        (opened_at, last_at, deadline) in (time(), time(), time()),
        (is_dirty, is_urgent) in any::<(bool, bool)>(),
        (lost, late, failures) in any::<(u32, u32, u32)>(),
        mut events in events(),
        memory in option::of(memory()),
    ) -> TraceState {
        events.sort_by_key(|event| (event.time, event.id));
        TraceState {
            id, incarnation, upto, opened_at, last_at, deadline, is_dirty, is_urgent, lost, late,
            failures, events, memory,
        }
    }
}

prop_compose! {
    fn grave()(
        trace in trace_id(),
        incarnation in incarnation(),
        newest in time(),
        ending in select(&[Ending::Closed, Ending::Quarantined, Ending::Refused]),
        upto in any::<u64>(),
        until in time(),
    ) -> Grave {
        Grave { trace, incarnation, newest, ending, upto, until }
    }
}

pub(crate) fn graves() -> impl Strategy<Value = Vec<Grave>> {
    vec(grave(), 0..9)
}

prop_compose! {
    pub(crate) fn incident_state()(
        (id, predecessor) in (story_id(), option::of(story_id())),
        (opened_at, told_at, news_at) in (time(), time(), time()),
        (further, telling) in any::<(u64, u32)>(),
        findings in vec(finding(), 0..2),
        entities in vec(entity(), 0..4),
        (events, owned) in (vec(event_id(), 0..4), vec(event_id(), 0..4)),
        evidence in events(),
        (is_dirty, is_told) in any::<(bool, bool)>(),
    ) -> IncidentState {
        IncidentState {
            id, opened_at, predecessor, findings, further, entities, events, owned, evidence,
            telling, told_at, news_at, is_dirty, is_told,
        }
    }
}

pub(crate) fn resolved() -> impl Strategy<Value = Vec<ResolvedState>> {
    let one = (entity(), story_id(), time()).prop_map(|(entity, id, at)| ResolvedState {
        entity,
        id,
        at,
    });
    vec(one, 0..5)
}

pub(crate) fn waiting() -> impl Strategy<Value = WaitingState> {
    let parts = (any::<u64>(), finding(), events(), time());
    parts.prop_map(|(number, finding, events, until)| WaitingState {
        number,
        finding,
        events,
        until,
    })
}

fn node() -> impl Strategy<Value = NodeId> {
    (text(), any::<u64>()).prop_map(|(name, boot)| NodeId { name, boot })
}

fn mark() -> impl Strategy<Value = Mark> {
    (any::<u64>(), time()).prop_map(|(sequence, now)| Mark { sequence, now })
}

prop_compose! {
    fn ledger()(
        (received, story, open, expired) in any::<(u64, u64, u64, u64)>(),
        (duplicate, late, dead_letter) in any::<(u64, u64, u64)>(),
        shed in any::<[u64; 5]>(),
    ) -> Ledger {
        Ledger { received, story, open, expired, duplicate, late, dead_letter, shed }
    }
}

fn piece_key() -> impl Strategy<Value = PieceKey> {
    prop_oneof![
        any::<u64>().prop_map(PieceKey::Graves),
        trace_id().prop_map(PieceKey::Trace),
        story_id().prop_map(PieceKey::Incident),
        Just(PieceKey::Resolved),
        any::<u64>().prop_map(PieceKey::Waiting),
    ]
}

fn content() -> impl Strategy<Value = Content> {
    let names = vec(any::<[u8; 16]>().prop_map(ChunkName), 0..4);
    let until = prop_oneof![Just(Timestamp::MAX), time()];
    prop_oneof![
        bytes().prop_map(Content::Inline),
        (names, until).prop_map(|(names, until)| Content::Chunks { names, until }),
    ]
}

fn address() -> impl Strategy<Value = Address> {
    prop_oneof![
        (shard(), story_id(), any::<u32>()).prop_map(|(shard, story, telling)| Address::Telling {
            shard,
            story,
            telling
        }),
        (shard(), any::<u64>(), any::<u32>())
            .prop_map(|(shard, sequence, part)| Address::DeadLetter { shard, sequence, part }),
        (shard(), shard(), any::<u64>()).prop_map(|(from, to, commit)| Address::Findings {
            from,
            to,
            commit
        }),
        (shard(), any::<u64>()).prop_map(|(shard, commit)| Address::Audit { shard, commit }),
    ]
}

fn posted() -> impl Strategy<Value = Posted> {
    (any::<u64>(), address(), content(), option::of(text())).prop_map(
        |(commit, address, content, traceparent)| Posted { commit, address, content, traceparent },
    )
}

prop_compose! {
    pub(crate) fn root()(
        (epoch, commit, processed, findings_read) in any::<(u64, u64, u64, u64)>(),
        (live_traces, unread_gaps, claims) in any::<(u64, u64, u32)>(),
        (owner, released, trying, hearing, given_up) in (
            option::of(node()),
            any::<bool>(),
            option::of(any::<u64>()),
            option::of(any::<u64>()),
            vec(any::<u64>(), 0..3),
        ),
        (now, low, ticks) in (time(), mark(), vec(mark(), 0..4)),
        received in btree_map(shard(), any::<u64>(), 0..4),
        ledger in ledger(),
        pieces in btree_map(piece_key(), content(), 0..5),
        outbox in vec(posted(), 0..4),
    ) -> Root {
        let sequence = low.sequence.min(processed.saturating_add(1));
        let low = Mark { sequence, ..low };
        Root {
            epoch, owner, commit, released, now, processed, low, ticks, findings_read, received,
            ledger, live_traces, unread_gaps, claims, trying, hearing, given_up, pieces, outbox,
        }
    }
}

fn sent() -> impl Strategy<Value = Sent> {
    prop_oneof![
        (finding(), events())
            .prop_map(|(finding, events)| Sent::Found { finding: Box::new(finding), events }),
        finding_id().prop_map(Sent::Retracted),
        (incident_state(), story_id())
            .prop_map(|(incident, into)| Sent::Handed { incident: Box::new(incident), into }),
        (story_id(), story_id(), shard()).prop_map(|(story, into, shard)| Sent::Join {
            story,
            into,
            shard
        }),
    ]
}

pub(crate) fn findings() -> impl Strategy<Value = Findings> {
    (shard(), any::<u64>(), time(), vec(sent(), 0..3))
        .prop_map(|(from, commit, now, sent)| Findings { from, commit, now, sent })
}

pub(crate) fn telling() -> impl Strategy<Value = Telling> {
    (story(), events()).prop_map(|(story, evidence)| Telling { story: Box::new(story), evidence })
}

prop_compose! {
    pub(crate) fn dead_letter()(
        (shard, sequence, at) in (shard(), any::<u64>(), time()),
        reason in select(&DeadReason::ALL),
        (detail, trace) in (text(), option::of(trace_id())),
        (events, original) in (events(), bytes()),
    ) -> DeadLetter {
        DeadLetter { shard, sequence, at, reason, detail, trace, events, original }
    }
}

prop_compose! {
    pub(crate) fn audit()(
        shard in shard(),
        (epoch, commit, processed) in any::<(u64, u64, u64)>(),
        outcomes in vec((event_id(), outcome()), 0..9),
    ) -> Audit {
        Audit { shard, epoch, commit, processed, outcomes }
    }
}

prop_compose! {
    pub(crate) fn sign_of_life()(
        node in node(),
        capacity in any::<u32>(),
        state in select(&[NodeState::Joining, NodeState::Ready, NodeState::Leaving]),
        held in vec((shard(), any::<u64>()), 0..4),
        version in text(),
    ) -> SignOfLife {
        SignOfLife { node, capacity, state, held, version }
    }
}
