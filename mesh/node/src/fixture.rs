//! Events and stories for this crate's tests.

use std::{sync::Arc, time::Duration};

use tapio_model::{
    Attributes, Binding, Class, Confidence, Event, EventId, Evidence, EvidenceClass, Impact, Kind,
    Link, Place, Role, Rule, Sentence, Severity, Source, State, Story, StoryId, Timestamp,
    TraceContext, TraceId, Verdict, keys,
};

/// Makes an event; `number` is its identity and its second.
pub(crate) fn event(number: u32) -> Arc<Event> {
    Arc::new(Event {
        id: EventId::from_bytes(u128::from(number).to_be_bytes()),
        time: Timestamp::from_secs(i64::from(number)),
        source: Source::Kernel,
        kind: Kind::OomKill,
        trace: TraceContext {
            trace_id: TraceId::from_bytes([7; 16]),
            span_id: None,
            parent_span_id: None,
            binding: Binding::Inferred(Rule::Cgroup),
        },
        place: Arc::new(Place { node: Some("n1".into()), ..Place::default() }),
        severity: Severity::Error,
        impact: Impact::CRITICAL,
        class: Class::Memory,
        attributes: Attributes::new(vec![(keys::MESSAGE.into(), "killed".into())]),
    })
}

/// Makes the events 1 to `count`.
pub(crate) fn events(count: u32) -> Vec<Arc<Event>> {
    (1..=count).map(event).collect()
}

/// Makes the opening of a story that cites `events`; `number` is its age in seconds after 1970
/// and the end of its id.
pub(crate) fn story(number: u8, events: &[Arc<Event>]) -> Story {
    let opened_at = Timestamp::from_secs(i64::from(number));
    let event_ids: Vec<_> = events.iter().map(|event| event.id).collect();
    let root = event_ids.first().copied().unwrap_or_default();
    let sentence = |text: &str| Sentence { text: text.into(), events: vec![root] };
    let evidence = Evidence {
        time: opened_at,
        event: root,
        role: Role::Root,
        source: Source::Kernel,
        kind: Kind::OomKill,
        place: "n1".into(),
        text: "killed".into(),
    };
    Story {
        id: StoryId::new(opened_at, [0, 0, 0, 0, 0, 0, 0, 0, 0, number]),
        telling: 0,
        state: State::Opened,
        opened_at,
        told_at: opened_at,
        title: "out of memory".into(),
        pattern: "container_oom".into(),
        verdict: Verdict::Cause,
        summary: vec![sentence("it was killed")],
        root_cause: sentence("too little memory"),
        root_cause_event: root,
        confidence: Confidence::new(0.9),
        class: EvidenceClass::KernelProof,
        chain: vec![Link { evidence, pattern: "container_oom".into(), lag: Duration::ZERO }],
        recommendation: vec![sentence("raise the limit")],
        ruled_out: Vec::new(),
        missing: Vec::new(),
        lost: 0,
        late: 0,
        entities: Vec::new(),
        trace_ids: vec![TraceId::from_bytes([7; 16])],
        event_ids,
        references: Vec::new(),
        predecessor: None,
    }
}

/// Makes a later telling of a story.
pub(crate) fn retold(story: &Story, state: State) -> Story {
    let told_at = story.told_at.after(Duration::from_secs(1));
    Story { telling: story.telling + 1, state, told_at, ..story.clone() }
}
