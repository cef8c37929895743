//! What a recording is about.
//!
//! Who asks after one thing often lists all there is as well. What was looked at closely, by
//! description, log or as a whole, is what the recording is about; a row of a list tells of another
//! incident, unless what was read of the first names whose it is. A recording of nothing but lists
//! is about all of it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value as Json;

use super::name::{Name, is_random, owner};
use crate::importers::k8s_objects::moment::{Detail, Moment, Object};

/// What is looked at closely.
#[derive(Debug, Default)]
pub(super) struct Focus {
    /// All that was read of it.
    texts: Vec<String>,
    is_close: bool,
}

impl Focus {
    /// Notes what was read of something that was looked at closely.
    pub(super) fn read(&mut self, text: &str) {
        self.is_close = true;
        self.texts.push(text.to_owned());
    }

    /// Notes words that name something, and are no look at it.
    pub(super) fn name(&mut self, word: &str) {
        self.texts.push(word.to_owned());
    }

    /// Leaves out the rows of pods that the recording is not about.
    pub(super) fn narrow(&self, moment: &mut Moment) {
        if !self.is_close {
            return;
        }
        let close: BTreeSet<(String, String)> = moment
            .objects()
            .filter(|object| object.kind == "Pod" && object.detail != Detail::Row)
            .map(whose)
            .collect();
        // Who looks at a node that is not well looks at what that does to its pods.
        let nodes: BTreeSet<String> = moment
            .objects()
            .filter(|object| object.kind == "Node" && object.detail != Detail::Row)
            .filter(|node| is_unwell(&node.json))
            .map(|object| Name::of("Node", &object.json).name)
            .collect();
        let is_row = |object: &Object| object.kind == "Pod" && object.detail == Detail::Row;
        let of_node = |object: &&Object| {
            let node = object.json.pointer("/spec/nodeName").and_then(Json::as_str);
            is_row(object) && node.is_some_and(|node| nodes.contains(node))
        };
        let beside: BTreeSet<_> = moment.objects().filter(of_node).map(whose).collect();
        let twins = twins(moment);
        let close: BTreeSet<_> = close.into_iter().chain(beside).collect();
        let is_meant = |(namespace, name): (String, String)| {
            let is_other = twins.get(&name).is_some_and(|of| !of.contains(&namespace));
            let in_full = || [format!("{name}.{namespace}"), format!("{namespace}/{name}")];
            self.names(&name) && (!is_other || in_full().iter().any(|name| self.names(name)))
        };
        moment.retain(|object| {
            !is_row(object) || close.contains(&whose(object)) || is_meant(whose(object))
        });
        // What is named by those who need it is no row among others.
        moment.believe(|object| is_row(object) && !close.contains(&whose(object)));
    }

    /// Says whether what was read names a thing, as a word or before the rest of a name.
    fn names(&self, name: &str) -> bool {
        self.texts.iter().any(|text| is_named(text, name))
    }
}

/// Returns what is in the namespaces of which something was looked at closely, by its name, with those
/// namespaces: whoever names it means that, and not what is called so elsewhere.
fn twins(moment: &Moment) -> BTreeMap<String, BTreeSet<String>> {
    let is_look = |object: &&Object| object.kind != "Event" && object.detail != Detail::Row;
    let looks = moment.objects().filter(is_look);
    let spaces: BTreeSet<String> =
        looks.map(|object| Name::of(&object.kind, &object.json).namespace).collect();
    let mut twins = BTreeMap::<String, BTreeSet<String>>::new();
    for (namespace, name) in moment.of_kind("Pod").map(owner_of) {
        if spaces.contains(&namespace) {
            twins.entry(name).or_default().insert(namespace);
        }
    }
    twins
}

/// Says whether a node is not ready, or short of something.
pub(super) fn is_unwell(node: &Json) -> bool {
    let conditions = node.pointer("/status/conditions").and_then(Json::as_array);
    conditions.into_iter().flatten().any(|condition| {
        let text = |field: &str| condition.get(field).and_then(Json::as_str).unwrap_or_default();
        let is_true = text("status") == "True";
        (text("type") == "Ready" && !is_true) || (text("type").ends_with("Pressure") && is_true)
    })
}

/// Says whether a text names a thing, as a word or before the rest of a name.
pub(super) fn is_named(text: &str, name: &str) -> bool {
    let is_part = |letter: char| letter.is_alphanumeric() || letter == '-' || letter == '_';
    text.match_indices(name).any(|(at, _)| {
        let before = text.get(..at).and_then(|before| before.chars().next_back());
        let after = text.get(at + name.len()..).unwrap_or_default();
        let goes_on = after.strip_prefix('-').map_or(after, |_| "");
        !before.is_some_and(is_part) && !goes_on.chars().next().is_some_and(is_part)
    })
}

fn whose(pod: &Object) -> (String, String) {
    owner_of(&pod.json)
}

/// Returns namespace and name of what owns a pod, its template's hash left out, or of the pod.
pub(super) fn owner_of(pod: &Json) -> (String, String) {
    let name = Name::of("Pod", pod);
    let reference = pod.pointer("/metadata/ownerReferences/0").cloned();
    let reference = reference.or_else(|| owner(&name.name, &Default::default()));
    let text = |field: &str| reference.as_ref()?.get(field).and_then(Json::as_str);
    let owned = text("name").map(|owner| match text("kind") {
        Some("ReplicaSet") => owner.rsplit_once('-').map_or(owner, |(stem, _)| stem).to_owned(),
        Some(_) | None => owner.to_owned(),
    });
    let stem = |pod: &str| match pod.rsplit_once('-') {
        Some((stem, end)) if is_suffix(end) => stem.to_owned(),
        Some(_) | None => pod.to_owned(),
    };
    (name.namespace, owned.unwrap_or_else(|| stem(&name.name)))
}

/// Says whether letters tell one pod from its like: an ordinal, or what a Job adds.
fn is_suffix(end: &str) -> bool {
    let is_ordinal = !end.is_empty() && end.bytes().all(|digit| digit.is_ascii_digit());
    is_ordinal || is_random(end, 5..=5)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_not_well_by_its_conditions() {
        for (name, status, want) in [
            ("Ready", "True", false),
            ("Ready", "Unknown", true),
            ("DiskPressure", "True", true),
            ("DiskPressure", "False", false),
            ("NetworkUnavailable", "False", false),
        ] {
            let condition = serde_json::json!({ "type": name, "status": status });
            let node = serde_json::json!({ "status": { "conditions": [condition] } });
            assert_eq!(is_unwell(&node), want, "{name} {status}");
        }
    }

    #[test]
    fn what_is_called_alike_in_another_namespace_is_meant_by_its_full_name_only() {
        let pod = |namespace: &str, name: &str, detail: Detail| {
            let json = serde_json::json!({ "metadata": { "namespace": namespace, "name": name } });
            Name::of("Pod", &json).seen(json, detail, None)
        };
        for (text, want) in [
            ("cart is well, it calls db", vec!["shop/cart-0", "test/db-0"]),
            ("cart asks cart.test", vec!["shop/cart-0", "test/cart-0"]),
            ("Successfully assigned test/cart", vec!["shop/cart-0", "test/cart-0"]),
        ] {
            let focus = Focus { texts: vec![text.to_owned()], is_close: true };
            let mut moment = Moment::default();
            moment.add(pod("shop", "cart-0", Detail::Described));
            moment.add(pod("test", "cart-0", Detail::Row));
            moment.add(pod("test", "db-0", Detail::Row));
            focus.narrow(&mut moment);
            let left = moment.objects().map(|pod| pod.key.trim_start_matches("Pod/").to_owned());
            assert_eq!(left.collect::<Vec<_>>(), want, "{text}");
        }
        // Lists alone are about all that they list.
        let mut moment = Moment::default();
        moment.add(pod("shop", "cart-0", Detail::Row));
        moment.add(pod("test", "cart-0", Detail::Row));
        Focus::default().narrow(&mut moment);
        assert_eq!(moment.len(), 2);
    }

    #[test]
    fn a_thing_is_named_by_a_word_of_its_own() {
        let focus = |text: &str| Focus { texts: vec![text.to_owned()], is_close: true };
        for (text, want) in [
            ("cannot reach db:5432", true),
            ("host db", true),
            ("db-0 is down", true),
            ("my-db is down", false),
            ("mydb", false),
            ("dbs", false),
            ("db_old", false),
        ] {
            assert_eq!(focus(text).names("db"), want, "{text}");
        }
    }
}
