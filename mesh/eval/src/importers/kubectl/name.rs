//! What objects are called, and the ids they get.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};
use tapio_collect::event_id;

use crate::importers::k8s_objects::moment::{Detail, Object};

/// The namespace of a command that names none.
const DEFAULT: &str = "default";

/// Kinds whose objects are in no namespace.
const OF_CLUSTER: &[&str] = &["Namespace", "Node", "PersistentVolume"];

/// Kinds as kubectl abbreviates them, and those that do not become a kind by a capital.
const KINDS: &[(&str, &str)] = &[
    ("cj", "CronJob"),
    ("cronjob", "CronJob"),
    ("daemonset", "DaemonSet"),
    ("deploy", "Deployment"),
    ("ds", "DaemonSet"),
    ("ep", "Endpoints"),
    ("ev", "Event"),
    ("horizontalpodautoscaler", "HorizontalPodAutoscaler"),
    ("hpa", "HorizontalPodAutoscaler"),
    ("ing", "Ingress"),
    ("ingress", "Ingress"),
    ("networkpolicy", "NetworkPolicy"),
    ("no", "Node"),
    ("ns", "Namespace"),
    ("persistentvolume", "PersistentVolume"),
    ("persistentvolumeclaim", "PersistentVolumeClaim"),
    ("po", "Pod"),
    ("pv", "PersistentVolume"),
    ("pvc", "PersistentVolumeClaim"),
    ("replicaset", "ReplicaSet"),
    ("rs", "ReplicaSet"),
    ("statefulset", "StatefulSet"),
    ("sts", "StatefulSet"),
    ("svc", "Service"),
];

/// What an object is called.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Name {
    pub(super) kind: String,
    pub(super) namespace: String,
    pub(super) name: String,
}

/// UIDs, as far as something printed them.
#[derive(Debug, Default)]
pub(super) struct Uids(BTreeMap<Name, String>);

impl Name {
    pub(super) fn new(kind: &str, namespace: Option<&str>, name: &str) -> Self {
        let kind = kind_of(kind);
        let is_of_cluster = OF_CLUSTER.contains(&&*kind);
        let namespace = if is_of_cluster { "" } else { namespace.unwrap_or(DEFAULT) };
        Self { kind, namespace: namespace.to_owned(), name: name.to_owned() }
    }

    /// Reads the name of an object.
    pub(super) fn of(kind: &str, json: &Json) -> Self {
        let meta = |field: &str| json.pointer(&format!("/metadata/{field}")).and_then(Json::as_str);
        Self::new(kind, meta("namespace"), meta("name").unwrap_or_default())
    }

    /// Makes the metadata of the object.
    pub(super) fn metadata(&self, uids: &Uids) -> Json {
        let mut metadata = json!({ "name": self.name, "uid": uids.get(self) });
        if let Some(fields) = metadata.as_object_mut().filter(|_| !self.namespace.is_empty()) {
            fields.insert("namespace".to_owned(), self.namespace.as_str().into());
        }
        metadata
    }

    /// Makes a look at the object. An Event is known by what it says: it is printed below its
    /// object and in lists, each time under another name or none.
    pub(super) fn seen(self, json: Json, detail: Detail, file: Option<String>) -> Object {
        let key = if self.kind == "Event" {
            let text = |at: &str| json.pointer(at).and_then(Json::as_str).unwrap_or_default();
            let object =
                ["kind", "namespace", "name"].map(|field| format!("/involvedObject/{field}"));
            let [kind, namespace, name] = object.each_ref().map(|at| text(at));
            format!("Event {kind}/{namespace}/{name} {} {}", text("/reason"), text("/message"))
        } else {
            format!("{}/{}/{}", self.kind, self.namespace, self.name)
        };
        Object { key, kind: self.kind, json, detail, file }
    }
}

impl Uids {
    /// Remembers the UID that an object says it has.
    pub(super) fn note(&mut self, kind: &str, json: &Json) {
        if let Some(uid) = json.pointer("/metadata/uid").and_then(Json::as_str) {
            self.0.insert(Name::of(kind, json), uid.to_owned());
        }
    }

    /// Returns the UID of an object: `kubectl describe` prints none, so that of an object which
    /// nothing else printed is made of its name.
    pub(super) fn get(&self, name: &Name) -> String {
        let parts = [&name.kind, &name.namespace, &name.name].map(|part| part.as_bytes());
        let [kind, namespace, called] = parts;
        let made = || event_id(&[b"kubectl", kind, namespace, called]).to_string();
        self.0.get(name).cloned().unwrap_or_else(made)
    }
}

/// Returns the kind that a word of a command means: `po`, `pods`, `Pod`, `deployments.apps`.
fn kind_of(word: &str) -> String {
    let word = word.split('.').next().unwrap_or(word);
    if word.starts_with(|letter: char| letter.is_ascii_uppercase()) {
        return word.to_owned();
    }
    let word = word.to_ascii_lowercase();
    let one = word.strip_suffix("ies").map(|stem| format!("{stem}y"));
    let one = one.or_else(|| word.strip_suffix("sses").map(|stem| format!("{stem}ss")));
    let one = one.as_deref().unwrap_or_else(|| match word.strip_suffix('s') {
        Some(stem) if !stem.ends_with('s') && stem.len() > 2 => stem,
        Some(_) | None => &word,
    });
    let known = KINDS.iter().find(|(short, _)| *short == word || *short == one);
    known.map_or_else(
        || {
            let mut letters = one.chars();
            let first = letters.next().map(|letter| letter.to_ascii_uppercase());
            first.into_iter().chain(letters).collect()
        },
        |(_, kind)| (*kind).to_owned(),
    )
}

/// Returns the controller that a pod's name and labels tell of, as metadata has it.
pub(super) fn owner(pod: &str, labels: &BTreeMap<String, String>) -> Option<Json> {
    let label = |key: &str| labels.get(key).map(String::as_str);
    let job = label("batch.kubernetes.io/job-name").or_else(|| label("job-name"));
    let (stem, last) = pod.rsplit_once('-')?;
    let (kind, name) = if let Some(job) = job {
        ("Job", job)
    } else if label("statefulset.kubernetes.io/pod-name").is_some() {
        ("StatefulSet", stem)
    } else if let Some(hash) = label("pod-template-hash") {
        ("ReplicaSet", Some(stem).filter(|stem| stem.ends_with(hash))?)
    } else if label("controller-revision-hash").is_some() {
        let is_ordinal = last.bytes().all(|digit| digit.is_ascii_digit());
        (if is_ordinal { "StatefulSet" } else { "DaemonSet" }, stem)
    } else {
        let (_, hash) = stem.rsplit_once('-')?;
        let is_of_set = is_random(last, 5..=5) && is_random(hash, 8..=10);
        ("ReplicaSet", Some(stem).filter(|_| is_of_set)?)
    };
    Some(reference(kind, name))
}

/// Makes a pod of which nothing but its name is known, with the controller that the name tells of.
pub(in crate::importers) fn bare_pod(namespace: &str, name: &str, uid: &str) -> Json {
    let owner = owner(name, &BTreeMap::new());
    let hash = owner.as_ref().and_then(hash);
    let labels: BTreeMap<&str, &str> =
        hash.map(|hash| ("pod-template-hash", hash)).into_iter().collect();
    let owners: Vec<_> = owner.iter().collect();
    json!({ "metadata": { "namespace": namespace, "name": name, "uid": uid, "labels": labels,
        "ownerReferences": owners } })
}

/// Makes a reference to a controller.
pub(in crate::importers) fn reference(kind: &str, name: &str) -> Json {
    let api = match kind {
        "Job" => "batch/v1",
        "Node" => "v1",
        _ => "apps/v1",
    };
    json!({ "apiVersion": api, "kind": kind, "name": name, "uid": "", "controller": true })
}

/// Says whether letters are such as the API makes names of.
pub(super) fn is_random(letters: &str, lengths: std::ops::RangeInclusive<usize>) -> bool {
    const LETTERS: &str = "bcdfghjklmnpqrstvwxz2456789";
    lengths.contains(&letters.len()) && letters.chars().all(|one| LETTERS.contains(one))
}

/// Returns the hash of its template that a pod bears in its name, if a ReplicaSet owns it.
pub(super) fn hash<'a>(owner: &'a Json) -> Option<&'a str> {
    let text = |field: &str| -> Option<&'a str> { owner.get(field)?.as_str() };
    let (_, hash) =
        text("name").filter(|_| text("kind") == Some("ReplicaSet"))?.rsplit_once('-')?;
    is_random(hash, 8..=10).then_some(hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_commands_are_kinds() {
        for (word, kind) in [
            ("po", "Pod"),
            ("pods", "Pod"),
            ("Pod", "Pod"),
            ("ingress", "Ingress"),
            ("ingresses", "Ingress"),
            ("networkpolicies", "NetworkPolicy"),
            ("deployments.apps", "Deployment"),
            ("pvc", "PersistentVolumeClaim"),
            ("ns", "Namespace"),
            ("widgets", "Widget"),
            ("", ""),
        ] {
            assert_eq!(kind_of(word), kind, "{word}");
        }
    }

    #[test]
    fn a_pods_name_and_labels_tell_its_controller() {
        let of = |pod: &str, labels: &[(&str, &str)]| {
            let labels = labels.iter().map(|(key, value)| ((*key).into(), (*value).into()));
            let owner = owner(pod, &labels.collect())?;
            Some(format!("{}/{}", owner["kind"].as_str()?, owner["name"].as_str()?))
        };
        for (pod, labels, want) in [
            ("cart-7f6b8d9c4-x2z4q", &[][..], Some("ReplicaSet/cart-7f6b8d9c4")),
            ("cart-7d9f-x2z4q", &[("pod-template-hash", "7d9f")], Some("ReplicaSet/cart-7d9f")),
            ("import-x2z4q", &[("job-name", "import")], Some("Job/import")),
            ("db-0", &[("statefulset.kubernetes.io/pod-name", "db-0")], Some("StatefulSet/db")),
            ("agent-x2z4q", &[("controller-revision-hash", "7b4f")], Some("DaemonSet/agent")),
            ("frontend-service", &[], None),
            ("alone", &[], None),
        ] {
            assert_eq!(of(pod, labels).as_deref(), want, "{pod}");
        }
        assert_eq!(hash(&reference("ReplicaSet", "cart-7f6b8d9c4")), Some("7f6b8d9c4"));
        assert_eq!(hash(&reference("Job", "cart-7f6b8d9c4")), None);
    }
}
