//! What production does to a story: the ways in which a scene is made harder to read.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use tapio_collect::{Binder, Home, Unbound};
use tapio_model::{Event, EventId, Source, Text, Timestamp, TraceId, Value, keys};

use crate::dice::Dice;

/// How far a source's clock may be off, either way.
const SKEW_MS_MAX: u64 = 2_000;

/// How late an event may arrive.
const LATE_MS_MAX: u64 = 20_000;

/// Percent of events that are lost on the way, lot by lot.
const LOSSES: [u64; 5] = [10, 20, 30, 40, 50];

/// How often a hardship that is drawn by lot is drawn anew.
const DRAWS: usize = 3;

/// In how many ways at most a scene is cut: a recording has hundreds of events.
const CUTS_MAX: usize = 12;

/// What is done to a scene.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Hardship {
    /// Nothing: it is as its author wrote it.
    None,
    /// One of its events is missing: each in turn.
    EventMissing,
    /// One of its collectors is missing: each in turn.
    CollectorMissing,
    /// Events are lost on the way, and nobody knows.
    Lossy,
    /// Its trace holds too much already: events are turned away, and the trace knows.
    Crowded,
    /// Clocks of its sources differ.
    Skewed,
    /// Events arrive late, and in another order.
    Late,
    /// Each event is told twice.
    Repeated,
    /// Nobody knows which workload a pod belongs to.
    Unowned,
    /// Its events have the traces that binding gives them, by owner.
    Bound,
    /// Another scene plays on the same node at the same time.
    Beside,
    /// Bound, beside another scene, lossy and skewed.
    Worst,
}

impl Hardship {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::None,
        Self::EventMissing,
        Self::CollectorMissing,
        Self::Lossy,
        Self::Crowded,
        Self::Skewed,
        Self::Late,
        Self::Repeated,
        Self::Unowned,
        Self::Bound,
        Self::Beside,
        Self::Worst,
    ];

    /// Returns what it is called in tables.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::EventMissing => "event_missing",
            Self::CollectorMissing => "collector_missing",
            Self::Lossy => "lossy",
            Self::Crowded => "crowded",
            Self::Skewed => "skewed",
            Self::Late => "late",
            Self::Repeated => "repeated",
            Self::Unowned => "unowned",
            Self::Bound => "bound",
            Self::Beside => "beside",
            Self::Worst => "worst",
        }
    }
}

/// An event, and when it reaches the engine.
#[derive(Debug, Clone)]
pub(crate) struct Arrival {
    pub(crate) at: Timestamp,
    pub(crate) event: Event,
}

/// A scene as it reaches the engine.
#[derive(Debug, Clone)]
pub(crate) struct Course {
    pub(crate) hardship: Hardship,
    pub(crate) arrivals: Vec<Arrival>,
    /// Events a trace may hold, where that is the hardship.
    pub(crate) trace_events_max: Option<usize>,
    /// The scene that plays beside it.
    pub(crate) beside: Option<usize>,
}

impl Course {
    /// An event that comes after a later one came late.
    fn of(hardship: Hardship, events: impl IntoIterator<Item = Event>) -> Self {
        let mut now = Timestamp::MIN;
        let on_time = |event: Event| {
            now = now.max(event.time);
            Arrival { at: now, event }
        };
        Self {
            hardship,
            arrivals: events.into_iter().map(on_time).collect(),
            trace_events_max: None,
            beside: None,
        }
    }
}

/// Returns the scene `own` of `scenes` under every hardship.
pub(crate) fn courses(own: usize, scenes: &[Vec<Event>], dice: &mut Dice) -> Vec<Course> {
    let events = scenes.get(own).map_or(&[][..], Vec::as_slice);
    let whole = || events.iter().cloned();
    let mut courses = vec![Course::of(Hardship::None, whole())];
    courses.extend(some(events.iter().collect(), dice).into_iter().map(|missing| {
        let rest = whole().filter(|event| event.id != missing.id);
        Course::of(Hardship::EventMissing, rest)
    }));
    let sources: BTreeSet<Source> = events.iter().map(|event| event.source).collect();
    // Without its only collector nothing is left to be told.
    courses.extend(sources.iter().filter(|_| sources.len() > 1).map(|missing| {
        let rest = whole().filter(|event| event.source != *missing);
        Course::of(Hardship::CollectorMissing, rest)
    }));
    for percent in LOSSES {
        let kept: Vec<_> = whole().filter(|_| dice.below(100) >= percent).collect();
        if kept.len() < events.len() {
            courses.push(Course::of(Hardship::Lossy, kept));
        }
    }
    let rooms = some((2..events.len()).collect(), dice);
    courses.extend(rooms.into_iter().map(|room| Course {
        trace_events_max: Some(room),
        ..Course::of(Hardship::Crowded, whole())
    }));
    for _ in 0..DRAWS {
        let mut skewed = Course::of(Hardship::Skewed, whole());
        skew(&mut skewed, &sources, dice);
        courses.push(skewed);
        let mut late = Course::of(Hardship::Late, whole());
        for arrival in &mut late.arrivals {
            arrival.at = arrival.at.after(Duration::from_millis(dice.below(LATE_MS_MAX)));
        }
        courses.push(late);
    }
    courses.push(Course::of(Hardship::Repeated, whole().flat_map(|event| [again(&event), event])));
    courses.push(Course::of(Hardship::Unowned, whole().map(unowned)));
    courses.push(Course::of(Hardship::Bound, bound(whole())));
    for _ in 0..DRAWS {
        let (other, guest) = guest(own, scenes, dice);
        courses.push(Course {
            beside: Some(other),
            ..Course::of(Hardship::Beside, whole().chain(guest))
        });
        let (other, guest) = self::guest(own, scenes, dice);
        let kept: Vec<_> = whole().chain(guest).filter(|_| dice.below(100) >= 20).collect();
        let mut worst =
            Course { beside: Some(other), ..Course::of(Hardship::Worst, bound(kept.into_iter())) };
        skew(&mut worst, &sources, dice);
        courses.push(worst);
    }
    courses
}

/// Draws some where there are many.
fn some<T>(mut all: Vec<T>, dice: &mut Dice) -> Vec<T> {
    while all.len() > CUTS_MAX {
        all.swap_remove(dice.place(all.len()));
    }
    all
}

/// Sets each source's clock off, and leaves what arrives when as it is.
fn skew(course: &mut Course, sources: &BTreeSet<Source>, dice: &mut Dice) {
    for source in sources {
        let off = Duration::from_millis(dice.below(SKEW_MS_MAX));
        let is_behind = dice.below(2) == 0;
        for arrival in course.arrivals.iter_mut().filter(|it| it.event.source == *source) {
            let time = arrival.event.time;
            arrival.event.time = if is_behind { time.before(off) } else { time.after(off) };
        }
    }
}

/// Returns the same event as another witness of the same kind would tell it.
fn again(event: &Event) -> Event {
    Event { id: marked(event.id, 1), ..event.clone() }
}

fn unowned(mut event: Event) -> Event {
    let mut place = (*event.place).clone();
    if place.pod.is_some() {
        place.workload = None;
    }
    event.place = Arc::new(place);
    event
}

/// Gives events the traces that binding would have given them.
fn bound(events: impl Iterator<Item = Event>) -> Vec<Event> {
    let binder = Binder::new(Home::default());
    events
        .map(|event| {
            let has_trace = !event.trace.binding.is_inferred();
            binder.bind(Unbound {
                id: event.id,
                time: event.time,
                source: event.source,
                kind: event.kind,
                trace_id: has_trace.then_some(event.trace.trace_id),
                span_id: event.trace.span_id,
                parent_span_id: event.trace.parent_span_id,
                generation: None,
                place: (*event.place).clone(),
                severity: event.severity,
                impact: event.impact,
                class: event.class,
                attributes: event
                    .attributes
                    .iter()
                    .map(|(key, value)| (key.clone(), value.clone()))
                    .collect(),
            })
        })
        .collect()
}

/// Draws another scene, moves it to workloads of its own on the first node of scene `own`.
fn guest(own: usize, scenes: &[Vec<Event>], dice: &mut Dice) -> (usize, Vec<Event>) {
    let count = u64::try_from(scenes.len()).unwrap_or(1);
    let drawn = usize::try_from(dice.below(count)).unwrap_or_default();
    let other = if drawn == own { (drawn + 1) % scenes.len().max(1) } else { drawn };
    let events = scenes.get(own).map_or(&[][..], Vec::as_slice);
    let node = events.iter().find_map(|event| event.place.node.clone());
    let guests = scenes.get(other).map_or(&[][..], Vec::as_slice);
    (other, guests.iter().map(|event| moved(event, node.as_ref())).collect())
}

fn moved(event: &Event, node: Option<&Text>) -> Event {
    let aside = |name: &Text| Text::from(format!("{name}-beside"));
    let mut place = (*event.place).clone();
    if let Some((at, node)) = place.node.as_mut().zip(node) {
        *at = node.clone();
    }
    for name in [
        &mut place.namespace,
        &mut place.pod,
        &mut place.pod_uid,
        &mut place.container_id,
        &mut place.service,
    ] {
        *name = name.as_ref().map(aside);
    }
    if let Some(workload) = &mut place.workload {
        workload.name = aside(&workload.name);
    }
    let mut moved = event.clone();
    moved.id = marked(event.id, 0);
    moved.trace.trace_id = beside_trace(event.trace.trace_id);
    moved.place = Arc::new(place);
    let attributes = event.attributes.iter().map(|(key, value)| match value {
        Value::Text(name) if *key == keys::PEER_SERVICE => (key.clone(), Value::Text(aside(name))),
        Value::Text(_) | Value::Int(_) | Value::Float(_) | Value::Bool(_) => {
            (key.clone(), value.clone())
        }
    });
    moved.attributes = tapio_model::Attributes::new(attributes);
    moved
}

/// The mark of a guest's events is in the first byte, that of a repeat's in the second.
fn marked(id: EventId, byte: usize) -> EventId {
    let mut bytes = *id.as_bytes();
    if let Some(byte) = bytes.get_mut(byte) {
        *byte = 1;
    }
    EventId::from_bytes(bytes)
}

/// Says whether an event came with a guest.
pub(crate) fn is_guest(id: EventId) -> bool {
    id.as_bytes().first() == Some(&1)
}

fn beside_trace(id: TraceId) -> TraceId {
    let mut bytes = *id.as_bytes();
    if let Some(byte) = bytes.first_mut() {
        *byte ^= 1;
    }
    TraceId::from_bytes(bytes)
}
