//! Change points of metrics: a pod or a node that uses more, or less, than it did.

mod quantity;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use tapio_model::{Event, Place, Text, Timestamp, TraceContext, Value};

use self::quantity::{Quantity, Scope};
use crate::{
    BaselineLimits,
    level::{Direction, Level, Step},
};

/// Samples of a series that are nearer together than this are one: a level is of an hour, not of a
/// minute.
const APART_MIN: Duration = Duration::from_secs(10);

/// Steps in a row that make a change point: one peak is none.
const STEPS_MIN: u32 = 2;

/// How long a sample speaks for: the interval of a slow scraper, and a little.
const SPEAKS_FOR: Duration = Duration::from_secs(100);

/// Steps that are not learnt; what stays is normal afterwards.
const HELD_MAX: u32 = 20;

/// Series that were silent for so long are forgotten when room is needed.
const SILENT_MAX: Duration = Duration::from_secs(3_600);

/// What a series takes when it knows a day.
const SERIES_BYTES_MAX: usize = 3_584;

/// How often room is looked for: a sweep goes over all series.
const SWEEP_EVERY: Duration = Duration::from_secs(60);

/// Change points that are told at once; the weightiest first.
const TOLD_MAX: usize = 64;

/// Pods whose node is remembered: names come from outside.
const HOMES_MAX: usize = 50_000;

/// A change point.
#[derive(Debug, Clone)]
pub(crate) struct Point {
    pub(crate) place: Arc<Place>,
    /// The trace of its owner, if it is known.
    pub(crate) trace: Option<TraceContext>,
    pub(crate) metric: Text,
    pub(crate) resource: &'static str,
    pub(crate) step: Step,
}

/// A series: the thing it is of, and its name.
type Key = (Text, Text);

#[derive(Debug)]
struct Series {
    level: Level,
    /// The latest value of a counter, which only its difference makes a quantity.
    counter: Option<f64>,
    seen: Timestamp,
    steps: u32,
    point: Option<Point>,
}

/// The series of metrics of pods and nodes.
#[derive(Debug, Default)]
pub(crate) struct Points {
    by_key: BTreeMap<Key, Series>,
    /// The node of a pod, where its samples do not say it.
    homes: BTreeMap<Text, Text>,
    /// Whether there are samples that speak of a node and do not name it.
    wants_homes: bool,
    bytes: usize,
    swept: Timestamp,
}

impl Points {
    /// Notes which node a pod is on, if anybody wants to know.
    pub(crate) fn note_home(&mut self, event: &Event) {
        if !self.wants_homes {
            return;
        }
        let Some((pod, node)) = event.place.pod.as_ref().zip(event.place.node.as_ref()) else {
            return;
        };
        if self.homes.get(pod) != Some(node)
            && (self.homes.len() < HOMES_MAX || self.homes.contains_key(pod))
        {
            self.homes.insert(pod.clone(), node.clone());
        }
    }

    /// Takes a sample in.
    pub(crate) fn take(&mut self, event: &Event, limits: &BaselineLimits) {
        for (name, value) in event.attributes.iter() {
            let value = match value {
                Value::Float(value) => *value,
                Value::Int(value) => int_to_f64(*value),
                Value::Text(_) | Value::Bool(_) => continue,
            };
            let Some(quantity) = Quantity::of(name).filter(|_| value.is_finite()) else { continue };
            let Some((place, trace)) = self.subject(event, quantity.scope) else { continue };
            let key = (subject_key(&place), name.clone());
            let Some(series) = self.series(key, event.time, limits) else { continue };
            series.take(value, event.time, &quantity);
            if let Some(point) = &mut series.point {
                (point.metric, point.resource) = (name.clone(), quantity.resource);
                (point.place, point.trace) = (place, trace);
            }
        }
    }

    /// Returns the place that a metric is of, and its trace.
    fn subject(
        &mut self,
        event: &Event,
        scope: Scope,
    ) -> Option<(Arc<Place>, Option<TraceContext>)> {
        let place = &*event.place;
        let own = event.trace.binding.is_inferred().then_some(event.trace);
        let is_of_pod = place.pod.is_some() || place.pod_uid.is_some();
        match scope {
            Scope::Pod if is_of_pod || place.workload.is_some() => {
                // A pod is no service: whoever compares services does not compare this.
                let place = Place { service: None, ..place.clone() };
                Some((Arc::new(place), own))
            }
            Scope::Pod => None,
            Scope::Node => {
                self.wants_homes |= place.node.is_none();
                let home = || self.homes.get(place.pod.as_ref()?).cloned();
                let node = place.node.clone().or_else(home)?;
                let cluster = place.cluster.clone();
                let place = Place { cluster, node: Some(node), ..Place::default() };
                Some((Arc::new(place), own.filter(|_| !is_of_pod)))
            }
        }
    }

    fn series(&mut self, key: Key, at: Timestamp, limits: &BaselineLimits) -> Option<&mut Series> {
        if !self.by_key.contains_key(&key) {
            let is_full =
                self.by_key.len() >= limits.series_max || self.bytes >= limits.points_bytes_max;
            if is_full && !self.sweep(at, limits) {
                return None;
            }
            self.bytes += bytes_of(&key);
        }
        Some(self.by_key.entry(key).or_insert_with(|| Series {
            level: Level::daily(),
            counter: None,
            seen: Timestamp::MIN,
            steps: 0,
            point: None,
        }))
    }

    /// Forgets the series that fell silent; says whether there is room.
    fn sweep(&mut self, now: Timestamp, limits: &BaselineLimits) -> bool {
        if now.since(self.swept) < SWEEP_EVERY {
            return false;
        }
        self.swept = now;
        self.by_key.retain(|_, series| now.since(series.seen) < SILENT_MAX);
        self.bytes = self.by_key.keys().map(bytes_of).sum();
        self.by_key.len() < limits.series_max && self.bytes < limits.points_bytes_max
    }

    /// Says whether no change point speaks for the present.
    pub(crate) fn is_quiet(&self, now: Timestamp) -> bool {
        self.present(now).next().is_none()
    }

    fn present(&self, now: Timestamp) -> impl Iterator<Item = &Point> {
        let is_present = move |series: &&Series| {
            now.since(series.seen) < SPEAKS_FOR && series.steps >= STEPS_MIN
        };
        self.by_key.values().filter(is_present).filter_map(|series| series.point.as_ref())
    }

    /// Returns the change points that speak for the present. What one pod does explains its node:
    /// that is not told.
    pub(crate) fn look(&self, now: Timestamp) -> Vec<Point> {
        let present: Vec<_> = self.present(now).collect();
        let explained: BTreeSet<(&str, &str, Direction)> = present
            .iter()
            .filter(|point| point.place.pod.is_some() || point.place.pod_uid.is_some())
            .filter_map(|point| {
                let home = || self.homes.get(point.place.pod.as_ref()?);
                let node = point.place.node.as_ref().or_else(home)?;
                Some((node.as_str(), point.resource, point.step.direction))
            })
            .collect();
        let is_explained = |point: &Point| {
            let is_node = point.place.pod.is_none() && point.place.pod_uid.is_none();
            let node = point.place.node.as_deref().filter(|_| is_node);
            node.is_some_and(|node| {
                explained.contains(&(node, point.resource, point.step.direction))
            })
        };
        let mut told: Vec<_> =
            present.into_iter().filter(|point| !is_explained(point)).cloned().collect();
        told.sort_by(|a, b| b.step.score.total_cmp(&a.step.score));
        told.truncate(TOLD_MAX);
        told
    }
}

impl Series {
    fn take(&mut self, value: f64, at: Timestamp, quantity: &Quantity) {
        let since = at.since(self.seen);
        if since < APART_MIN {
            return;
        }
        let Some(value) = self.quantity(value, since, quantity) else {
            self.seen = at;
            return;
        };
        self.seen = at;
        let step = self.level.judge(value, at, &quantity.yardstick);
        self.level.learn(value, at, step.is_some(), HELD_MAX);
        let Some(step) = step else {
            (self.steps, self.point) = (0, None);
            return;
        };
        let goes_on =
            self.point.as_ref().is_some_and(|known| known.step.direction == step.direction);
        self.steps = if goes_on { self.steps + 1 } else { 1 };
        // Whose it is, the caller knows.
        let (place, metric) = (Arc::default(), Text::default());
        self.point = Some(Point { place, trace: None, metric, resource: quantity.resource, step });
    }

    /// Returns the value, of a counter what it gained a second.
    fn quantity(&mut self, value: f64, since: Duration, quantity: &Quantity) -> Option<f64> {
        if !quantity.is_counter {
            return Some(value);
        }
        let before = self.counter.replace(value)?;
        // A counter that went back was set to nothing by a restart.
        (value >= before && !since.is_zero()).then(|| (value - before) / since.as_secs_f64())
    }
}

/// Returns what tells two containers, pods or nodes apart.
fn subject_key(place: &Place) -> Text {
    let container = place.container.as_deref().unwrap_or_default();
    match &place.pod_uid {
        Some(uid) => format!("{uid}/{container}").into(),
        None => place.label().into(),
    }
}

/// Returns what a series takes in the end: whoever is let in may stay.
fn bytes_of((subject, name): &Key) -> usize {
    subject.len() + name.len() + 2 * size_of::<(Key, Series)>() + SERIES_BYTES_MAX
}

#[expect(clippy::cast_precision_loss, reason = "a measured number need not be exact")]
const fn int_to_f64(number: i64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests;
