//! A node that is short of something, and the pods that its kubelet evicts for it.

use std::collections::{BTreeMap, BTreeSet};

use tapio_engine::{Draft, View};
use tapio_model::{Event, Kind, Text};

use crate::{
    node_state::{
        self, Eviction, cite_consequences, class, eviction, left, node_of, pods, reason, turned,
    },
    witness::{quoted, touch_their_services},
};

/// What a node may be short of.
#[derive(Debug)]
pub(crate) struct Resource {
    /// The node's condition.
    pub(crate) condition: &'static str,
    /// Why the kubelet says that it evicts.
    pub(crate) eviction: Eviction,
    /// In words.
    pub(crate) name: &'static str,
    /// Reasons of the kubelet's Events and lines by which it tries to win some back.
    pub(crate) attempts: &'static [&'static str],
}

/// A node that is short of something.
#[derive(Debug, Default)]
pub(crate) struct Shortage<'a> {
    /// The node.
    pub(crate) node: Option<&'a Text>,
    /// Its condition, told once or more.
    pub(crate) pressed: Vec<&'a Event>,
    /// Pods that were evicted for it.
    pub(crate) evicted: Vec<&'a Event>,
    attempts: Vec<&'a Event>,
}

impl<'a> Shortage<'a> {
    /// Finds the nodes that are short of a resource.
    pub(crate) fn find(view: &View<'a>, resource: &Resource) -> Vec<Self> {
        let mut nodes: BTreeMap<Option<&Text>, Self> = BTreeMap::new();
        for event in view.events() {
            let is_pressed = turned(event, resource.condition, true);
            let is_attempt = matches!(event.kind, Kind::ObjectEvent | Kind::Log)
                && resource.attempts.contains(&reason(event))
                && is_of(event, resource);
            if !is_pressed && !is_attempt && !is_evicted(view, event, resource) {
                continue;
            }
            let node = node_of(view, event);
            let shortage = nodes.entry(node).or_default();
            shortage.node = node;
            let list = match (is_pressed, is_attempt) {
                (true, _) => &mut shortage.pressed,
                (false, true) => &mut shortage.attempts,
                (false, false) => &mut shortage.evicted,
            };
            list.push(event);
        }
        // That the kubelet tries says no more than that it looks after its node.
        let mut short: Vec<_> = nodes.into_values().collect();
        short.retain(|it| !it.pressed.is_empty() || !it.evicted.is_empty());
        short
    }

    /// Begins the draft that all resources share.
    pub(crate) fn draft(&self, view: &View<'a>, resource: &Resource) -> Option<Draft> {
        let told = self.pressed.iter().chain(&self.evicted).copied();
        let root = told.min_by_key(|event| event.order())?;
        let (node, what) = (node_state::name(self.node), resource.name);
        let subject = node_state::subject(self.node, root)?;
        let (title, why) = if self.evicted.is_empty() {
            (String::new(), "the kubelet tries to win some back, and evicts pods if it cannot")
        } else {
            (
                format!(": the kubelet evicted {}", pods(&self.evicted)),
                "the kubelet evicted pods by their use above their requests",
            )
        };
        let draft = Draft::new(subject, class(root), root, self.text(root, resource))
            .touching(&root.place)
            .title(format!("{node} is short of {what}{title}"))
            .because(format!("{node} is short of {what}, and {why}{}.", quoted(root)));
        let cited = [&self.attempts, &self.pressed, &self.evicted];
        let draft = cited.into_iter().flatten().fold(draft, |draft, event| {
            draft.touching(&event.place).step(event, self.text(event, resource))
        });
        let draft = touch_their_services(view, draft, &self.evicted);
        let draft = if self.pressed.is_empty() {
            draft.missing(format!("the node's condition {}", resource.condition))
        } else {
            draft
        };
        let mine: BTreeSet<_> = self.evicted.iter().map(|it| &it.place.pod_uid).collect();
        Some(cite_consequences(view, draft, root, |event| mine.contains(&event.place.pod_uid)))
    }

    /// Says whether the kubelet does something about it: that little is left is no trouble yet.
    pub(crate) fn is_fought(&self, resource: &Resource) -> bool {
        let says = |event: &&Event| resource.attempts.contains(&reason(event));
        !self.evicted.is_empty() || !self.attempts.is_empty() || self.pressed.iter().any(says)
    }

    fn text(&self, event: &Event, resource: &Resource) -> String {
        if event.kind == Kind::PodEvicted {
            left(event)
        } else if self.pressed.iter().any(|pressed| pressed.id == event.id) {
            format!("the node is short of {}{}", resource.name, quoted(event))
        } else {
            format!("the kubelet tries to win {} back{}", resource.name, quoted(event))
        }
    }
}

/// Says whether an attempt is for this resource: all share one reason, and the words name it.
fn is_of(event: &Event, resource: &Resource) -> bool {
    let words = match resource.eviction {
        Eviction::Memory => "memory",
        Eviction::Processes => "pids",
        Eviction::Storage
        | Eviction::OwnStorage
        | Eviction::Taint
        | Eviction::Request
        | Eviction::Shutdown
        | Eviction::Preemption
        | Eviction::Unnamed => "",
    };
    reason(event) != "EvictionThresholdMet" || event.message().contains(words)
}

/// Says whether a pod was evicted for want of a resource: by the kubelet's words, or, if it has
/// none, by what else is said of the pod and its node.
fn is_evicted(view: &View<'_>, event: &Event, resource: &Resource) -> bool {
    match eviction(event) {
        Some(why) if why == resource.eviction => true,
        Some(Eviction::Unnamed) => {
            let named = |other: &Event| {
                other.place.is_same_pod(&event.place) && eviction(other) == Some(resource.eviction)
            };
            view.find(Kind::PodEvicted, named).is_some()
                || (!is_named(view, event)
                    && view.of(Kind::NodeCondition).any(|it| turned(it, resource.condition, true)))
        }
        Some(_) | None => false,
    }
}

/// Says whether another word of the same eviction says for want of what it was.
pub(crate) fn is_named(view: &View<'_>, event: &Event) -> bool {
    let named = |other: &Event| {
        other.place.is_same_pod(&event.place)
            && eviction(other).is_some_and(|why| why != Eviction::Unnamed)
    };
    view.find(Kind::PodEvicted, named).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::events;

    const MEMORY: Resource = Resource {
        condition: "MemoryPressure",
        eviction: Eviction::Memory,
        name: "memory",
        attempts: &["EvictionThresholdMet"],
    };

    #[test]
    fn an_eviction_without_words_follows_the_nodes_condition() {
        let cases = [
            ("0s a/b@n1 PodEvicted reason=Evicted", 0, 0),
            (
                "0s a/b@n1 PodEvicted reason=Evicted; 1s node:n1 NodeCondition \
                 condition=MemoryPressure status=true",
                1,
                1,
            ),
            (
                "0s a/b@n1 PodEvicted; 1s a/b@n1 PodEvicted msg=\"The node was low on resource: \
                 memory.\"",
                1,
                2,
            ),
            (
                "0s a/b@n1 PodEvicted reason=EvictionByEvictionAPI; 1s node:n1 NodeCondition \
                 condition=MemoryPressure status=true",
                1,
                0,
            ),
            ("0s node:n1 ObjectEvent reason=EvictionThresholdMet msg=\"reclaim memory\"", 0, 0),
        ];
        for (story, nodes, evicted) in cases {
            let told: Vec<_> = events(story).unwrap().into_iter().map(Into::into).collect();
            let view = View::new(&told, told[0].time);
            let short = Shortage::find(&view, &MEMORY);
            assert_eq!(short.len(), nodes, "{story}");
            let found: usize = short.iter().map(|it| it.evicted.len()).sum();
            assert_eq!(found, evicted, "{story}");
        }
    }
}
