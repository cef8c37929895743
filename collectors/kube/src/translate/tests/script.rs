//! Reading scripts, and a cluster they play in.

use std::path::Path;

use k8s_openapi::{
    api::{
        admissionregistration::v1::{MutatingWebhookConfiguration, ValidatingWebhookConfiguration},
        apps::v1::{DaemonSet, Deployment, ReplicaSet, StatefulSet},
        autoscaling::v2::HorizontalPodAutoscaler,
        batch::v1::{CronJob, Job},
        core::v1::{
            ConfigMap, Event, Node, PersistentVolume, PersistentVolumeClaim, Pod, ResourceQuota,
            Secret, Service,
        },
        discovery::v1::EndpointSlice,
        networking::v1::NetworkPolicy,
        rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding},
    },
    jiff,
};
use serde_json::Value as Json;
use tapio_collect::Unbound;
use tapio_model::{Text, Timestamp, Value, Workload};

use crate::translate::{Context, Labels, NEWS_AGE_MAX, Owners, Translate, seen::nanos};

/// One look at an object.
#[derive(Debug)]
pub(super) struct Look {
    pub(super) title: String,
    pub(super) kind: String,
    pub(super) object: Option<Json>,
    pub(super) is_found: bool,
    /// Whether what was seen before is not known.
    pub(super) forgets: bool,
    pub(super) now: Timestamp,
}

/// Reads every script: an object, and what changes of it from look to look.
pub(super) fn scripts() -> Vec<(String, Vec<Look>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/objects");
    let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    paths.sort();
    paths
        .iter()
        .map(|path| {
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            let script: Json = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
            (name, looks(&script))
        })
        .collect()
}

fn looks(script: &Json) -> Vec<Look> {
    let mut object = script["object"].clone();
    let kind = object["kind"].as_str().unwrap().to_owned();
    let truth = |look: &Json, key: &str| look[key].as_bool().unwrap_or_default();
    let mut looks = Vec::new();
    for look in script["looks"].as_array().unwrap() {
        merge(&mut object, &look["merge"]);
        let now = look["now"].as_str().or(script["now"].as_str()).unwrap();
        looks.push(Look {
            title: look["title"].as_str().unwrap().to_owned(),
            kind: kind.clone(),
            object: (!truth(look, "gone")).then(|| object.clone()),
            is_found: truth(look, "found"),
            forgets: truth(look, "forget"),
            now: time(now).unwrap(),
        });
    }
    looks
}

/// Merges as RFC 7396 says: objects key by key, null takes a key away, all else replaces.
fn merge(into: &mut Json, patch: &Json) {
    let Json::Object(fields) = patch else { return };
    for (key, value) in fields {
        if value.is_null() {
            into.as_object_mut().unwrap().remove(key);
        } else if value.is_object() && into[key].is_object() {
            merge(&mut into[key], value);
        } else {
            into[key] = value.clone();
        }
    }
}

pub(super) fn time(text: &str) -> Option<Timestamp> {
    text.parse::<jiff::Timestamp>().ok().map(nanos)
}

/// Translates objects of a kind, as the API server sends them.
pub(super) fn translate(
    kind: &str,
    before: Option<&Json>,
    after: Option<&Json>,
    context: &Context<'_>,
) -> Result<Vec<Unbound>, serde_json::Error> {
    macro_rules! of_kinds {
        ($($name:ident)+) => {
            match kind {
                $(stringify!($name) => of::<$name>(before, after, context),)+
                _ => panic!("no translation of {kind}"),
            }
        };
    }
    of_kinds! {
        ClusterRole ClusterRoleBinding ConfigMap CronJob DaemonSet Deployment EndpointSlice Event
        HorizontalPodAutoscaler Job MutatingWebhookConfiguration NetworkPolicy Node
        PersistentVolume PersistentVolumeClaim Pod ReplicaSet ResourceQuota Role RoleBinding Secret
        Service StatefulSet ValidatingWebhookConfiguration
    }
}

fn of<K: Translate>(
    before: Option<&Json>,
    after: Option<&Json>,
    context: &Context<'_>,
) -> Result<Vec<Unbound>, serde_json::Error> {
    let read = |json: Option<&Json>| -> Result<Option<K>, serde_json::Error> {
        json.map(|json| serde_json::from_value(json.clone())).transpose()
    };
    let (before, after) = (read(before)?, read(after)?);
    Ok(K::changes(before.as_ref(), after.as_ref(), context))
}

/// UIDs of a pod of the cart and of its ReplicaSet.
const CART: [&str; 2] =
    ["0b6f4c7e-0000-4000-8000-000000000001", "0b6f4c7e-0000-4000-8000-000000000002"];

/// A cluster in which everybody is known.
#[derive(Debug)]
pub(super) struct Cluster;

/// A cluster in which nobody is.
#[derive(Debug)]
pub(super) struct Nobody;

impl Cluster {
    pub(super) fn context(&self, now: Timestamp, is_first_list: bool) -> Context<'_> {
        Context {
            cluster: Some("demo".into()),
            now,
            is_first_list,
            news_age_max: NEWS_AGE_MAX,
            owners: self,
        }
    }
}

impl Owners for Cluster {
    fn workload(&self, uid: &str) -> Option<Workload> {
        let is_cart = uid.starts_with("pod-") || CART.contains(&uid);
        is_cart.then(|| Workload { kind: "Deployment".into(), name: "cart".into() })
    }

    fn users(&self, _namespace: &str, kind: &str, name: &str) -> Vec<Workload> {
        let user = |kind: &str, name: &str| Workload { kind: kind.into(), name: name.into() };
        match (kind, name) {
            ("ConfigMap", "cart-env") => vec![user("Deployment", "cart"), user("Job", "import")],
            ("PersistentVolumeClaim", _) => vec![user("StatefulSet", "db")],
            ("HorizontalPodAutoscaler", "cart") => vec![user("Deployment", "cart")],
            _ => Vec::new(),
        }
    }

    fn node(&self, uid: &str) -> Option<Text> {
        CART.contains(&uid).then(|| "n2".into())
    }

    fn tenants(&self, _namespace: &str, is_meant: &dyn Fn(&Labels) -> bool) -> Vec<Workload> {
        let tenants = [("Deployment", "cart"), ("Deployment", "checkout"), ("StatefulSet", "db")];
        let meant = tenants
            .into_iter()
            .filter(|(_, app)| is_meant(&[("app".to_owned(), (*app).to_owned())].into()));
        meant.map(|(kind, name)| Workload { kind: kind.into(), name: name.into() }).collect()
    }

    fn backends(&self, _namespace: &str, service: &str) -> Vec<Workload> {
        let name = (service == "cart").then(|| "cart".into());
        name.into_iter().map(|name| Workload { kind: "Deployment".into(), name }).collect()
    }
}

impl Owners for Nobody {
    fn workload(&self, _uid: &str) -> Option<Workload> {
        None
    }
}

/// Shows an event on one line.
pub(super) fn show(event: &Unbound) -> String {
    let time = jiff::Timestamp::from_nanosecond(i128::from(event.time.as_nanos())).unwrap();
    let time = time.to_string().replace("2026-03-02T", "").replace('Z', "");
    let place = &event.place;
    let owner = place.workload.as_ref().map(|owner| format!("{}/{}", owner.kind, owner.name));
    let id = place.container_id.as_ref().map(|id| id.chars().take(4).collect::<String>());
    let parts = [
        ("node", place.node.as_deref()),
        ("ns", place.namespace.as_deref()),
        ("owner", owner.as_deref()),
        ("pod", place.pod.as_deref()),
        ("uid", place.pod_uid.as_deref()),
        ("container", place.container.as_deref()),
        ("cid", id.as_deref()),
        ("svc", place.service.as_deref()),
    ];
    let place: Vec<_> =
        parts.iter().filter_map(|(key, part)| Some(format!("{key}={}", (*part)?))).collect();
    let attributes: Vec<_> = event
        .attributes
        .iter()
        .map(|(key, value)| match value {
            Value::Text(text) => format!("{key}={:?}", text.as_str()),
            Value::Int(_) | Value::Float(_) | Value::Bool(_) => format!("{key}={value}"),
        })
        .collect();
    format!(
        "{time} {} {} {} {} | {} | {}\n",
        event.kind.name(),
        event.severity.name(),
        event.impact.get(),
        event.class.name(),
        place.join(" "),
        attributes.join(" "),
    )
}
