//! What the Events of a moment say: of whom, in which order, and whether it still holds.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use serde_json::{Value as Json, json};
use tapio_collect::Unbound;
use tapio_collect_kube::Snapshot;
use tapio_model::{Kind, Severity, Timestamp, keys};

use super::{EVENT_AGE_MAX, Object, thing};
use crate::importers::{
    k8s_objects::clock::latest,
    kubectl::name::{bare_pod, reference},
};

/// Learns a pod of which nothing but an Event is known; who made it, or its name, tells whose it is.
pub(super) fn meet(snapshot: &Snapshot, event: &Object, makers: &Makers) -> Option<String> {
    let about = event.json.get("involvedObject")?;
    let text = |field: &str| about.get(field).and_then(Json::as_str);
    let uid =
        text("uid").filter(|uid| text("kind") == Some("Pod") && snapshot.pod(uid).is_none())?;
    let (namespace, name) = (text("namespace").unwrap_or_default(), text("name")?);
    let mut pod = bare_pod(namespace, name, uid);
    let maker = makers.get(&(namespace.to_owned(), name.to_owned()));
    if let Some((maker, owners)) = maker.zip(pod.pointer_mut("/metadata/ownerReferences")) {
        *owners = json!([maker]);
    }
    snapshot.learn("Pod", &pod).ok()?;
    Some(uid.to_owned())
}

/// References to Jobs, by namespace and name of the pods that they say they made.
pub(super) type Makers = BTreeMap<(String, String), Json>;

pub(super) fn makers(events: &[Object]) -> Makers {
    let made = events.iter().filter_map(|event| {
        let text = |at: &str| event.json.pointer(at).and_then(Json::as_str);
        let pod = text("/message")?.strip_prefix("Created pod: ")?;
        let kind = text("/involvedObject/kind").filter(|kind| *kind == "Job")?;
        let maker = reference(kind, text("/involvedObject/name")?);
        let namespace = text("/involvedObject/namespace").unwrap_or_default();
        Some(((namespace.to_owned(), pod.to_owned()), maker))
    });
    made.collect()
}

/// Returns the keys of the Events after which nothing was said of their objects.
pub(super) fn last_words(events: &[Object]) -> BTreeSet<&str> {
    let mut last = BTreeMap::<&str, (Timestamp, &str)>::new();
    for event in events {
        let about = event.json.pointer("/involvedObject/uid").and_then(Json::as_str);
        let said = latest(&event.json).unwrap_or_default();
        let known = last.entry(about.unwrap_or_default()).or_insert((said, &event.key));
        if said >= known.0 {
            *known = (said, &event.key);
        }
    }
    last.into_values().map(|(_, key)| key).collect()
}

/// Says whether an Event tells of a wait that lasts until something is said that ends it.
pub(super) fn waits(event: &Unbound) -> bool {
    event.text(keys::REASON) == Some("FailedScheduling")
}

/// When lists of Events end: a server keeps an Event for an hour, so what is older than that was
/// listed at another time.
#[derive(Debug)]
pub(super) struct Ends {
    of_files: BTreeMap<Option<String>, Timestamp>,
    end: Timestamp,
}

impl Ends {
    pub(super) fn of(events: &[Object], end: Timestamp) -> Self {
        let mut of_files = BTreeMap::<_, Timestamp>::new();
        for event in events {
            let latest = latest(&event.json).unwrap_or_default();
            let of_file = of_files.entry(event.file.clone()).or_default();
            *of_file = (*of_file).max(latest);
        }
        Self { of_files, end }
    }

    pub(super) fn get(&self, event: &Object) -> Timestamp {
        let own = self.of_files.get(&event.file).copied().unwrap_or(self.end);
        if self.end.since(own) > EVENT_AGE_MAX && own > Timestamp::ZERO { own } else { self.end }
    }
}

/// Draws together what is said of one thing in the hour for which Events are kept: each tells of its
/// last sight alone, and of some that came as often as others.
pub(super) fn gather(all: &mut [Said]) {
    /// Less than what an engine looks at.
    const APART: Duration = Duration::from_secs(10);
    let mut alike = BTreeMap::<(String, Kind), Vec<&mut Said>>::new();
    for said in all.iter_mut().filter(|said| said.event.severity >= Severity::Warn) {
        alike.entry((thing(&said.event), said.event.kind)).or_default().push(said);
    }
    for mut places in alike.into_values() {
        places.sort_by_key(|said| said.own);
        let mut next: Option<(Timestamp, Timestamp)> = None;
        for said in places.into_iter().rev() {
            if let Some((was, now)) = next.filter(|_| !said.is_standing)
                && was.since(said.own) <= EVENT_AGE_MAX
            {
                let drawn = now.before(APART.min(was.since(said.own)));
                said.event.time = said.event.time.max(drawn);
            }
            next = Some((said.own, said.event.time));
        }
    }
    begin(all, APART);
}

/// Draws to the end of a Job what says that its pods were made: that there were any is news of it.
fn begin(all: &mut [Said], apart: Duration) {
    let ends = all.iter().filter(|said| said.event.kind == Kind::JobFailed);
    let ends: BTreeMap<_, _> = ends.map(|said| (thing(&said.event), said.event.time)).collect();
    for said in all.iter_mut() {
        let is_made = said.event.text(keys::REASON) == Some("SuccessfulCreate");
        if let Some(end) = ends.get(&thing(&said.event)).filter(|_| is_made) {
            said.event.time = said.event.time.max(end.before(apart));
        }
    }
}

/// What an Event says, and when it said so.
pub(super) struct Said {
    pub(super) own: Timestamp,
    pub(super) is_standing: bool,
    pub(super) event: Unbound,
}

/// Says whether a warning comes as often as ever; of a pod whose status is known that says it.
pub(super) fn goes_on(event: &Unbound, end: Timestamp) -> bool {
    /// Controllers ask again after some minutes.
    const SILENCE: Duration = Duration::from_secs(600);
    let is_warning = event.severity >= Severity::Warn;
    is_warning && end.since(event.time) <= SILENCE
}
