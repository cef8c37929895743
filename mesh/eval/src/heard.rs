//! What an engine told of a recording, and when there was anything to tell of.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use tapio_model::{Event, EventId, Kind, Story, StoryId, Text, Timestamp, Value, Verdict, keys};

use tapio_wire::json::time_to_text;

use crate::{importers::service_of_pod, score::FalseStory, times::Place};

/// Silence of spans and logs that ends a stretch.
const STRETCH_GAP: Duration = Duration::from_secs(60);

/// Stands for the service of a root that is of none: no service may bear this name.
const NO_SERVICE: &str = "(no service)";

/// A telling of a story.
#[derive(Debug, Clone)]
pub(crate) struct Telling {
    pub(crate) at: Timestamp,
    pub(crate) pattern: Text,
    pub(crate) title: Text,
    /// Services, the one at fault first; those with the same number are tied.
    pub(crate) ranking: Vec<(Text, f64)>,
    pub(crate) confidence: f64,
    pub(crate) is_unknown: bool,
    /// The times of the events it cites.
    pub(crate) cited: Vec<Timestamp>,
}

/// A story in all its tellings; there is at least one.
#[derive(Debug, Clone)]
pub(crate) struct Told {
    first: Telling,
    later: Vec<Telling>,
}

impl Told {
    pub(crate) fn opened_at(&self) -> Timestamp {
        self.first.at
    }

    pub(crate) fn last(&self) -> &Telling {
        self.later.last().unwrap_or(&self.first)
    }

    /// Returns the last telling until `end`; the first if all are later.
    pub(crate) fn last_until(&self, end: Timestamp) -> &Telling {
        self.later.iter().rfind(|telling| telling.at <= end).unwrap_or(&self.first)
    }

    /// Returns when it first named this service as the one at fault.
    pub(crate) fn correct_at(&self, service: &str) -> Option<Timestamp> {
        let names =
            |telling: &&Telling| telling.ranking.first().is_some_and(|(first, _)| first == service);
        std::iter::once(&self.first).chain(&self.later).find(names).map(|telling| telling.at)
    }

    /// Returns it as a story about nothing.
    pub(crate) fn falsely(&self, place: Place) -> FalseStory {
        FalseStory {
            at: time_to_text(self.opened_at()),
            place: place.name(),
            told: self.headline(),
            confidence: self.last().confidence,
        }
    }

    pub(crate) fn headline(&self) -> String {
        let last = self.last();
        format!("{}: {}", last.pattern, last.title)
    }
}

/// What is remembered of an event that a story may cite.
#[derive(Debug, Clone)]
struct Cited {
    time: Timestamp,
    service: Option<Text>,
    /// What is unlike, and how much that weighs.
    anomaly: Option<(u64, f64)>,
}

/// Hears an engine.
#[derive(Debug, Default)]
pub struct Heard {
    cited: BTreeMap<EventId, Cited>,
    stories: BTreeMap<StoryId, Told>,
    /// Stories that turned out to be part of another.
    merged: BTreeSet<StoryId>,
    /// Where there were spans or logs, from and until.
    pub(crate) stretches: Vec<(Timestamp, Timestamp)>,
    /// Where there was anything at all.
    pub(crate) span: Option<(Timestamp, Timestamp)>,
}

impl Heard {
    /// Notes an event of the recording, in order of time.
    pub fn event(&mut self, event: &Event) {
        let at = event.time;
        let span = self.span.get_or_insert((at, at));
        span.1 = span.1.max(at);
        if !matches!(event.kind, Kind::Span | Kind::Log | Kind::Exception) {
            return;
        }
        match self.stretches.last_mut() {
            Some((_, end)) if at <= end.after(STRETCH_GAP) => *end = (*end).max(at),
            Some(_) | None => self.stretches.push((at, at)),
        }
    }

    /// Notes evidence, which comes before the story that cites it.
    pub fn evidence(&mut self, events: &[Arc<Event>]) {
        for event in events {
            let place = &event.place;
            let of_pod = || place.pod.as_deref().map(|pod| Text::from(service_of_pod(pod)));
            // What happens to a node as a whole is at fault by the node's name.
            let of_node = || place.node.clone().filter(|_| place.namespace.is_none());
            let service = place.service_name().cloned().or_else(of_pod).or_else(of_node);
            let anomaly = (event.kind == Kind::Anomaly).then(|| anomaly(event));
            self.cited.insert(event.id, Cited { time: event.time, service, anomaly });
        }
    }

    /// Notes a telling.
    pub fn story(&mut self, story: &Story) {
        if matches!(story.state, tapio_model::State::Merged { .. }) {
            self.merged.insert(story.id);
            return;
        }
        let telling = Telling {
            at: story.told_at,
            pattern: story.pattern.clone(),
            title: story.title.clone(),
            ranking: self.ranking(story),
            confidence: story.confidence.get(),
            is_unknown: matches!(story.verdict, Verdict::Unknown { .. }),
            cited: story.event_ids.iter().filter_map(|id| Some(self.cited.get(id)?.time)).collect(),
        };
        match self.stories.get_mut(&story.id) {
            Some(told) => told.later.push(telling),
            None => {
                self.stories.insert(story.id, Told { first: telling, later: Vec::new() });
            }
        }
    }

    /// Returns the stories in the order in which they opened, without those that merged.
    pub(crate) fn stories(&self) -> impl Iterator<Item = &Told> {
        let own = self.stories.iter().filter(|(id, _)| !self.merged.contains(id));
        let mut own: Vec<_> = own.map(|(_, told)| told).collect();
        own.sort_by_key(|told| told.opened_at());
        own.into_iter()
    }

    /// Ranks the services of a story: the root's first, then by what the cited anomalies weigh,
    /// then the rest, which are tied. Where the root is of no service, none stands in the first place:
    /// that others are cited makes nobody right.
    fn ranking(&self, story: &Story) -> Vec<(Text, f64)> {
        let mut weights: BTreeMap<Text, BTreeMap<u64, f64>> = BTreeMap::new();
        for cited in story.event_ids.iter().filter_map(|id| self.cited.get(id)) {
            let Some(service) = &cited.service else { continue };
            let signs = weights.entry(service.clone()).or_default();
            if let Some((sign, weight)) = cited.anomaly {
                let most = signs.entry(sign).or_default();
                *most = most.max(weight);
            }
        }
        let root = self.cited.get(&story.root_cause_event).and_then(|cited| cited.service.clone());
        let sums = weights.into_iter().map(|(service, signs)| (service, signs.values().sum()));
        rank(sums.collect(), root.as_ref())
    }
}

fn rank(mut services: Vec<(Text, f64)>, root: Option<&Text>) -> Vec<(Text, f64)> {
    for (service, weight) in &mut services {
        if Some(&*service) == root {
            *weight = f64::MAX;
        }
    }
    if root.is_none() {
        services.push((NO_SERVICE.into(), f64::MAX));
    }
    services.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    services
}

/// Returns what an anomaly is, and how much it weighs.
fn anomaly(event: &Event) -> (u64, f64) {
    let text = |key| event.attributes.text(key).unwrap_or_default();
    let what = [keys::ANOMALY_SIGNAL, keys::ANOMALY_CHANGE, keys::SPAN_NAME, keys::TEMPLATE];
    let what = what.map(text).join("\u{0}");
    let weight = match event.attributes.get(keys::ANOMALY_SCORE) {
        Some(Value::Float(weight)) => *weight,
        Some(Value::Int(_) | Value::Text(_) | Value::Bool(_)) | None => 0.0,
    };
    (xxhash_rust::xxh3::xxh3_64(what.as_bytes()), weight)
}

#[cfg(test)]
impl Heard {
    /// Notes a telling as it is.
    pub(crate) fn telling(&mut self, story: StoryId, telling: Telling) {
        match self.stories.get_mut(&story) {
            Some(told) => told.later.push(telling),
            None => {
                self.stories.insert(story, Told { first: telling, later: Vec::new() });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_root_without_a_service_puts_none_in_the_first_place() {
        let services = || vec![("cart".into(), 3.0), ("pay".into(), 7.0)];
        let names = |root: Option<&str>| {
            let root = root.map(Text::from);
            let ranked = rank(services(), root.as_ref());
            ranked.into_iter().map(|(service, _)| service.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(names(Some("cart")), ["cart", "pay"]);
        assert_eq!(names(None), [NO_SERVICE, "pay", "cart"]);
    }
}
