use std::sync::Arc;

use tapio_model::{
    Binding, Event, EventId, Kind, Place, Rule, Source, SpanId, Text, Timestamp, TraceId, Workload,
};

use super::{Binder, Home};
use crate::Unbound;

fn text(text: &str) -> Option<Text> {
    Some(text.into())
}

fn workload(kind: &str, name: &str) -> Option<Workload> {
    Some(Workload { kind: kind.into(), name: name.into() })
}

fn binder_on(node: &str) -> Binder {
    Binder::new(Home { cluster: text("prod"), node: text(node) })
}

fn event_at(place: Place) -> Unbound {
    Unbound::new(EventId::default(), Timestamp::ZERO, Source::Kernel, Kind::OomKill).at(place)
}

fn trace(binder: &Binder, place: &Place) -> TraceId {
    binder.bind(event_at(place.clone())).trace.trace_id
}

/// A place that everything is known of.
fn everything() -> Place {
    Place {
        cluster: text("prod"),
        node: text("n1"),
        namespace: text("shop"),
        workload: workload("Deployment", "cart"),
        pod: text("cart-1"),
        pod_uid: text("uid-1"),
        container: text("cart"),
        container_id: text("c0ffee"),
        service: text("cart"),
        cgroup: text("/kubepods/pod1"),
    }
}

#[test]
fn the_most_specific_owner_that_is_identified_binds() {
    let all = everything();
    let no_owner = Place { workload: None, ..all.clone() };
    let no_uid = Place { pod_uid: None, ..no_owner.clone() };
    let no_pod = Place { pod: None, ..no_uid.clone() };
    let no_namespace = Place { namespace: None, ..no_uid.clone() };
    let no_container = Place { container_id: None, ..no_pod.clone() };
    let unit = Place { workload: workload("Unit", "sshd.service"), ..no_container.clone() };
    let unit_in_container =
        Place { workload: workload("Unit", "docker-c0ffee.scope"), ..no_pod.clone() };
    let no_cgroup = Place { cgroup: None, ..no_container.clone() };
    let no_service = Place { service: None, ..no_cgroup.clone() };
    let nameless_owner = Place { workload: workload("Job", ""), ..no_service.clone() };
    let owner_somewhere =
        Place { workload: workload("Job", "cart"), namespace: None, ..no_service.clone() };
    let no_node = Place { node: None, ..no_service.clone() };
    let cgroup_nowhere = Place { cgroup: text("/user.slice"), ..no_node.clone() };
    let unit_nowhere = Place { workload: workload("Unit", "sshd.service"), ..no_node.clone() };
    let empty_uid = Place { pod_uid: text(""), ..no_service.clone() };
    let table = [
        (all, Rule::Workload),
        (no_owner, Rule::Pod),
        (no_uid, Rule::Pod),
        (no_namespace, Rule::Container),
        (no_pod, Rule::Container),
        (unit_in_container, Rule::Container),
        (unit, Rule::Unit),
        (no_container, Rule::Cgroup),
        (no_cgroup, Rule::Service),
        (no_service, Rule::Node),
        (nameless_owner, Rule::Node),
        (owner_somewhere, Rule::Node),
        (empty_uid, Rule::Node),
        (no_node, Rule::Source),
        (cgroup_nowhere, Rule::Source),
        (unit_nowhere, Rule::Source),
    ];
    let homeless = || Binder::new(Home::default());
    let mut ids = Vec::new();
    for (place, rule) in table {
        // A new binder each: what one place teaches would complete the next.
        let event = homeless().bind(event_at(place.clone()));
        assert_eq!(event.trace.binding, Binding::Inferred(rule), "{place:?}");
        assert!(!event.trace.trace_id.is_zero());
        ids.push((event.trace.trace_id, rule));
    }
    ids.sort_unstable();
    ids.dedup_by_key(|(id, _)| *id);
    ids.sort_unstable_by_key(|(_, rule)| *rule);
    ids.dedup_by_key(|(_, rule)| *rule);
    assert_eq!(ids.len(), Rule::ALL.len(), "every rule occurs, and no two rules share an id");
}

#[test]
fn ids_never_change_from_one_version_to_the_next() {
    // Agents of two versions run side by side during an upgrade. Never edit; only add.
    let id = trace(&Binder::new(Home::default()), &everything());
    assert_eq!(id.to_string(), "2c95982e0f3d37ea299f9dbc4ae5aabd");
}

#[test]
fn an_explicit_trace_stays_and_zeros_are_none() {
    let binder = binder_on("n1");
    let given = TraceId::from_bytes([7; 16]);
    let mut unbound = event_at(everything());
    unbound.trace_id = Some(given);
    unbound.span_id = Some(SpanId::default());
    let event = binder.bind(unbound.clone());
    assert_eq!((event.trace.trace_id, event.trace.binding), (given, Binding::Explicit));
    assert_eq!(event.trace.span_id, None);
    unbound.trace_id = Some(TraceId::default());
    let event = binder.bind(unbound);
    assert_eq!(event.trace.binding, Binding::Inferred(Rule::Workload));
}

#[test]
fn pods_of_one_workload_agree_on_hosts_that_never_talk() {
    let pod_on = |node: &str, pod: &str| Place {
        workload: workload("DaemonSet", "fluentd"),
        namespace: text("kube-system"),
        pod: text(pod),
        pod_uid: text(pod),
        node: text(node),
        ..Place::default()
    };
    let one = trace(&binder_on("n1"), &pod_on("n1", "fluentd-a"));
    assert_eq!(one, trace(&binder_on("n2"), &pod_on("n2", "fluentd-b")));
    let elsewhere = Binder::new(Home { cluster: text("staging"), node: text("n1") });
    assert_ne!(one, trace(&elsewhere, &pod_on("n1", "fluentd-a")), "another cluster");
}

#[test]
fn a_run_and_its_schedule_are_one_workload_whoever_names_it() {
    let pod = |kind: &str, name: &str| Place {
        workload: workload(kind, name),
        container_id: None,
        ..everything()
    };
    let bind = |place: Place| binder_on("n1").bind(event_at(place));
    let schedule = bind(pod("CronJob", "backup"));
    let run = bind(pod("Job", "backup-29000000"));
    assert_eq!(run.trace, schedule.trace);
    assert_eq!(run.place, schedule.place);
    let learned = binder_on("n2");
    learned.learn(&pod("Job", "backup-29001440"));
    let bare = Place { pod_uid: text("uid-1"), ..Place::default() };
    assert_eq!(trace(&learned, &bare), schedule.trace.trace_id, "what is learned too");
    assert_ne!(bind(pod("Job", "backup")).trace, schedule.trace);
    assert_ne!(bind(pod("StatefulSet", "backup-29000000")).trace, schedule.trace);
}

#[test]
fn units_and_control_groups_of_two_nodes_differ() {
    let unit = Place { workload: workload("Unit", "sshd.service"), ..Place::default() };
    let cgroup = Place { cgroup: text("/user.slice"), ..Place::default() };
    for place in [unit, cgroup] {
        assert_ne!(trace(&binder_on("n1"), &place), trace(&binder_on("n2"), &place), "{place:?}");
        assert_eq!(trace(&binder_on("n1"), &place), trace(&binder_on("n1"), &place), "{place:?}");
    }
}

#[test]
fn a_generation_tells_versions_of_a_workload_apart() {
    let binder = binder_on("n1");
    let versions = [None, Some(1), Some(2)].map(|generation| {
        let mut unbound = event_at(everything());
        unbound.generation = generation;
        binder.bind(unbound).trace.trace_id
    });
    let [none, first, second] = versions;
    assert!(none != first && first != second && none != second);
    assert_eq!(trace(&binder, &everything()), none, "a generation is not remembered");
}

#[test]
fn late_metadata_adds_place_and_changes_nothing_that_was_published() {
    let binder = binder_on("n1");
    let bare = Place { container_id: text("c0ffee"), ..Place::default() };
    let first = binder.bind(event_at(bare.clone()));
    let published: Event = first.clone();
    binder.learn(&Place { pod_uid: text("uid-1"), container_id: text("c0ffee"), ..bare.clone() });
    binder.learn(&Place { container_id: None, node: None, cgroup: None, ..everything() });
    let second = binder.bind(event_at(bare));
    assert_eq!(first, published);
    assert_eq!(first.trace.binding, Binding::Inferred(Rule::Container));
    assert_eq!(first.place.pod, None);
    // The container leads to the pod, and the pod to its workload.
    assert_eq!(second.place.pod, text("cart-1"));
    assert_eq!(second.place.workload, workload("Deployment", "cart"));
    assert_eq!(second.place.container, None, "a pod does not say which of its containers");
    assert_eq!(second.trace.binding, Binding::Inferred(Rule::Workload));
}

#[test]
fn events_teach_gaps_and_only_learning_corrects() {
    let binder = binder_on("n1");
    let pod = |kind: &str| Place { workload: workload(kind, "cart"), ..everything() };
    let bare = Place { pod_uid: text("uid-1"), ..Place::default() };
    let owner_seen = || binder.bind(event_at(bare.clone())).place.workload.clone();
    drop(binder.bind(event_at(pod("ReplicaSet"))));
    assert_eq!(owner_seen(), workload("ReplicaSet", "cart"));
    drop(binder.bind(event_at(pod("Job"))));
    assert_eq!(owner_seen(), workload("ReplicaSet", "cart"));
    binder.learn(&pod("Deployment"));
    assert_eq!(owner_seen(), workload("Deployment", "cart"));
    binder.learn(&Place { workload: None, ..everything() });
    assert_eq!(owner_seen(), workload("Deployment", "cart"), "saying less unsays nothing");
}

#[test]
fn what_is_set_stays_set_and_two_pods_do_not_mix() {
    let binder = binder_on("n1");
    binder.learn(&everything());
    let said = Place { container_id: text("c0ffee"), service: text("mine"), ..Place::default() };
    let event = binder.bind(event_at(said));
    assert_eq!((&event.place.service, &event.place.pod), (&text("mine"), &text("cart-1")));
    let other = Place {
        container_id: text("c0ffee"),
        pod_uid: text("uid-2"),
        node: text("n7"),
        ..Place::default()
    };
    let other = Place { container: text("spy"), workload: workload("Job", "spy"), ..other };
    let event = binder.bind(event_at(other.clone()));
    assert_eq!(*event.place, Place { cluster: text("prod"), ..other });
    let bare = Place { container_id: text("c0ffee"), ..Place::default() };
    assert_eq!(binder.bind(event_at(bare)).place.container, text("cart"));
}

#[test]
fn names_alone_never_bind() {
    let binder = binder_on("n1");
    let pod = |namespace: &str, uid: Option<Text>| Place {
        namespace: text(namespace),
        pod: text("cart-1"),
        pod_uid: uid,
        ..Place::default()
    };
    binder.learn(&Place { container_id: None, ..everything() });
    let places =
        [pod("shop", None), pod("test", None), pod("shop", text("a")), pod("shop", text("b"))];
    let events = places.map(|place| binder.bind(event_at(place)));
    for event in &events {
        assert_eq!((&event.place.workload, &event.place.service), (&None, &None));
    }
    let mut ids = events.map(|event| event.trace.trace_id).to_vec();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 4, "each is a pod of its own");
}

#[test]
fn events_of_one_place_share_it() {
    let binder = binder_on("n1");
    let [one, other] = [(), ()].map(|()| binder.bind(event_at(everything())).place);
    assert!(Arc::ptr_eq(&one, &other));
}

#[test]
fn only_what_this_host_sees_happens_on_this_host() {
    let binder = binder_on("n1");
    for source in Source::ALL {
        let unbound = Unbound { source, ..event_at(Place::default()) };
        let place = binder.bind(unbound).place;
        let is_remote = matches!(source, Source::Kubernetes | Source::Otlp | Source::Metrics);
        assert_eq!(place.node.is_none(), is_remote, "{source:?}");
        assert_eq!(place.cluster, text("prod"), "{source:?}");
    }
}
