//! Binding: every event gets a place as complete as is known, and a trace.

use std::{fmt, sync::Arc, time::Duration};

use moka::{ops::compute::Op, sync::Cache};
use tapio_model::{
    Attributes, Binding, Event, Place, Rule, Source, SpanId, Text, TraceContext, TraceId, Workload,
};
use xxhash_rust::xxh3::Xxh3;

use crate::{Masks, Unbound, schedule_of};

/// Containers, pods and places that are remembered: a node runs some hundred pods, a cluster of
/// Kubernetes' tested size 150,000, of which those that speak fit.
const KNOWN_MAX: u64 = 100_000;

/// How long something is remembered that nobody mentions: longer than any pattern's window, short
/// enough that a deleted pod does not stay for days.
const KNOWN_IDLE: Duration = Duration::from_secs(3_600);

/// The kind of workload that is a systemd unit, whose name means something on its node only.
const UNIT: &str = "Unit";

/// What this host knows of itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Home {
    /// Cluster name.
    pub cluster: Option<Text>,
    /// Node name.
    pub node: Option<Text>,
}

/// Completes places and gives events their trace.
///
/// # Invariant
/// The trace of an event depends on its place (as completed at that moment), its generation and
/// its source, and on nothing else: two binders that never talk agree.
pub struct Binder {
    home: Home,
    containers: Cache<Text, Arc<Known>>,
    pods: Cache<Text, Arc<Known>>,
    places: Cache<Arc<Place>, Arc<Place>>,
    masks: Option<Masks>,
}

/// What is known of a container or pod besides its id.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Known {
    namespace: Option<Text>,
    workload: Option<Workload>,
    pod: Option<Text>,
    pod_uid: Option<Text>,
    container: Option<Text>,
    service: Option<Text>,
}

impl Binder {
    /// Makes a binder that knows nothing but its home.
    #[must_use]
    pub fn new(home: Home) -> Self {
        Self { home, containers: cache(), pods: cache(), places: cache(), masks: None }
    }

    /// Masks the texts of every event that is bound.
    #[must_use]
    pub fn with_masks(self, masks: Masks) -> Self {
        Self { masks: Some(masks), ..self }
    }

    /// Completes the event's place and gives it a trace, if it has none.
    ///
    /// What the place says of its container or pod fills gaps in what is known of them; only
    /// [`Binder::learn`] corrects it.
    #[must_use]
    pub fn bind(&self, mut unbound: Unbound) -> Event {
        self.masks.iter().for_each(|masks| masks.apply(&mut unbound));
        let place = self.complete(unbound.place, unbound.source);
        self.remember(&place, Known::filled_with);
        let explicit = unbound.trace_id.filter(|id| !id.is_zero());
        let (trace_id, binding) = explicit.map_or_else(
            || {
                let (rule, id) = infer(&place, unbound.generation, unbound.source);
                (id, Binding::Inferred(rule))
            },
            |id| (id, Binding::Explicit),
        );
        let is_span = |id: &SpanId| !id.is_zero();
        Event {
            id: unbound.id,
            time: unbound.time,
            source: unbound.source,
            kind: unbound.kind,
            trace: TraceContext {
                trace_id,
                span_id: unbound.span_id.filter(is_span),
                parent_span_id: unbound.parent_span_id.filter(is_span),
                binding,
            },
            place: self.intern(place),
            severity: unbound.severity,
            impact: unbound.impact,
            class: unbound.class,
            attributes: Attributes::new(unbound.attributes),
        }
    }

    /// Remembers what `place` says of its container and its pod; it overrules what was known.
    pub fn learn(&self, place: &Place) {
        self.remember(place, |known, said| said.filled_with(known));
    }

    fn complete(&self, mut place: Place, source: Source) -> Place {
        place.cluster = place.cluster.or_else(|| self.home.cluster.clone());
        if is_of_this_host(source) {
            place.node = place.node.or_else(|| self.home.node.clone());
        }
        // The container first: it may say which pod, and the pod then says which workload.
        if let Some(known) = named(&place.container_id).and_then(|id| self.containers.get(id)) {
            known.complete(&mut place);
        }
        if let Some(known) = named(&place.pod_uid).and_then(|uid| self.pods.get(uid)) {
            known.complete(&mut place);
        }
        place.workload = place.workload.map(of_schedule);
        place
    }

    fn remember(&self, place: &Place, merge: fn(Known, Known) -> Known) {
        let of_container = Known::of_container(place);
        if let Some(id) = named(&place.container_id) {
            teach(&self.containers, id, &of_container, merge);
        }
        if let Some(uid) = named(&place.pod_uid) {
            // A pod has several containers: what is true of one is not true of the pod.
            let of_pod = Known { container: None, pod_uid: None, ..of_container };
            teach(&self.pods, uid, &of_pod, merge);
        }
    }

    fn intern(&self, place: Place) -> Arc<Place> {
        self.places.get(&place).unwrap_or_else(|| {
            let place = Arc::new(place);
            self.places.get_with(Arc::clone(&place), || place)
        })
    }
}

impl fmt::Debug for Binder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Binder")
            .field("home", &self.home)
            .field("containers", &self.containers.entry_count())
            .field("pods", &self.pods.entry_count())
            .field("places", &self.places.entry_count())
            .finish()
    }
}

impl Known {
    fn of_container(place: &Place) -> Self {
        Self {
            namespace: named(&place.namespace).cloned(),
            // A unit is where a container runs (its scope, or the runtime), not what owns it.
            workload: place.workload.clone().filter(|workload| workload.kind != UNIT),
            pod: named(&place.pod).cloned(),
            pod_uid: named(&place.pod_uid).cloned(),
            container: named(&place.container).cloned(),
            service: named(&place.service).cloned(),
        }
    }

    /// Says whether the two speak of two pods: half of one and half of the other would be a pod
    /// that does not exist.
    fn is_other(&self, other: &Self) -> bool {
        let differ = |one: &Option<Text>, other: &Option<Text>| {
            one.as_ref().zip(other.as_ref()).is_some_and(|(one, other)| one != other)
        };
        differ(&self.pod_uid, &other.pod_uid)
            || differ(&self.namespace, &other.namespace)
            || differ(&self.pod, &other.pod)
    }

    fn filled_with(self, other: Self) -> Self {
        if self.is_other(&other) {
            return self;
        }
        Self {
            namespace: self.namespace.or(other.namespace),
            workload: self.workload.or(other.workload),
            pod: self.pod.or(other.pod),
            pod_uid: self.pod_uid.or(other.pod_uid),
            container: self.container.or(other.container),
            service: self.service.or(other.service),
        }
    }

    fn complete(&self, place: &mut Place) {
        if self.is_other(&Self::of_container(place)) {
            return;
        }
        fill(&mut place.namespace, &self.namespace);
        fill(&mut place.workload, &self.workload);
        fill(&mut place.pod, &self.pod);
        fill(&mut place.pod_uid, &self.pod_uid);
        fill(&mut place.container, &self.container);
        fill(&mut place.service, &self.service);
    }
}

/// Returns the `CronJob` for one of its runs: some sources name the one, some the other, and both
/// speak of one trace.
fn of_schedule(workload: Workload) -> Workload {
    match schedule_of(&workload.name).filter(|_| &*workload.kind == "Job") {
        Some(schedule) => Workload { kind: "CronJob".into(), name: schedule.into() },
        None => workload,
    }
}

fn fill<T: Clone>(gap: &mut Option<T>, known: &Option<T>) {
    if gap.is_none() {
        gap.clone_from(known);
    }
}

/// Says whether what the source sees happens on the host it runs on. The others speak of other
/// hosts too, and giving their events our node would be a lie.
const fn is_of_this_host(source: Source) -> bool {
    match source {
        Source::Kernel | Source::Cgroup | Source::Journal | Source::App | Source::Network => true,
        Source::Kubernetes | Source::Otlp | Source::Metrics => false,
    }
}

fn cache<K, V>() -> Cache<K, V>
where
    K: std::hash::Hash + Eq + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    Cache::builder().max_capacity(KNOWN_MAX).time_to_idle(KNOWN_IDLE).build()
}

/// Merges what was said of `id` into `cache`; writes only what is news, for most events bring none.
fn teach(
    cache: &Cache<Text, Arc<Known>>,
    id: &Text,
    said: &Known,
    merge: fn(Known, Known) -> Known,
) {
    let merged = |known: Option<Arc<Known>>| {
        let known = known.as_deref().cloned().unwrap_or_default();
        let merged = merge(known.clone(), said.clone());
        (merged != known).then_some(merged)
    };
    if merged(cache.get(id)).is_some() {
        cache.entry_by_ref(id).and_compute_with(|entry| {
            merged(entry.map(moka::Entry::into_value))
                .map_or(Op::Nop, |known| Op::Put(Arc::new(known)))
        });
    }
}

/// Returns the text if there is any: an empty name or id identifies nothing.
fn named(text: &Option<Text>) -> Option<&Text> {
    text.as_ref().filter(|text| !text.is_empty())
}

/// Infers the trace by the first rule that applies.
///
/// # Shape
/// XXH3-128 over the cluster's name, the rule's name and what identifies the owner, each behind
/// its length in 8 bytes, little end first. What runs once in a cluster is named without its node.
fn infer(place: &Place, generation: Option<u64>, source: Source) -> (Rule, TraceId) {
    let id = |rule: Rule, parts: &[&str]| (rule, trace_id(place, rule, generation, parts));
    let node = named(&place.node);
    let namespace = named(&place.namespace);
    let workload = place.workload.as_ref().filter(|workload| !workload.name.is_empty());
    let unit = workload.filter(|workload| workload.kind == UNIT);
    let owner = workload.filter(|workload| workload.kind != UNIT);
    if let (Some(owner), Some(namespace)) = (owner, namespace) {
        id(Rule::Workload, &[&owner.kind, namespace, &owner.name])
    } else if let Some(uid) = named(&place.pod_uid) {
        id(Rule::Pod, &[uid])
    } else if let (Some(pod), Some(namespace)) = (named(&place.pod), namespace) {
        id(Rule::Pod, &[namespace, pod])
    } else if let Some(container) = named(&place.container_id) {
        id(Rule::Container, &[container])
    } else if let (Some(unit), Some(node)) = (unit, node) {
        id(Rule::Unit, &[node, &unit.name])
    } else if let (Some(cgroup), Some(node)) = (named(&place.cgroup), node) {
        id(Rule::Cgroup, &[node, cgroup])
    } else if let Some(service) = named(&place.service) {
        // As OpenTelemetry has it, a service without a namespace is in the empty one.
        id(Rule::Service, &[namespace.map_or("", Text::as_str), service])
    } else if let Some(node) = node {
        id(Rule::Node, &[node])
    } else {
        id(Rule::Source, &[source.name()])
    }
}

fn trace_id(place: &Place, rule: Rule, generation: Option<u64>, parts: &[&str]) -> TraceId {
    let mut hash = Xxh3::new();
    let mut add = |part: &[u8]| {
        hash.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_le_bytes());
        hash.update(part);
    };
    add(place.cluster.as_deref().unwrap_or_default().as_bytes());
    add(rule.name().as_bytes());
    parts.iter().for_each(|part| add(part.as_bytes()));
    // Only a workload has versions that share its name.
    if let Some(generation) = generation.filter(|_| rule == Rule::Workload) {
        add(&generation.to_le_bytes());
    }
    // Zeros are no trace id; which other value takes their place does not matter.
    TraceId::from_bytes(hash.digest128().max(1).to_be_bytes())
}

#[cfg(test)]
mod tests;
