//! Toy events, a toy pattern, and a house of actors over a memory bus, driven by hand.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex, Once, PoisonError,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    thread::{self, ThreadId},
    time::Duration,
};

use tapio_actors::{ActorSystem, ShardStats, StartError, SystemParts, TimeSource};
use tapio_bus::{Batch, Bus, MemoryBus, MemoryBusLimits, PublishError};
use tapio_engine::{Draft, Limits, Pattern, Patterns, Rules, Spec, Told, View};
use tapio_model::{
    Attributes, Binding, Class, Entity, Event, EventId, EvidenceClass, Impact, Kind, Place, Rule,
    Severity, Source, Story, Timestamp, TraceContext, TraceId,
};
use tapio_shard::ShardCount;
use tokio::sync::mpsc;

/// How far the tests' time goes at once: one bucket of the engine's timers.
pub(crate) const STEP: Duration = Duration::from_millis(50);

/// What a test says of an event.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sketch {
    pub(crate) number: u64,
    pub(crate) trace: u8,
    pub(crate) at: Duration,
    pub(crate) kind: Kind,
    pub(crate) impact: f32,
    pub(crate) inferred: bool,
    pub(crate) pod: u8,
    pub(crate) poison: bool,
}

impl Default for Sketch {
    fn default() -> Self {
        Self {
            number: 0,
            trace: 1,
            at: Duration::ZERO,
            kind: Kind::ProbeFailed,
            impact: 0.8,
            inferred: true,
            pod: 1,
            poison: false,
        }
    }
}

/// A toy breaks: a probe fails and the container is killed, in the pod of the trace's number.
pub(crate) fn breaking(trace: u8, after: Duration) -> [Sketch; 2] {
    let number = u64::from(trace) * 1_000_000 + u64::try_from(after.as_millis()).unwrap_or(0) * 10;
    let probe = Sketch { number, trace, pod: trace, at: after, ..Sketch::default() };
    [probe, Sketch { number: number + 1, kind: Kind::ContainerKilling, ..probe }]
}

/// A moment after the tests' beginning.
pub(crate) fn at(after: Duration) -> Timestamp {
    Timestamp::from_secs(1_000_000).after(after)
}

pub(crate) fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

pub(crate) fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub(crate) fn trace_id(trace: u8) -> TraceId {
    TraceId::from_bytes([trace; 16])
}

pub(crate) fn event(sketch: &Sketch) -> Arc<Event> {
    let binding = if sketch.inferred { Binding::Inferred(Rule::Pod) } else { Binding::Explicit };
    let attributes: Attributes = sketch.poison.then_some(("poison", true)).into_iter().collect();
    Arc::new(Event {
        id: EventId::from_bytes(u128::from(sketch.number).to_be_bytes()),
        time: at(sketch.at),
        source: Source::Kubernetes,
        kind: sketch.kind,
        trace: TraceContext {
            trace_id: trace_id(sketch.trace),
            span_id: None,
            parent_span_id: None,
            binding,
        },
        place: Arc::new(Place {
            pod_uid: Some(format!("p{}", sketch.pod).into()),
            ..Place::default()
        }),
        severity: Severity::Warn,
        impact: Impact::new(sketch.impact),
        class: Class::Health,
        attributes,
    })
}

/// Holds for a pod whose container was killed after a probe had failed; panics on poison, and as
/// often as it is told to.
#[derive(Debug, Default)]
pub(crate) struct Toy {
    pub(crate) panics_left: AtomicU32,
    /// Keeps whoever thinks, and with it the arbiter's thread, until it is cleared.
    pub(crate) holds: AtomicBool,
    pub(crate) is_holding: AtomicBool,
    pub(crate) threads: Mutex<BTreeMap<TraceId, Vec<ThreadId>>>,
}

const TOY: Spec = Spec {
    slug: "toy",
    title: "Toy",
    wakes_on: &[Kind::ProbeFailed, Kind::ContainerKilling],
    leads_to: &[],
};

impl Pattern for Toy {
    fn spec(&self) -> &'static Spec {
        &TOY
    }

    fn detect(&self, view: &View<'_>) -> Vec<Draft> {
        assert!(view.events().all(|event| event.attributes.get("poison").is_none()), "poison");
        while self.holds.load(Ordering::SeqCst) {
            self.is_holding.store(true, Ordering::SeqCst);
            thread::yield_now();
        }
        let less = |left: u32| left.checked_sub(1);
        let panics = self.panics_left.try_update(Ordering::SeqCst, Ordering::SeqCst, less);
        assert!(panics.is_err(), "told to panic");
        let Some(probe) = view.of(Kind::ProbeFailed).next() else { return Vec::new() };
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        threads.entry(probe.trace.trace_id).or_default().push(thread::current().id());
        drop(threads);
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

pub(crate) fn rules(toy: &Arc<Toy>, limits: Limits) -> Arc<Rules> {
    let toy: Arc<dyn Pattern> = Arc::<Toy>::clone(toy);
    let patterns: Patterns = Arc::from([toy]);
    Arc::new(Rules::new(&patterns, limits))
}

/// Quiet about the panics that a test provokes, and about no other.
pub(crate) fn hush() {
    static HUSHED: Once = Once::new();
    HUSHED.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if !matches!(panic.payload_as_str(), Some("poison" | "told to panic")) {
                before(panic);
            }
        }));
    });
}

/// What a house is built of.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) shards: u16,
    pub(crate) arbiters: usize,
    pub(crate) limits: Limits,
    pub(crate) toy: Arc<Toy>,
    pub(crate) told_max: usize,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            shards: 4,
            arbiters: 2,
            limits: Limits::default(),
            toy: Arc::default(),
            told_max: 10_000,
        }
    }
}

/// The actors over a memory bus, whose time is what the test says.
#[derive(Debug)]
pub(crate) struct House {
    pub(crate) system: ActorSystem,
    pub(crate) bus: Arc<MemoryBus>,
    pub(crate) rules: Arc<Rules>,
    pub(crate) told: mpsc::Receiver<Told>,
    shards: ShardCount,
    now: Duration,
    sent: u64,
}

impl House {
    pub(crate) async fn open(plan: &Plan) -> Result<Self, StartError> {
        let shards = ShardCount::new(plan.shards);
        let bus =
            Arc::new(MemoryBus::new(MemoryBusLimits { shards, ..MemoryBusLimits::default() }));
        let rules = rules(&plan.toy, plan.limits.clone());
        let (sender, told) = mpsc::channel(plan.told_max);
        let system = ActorSystem::start(SystemParts {
            bus: Arc::<MemoryBus>::clone(&bus),
            shards,
            arbiters: plan.arbiters,
            rules: Arc::clone(&rules),
            time: TimeSource::Batches,
            told: sender,
        });
        let system = system.await?;
        Ok(Self { system, bus, rules, told, shards, now: Duration::ZERO, sent: 0 })
    }

    /// Publishes what happens at `after` and waits until it is in the inboxes of its traces.
    pub(crate) async fn publish(
        &mut self,
        after: Duration,
        sketches: &[Sketch],
    ) -> Result<(), PublishError> {
        self.sent += sketches.len() as u64;
        for batch in batches(self.shards, after, sketches) {
            self.bus.publish(batch).await?;
        }
        while self.bus.stats().held_events > 0 {
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    /// Lets time pass until `after`, step by step.
    pub(crate) async fn pass(&mut self, after: Duration) {
        while self.now < after {
            self.now = (self.now + STEP).min(after);
            self.system.advance(at(self.now)).await;
        }
    }

    /// Closes the bus and ends; returns the last figures and all that was told since the beginning.
    pub(crate) async fn finish(mut self) -> (ShardStats, Vec<Told>) {
        self.bus.close().await;
        self.system.fed().await;
        let stats = self.system.finish().await;
        let mut told = Vec::new();
        while let Some(telling) = self.told.recv().await {
            told.push(telling);
        }
        assert_eq!(stats.ledger.received, self.sent);
        assert!(stats.ledger.balances(), "{:?}", stats.ledger);
        assert_eq!(stats.wakes_refused, 0);
        assert_evidence_comes_first(&told);
        (stats, told)
    }
}

/// What happens at one time, as a collector would send it: by shard and level.
pub(crate) fn batches(shards: ShardCount, after: Duration, sketches: &[Sketch]) -> Vec<Batch> {
    let mut batches: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for event in sketches.iter().map(event) {
        let key = (shards.shard_of(event.trace.trace_id), event.level());
        batches.entry(key).or_default().push(event);
    }
    let batch = |((shard, level), events)| Batch { shard, level, time: at(after), events };
    batches.into_iter().map(batch).collect()
}

fn assert_evidence_comes_first(told: &[Told]) {
    let mut seen = BTreeSet::new();
    for telling in told {
        match telling {
            Told::Evidence(events) => seen.extend(events.iter().map(|event| event.id)),
            Told::Story(story) => {
                assert!(story.event_ids.iter().all(|id| seen.contains(id)), "{story:?}");
            }
            Told::Dead { .. } => {}
        }
    }
}

/// The stories told, in order of time, not of arrival.
pub(crate) fn stories(told: &[Told]) -> Vec<Story> {
    let mut stories: Vec<Story> = told
        .iter()
        .filter_map(|telling| match telling {
            Told::Story(story) => Some(Story::clone(story)),
            Told::Evidence(_) | Told::Dead { .. } => None,
        })
        .collect();
    stories.sort_by_key(|story| (story.told_at, story.id, story.telling));
    stories
}

/// The dead letters told, by trace.
pub(crate) fn dead(told: &[Told]) -> Vec<(TraceId, usize)> {
    told.iter()
        .filter_map(|telling| match telling {
            Told::Dead { trace, events } => Some((*trace, events.len())),
            Told::Evidence(_) | Told::Story(_) => None,
        })
        .collect()
}
