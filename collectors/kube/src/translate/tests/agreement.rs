//! Two agents that never talk and one pod: who sees everything and who sees the pod alone put it
//! into one trace.

use std::sync::{Arc, Mutex};

use k8s_openapi::api::{
    apps::v1::ReplicaSet,
    batch::v1::Job,
    core::v1::{Event, Pod, Service},
    discovery::v1::EndpointSlice,
    networking::v1::NetworkPolicy,
};
use proptest::prelude::*;
use serde_json::{Value as Json, json};
use tapio_collect::{Binder, Home, Unbound, event_id};
use tapio_model::{Kind, Place, Source, Timestamp, TraceId};

use crate::{
    WatchCache,
    translate::{Context, NEWS_AGE_MAX, Translate},
    trim::Watched,
};

/// What owns a pod: kind and name, and the pod's label with the hash of its template; then the
/// workload that everybody names.
type Case = (&'static str, &'static str, Option<(&'static str, &'static str)>, &'static str);

const NONE: &str = "-";

const CASES: &[Case] = &[
    ("ReplicaSet", "cart-7f6b8d9c4", Some(("pod-template-hash", "7f6b8d9c4")), "Deployment/cart"),
    ("ReplicaSet", "cart-a-7d9f", Some(("pod-template-hash", "7d9f")), "Deployment/cart-a"),
    (
        "ReplicaSet",
        "cart-5d8fb4c7d9",
        Some(("rollouts-pod-template-hash", "5d8fb4c7d9")),
        "Rollout/cart",
    ),
    ("ReplicaSet", "cart", None, "ReplicaSet/cart"),
    (
        "ReplicaSet",
        "cart-7f6b8d9c4",
        Some(("pod-template-hash", "other")),
        "ReplicaSet/cart-7f6b8d9c4",
    ),
    ("Job", "backup-29000000", None, "CronJob/backup"),
    ("Job", "backup-29001440", None, "CronJob/backup"),
    ("Job", "backup-by-hand", None, "Job/backup-by-hand"),
    ("Job", "import-20260302", None, "Job/import-20260302"),
    ("StatefulSet", "db", Some(("controller-revision-hash", "db-7d9f")), "StatefulSet/db"),
    ("DaemonSet", "fluentd", None, "DaemonSet/fluentd"),
    ("SparkApplication", "sums", None, "SparkApplication/sums"),
    ("Node", "n1", None, NONE),
];

/// Objects above the pod's owner, of which the agent of a node knows nothing.
const ABOVE: &[Option<(&str, &str)>] = &[
    None,
    Some(("Deployment", "cart")),
    Some(("CronJob", "backup")),
    Some(("Rollout", "cart")),
    Some(("Prometheus", "main")),
];

fn reference(kind: &str, name: &str) -> Json {
    json!([{ "apiVersion": "v1", "kind": kind, "name": name, "uid": "owner", "controller": true }])
}

fn labels(case: &Case) -> Json {
    case.2.map_or_else(|| json!({}), |(label, hash)| json!({ label: hash }))
}

fn pod(case: &Case, is_waiting: bool) -> Result<Pod, serde_json::Error> {
    let state =
        if is_waiting { json!({ "waiting": { "reason": "CrashLoopBackOff" } }) } else { json!({}) };
    serde_json::from_value(json!({
        "metadata": { "name": "p", "namespace": "shop", "uid": "pod", "labels": labels(case),
            "ownerReferences": reference(case.0, case.1) },
        "spec": { "nodeName": "n1", "containers": [{ "name": "c" }] },
        "status": { "containerStatuses": [{ "name": "c", "containerID": "containerd://abc",
            "image": "", "imageID": "", "ready": true, "restartCount": 1, "state": state }] },
    }))
}

fn binder() -> Binder {
    Binder::new(Home { cluster: Some("prod".into()), node: None })
}

fn workload(place: &Place) -> String {
    let owner = place.workload.as_ref();
    owner.map_or_else(|| NONE.to_owned(), |owner| format!("{}/{}", owner.kind, owner.name))
}

/// The agent of a node: it watches pods, and the kernel shows it a container.
fn agent(case: &Case) -> Result<(TraceId, String), serde_json::Error> {
    let learned: Arc<Mutex<Vec<Place>>> = Arc::default();
    let log = Arc::clone(&learned);
    let tell = Arc::new(move |place: &Place| {
        if let Ok(mut log) = log.lock() {
            log.push(place.clone());
        }
    });
    let cache = WatchCache::new(Some("prod".into()), Some(tell), None);
    pod(case, false)?.learn(&cache);
    let binder = binder();
    if let Ok(log) = learned.lock() {
        log.iter().for_each(|place| binder.learn(place));
    }
    let id = event_id(&[b"oom"]);
    let place = Place { container_id: Some("abc".into()), ..Place::default() };
    let event =
        binder.bind(Unbound::new(id, Timestamp::ZERO, Source::Kernel, Kind::OomKill).at(place));
    Ok((event.trace.trace_id, workload(&event.place)))
}

/// The leader: it saw the owner and what is above it first, if `is_complete`.
fn leader(
    case: &Case,
    above: Option<(&str, &str)>,
    is_complete: bool,
) -> Result<Vec<(TraceId, String)>, serde_json::Error> {
    let cache = WatchCache::new(Some("prod".into()), None, None);
    let owner = json!({ "metadata": { "name": case.1, "namespace": "shop", "uid": "owner",
        "labels": labels(case),
        "ownerReferences": above.map_or_else(|| json!([]), |(kind, name)| reference(kind, name)) },
        "status": { "conditions": [
            { "type": "Failed", "status": "True" }, { "type": "ReplicaFailure", "status": "True" } ] } });
    let context = Context {
        cluster: Some("prod".into()),
        now: Timestamp::ZERO,
        is_first_list: false,
        news_age_max: NEWS_AGE_MAX,
        owners: &cache,
    };
    let mut told = Vec::new();
    if case.0 == "ReplicaSet" {
        let set: ReplicaSet = serde_json::from_value(owner.clone())?;
        if is_complete {
            set.learn(&cache);
        }
        told.extend(ReplicaSet::changes(None, Some(&set), &context));
    }
    if case.0 == "Job" {
        told.extend(Job::changes(None, Some(&serde_json::from_value(owner)?), &context));
    }
    let (before, after) = (pod(case, false)?, pod(case, true)?);
    after.learn(&cache);
    told.extend(Pod::changes(Some(&before), Some(&after), &context));
    let mut objects = vec![("Pod", "p", "pod")];
    // Of a ReplicaSet that is not known only the name speaks, and not for every one.
    if matches!(case.0, "ReplicaSet" if is_complete) || matches!(case.0, "Job" | "DaemonSet") {
        objects.push((case.0, case.1, "owner"));
    }
    for (kind, name, uid) in objects {
        let event: Event = serde_json::from_value(json!({
            "metadata": { "name": "e", "namespace": "shop", "uid": kind },
            "reason": "Failed", "message": "no", "type": "Warning",
            "involvedObject":
                { "kind": kind, "name": name, "namespace": "shop", "uid": uid } }))?;
        told.extend(Event::changes(None, Some(&event), &context));
    }
    if case.3 != NONE {
        told.extend(rules(&cache, &context)?);
    }
    let binder = binder();
    Ok(told
        .into_iter()
        .map(|event| binder.bind(event))
        .map(|event| (event.trace.trace_id, workload(&event.place)))
        .collect())
}

/// What befalls the pod's workload through others: a rule for its namespace, and its Service.
fn rules(cache: &WatchCache, context: &Context<'_>) -> Result<Vec<Unbound>, serde_json::Error> {
    let meta = json!({ "name": "rule", "namespace": "shop", "uid": "rule", "resourceVersion": "1",
        "labels": { "kubernetes.io/service-name": "rule" } });
    let slice: EndpointSlice = serde_json::from_value(json!({ "metadata": meta,
        "addressType": "IPv4",
        "endpoints": [{ "addresses": [], "targetRef": { "kind": "Pod", "uid": "pod" } }] }))?;
    slice.learn(cache);
    let policy: NetworkPolicy =
        serde_json::from_value(json!({ "metadata": meta, "spec": { "podSelector": {} } }))?;
    let service: Service = serde_json::from_value(json!({ "metadata": meta, "spec": {} }))?;
    let mut told = NetworkPolicy::changes(None, Some(&policy), context);
    told.extend(Service::changes(None, Some(&service), context));
    Ok(told)
}

#[test]
fn the_pod_alone_names_its_workload() {
    for case in CASES {
        let (_, named) = agent(case).unwrap();
        assert_eq!(named, case.3, "{case:?}");
    }
}

#[test]
fn an_event_that_is_faster_than_its_replica_set_still_names_the_deployment() {
    let names = ["cart-7f6b8d9c4", "cart-5d8fb4c7d9", "cart-green", "cart-7d9f", "7f6b8d9c4"];
    let named = names.map(|name| {
        let cache = WatchCache::new(None, None, None);
        let context = Context {
            cluster: None,
            now: Timestamp::ZERO,
            is_first_list: false,
            news_age_max: NEWS_AGE_MAX,
            owners: &cache,
        };
        let event: Event = serde_json::from_value(json!({ "metadata": { "uid": "e" },
            "involvedObject": { "kind": "ReplicaSet", "name": name, "uid": "r" } }))
        .unwrap();
        workload(&Event::changes(None, Some(&event), &context)[0].place)
    });
    assert_eq!(
        named,
        [
            "Deployment/cart",
            "Deployment/cart",
            "ReplicaSet/cart-green",
            "ReplicaSet/cart-7d9f",
            "ReplicaSet/7f6b8d9c4"
        ]
    );
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_leader_and_the_agent_of_the_node_infer_one_trace(
        case in prop::sample::select(CASES),
        above in prop::sample::select(ABOVE),
        is_complete in any::<bool>(),
    ) {
        let alone = agent(&case).unwrap();
        let told = leader(&case, above, is_complete).unwrap();
        prop_assert!(told.len() >= 2, "{told:?}");
        for one in told {
            prop_assert_eq!(&one, &alone, "{:?} {:?}", case, above);
        }
    }
}
