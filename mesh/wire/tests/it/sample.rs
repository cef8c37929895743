//! One incident in every shape: a container is killed for want of memory.

use std::{sync::Arc, time::Duration};

use tapio_model::{
    Attributes, Binding, Class, Confidence, Entity, Event, EventId, Evidence, EvidenceClass,
    Finding, FindingId, Hypothesis, Impact, Incarnation, Kind, Level, Link, Place, RawEvent, Role,
    Rule, RuledOut, Sentence, Severity, ShardId, Source, SpanId, State, Story, StoryId, Timestamp,
    TraceContext, TraceId, Value, Verdict, Workload, keys,
};
use tapio_wire::EventBatch;

/// 2026-11-21T04:00:00.123456789Z.
pub(crate) const TIME: Timestamp = Timestamp::from_nanos(1_795_233_600_123_456_789);
pub(crate) const TRACE: TraceId = TraceId::from_bytes(*b"trace of cart-7d");
pub(crate) const ROOT: EventId = EventId::from_bytes(*b"oom kill at root");
pub(crate) const SYMPTOM: EventId = EventId::from_bytes(*b"restart, symptom");

/// An event with everything an event can have.
pub(crate) fn event() -> Event {
    let attributes = [
        (
            keys::MESSAGE,
            Value::from("Memory cgroup out of memory: Killed process 4711 (java) \u{1f480}"),
        ),
        (keys::MEMORY_LIMIT, Value::Int(536_870_912)),
        (keys::RATIO, Value::Float(0.1)),
        (keys::STATUS, Value::Bool(true)),
        ("before.epoch", Value::Int(i64::MIN)),
    ];
    Event {
        id: ROOT,
        time: TIME,
        source: Source::Kernel,
        kind: Kind::OomKill,
        trace: TraceContext {
            trace_id: TRACE,
            span_id: Some(SpanId::from_bytes(*b"span-001")),
            parent_span_id: Some(SpanId::from_bytes(*b"span-000")),
            binding: Binding::Inferred(Rule::Workload),
        },
        place: Arc::new(place()),
        severity: Severity::Fatal,
        impact: Impact::CRITICAL,
        class: Class::Memory,
        attributes: attributes.into_iter().collect(),
    }
}

fn place() -> Place {
    Place {
        cluster: Some("prod".into()),
        node: Some("n1".into()),
        namespace: Some("shop".into()),
        workload: Some(Workload { kind: "Deployment".into(), name: "cart".into() }),
        pod: Some("cart-7d9f".into()),
        pod_uid: Some("0b5f0a1e-6f0e-4c38-9f7d-2d1b3c4d5e6f".into()),
        container: Some("cart".into()),
        container_id: Some("4f2a".into()),
        service: Some("cart".into()),
        cgroup: Some("/kubepods/burstable/pod0b5f/4f2a".into()),
    }
}

/// An event that says no more than it must.
pub(crate) fn least_event() -> Event {
    Event {
        id: EventId::default(),
        time: Timestamp::ZERO,
        source: Source::App,
        kind: Kind::Log,
        trace: TraceContext {
            trace_id: TRACE,
            span_id: None,
            parent_span_id: None,
            binding: Binding::Explicit,
        },
        place: Arc::new(Place::default()),
        severity: Severity::default(),
        impact: Impact::NONE,
        class: Class::default(),
        attributes: Attributes::default(),
    }
}

/// Kinds that there were when the first golden batch was written.
const FIRST_KINDS: usize = 40;

/// Kinds that there were when the senses were there.
const SENSES_KINDS: usize = 56;

/// A batch with an event of each of the first kinds.
pub(crate) fn batch() -> EventBatch {
    batch_of(Kind::ALL.split_at(FIRST_KINDS).0)
}

/// A batch with an event of each kind that the senses brought.
pub(crate) fn senses_batch() -> EventBatch {
    batch_of(Kind::ALL.split_at(SENSES_KINDS).0.split_at(FIRST_KINDS).1)
}

/// A batch with an event of each kind that is learnt, not sensed.
pub(crate) fn learnt_batch() -> EventBatch {
    batch_of(Kind::ALL.split_at(SENSES_KINDS).1)
}

/// Sources, severities, classes and rules take turns.
fn batch_of(kinds: &[Kind]) -> EventBatch {
    let sources = Source::ALL.into_iter().cycle();
    let severities = Severity::ALL.into_iter().cycle();
    let classes = Class::ALL.into_iter().cycle();
    let rules = Rule::ALL.into_iter().cycle();
    let turns = kinds.iter().zip(sources).zip(severities).zip(classes).zip(rules).zip(0_u8..);
    let events = turns.map(|(((((&kind, source), severity), class), rule), number)| {
        let least = least_event();
        Arc::new(Event {
            id: EventId::from_bytes([number; 16]),
            time: Timestamp::from_millis(TIME.as_millis() + i64::from(number)),
            source,
            kind,
            trace: TraceContext { binding: Binding::Inferred(rule), ..least.trace },
            severity,
            class,
            ..least
        })
    });
    EventBatch { shard: ShardId::new(7), level: Level::High, time: TIME, events: events.collect() }
}

/// What a collector read.
pub(crate) fn raw() -> RawEvent {
    RawEvent {
        source: Source::Kernel,
        trace_id: Some(TRACE),
        span_id: None,
        time: TIME,
        payload: b"6,1234,98765,-;oom-kill:constraint=CONSTRAINT_MEMCG\xff\0".to_vec(),
        metadata: [("cursor", Value::Int(1234)), ("path", Value::from("/dev/kmsg"))]
            .into_iter()
            .collect(),
    }
}

fn evidence() -> Vec<Evidence> {
    let root = Evidence {
        time: TIME,
        event: ROOT,
        role: Role::Root,
        source: Source::Kernel,
        kind: Kind::OomKill,
        place: "shop/cart-7d9f/cart".into(),
        text: "the kernel killed java at its limit of 512 MiB".into(),
    };
    let symptom = Evidence {
        time: TIME.after(Duration::from_micros(1_500_250)),
        event: SYMPTOM,
        role: Role::Symptom,
        source: Source::Kubernetes,
        kind: Kind::ContainerTerminated,
        text: "the container ended: OOMKilled".into(),
        ..root.clone()
    };
    vec![root, symptom]
}

fn ruled_out() -> Vec<RuledOut> {
    vec![RuledOut {
        pattern: "node_memory_pressure".into(),
        because: "the cgroup's own limit was reached, not the node's".into(),
        events: vec![ROOT],
    }]
}

fn unknown() -> Verdict {
    let hypothesis = |pattern: &str, text: &str, confidence| Hypothesis {
        pattern: pattern.into(),
        text: text.into(),
        confidence: Confidence::new(confidence),
    };
    Verdict::Unknown {
        hypotheses: vec![
            hypothesis("memory_leak", "the process leaks", 0.55),
            hypothesis("limit_too_low", "the limit is too low for its load", 0.333_33),
        ],
        check: "compare the working set with the request rate".into(),
    }
}

/// A finding of known cause.
pub(crate) fn finding() -> Finding {
    Finding {
        id: FindingId {
            trace: TRACE,
            incarnation: Incarnation(3),
            pattern: "oom_kill_cascade".into(),
            subject: Entity::Container { id: "4f2a".into() },
        },
        anchor: Entity::Container { id: "4f2a".into() },
        root: ROOT,
        evidence: evidence(),
        class: EvidenceClass::KernelProof,
        touches: entities(),
        leads_to: vec!["crash_loop".into()],
        verdict: Verdict::Cause,
        confidence: Confidence::new(0.9),
        title: "cart was killed for want of memory".into(),
        root_cause: "cart reached its memory limit of 512 MiB.".into(),
        recommendation: vec!["Raise the limit.".into()],
        ruled_out: ruled_out(),
        missing: vec!["memory samples before the kill".into()],
        lost: 1,
        late: 2,
        trace_events: 300,
    }
}

/// A finding whose incident is found by another thing than it is about.
pub(crate) fn anchored_finding() -> Finding {
    let anchor =
        Entity::Workload { scope: "shop".into(), kind: "Deployment".into(), name: "cart".into() };
    Finding { anchor, ..finding() }
}

/// One of each entity.
pub(crate) fn entities() -> Vec<Entity> {
    vec![
        Entity::Container { id: "4f2a".into() },
        Entity::Cgroup { node: "n1".into(), path: "/kubepods".into() },
        Entity::Pod { uid: "0b5f0a1e".into() },
        Entity::Workload { scope: "shop".into(), kind: "Deployment".into(), name: "cart".into() },
        Entity::Node { name: "n1".into() },
        Entity::Service { namespace: "shop".into(), name: "cart".into() },
        Entity::Edge { from: "web".into(), to: "cart".into() },
        Entity::Object { namespace: "shop".into(), kind: "ConfigMap".into(), name: "cart".into() },
    ]
}

/// A story of known cause.
pub(crate) fn story() -> Story {
    let sentence =
        |text: &str, events: &[EventId]| Sentence { text: text.into(), events: events.to_vec() };
    let lags = [Duration::ZERO, Duration::from_micros(1_500_250)];
    let link = |(evidence, lag)| Link { evidence, pattern: "oom_kill_cascade".into(), lag };
    Story {
        id: StoryId::new(TIME, *b"0123456789"),
        telling: 1,
        state: State::Amended,
        opened_at: TIME,
        told_at: TIME.after(Duration::from_secs(2)),
        title: "cart was killed for want of memory".into(),
        pattern: "oom_kill_cascade".into(),
        verdict: Verdict::Cause,
        summary: vec![
            sentence("The kernel killed cart.", &[ROOT]),
            sentence("It started again 1.5 s later.", &[ROOT, SYMPTOM]),
        ],
        root_cause: sentence("cart reached its memory limit of 512 MiB.", &[ROOT]),
        root_cause_event: ROOT,
        confidence: Confidence::new(0.923_456),
        class: EvidenceClass::KernelProof,
        chain: evidence().into_iter().zip(lags).map(link).collect(),
        recommendation: vec![sentence("Raise the limit.", &[ROOT])],
        ruled_out: ruled_out(),
        missing: vec!["memory samples before the kill".into()],
        lost: 1,
        late: 2,
        entities: entities(),
        trace_ids: vec![TRACE],
        event_ids: vec![ROOT, SYMPTOM],
        references: Vec::new(),
        predecessor: Some(StoryId::new(Timestamp::from_secs(1), [7; 10])),
    }
}

/// A story that cites an event that another told first.
pub(crate) fn referring_story() -> Story {
    Story { references: vec![SYMPTOM], ..story() }
}

/// A story of unknown cause, merged into an older one.
pub(crate) fn merged_story() -> Story {
    let into = StoryId::new(Timestamp::from_secs(2), [8; 10]);
    let state = State::Merged { into };
    Story { state, verdict: unknown(), predecessor: None, ..story() }
}
