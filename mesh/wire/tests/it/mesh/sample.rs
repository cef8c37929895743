//! The same incident on its way through the mesh.

use std::sync::Arc;

use tapio_model::{
    Address, Audit, ChunkName, DeadLetter, DeadReason, Ending, EventId, Finding, Findings, Grave,
    Incarnation, IncidentState, Ledger, Mark, Outcome, ResolvedState, Sent, ShardId, ShedReason,
    StoryId, Telling, Timestamp, TraceId, TraceMemory, TraceState, Verdict, WaitingState,
};
use tapio_shard::{Content, NodeId, NodeState, PieceKey, Posted, Root, SignOfLife};

use crate::sample::{
    ROOT, SYMPTOM, TIME, TRACE, anchored_finding, entities, event, finding, least_event,
    referring_story, story,
};

const HERE: ShardId = ShardId::new(7);
const THERE: ShardId = ShardId::new(11);

fn older() -> StoryId {
    StoryId::new(Timestamp::from_secs(2), [8; 10])
}

fn node() -> NodeId {
    NodeId { name: "tapio-0".into(), boot: 0x1f3a_0000_0000_0001 }
}

/// A trace with a finding and a past.
pub(crate) fn trace_state() -> TraceState {
    TraceState {
        id: TRACE,
        incarnation: Incarnation(3),
        upto: 4_711,
        opened_at: TIME,
        last_at: Timestamp::from_millis(TIME.as_millis() + 1_500),
        deadline: Timestamp::from_millis(TIME.as_millis() + 31_500),
        is_dirty: true,
        is_urgent: false,
        lost: 1,
        late: 2,
        failures: 1,
        events: vec![Arc::new(least_event()), Arc::new(event())],
        memory: Some(TraceMemory {
            findings: vec![finding(), anchored_finding()],
            cited: vec![ROOT, SYMPTOM],
            past: vec![SYMPTOM, EventId::from_bytes([9; 16])],
            newest: TIME,
        }),
    }
}

/// A grave of each kind.
pub(crate) fn graves() -> Vec<Grave> {
    let endings = [Ending::Closed, Ending::Quarantined, Ending::Refused];
    let graves = endings.into_iter().zip(1_u8..).map(|(ending, number)| Grave {
        trace: TraceId::from_bytes([number; 16]),
        incarnation: Incarnation(number.into()),
        newest: TIME,
        ending,
        upto: 4_711 + u64::from(number),
        until: Timestamp::MAX,
    });
    graves.collect()
}

/// An incident that was told.
pub(crate) fn incident_state() -> IncidentState {
    IncidentState {
        id: story().id,
        opened_at: TIME,
        predecessor: Some(older()),
        findings: vec![finding()],
        further: 3,
        entities: entities(),
        events: vec![ROOT, SYMPTOM],
        owned: vec![ROOT],
        evidence: vec![Arc::new(event())],
        telling: 1,
        told_at: TIME,
        news_at: TIME,
        is_dirty: true,
        is_told: true,
    }
}

/// Two things of one resolved incident.
pub(crate) fn resolved() -> Vec<ResolvedState> {
    let one = |entity| ResolvedState { entity, id: older(), at: TIME };
    entities().into_iter().take(2).map(one).collect()
}

/// A change that waits: no verdict, and no doubts either.
pub(crate) fn waiting() -> WaitingState {
    let verdict = Verdict::Unknown { hypotheses: Vec::new(), check: "".into() };
    WaitingState {
        number: 7,
        finding: Finding { verdict, ..anchored_finding() },
        events: vec![Arc::new(event()), Arc::new(least_event())],
        until: Timestamp::from_millis(TIME.as_millis() + 120_000),
    }
}

/// A root with everything a root can have, but for what came later.
pub(crate) fn root() -> Root {
    let chunks = |names: &[u8], until| {
        let names = names.iter().map(|name| ChunkName([*name; 16])).collect();
        Content::Chunks { names, until }
    };
    let posted = |commit, address| Posted {
        commit,
        address,
        content: Content::Inline(b"opaque\xff".to_vec()),
        traceparent: Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".into()),
    };
    let far = posted(42, Address::Findings { from: HERE, to: THERE, commit: 42 });
    Root {
        epoch: 3,
        owner: Some(node()),
        commit: 42,
        released: true,
        now: TIME,
        processed: 4_711,
        low: Mark { sequence: 4_000, now: Timestamp::from_secs(1) },
        ticks: vec![
            Mark { sequence: 4_000, now: Timestamp::from_secs(2) },
            Mark { sequence: 4_711, now: TIME },
        ],
        findings_read: 99,
        received: [(ShardId::new(0), 7), (THERE, u64::MAX)].into(),
        ledger: ledger(),
        live_traces: 12,
        unread_gaps: 1,
        claims: 2,
        trying: Some(4_712),
        hearing: None,
        given_up: Vec::new(),
        pieces: [
            (PieceKey::Graves(0), chunks(&[1, 2], TIME)),
            (PieceKey::Graves(1), Content::Inline(vec![1, 0, 0, 0, 0])),
            (PieceKey::Trace(TRACE), chunks(&[3], Timestamp::MAX)),
            (PieceKey::Incident(story().id), Content::Inline(Vec::new())),
            (PieceKey::Resolved, chunks(&[], Timestamp::MAX)),
        ]
        .into(),
        outbox: vec![
            posted(41, Address::Telling { shard: HERE, story: story().id, telling: 1 }),
            posted(41, Address::DeadLetter { shard: HERE, sequence: 4_711, part: 1 }),
            Posted { content: chunks(&[4], Timestamp::MAX), traceparent: None, ..far },
            posted(42, Address::Audit { shard: HERE, commit: 42 }),
        ],
    }
}

/// A root of a shard in which a change waits.
pub(crate) fn waiting_root() -> Root {
    let content = Content::Inline(b"opaque\xff".to_vec());
    Root { pieces: [(PieceKey::Waiting(7), content)].into(), ..Root::default() }
}

fn ledger() -> Ledger {
    let mut ledger = Ledger::default();
    for (times, (_, outcome)) in (1..).zip(audit().outcomes) {
        (0..times).for_each(|_| ledger.receive(outcome));
    }
    ledger
}

/// The root of a shard that nobody ever owned.
pub(crate) fn least_root() -> Root {
    Root::default()
}

/// One of each thing to say.
pub(crate) fn findings() -> Findings {
    let (story, into) = (story().id, older());
    Findings {
        from: HERE,
        commit: 42,
        now: TIME,
        sent: vec![
            Sent::Found {
                finding: Box::new(anchored_finding()),
                events: vec![Arc::new(event()), Arc::new(least_event())],
            },
            Sent::Retracted(finding().id),
            Sent::Handed { incident: Box::new(incident_state()), into },
            Sent::Join { story, into, shard: THERE },
        ],
    }
}

/// A telling with evidence.
pub(crate) fn telling() -> Telling {
    Telling { story: Box::new(referring_story()), evidence: vec![Arc::new(event())] }
}

/// A letter with bytes that nobody could read.
pub(crate) fn dead_letter() -> DeadLetter {
    DeadLetter {
        shard: HERE,
        sequence: 4_711,
        at: TIME,
        reason: DeadReason::BadEvent,
        detail: "unknown kind number 9999".into(),
        trace: Some(TRACE),
        events: vec![Arc::new(least_event())],
        original: b"\x02garbage\xff\0".to_vec(),
    }
}

/// An event of each outcome.
pub(crate) fn audit() -> Audit {
    let outcomes = [
        Outcome::Story,
        Outcome::Open,
        Outcome::Expired,
        Outcome::Duplicate,
        Outcome::Late,
        Outcome::DeadLetter,
    ];
    let outcomes = outcomes.into_iter().chain(ShedReason::ALL.map(Outcome::Shed));
    let outcomes = outcomes.zip(1_u8..);
    let outcomes = outcomes.map(|(outcome, number)| (EventId::from_bytes([number; 16]), outcome));
    Audit { shard: HERE, epoch: 3, commit: 42, processed: 4_711, outcomes: outcomes.collect() }
}

/// A node that is ready.
pub(crate) fn sign_of_life() -> SignOfLife {
    SignOfLife {
        node: node(),
        capacity: 100,
        state: NodeState::Ready,
        held: vec![(HERE, 3), (THERE, 9)],
        version: "0.1.0".into(),
    }
}
