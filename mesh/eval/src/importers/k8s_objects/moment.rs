//! A cluster at one moment, from objects to events.

mod said;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
    vec,
};

use serde_json::Value as Json;
use tapio_collect::{Binder, Unbound, event_id};
use tapio_collect_kube::{News, Snapshot};
use tapio_model::{Event, EventId, Kind, Place, Severity, Text, Timestamp, Value, keys};

use self::said::{Ends, Said, gather, goes_on, last_words, makers, meet, waits};
use super::clock::{UNDATED, latest, parse, squeeze};
use crate::{CHUNK_EVENTS_MAX, ImportAccount, ImportError, Progress, Recording, Rejected};

/// The kind whose objects are about other objects.
const EVENT: &str = "Event";

/// Kinds whose troubles stand until somebody does something. Of a rollout long ago no trouble of
/// today can come.
const STANDING: &[&str] = &["Event", "Job", "Pod"];

/// Kinds that are told by their coming alone: a rule that stands is no trouble, unless it denies
/// everything; a new one may be.
const RULES: &[&str] = &["NetworkPolicy"];

/// Between two words about one thing.
const MOMENT: Duration = Duration::from_secs(1);

/// How long a server keeps an Event.
const EVENT_AGE_MAX: Duration = Duration::from_secs(3_600);

/// A rule that is older than this is taken for an old one.
const RULE_AGE_MAX: Duration = Duration::from_secs(3_600);

/// How much is known of an object, the least first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::importers) enum Detail {
    /// Its name.
    Named,
    /// A row of a table.
    Row,
    /// What `kubectl describe` prints.
    Described,
    /// All that the server said.
    Whole,
}

/// An object, as it was seen.
#[derive(Debug)]
pub(in crate::importers) struct Object {
    /// What tells it from any other.
    pub(in crate::importers) key: String,
    pub(in crate::importers) kind: String,
    pub(in crate::importers) json: Json,
    pub(in crate::importers) detail: Detail,
    /// Where it was found.
    pub(in crate::importers) file: Option<String>,
}

/// The objects of a cluster at one moment: the best look at each.
#[derive(Debug, Default)]
pub(in crate::importers) struct Moment {
    objects: BTreeMap<String, Object>,
}

/// What is told of a moment.
#[derive(Debug)]
pub(in crate::importers) struct Told {
    pub(in crate::importers) snapshot: Snapshot,
    pub(in crate::importers) events: Vec<Unbound>,
}

/// Things that are not well: pods and workloads with their namespace, nodes.
#[derive(Debug, Default)]
struct Unwell(BTreeSet<(&'static str, Option<Text>, Text)>);

impl Moment {
    pub(in crate::importers) fn len(&self) -> usize {
        self.objects.len()
    }

    /// Adds a look at an object; of two the better stays, of two as good the later.
    pub(in crate::importers) fn add(&mut self, object: Object) {
        let is_better = self.objects.get(&object.key).is_none_or(|known| {
            (known.detail, age(&known.json)) < (object.detail, age(&object.json))
        });
        if is_better {
            self.objects.insert(object.key.clone(), object);
        }
    }

    /// Leaves out what does not belong to the moment.
    pub(in crate::importers) fn retain(&mut self, mut belongs: impl FnMut(&Object) -> bool) {
        self.objects.retain(|_, object| belongs(object));
    }

    /// Completes the objects of a kind.
    pub(in crate::importers) fn change(&mut self, kind: &str, mut complete: impl FnMut(&mut Json)) {
        for object in self.objects.values_mut().filter(|object| object.kind == kind) {
            complete(&mut object.json);
        }
    }

    /// Takes what is known of some objects for as good as their description.
    pub(in crate::importers) fn believe(&mut self, is_sure: impl Fn(&Object) -> bool) {
        for object in self.objects.values_mut().filter(|object| is_sure(object)) {
            object.detail = Detail::Described;
        }
    }

    /// Returns the objects.
    pub(in crate::importers) fn objects(&self) -> impl Iterator<Item = &Object> {
        self.objects.values()
    }

    /// Returns the objects of a kind.
    pub(in crate::importers) fn of_kind(&self, kind: &str) -> impl Iterator<Item = &Json> {
        self.objects.values().filter(move |object| object.kind == kind).map(|object| &object.json)
    }

    /// Returns the latest time that an object mentions.
    pub(in crate::importers) fn latest(&self) -> Timestamp {
        let times = self.objects.values().filter_map(|object| latest(&object.json));
        times.max().unwrap_or(UNDATED)
    }

    /// Tells what stands at the moment `end`, and what the Events say.
    pub(in crate::importers) fn tell(self, end: Timestamp, account: &mut ImportAccount) -> Told {
        let snapshot = Snapshot::new(None, end);
        let mut told = Told { snapshot, events: Vec::new() };
        let mut stands = BTreeSet::new();
        let mut unwell = Unwell::default();
        // What others speak of is learnt first.
        for object in self.objects.values() {
            if told.snapshot.learn(&object.kind, &object.json).is_ok() {
                unwell.note_waiting(object);
            }
        }
        let (events, things): (Vec<_>, Vec<_>) =
            self.objects.into_values().partition(|object| object.kind == EVENT);
        let makers = makers(&events);
        let strangers: BTreeSet<String> =
            events.iter().filter_map(|event| meet(&told.snapshot, event, &makers)).collect();
        let last_words = last_words(&events);
        for thing in &things {
            for event in tell((&told.snapshot, end), thing, account) {
                unwell.note(&event);
                // A row says that something is wrong, and of what hardly a word.
                if thing.detail > Detail::Row {
                    stands.insert(event.id);
                }
                let time = squeeze(end, event.time);
                told.events.push(Unbound { time, ..event });
            }
        }
        let ends = Ends::of(&events, end);
        let mut said = Vec::new();
        for object in &events {
            let end = ends.get(object);
            for event in tell((&told.snapshot, end), object, account) {
                let uid = event.place.pod_uid.as_deref();
                let is_stranger = uid.is_none_or(|uid| strangers.contains(uid));
                // Some lists do not tell how often.
                let is_uncounted = object.json.get("count").is_some_and(Json::is_null);
                let waits = || last_words.contains(object.key.as_str()) && waits(&event);
                let is_repeated =
                    count(&event) > 1 || (is_uncounted && (event.place.pod.is_none() || waits()));
                let is_standing = unwell.knows(&event.place)
                    || (is_stranger && is_repeated && goes_on(&event, end));
                if is_standing && is_repeated {
                    stands.insert(event.id);
                }
                let own = event.time;
                let time = if is_standing { squeeze(end, own) } else { own.min(end) };
                said.push(Said { own, is_standing, event: Unbound { time, ..event } });
            }
        }
        gather(&mut said);
        told.events.extend(said.into_iter().map(|said| said.event));
        told.confirm(&stands);
        told
    }
}

fn count(event: &Unbound) -> i64 {
    let count = event.attributes.iter().find(|(key, _)| key == keys::COUNT);
    match count.map(|(_, value)| value) {
        Some(Value::Int(count)) => *count,
        Some(Value::Text(_) | Value::Float(_) | Value::Bool(_)) | None => 1,
    }
}

/// Tells once more what an event tells, a moment before it.
pub(in crate::importers) fn before(event: &Unbound) -> Unbound {
    let id = event_id(&[b"before", event.id.as_bytes()]);
    let mut before = Unbound { id, time: event.time.before(MOMENT), ..event.clone() };
    before.attributes.retain(|(key, _)| key != keys::COUNT);
    before
}

fn tell(
    (snapshot, end): (&Snapshot, Timestamp),
    object: &Object,
    account: &mut ImportAccount,
) -> Vec<Unbound> {
    match snapshot.tell(&object.kind, &object.json, news(object, end)) {
        Ok(mut told) => {
            told.extend(placed(snapshot, object, &told));
            told.iter().for_each(|_| account.accept());
            told.into_iter().map(without_blanks).collect()
        }
        Err(error) => {
            account.reject(Rejected {
                file: object.file.clone(),
                line: 0,
                reason: "object",
                why: format!("{error}: {}", object.key),
            });
            Vec::new()
        }
    }
}

/// Tells that a pod which is not well was placed: where its story begins. Of those that are well a
/// list tells nothing.
fn placed(snapshot: &Snapshot, object: &Object, told: &[Unbound]) -> Option<Unbound> {
    let is_unwell = told.iter().any(|event| event.severity >= Severity::Warn);
    if object.kind != "Pod" || !is_unwell {
        return None;
    }
    let all = snapshot.tell(&object.kind, &object.json, News::Whole).unwrap_or_default();
    all.into_iter().find(|event| event.kind == Kind::PodScheduled)
}

fn news(object: &Object, end: Timestamp) -> News {
    let created = object.json.pointer("/metadata/creationTimestamp").and_then(Json::as_str);
    let is_new = || created.and_then(parse).is_some_and(|at| end.since(at) <= RULE_AGE_MAX);
    if STANDING.contains(&&*object.kind) || is_emptied(&object.kind, &object.json) {
        News::Standing
    } else if RULES.contains(&&*object.kind) && (is_new() || denies(&object.json)) {
        News::Whole
    } else {
        News::Recent
    }
}

/// Says whether a workload is to have no pod. Of whoever calls it that is the trouble, since when
/// ever it is so.
pub(in crate::importers) fn is_emptied(kind: &str, json: &Json) -> bool {
    matches!(kind, "Deployment" | "StatefulSet")
        && json.pointer("/spec/replicas").and_then(Json::as_i64) == Some(0)
}

/// Says whether a network policy lets nothing out of the pods that it selects, or nothing in. As long
/// as it stands it is what they suffer from, however old it is.
pub(in crate::importers) fn denies(policy: &Json) -> bool {
    let rules = |field: &str| policy.pointer(&format!("/spec/{field}")).and_then(Json::as_array);
    let types = rules("policyTypes").into_iter().flatten().filter_map(Json::as_str);
    let is_empty = |field: &str| rules(field).is_none_or(Vec::is_empty);
    types.into_iter().any(|one| is_empty(&one.to_ascii_lowercase()))
}

/// A row of a table does not name the container that it speaks of.
fn without_blanks(mut event: Unbound) -> Unbound {
    event.place.container = event.place.container.filter(|name| !name.is_empty());
    event
}

/// Returns how late a look at an object is: by its version, or an Event by its count.
fn age(json: &Json) -> u64 {
    let version = json.pointer("/metadata/resourceVersion").and_then(Json::as_str);
    let version = version.and_then(|version| version.parse().ok());
    version.or_else(|| json.get("count")?.as_u64()).unwrap_or_default()
}

/// Names what an event is about, whose trace it will be in.
fn thing(event: &Unbound) -> String {
    let Place { namespace, pod, workload, node, .. } = &event.place;
    let owner = workload.as_ref().map(|owner| owner.name.clone()).or_else(|| pod.clone());
    let object = event.text(keys::OBJECT_NAME);
    let name = owner.as_deref().or(object).or(node.as_deref()).unwrap_or_default();
    format!("{}/{name}", namespace.as_deref().unwrap_or_default())
}

impl Unwell {
    fn note(&mut self, event: &Unbound) {
        if event.severity >= Severity::Warn {
            self.0.extend(things(&event.place));
        }
    }

    /// Notes a pod that waits to run: its status says little, its Events why.
    fn note_waiting(&mut self, object: &Object) {
        let text = |at: &str| object.json.pointer(at).and_then(Json::as_str);
        if object.kind == "Pod" && text("/status/phase") == Some("Pending") {
            let name = text("/metadata/name").unwrap_or_default();
            let namespace = text("/metadata/namespace").map(Text::from);
            self.0.insert(("pod", namespace, name.into()));
        }
    }

    fn knows(&self, place: &Place) -> bool {
        things(place).any(|thing| self.0.contains(&thing))
    }
}

/// Names what a place is in, the widest left out: the workload of a pod is no better than the pod.
fn things(place: &Place) -> impl Iterator<Item = (&'static str, Option<Text>, Text)> {
    let namespace = || place.namespace.clone();
    let pod = place.pod.clone().map(|name| ("pod", namespace(), name));
    let owner = place.workload.as_ref().map(|owner| ("workload", namespace(), owner.name.clone()));
    let is_node = pod.is_none() && owner.is_none();
    let node = place.node.clone().filter(|_| is_node).map(|name| ("node", None, name));
    [pod, owner, node].into_iter().flatten()
}

impl Told {
    /// Tells twice what stands and is all that is told of a thing: an engine asks for a second word,
    /// as a lone one may be a passing moment. What a server keeps, or says again and again, is none.
    fn confirm(&mut self, stands: &BTreeSet<EventId>) {
        let mut things = BTreeMap::<String, Words>::new();
        for event in &self.events {
            let words = things.entry(thing(event)).or_default();
            words.all += 1;
            words.warnings += usize::from(event.severity >= Severity::Warn);
            words.readiness += usize::from(event.kind == Kind::PodReadiness);
        }
        let is_lone = |event: &&Unbound| {
            let is_only = things.get(&thing(event)).is_some_and(|words| words.are_only_of(event));
            is_only && stands.contains(&event.id) && event.severity >= Severity::Warn
        };
        let again: Vec<_> = self.events.iter().filter(is_lone).map(before).collect();
        self.events.extend(again);
    }

    /// Gives every event its trace and brings them in order.
    pub(in crate::importers) fn bind(
        self,
        binder: &Binder,
        account: ImportAccount,
        bytes: u64,
    ) -> Bound {
        // A place that says more of a pod is bound first: it completes the others.
        let mut events: Vec<_> =
            self.events.into_iter().map(|event| Arc::new(binder.bind(event))).collect();
        events.sort_unstable_by_key(|event| event.order());
        let account = ImportAccount { buffered_events_peak: events.len(), ..account };
        Bound { events: events.into_iter(), account, bytes }
    }
}

/// How much is told of a thing.
#[derive(Debug, Default)]
struct Words {
    all: usize,
    warnings: usize,
    readiness: usize,
}

impl Words {
    /// Says whether nothing beside an event tells of its thing.
    fn are_only_of(&self, event: &Unbound) -> bool {
        if matches!(event.kind, Kind::ImagePullFailed | Kind::ContainerCreateFailed) {
            // That a pod is not ready follows from what it waits for.
            return self.warnings.saturating_sub(self.readiness) == 1;
        }
        // What its controller does every day says nothing of it.
        let all = if event.kind == Kind::ObjectEvent { self.warnings } else { self.all };
        all == 1
    }
}

/// A recording that was read whole.
#[derive(Debug)]
pub(in crate::importers) struct Bound {
    events: vec::IntoIter<Arc<Event>>,
    account: ImportAccount,
    bytes: u64,
}

impl Recording for Bound {
    fn next_chunk(&mut self, chunk: &mut Vec<Arc<Event>>) -> Result<bool, ImportError> {
        chunk.extend(self.events.by_ref().take(CHUNK_EVENTS_MAX));
        Ok(!self.events.as_slice().is_empty())
    }

    fn progress(&self) -> Progress {
        Progress { bytes_read: self.bytes, bytes_total: Some(self.bytes) }
    }

    fn account(&self) -> &ImportAccount {
        &self.account
    }
}
