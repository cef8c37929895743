//! Any event, raw event, finding and story that keeps the model's invariants.

mod mesh;

use std::{sync::Arc, time::Duration};

use proptest::{collection::vec, option, prelude::*, sample::select};
use tapio_model::{
    Attributes, Binding, Class, Confidence, Entity, Event, EventId, Evidence, EvidenceClass,
    Finding, FindingId, Hypothesis, Impact, Incarnation, Kind, Link, Place, RawEvent, Role, Rule,
    RuledOut, Sentence, Severity, Source, SpanId, State, Story, StoryId, Text, Timestamp,
    TraceContext, TraceId, Value, Verdict, Workload,
};

pub(crate) use self::mesh::{
    audit, dead_letter, findings, graves, incident_state, resolved, root, sign_of_life, telling,
    trace_state, waiting,
};

pub(crate) fn text() -> impl Strategy<Value = Text> {
    ".{0,9}".prop_map(Text::from)
}

fn texts() -> impl Strategy<Value = Vec<Text>> {
    vec(text(), 0..3)
}

fn time() -> impl Strategy<Value = Timestamp> {
    any::<i64>().prop_map(Timestamp::from_nanos)
}

fn event_id() -> impl Strategy<Value = EventId> {
    any::<[u8; 16]>().prop_map(EventId::from_bytes)
}

fn trace_id() -> impl Strategy<Value = TraceId> {
    any::<[u8; 16]>().prop_map(TraceId::from_bytes)
}

fn span_id() -> impl Strategy<Value = SpanId> {
    any::<[u8; 8]>().prop_map(SpanId::from_bytes)
}

fn story_id() -> impl Strategy<Value = StoryId> {
    any::<[u8; 16]>().prop_map(StoryId::from_bytes)
}

fn confidence() -> impl Strategy<Value = Confidence> {
    (0.0..=1.0).prop_map(Confidence::new)
}

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        text().prop_map(Value::Text),
        any::<i64>().prop_map(Value::Int),
        // Without not-a-number, which is not equal to itself.
        any::<f64>().prop_filter("a number", |number| number.is_finite()).prop_map(Value::Float),
        any::<bool>().prop_map(Value::Bool),
    ]
}

fn attributes() -> impl Strategy<Value = Attributes> {
    vec((text(), value()), 0..9).prop_map(Attributes::new)
}

fn place() -> impl Strategy<Value = Place> {
    let workload = option::of((text(), text()).prop_map(|(kind, name)| Workload { kind, name }));
    (workload, proptest::array::uniform9(option::of(text()))).prop_map(|(workload, texts)| {
        let [cluster, node, namespace, pod, pod_uid, container, container_id, service, cgroup] =
            texts;
        Place {
            cluster,
            node,
            namespace,
            workload,
            pod,
            pod_uid,
            container,
            container_id,
            service,
            cgroup,
        }
    })
}

fn trace() -> impl Strategy<Value = TraceContext> {
    let binding =
        prop_oneof![Just(Binding::Explicit), select(&Rule::ALL).prop_map(Binding::Inferred)];
    (trace_id(), option::of(span_id()), option::of(span_id()), binding).prop_map(
        |(trace_id, span_id, parent_span_id, binding)| TraceContext {
            trace_id,
            span_id,
            parent_span_id,
            binding,
        },
    )
}

prop_compose! {
    pub(crate) fn event()(
        id in event_id(),
        time in time(),
        source in select(&Source::ALL),
        kind in select(Kind::ALL),
        trace in trace(),
        place in place().prop_map(Arc::new),
        severity in select(&Severity::ALL),
        impact in (0.0_f32..=1.0).prop_map(Impact::new),
        class in select(&Class::ALL),
        attributes in attributes(),
    ) -> Event {
        Event { id, time, source, kind, trace, place, severity, impact, class, attributes }
    }
}

prop_compose! {
    pub(crate) fn raw()(
        source in select(&Source::ALL),
        trace_id in option::of(trace_id()),
        span_id in option::of(span_id()),
        time in time(),
        payload in vec(any::<u8>(), 0..40),
        metadata in attributes(),
    ) -> RawEvent {
        RawEvent { source, trace_id, span_id, time, payload, metadata }
    }
}

pub(crate) fn entity() -> impl Strategy<Value = Entity> {
    (0..9, text(), text(), text()).prop_map(|(which, one, two, name)| match which {
        0 => Entity::Container { id: name },
        1 => Entity::Cgroup { node: one, path: name },
        2 => Entity::Pod { uid: name },
        3 => Entity::Workload { scope: one, kind: two, name },
        4 => Entity::Node { name },
        5 => Entity::Service { namespace: one, name },
        6 => Entity::Edge { from: one, to: name },
        7 => Entity::Process { node: one, pid: name },
        _ => Entity::Object { namespace: one, kind: two, name },
    })
}

prop_compose! {
    fn evidence()(
        time in time(),
        event in event_id(),
        role in select(&[Role::Step, Role::Symptom]),
        source in select(&Source::ALL),
        kind in select(Kind::ALL),
        place in text(),
        text in text(),
    ) -> Evidence {
        Evidence { time, event, role, source, kind, place, text }
    }
}

fn verdict() -> impl Strategy<Value = Verdict> {
    let hypothesis = (text(), text(), confidence())
        .prop_map(|(pattern, text, confidence)| Hypothesis { pattern, text, confidence });
    prop_oneof![
        Just(Verdict::Cause),
        (vec(hypothesis, 2..4), text())
            .prop_map(|(hypotheses, check)| Verdict::Unknown { hypotheses, check }),
    ]
}

fn ruled_out() -> impl Strategy<Value = Vec<RuledOut>> {
    let one = (text(), text(), vec(event_id(), 0..3))
        .prop_map(|(pattern, because, events)| RuledOut { pattern, because, events });
    vec(one, 0..3)
}

prop_compose! {
    fn finding_id()(
        trace in trace_id(),
        incarnation in any::<u32>().prop_map(Incarnation),
        pattern in text(),
        subject in entity(),
    ) -> FindingId {
        FindingId { trace, incarnation, pattern, subject }
    }
}

prop_compose! {
    pub(crate) fn finding()(
        id in finding_id(),
        root in evidence(),
        rest in vec(evidence(), 0..4),
        anchor in option::of(entity()),
        class in select(&EvidenceClass::ALL),
        touches in vec(entity(), 0..4),
        leads_to in texts(),
        verdict in verdict(),
        confidence in confidence(),
        (title, root_cause, recommendation, missing) in (text(), text(), texts(), texts()),
        ruled_out in ruled_out(),
        (lost, late, trace_events) in any::<(u64, u64, u64)>(),
    ) -> Finding {
        let event = root.event;
        let mut evidence = rest;
        evidence.push(Evidence { role: Role::Root, ..root });
        evidence.sort();
        let anchor = anchor.unwrap_or_else(|| id.subject.clone());
        Finding {
            id, anchor, root: event, evidence, class, touches, leads_to, verdict, confidence, title,
            root_cause, recommendation, ruled_out, missing, lost, late, trace_events,
        }
    }
}

fn sentence() -> impl Strategy<Value = Sentence> {
    (text(), vec(event_id(), 1..3)).prop_map(|(text, events)| Sentence { text, events })
}

fn state() -> impl Strategy<Value = State> {
    prop_oneof![
        select(&[State::Opened, State::Amended, State::Resolved]),
        story_id().prop_map(|into| State::Merged { into }),
    ]
}

fn link() -> impl Strategy<Value = Link> {
    let lag = any::<u64>().prop_map(Duration::from_nanos);
    (evidence(), text(), lag).prop_map(|(evidence, pattern, lag)| Link { evidence, pattern, lag })
}

prop_compose! {
    pub(crate) fn story()(
        (id, telling, state, predecessor) in
            (story_id(), any::<u32>(), state(), option::of(story_id())),
        (opened_at, told_at, title, pattern) in (time(), time(), text(), text()),
        (verdict, confidence) in (verdict(), confidence()),
        summary in vec(sentence(), 0..3),
        root_cause in sentence(),
        recommendation in vec(sentence(), 0..3),
        root_cause_event in event_id(),
        class in select(&EvidenceClass::ALL),
        chain in vec(link(), 0..4),
        (ruled_out, missing, entities) in (ruled_out(), texts(), vec(entity(), 0..4)),
        (lost, late) in any::<(u64, u64)>(),
        (trace_ids, event_ids, references) in
            (vec(trace_id(), 0..3), vec(event_id(), 0..5), vec(event_id(), 0..3)),
    ) -> Story {
        Story {
            id, telling, state, opened_at, told_at, title, pattern, verdict, summary, root_cause,
            root_cause_event, confidence, class, chain, recommendation, ruled_out, missing, lost,
            late, entities, trace_ids, event_ids, references, predecessor,
        }
    }
}
