//! Toy events and toy patterns: the engine's tests know no real pattern either.

use std::{sync::Arc, time::Duration};

use tapio_engine::{Draft, Limits, Pattern, Patterns, Rules, Spec, View};
use tapio_model::{
    Attributes, Binding, Class, Entity, Event, EventId, EvidenceClass, Impact, Kind, Place, Rule,
    Severity, Source, Timestamp, TraceContext, TraceId,
};

/// What a test says of an event.
#[derive(Debug, Clone)]
pub(crate) struct Sketch {
    pub(crate) number: u64,
    pub(crate) trace: u8,
    pub(crate) at: Duration,
    pub(crate) kind: Kind,
    pub(crate) impact: f32,
    pub(crate) inferred: bool,
    pub(crate) pod: &'static str,
    pub(crate) poison: bool,
}

impl Default for Sketch {
    fn default() -> Self {
        Self {
            number: 0,
            trace: 1,
            at: Duration::ZERO,
            kind: Kind::ProbeFailed,
            impact: 0.0,
            inferred: true,
            pod: "p",
            poison: false,
        }
    }
}

/// A moment after the tests' beginning.
pub(crate) fn at(after: Duration) -> Timestamp {
    Timestamp::from_secs(1_000_000).after(after)
}

pub(crate) fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

pub(crate) fn event(sketch: &Sketch) -> Arc<Event> {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&sketch.number.to_be_bytes());
    let binding = if sketch.inferred { Binding::Inferred(Rule::Pod) } else { Binding::Explicit };
    let attributes: Attributes = sketch.poison.then_some(("poison", true)).into_iter().collect();
    Arc::new(Event {
        id: EventId::from_bytes(id),
        time: at(sketch.at),
        source: Source::Kubernetes,
        kind: sketch.kind,
        trace: TraceContext {
            trace_id: TraceId::from_bytes([sketch.trace; 16]),
            span_id: None,
            parent_span_id: None,
            binding,
        },
        place: Arc::new(Place { pod_uid: Some(sketch.pod.into()), ..Place::default() }),
        severity: Severity::Warn,
        impact: Impact::new(sketch.impact),
        class: Class::Health,
        attributes,
    })
}

/// Holds for a pod whose container was killed after a probe had failed; panics on poison.
#[derive(Debug)]
pub(crate) struct Toy;

pub(crate) const TOY: Spec = Spec {
    slug: "toy",
    title: "Toy",
    wakes_on: &[Kind::ProbeFailed, Kind::ContainerKilling],
    leads_to: &["echo"],
};

impl Pattern for Toy {
    fn spec(&self) -> &'static Spec {
        &TOY
    }

    fn detect(&self, view: &View<'_>) -> Vec<Draft> {
        assert!(view.events().all(|event| event.attributes.get("poison").is_none()), "poison");
        let Some(probe) = view.of(Kind::ProbeFailed).next() else { return Vec::new() };
        let Some(subject) = Entity::narrowest(&probe.place) else { return Vec::new() };
        let mut draft = Draft::new(subject, EvidenceClass::EventText, probe, "the probe failed")
            .title("a toy broke")
            .because("the probe failed");
        for killing in view.of(Kind::ContainerKilling) {
            draft = draft.step(killing, "the container was killed").touching(&killing.place);
        }
        if view.has(Kind::ContainerKilling) { vec![draft] } else { Vec::new() }
    }
}

/// Follows from [`Toy`]: a pod lost its endpoints.
#[derive(Debug)]
pub(crate) struct Echo;

pub(crate) const ECHO: Spec =
    Spec { slug: "echo", title: "Echo", wakes_on: &[Kind::EndpointsChanged], leads_to: &[] };

impl Pattern for Echo {
    fn spec(&self) -> &'static Spec {
        &ECHO
    }

    fn detect(&self, view: &View<'_>) -> Vec<Draft> {
        let first = view.of(Kind::EndpointsChanged).next();
        let drafts = first.and_then(|event| {
            let subject = Entity::narrowest(&event.place)?;
            let draft = Draft::new(subject, EvidenceClass::ObjectStatus, event, "endpoints went");
            Some(draft.title("an echo was heard").because("endpoints went"))
        });
        drafts.into_iter().collect()
    }
}

pub(crate) fn rules(limits: Limits) -> Arc<Rules> {
    let toy: Arc<dyn Pattern> = Arc::new(Toy);
    let patterns: Patterns = Arc::from([toy, Arc::new(Echo)]);
    Arc::new(Rules::new(&patterns, limits))
}

/// Quiet about the panics that a test provokes.
pub(crate) fn hush() {
    std::panic::set_hook(Box::new(|_| {}));
}
