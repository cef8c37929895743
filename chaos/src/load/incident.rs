//! What an incident looks like: events that the built-in patterns make one story of.

#[cfg(test)]
use std::collections::BTreeSet;
use std::sync::Arc;

use tapio_model::{
    Attributes, Binding, Class, Entity, Event, Impact, Kind, Place, Rule, Severity, Source, Text,
    Timestamp, TraceContext, TraceId, Value, Workload, keys,
};

use super::{
    LoadOptions,
    identity::{Whose, trace_id},
};

/// How an incident shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Shape {
    /// All its evidence is in one trace.
    OneTrace,
    /// Two traces of different shards see it; their findings have one anchor.
    TwoTraces,
    /// Two traces see it, and their findings have anchors in different shards: they share a pod,
    /// and only asking brings them together.
    TwoAnchors,
}

impl Shape {
    /// Every shape.
    pub const ALL: [Self; 3] = [Self::OneTrace, Self::TwoTraces, Self::TwoAnchors];

    /// Returns the shape of an incident of a load.
    #[must_use]
    pub fn of(options: &LoadOptions, number: u32) -> Self {
        match mixed(options.seed, number) % 10 {
            0..4 => Self::OneTrace,
            4..7 => Self::TwoTraces,
            _ => Self::TwoAnchors,
        }
    }

    /// Returns the name used in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::OneTrace => "one_trace",
            Self::TwoTraces => "two_traces",
            Self::TwoAnchors => "two_anchors",
        }
    }

    pub(super) const fn parts(self) -> u8 {
        match self {
            Self::OneTrace => 1,
            Self::TwoTraces | Self::TwoAnchors => 2,
        }
    }
}

/// Trace and container of an incident are moved to another shard by at most so many salts.
const SALTS_MAX: u16 = 64;

/// Where the traces and the anchors of an incident lie.
#[cfg(test)]
#[derive(Debug)]
pub(super) struct Shards {
    pub(super) traces: BTreeSet<tapio_model::ShardId>,
    pub(super) anchors: BTreeSet<tapio_model::ShardId>,
}

#[cfg(test)]
pub(super) fn shards(options: &LoadOptions, number: u32) -> Shards {
    let shape = Shape::of(options, number);
    let parts = 0..shape.parts();
    let cast = Cast::of(options, number);
    let traces = parts.clone().map(|part| options.shards.shard_of(cast.trace(options, part)));
    let anchors = parts.filter_map(|part| {
        let place = cast.place(shape, part, true);
        let anchor = Entity::workload(&place).or_else(|| Entity::container(&place))?;
        Some(options.shards.shard_of_anchor(&anchor))
    });
    Shards { traces: traces.collect(), anchors: anchors.collect() }
}

/// Returns the evidence of one part of an incident, in order.
pub(super) fn evidence(options: &LoadOptions, number: u32, part: u8) -> Vec<Event> {
    let shape = Shape::of(options, number);
    let cast = Cast::of(options, number);
    let context = context(shape, part, cast.trace(options, part));
    let seen = match (shape, part) {
        (Shape::OneTrace, _) if mixed(options.seed, number) & 1 == 0 => probe_killed(),
        (Shape::OneTrace, _) => {
            let mut seen = kernel_killed(number);
            seen.extend(status_says_killed(IMPACT_CRITICAL));
            seen
        }
        (Shape::TwoTraces | Shape::TwoAnchors, 0) => kernel_killed(number),
        (Shape::TwoTraces | Shape::TwoAnchors, _) => status_says_killed(IMPACT_HIGH),
    };
    let places = [true, false].map(|inside| Arc::new(cast.place(shape, part, inside)));
    let [container, pod] = places;
    let event = |(index, seen): (u16, Seen)| Event {
        id: Whose::Evidence { number, part, index }.event_id(options.seed),
        time: Timestamp::ZERO,
        source: seen.source,
        kind: seen.kind,
        trace: context,
        place: Arc::clone(if seen.kind == Kind::PodReadiness { &pod } else { &container }),
        severity: Severity::Error,
        impact: Impact::new(seen.impact),
        class: seen.class,
        attributes: Attributes::new(seen.says.into_iter().map(|(key, it)| (key.into(), it))),
    };
    (0..).zip(seen).map(event).collect()
}

/// Returns a span that is in a trace of an incident and says nothing.
pub(super) fn hum(options: &LoadOptions, number: u32, part: u8, index: u16) -> Event {
    let shape = Shape::of(options, number);
    let trace = Cast::of(options, number).trace(options, part);
    let whose = Whose::Hum { number, part, index };
    Event { trace: context(shape, part, trace), ..span(options, whose) }
}

/// Returns a span of a trace in which nothing happens.
pub(super) fn span(options: &LoadOptions, whose: Whose) -> Event {
    let (trace, index) = match whose {
        Whose::Healthy { trace, index } => (trace, index),
        Whose::Evidence { number, index, .. } | Whose::Hum { number, index, .. } => (number, index),
    };
    let trace_id = trace_id(options.seed, trace, u8::MAX, 0);
    let service = Text::from(format!("healthy-{}", trace % 16));
    let says: [(&str, Value); 2] = [
        (keys::SPAN_NAME, "GET /cart".into()),
        (keys::DURATION, (1_000_000 + i32::from(index)).into()),
    ];
    Event {
        id: whose.event_id(options.seed),
        time: Timestamp::ZERO,
        source: Source::Otlp,
        kind: Kind::Span,
        trace: TraceContext {
            trace_id,
            span_id: None,
            parent_span_id: None,
            binding: Binding::Explicit,
        },
        place: Arc::new(Place { service: Some(service), ..Place::default() }),
        severity: Severity::Info,
        impact: Impact::NONE,
        class: Class::Application,
        attributes: Attributes::new(says.into_iter().map(|(key, value)| (key.into(), value))),
    }
}

fn context(shape: Shape, part: u8, trace_id: TraceId) -> TraceContext {
    let binding = match (shape, part) {
        (Shape::OneTrace, _) => Binding::Explicit,
        (Shape::TwoTraces | Shape::TwoAnchors, 0) => Binding::Inferred(Rule::Workload),
        (Shape::TwoTraces, _) => Binding::Inferred(Rule::Pod),
        (Shape::TwoAnchors, _) => Binding::Inferred(Rule::Container),
    };
    TraceContext { trace_id, span_id: None, parent_span_id: None, binding }
}

/// Who takes part in an incident: a pod and its container, of a workload of their own.
#[derive(Debug)]
struct Cast {
    number: u32,
    name: String,
    container_id: String,
    trace_salt: u16,
}

impl Cast {
    fn of(options: &LoadOptions, number: u32) -> Self {
        let name = format!("app-{:x}-{number}", options.seed);
        let shape = Shape::of(options, number);
        let shards = options.shards;
        let container_id = |salt: u16| format!("cid-{name}-{salt}");
        let trace = |part, salt| trace_id(options.seed, number, part, salt);
        let home = shards.shard_of_anchor(&Entity::Workload {
            scope: NAMESPACE.into(),
            kind: "Deployment".into(),
            name: name.as_str().into(),
        });
        let is_apart = |salt: &u16| {
            let id = container_id(*salt).into();
            shape != Shape::TwoAnchors || shards.shard_of_anchor(&Entity::Container { id }) != home
        };
        let first = shards.shard_of(trace(0, 0));
        let is_elsewhere = |salt: &u16| shards.shard_of(trace(1, *salt)) != first;
        let container_salt = (0..SALTS_MAX).find(is_apart).unwrap_or_default();
        let trace_salt = (0..SALTS_MAX).find(is_elsewhere).unwrap_or_default();
        let container_id = container_id(container_salt);
        Self { number, name, container_id, trace_salt }
    }

    fn trace(&self, options: &LoadOptions, part: u8) -> TraceId {
        let salt = if part == 0 { 0 } else { self.trace_salt };
        trace_id(options.seed, self.number, part, salt)
    }

    /// Returns where a part sees it: the whole truth, or without the workload.
    fn place(&self, shape: Shape, part: u8, is_inside: bool) -> Place {
        let name = &self.name;
        let workload = Workload { kind: "Deployment".into(), name: name.as_str().into() };
        let knows_owner = shape != Shape::TwoAnchors || part == 0;
        Place {
            node: Some(format!("node-{}", self.number % 5).into()),
            namespace: Some(NAMESPACE.into()),
            workload: knows_owner.then_some(workload),
            pod: Some(format!("{name}-x7k2p").into()),
            pod_uid: Some(format!("uid-{name}").into()),
            container: is_inside.then(|| "main".into()),
            container_id: is_inside.then(|| self.container_id.as_str().into()),
            ..Place::default()
        }
    }
}

const NAMESPACE: &str = "chaos";

const IMPACT_CRITICAL: f32 = 0.95;
const IMPACT_HIGH: f32 = 0.8;

/// Something that is seen of an incident. All of one part has one level, so that it travels in one
/// batch and is accepted whole or not at all.
struct Seen {
    source: Source,
    kind: Kind,
    class: Class,
    impact: f32,
    says: Vec<(&'static str, Value)>,
}

/// The process of the first incident; each has its own, for whoever tells of one process of a node
/// tells of one thing.
const PID_MIN: u32 = 4_242;

/// The kernel kills a process at its cgroup's limit.
fn kernel_killed(number: u32) -> Vec<Seen> {
    let seen = |source, kind, says| Seen {
        source,
        kind,
        class: Class::Memory,
        impact: IMPACT_CRITICAL,
        says,
    };
    let limit = vec![(keys::COUNT, 9.into()), (keys::MEMORY_LIMIT, 536_870_912.into())];
    let kill = vec![
        (keys::OOM_CONSTRAINT, "memcg".into()),
        (keys::PROCESS_PID, i64::from(PID_MIN + number).into()),
        (keys::PROCESS_NAME, "main".into()),
    ];
    vec![
        seen(Source::Cgroup, Kind::MemoryLimitReached, limit),
        seen(Source::Kernel, Kind::OomKill, kill),
        seen(Source::Cgroup, Kind::OomKillCounted, vec![(keys::COUNT, 1.into())]),
    ]
}

/// Kubernetes says that a container was killed for want of memory.
fn status_says_killed(impact: f32) -> Vec<Seen> {
    let seen = |kind, class, says| Seen { source: Source::Kubernetes, kind, class, impact, says };
    let ended = vec![(keys::REASON, "OOMKilled".into()), (keys::EXIT_CODE, 137.into())];
    vec![
        seen(Kind::ContainerTerminated, Class::Lifecycle, ended),
        seen(Kind::PodReadiness, Class::Health, vec![(keys::STATUS, false.into())]),
    ]
}

/// The kubelet kills a container that fails its liveness probe.
fn probe_killed() -> Vec<Seen> {
    let seen = |kind, class, says| Seen {
        source: Source::Kubernetes,
        kind,
        class,
        impact: IMPACT_CRITICAL,
        says,
    };
    let killing = "Container main failed liveness probe, will be restarted";
    let ended = vec![(keys::REASON, "Error".into()), (keys::EXIT_CODE, 137.into())];
    vec![
        seen(Kind::ProbeFailed, Class::Health, vec![(keys::PROBE, "liveness".into())]),
        seen(Kind::ContainerKilling, Class::Lifecycle, vec![(keys::MESSAGE, killing.into())]),
        seen(Kind::ContainerTerminated, Class::Lifecycle, ended),
    ]
}

/// Mixes a seed and a number, so that neighbours differ.
fn mixed(seed: u64, number: u32) -> u64 {
    let mut bits = seed ^ (u64::from(number) << 17) ^ 0x9E37_79B9_7F4A_7C15;
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    bits ^ (bits >> 31)
}
