//! What several patterns ask of events, and the words they answer with.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use tapio_engine::{Draft, View};
use tapio_model::{Entity, Event, Kind, Place, Severity, Value, keys};

/// How far two witnesses of one moment may differ: Kubernetes writes whole seconds.
pub(crate) const SKEW: Duration = Duration::from_secs(2);

/// What limited the memory when the kernel killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Constraint {
    /// The limit of a control group.
    Cgroup,
    /// The memory of the node, or of the part of it that a cpuset or a policy allows.
    Node,
}

/// Returns what limited the memory: the attribute, else what the kernel's line says.
pub(crate) fn constraint(kill: &Event) -> Option<Constraint> {
    let attributes = &kill.attributes;
    match attributes.text(keys::OOM_CONSTRAINT) {
        Some("memcg") => return Some(Constraint::Cgroup),
        Some("none" | "cpuset" | "memory_policy") => return Some(Constraint::Node),
        Some(_) | None => {}
    }
    let line = kill.message();
    if attributes.text(keys::OOM_CGROUP).is_some() || line.contains("Memory cgroup out of memory") {
        return Some(Constraint::Cgroup);
    }
    line.starts_with("Out of memory").then_some(Constraint::Node)
}

/// Says whether both happened to one container, before or after a restart; or to one unit.
pub(crate) fn same_container(one: &Event, other: &Event) -> bool {
    let (a, b) = (&*one.place, &*other.place);
    // Two nodes have the same units and the same paths of control groups.
    if !may_share_node(one, other) {
        return false;
    }
    // A restart changes the container's id and keeps pod and name.
    let restarted = a.container.is_some() && a.container == b.container && a.is_same_pod(b);
    let unit =
        a.is_same_workload(b) && a.workload.as_ref().is_some_and(|owner| &*owner.kind == "Unit");
    a.is_same_container(b) || restarted || unit
}

/// Says whether both may have happened on one node: they do not name two.
pub(crate) fn may_share_node(one: &Event, other: &Event) -> bool {
    let nodes = one.place.node.as_ref().zip(other.place.node.as_ref());
    nodes.is_none_or(|(one, other)| one == other)
}

/// Says whether one event is not before another, by clocks that differ a little.
pub(crate) fn not_before(event: &Event, other: &Event) -> bool {
    event.time.after(SKEW) >= other.time
}

/// Says whether a container ended for want of memory, by its status or its unit's result.
pub(crate) fn says_oom(event: &Event) -> bool {
    let (key, word) = if event.kind == Kind::UnitFailed {
        (keys::UNIT_RESULT, "oom-kill")
    } else {
        (keys::REASON, "OOMKilled")
    };
    matches!(event.kind, Kind::UnitFailed | Kind::ContainerTerminated)
        && event.attributes.text(key) == Some(word)
}

/// Says whether a container that ended had been asked to: the source rates the end of a pod on its
/// way out as everyday, and its grace period may be longer than a window.
pub(crate) fn was_asked_to_stop(end: &Event) -> bool {
    end.kind == Kind::ContainerTerminated && end.severity < Severity::Warn
}

/// Touches the services that stand before the workload of a place, as their endpoints say: whoever
/// calls them and is refused belongs to its incident.
pub(crate) fn touch_services(view: &View<'_>, draft: Draft, place: &Place) -> Draft {
    touch_namesake(touch_services_of(view, draft, |other| other.is_same_workload(place)), place)
}

/// Touches the services that stand before the workloads of several events.
pub(crate) fn touch_their_services(view: &View<'_>, draft: Draft, events: &[&Event]) -> Draft {
    touch_services_of(view, draft, |other| {
        events.iter().any(|event| other.is_same_workload(&event.place))
    })
}

fn touch_services_of(view: &View<'_>, draft: Draft, is_theirs: impl Fn(&Place) -> bool) -> Draft {
    // Endpoints change with every pod: each service is touched once.
    let services: BTreeSet<Entity> = view
        .of(Kind::EndpointsChanged)
        .filter(|change| is_theirs(&change.place))
        .filter_map(|change| Entity::service(&change.place))
        .collect();
    services.into_iter().fold(draft, Draft::touch)
}

/// Touches the service that bears the name of a place's workload, as it does as a rule, unless a
/// service is known already: who looks once, or of late, saw no endpoints change.
pub(crate) fn touch_namesake(draft: Draft, place: &Place) -> Draft {
    let is_service = |thing: &Entity| matches!(thing, Entity::Service { .. });
    let Some(owner) = place.workload.as_ref() else { return draft };
    if draft.touches().iter().any(is_service) {
        return draft;
    }
    let namespace = place.namespace.clone().unwrap_or_default();
    draft.touch(Entity::Service { namespace, name: owner.name.clone() })
}

/// Returns the first event of these kinds in the container of `event`.
pub(crate) fn beside<'a>(view: &View<'a>, event: &Event, kinds: &[Kind]) -> Option<&'a Event> {
    view.events().find(|other| kinds.contains(&other.kind) && same_container(other, event))
}

/// Adds the processes that were killed to what a draft touches: kernel and kubelet tell of one kill
/// in different traces. A number means nothing without its node.
pub(crate) fn touch_victims(draft: Draft, kills: &[&Event]) -> Draft {
    let of_node = kills.iter().filter(|kill| kill.place.node.is_some());
    let victims = of_node.filter_map(|kill| Some(Entity::process(&kill.place, pid(kill)?)));
    victims.fold(draft, Draft::touch)
}

/// Returns the process id: the attribute, else the number after `pid:` or `process` in the line.
pub(crate) fn pid(event: &Event) -> Option<i64> {
    let in_line = || {
        let line = event.message();
        let rest = line.split_once("pid: ").or_else(|| line.split_once("Killed process "))?.1;
        rest.split(|letter: char| !letter.is_ascii_digit()).next()?.parse().ok()
    };
    event.attributes.int(keys::PROCESS_PID).or_else(in_line)
}

/// Names a process: `postgres (pid 4242)`.
pub(crate) fn process(event: &Event) -> String {
    match (event.attributes.text(keys::PROCESS_NAME), pid(event)) {
        (Some(name), Some(pid)) => format!("{name} (pid {pid})"),
        (Some(name), None) => name.to_owned(),
        (None, Some(pid)) => format!("process {pid}"),
        (None, None) => "a process".to_owned(),
    }
}

/// Names a place with its kind: `container shop/db-1/db`.
pub(crate) fn spot(place: &Place) -> String {
    let kind = if place.pod.is_some() {
        if place.container.is_some() { "container" } else { "pod" }
    } else if let Some(owner) = &place.workload {
        return format!("{} {}", owner.kind.to_lowercase(), owner.name);
    } else if place.service.is_some() {
        "service"
    } else if place.container.is_some() || place.container_id.is_some() {
        "container"
    } else if place.cgroup.is_some() {
        "cgroup"
    } else if place.node.is_some() {
        "node"
    } else {
        return "an unknown place".to_owned();
    };
    format!("{kind} {}", place.label())
}

/// Returns a truth.
pub(crate) fn truth(event: &Event, key: &str) -> Option<bool> {
    match event.attributes.get(key)? {
        Value::Bool(truth) => Some(*truth),
        Value::Text(_) | Value::Int(_) | Value::Float(_) => None,
    }
}

/// Returns how often the source saw it; once unless it says more.
pub(crate) fn count(event: &Event) -> i64 {
    event.attributes.int(keys::COUNT).unwrap_or(1).max(1)
}

/// Says how often: ` 3 times`, or nothing for once.
pub(crate) fn times(count: i64) -> String {
    if count > 1 { format!(" {count} times") } else { String::new() }
}

/// Quotes what the source wrote, if it wrote anything: `: "the line"`.
pub(crate) fn quoted(event: &Event) -> String {
    let line = event.attributes.text(keys::MESSAGE);
    line.map(|line| format!(": \"{}\"", line.trim())).unwrap_or_default()
}

/// Says how a container ended: `exit code 137, reason Error`.
pub(crate) fn ending(event: &Event) -> String {
    let code = event.attributes.int(keys::EXIT_CODE).map(|code| format!("exit code {code}"));
    let reason = event.attributes.text(keys::REASON).map(|reason| format!("reason {reason}"));
    let parts: Vec<_> = code.into_iter().chain(reason).collect();
    if parts.is_empty() { "status unknown".to_owned() } else { parts.join(", ") }
}

/// Returns the events of one owner each (see [`Entity::owner`]), in order of owner.
pub(crate) fn by_owner<'a>(
    events: impl IntoIterator<Item = &'a Event>,
) -> BTreeMap<Entity, Vec<&'a Event>> {
    let mut owners: BTreeMap<Entity, Vec<&Event>> = BTreeMap::new();
    for event in events {
        if let Some(owner) = Entity::owner(&event.place) {
            owners.entry(owner).or_default().push(event);
        }
    }
    owners
}

/// Returns the events of one container each, in order of the first.
pub(crate) fn by_container<'a>(events: impl IntoIterator<Item = &'a Event>) -> Vec<Vec<&'a Event>> {
    let mut groups: Vec<Vec<&Event>> = Vec::new();
    for event in events {
        let home = groups.iter_mut().find(|group| group.iter().any(|e| same_container(e, event)));
        match home {
            Some(group) => group.push(event),
            None => groups.push(vec![event]),
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::events;

    #[test]
    fn the_line_tells_the_constraint_that_the_attribute_lacks() {
        let cases = [
            ("constraint=memcg", Some(Constraint::Cgroup)),
            ("constraint=none", Some(Constraint::Node)),
            ("constraint=cpuset", Some(Constraint::Node)),
            ("memcg=/kubepods/x", Some(Constraint::Cgroup)),
            (
                "msg=\"Memory cgroup out of memory: Killed process 7 (db)\"",
                Some(Constraint::Cgroup),
            ),
            ("msg=\"Out of memory: Killed process 7 (db)\"", Some(Constraint::Node)),
            ("msg=killed", None),
        ];
        for (words, want) in cases {
            let told = events(&format!("0s shop/db-1/db OomKill {words}")).unwrap();
            assert_eq!(constraint(&told[0]), want, "{words}");
        }
    }

    #[test]
    fn a_restart_keeps_the_container_and_a_sibling_is_another() {
        let story = "0s shop/db-1/db OomKill; 1s shop/db-1/db ContainerStarted cid=new; \
                     1s shop/db-1/log ContainerStarted; 1s shop/db-2/db ContainerStarted; \
                     1s unit:db@n1 UnitFailed; 2s unit:db@n1 OomKill cgroup=/system.slice/db.service; \
                     2s unit:db@n2 UnitFailed";
        let told = events(story).unwrap();
        let groups = by_container(&told);
        let sizes: Vec<_> = groups.iter().map(Vec::len).collect();
        assert_eq!(sizes, [2, 1, 1, 2, 1]);
    }

    #[test]
    fn an_end_that_was_asked_for_is_rated_as_everyday() {
        let cases = [
            ("ContainerTerminated sev=info exit=137", true),
            ("ContainerTerminated exit=137", false),
            ("ContainerKilling sev=info", false),
        ];
        for (words, want) in cases {
            let told = events(&format!("0s a/b/c {words}")).unwrap();
            assert_eq!(was_asked_to_stop(&told[0]), want, "{words}");
        }
    }

    #[test]
    fn the_line_tells_the_pid_that_the_attribute_lacks() {
        let cases = [
            ("pid=7", Some(7)),
            ("msg=\"System OOM encountered, victim process: db, pid: 42\"", Some(42)),
            ("msg=\"Out of memory: Killed process 9 (db)\"", Some(9)),
            ("msg=\"pid: none\"", None),
        ];
        for (words, want) in cases {
            let told = events(&format!("0s node:n1 NodeOom {words}")).unwrap();
            assert_eq!(pid(&told[0]), want, "{words}");
        }
    }
}
