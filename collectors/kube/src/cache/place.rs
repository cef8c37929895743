//! Where a pod is and whose it is.

use k8s_openapi::api::core::v1::Pod;
use tapio_model::{Place, Text, Workload};

use crate::{
    WatchCache,
    translate::{Controller, Owner, Owners as _},
};

/// Where the API keeps the UID by which a static pod's cgroup is named.
const STATIC_POD_UID: &str = "kubernetes.io/config.hash";

/// A chain of owners is two or three long; a longer one is a loop.
const OWNERS_MAX: usize = 5;

/// Where a service says its name, best first.
const SERVICE_LABELS: [&str; 2] = ["app.kubernetes.io/name", "app"];

/// Returns the UID that the node knows a pod by.
pub(super) fn uid(pod: &Pod) -> Option<Text> {
    let of_static = pod.metadata.annotations.as_ref().and_then(|notes| notes.get(STATIC_POD_UID));
    of_static.or(pod.metadata.uid.as_ref()).map(|uid| uid.as_str().into())
}

impl WatchCache {
    pub(super) fn place_of(&self, pod: &Pod) -> Place {
        let meta = &pod.metadata;
        let label = |key: &str| meta.labels.as_ref()?.get(key).map(String::as_str);
        let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref());
        let workload = Owner::of(meta).and_then(|owner| {
            self.top(
                owner,
                meta.namespace.as_deref().unwrap_or_default(),
                label("pod-template-hash"),
            )
        });
        Place {
            cluster: self.cluster.clone(),
            node: node.filter(|node| !node.is_empty()).map(Text::from),
            namespace: meta.namespace.as_deref().map(Text::from),
            workload,
            pod: meta.name.as_deref().map(Text::from),
            pod_uid: uid(pod),
            service: SERVICE_LABELS.into_iter().find_map(label).map(Text::from),
            ..Place::default()
        }
    }

    /// Climbs to the workload. Where `ReplicaSet`s are not watched, the template hash at the end of
    /// the name says that a Deployment made it: agents and the leader must name one workload.
    fn top(&self, owner: Owner, namespace: &str, hash: Option<&str>) -> Option<Workload> {
        let mut owner = owner;
        for _ in 0..OWNERS_MAX {
            match self.controller(namespace, &owner) {
                Controller::By(next) => owner = next,
                Controller::Nobody => break,
                Controller::Unknown => {
                    let deployment = hash
                        .filter(|_| &*owner.kind == "ReplicaSet")
                        .and_then(|hash| owner.name.strip_suffix(hash)?.strip_suffix('-'))
                        .filter(|name| !name.is_empty());
                    if let Some(name) = deployment {
                        return Some(Workload { kind: "Deployment".into(), name: name.into() });
                    }
                    break;
                }
            }
        }
        let Owner { kind, name, .. } = owner;
        (!matches!(&*kind, "Pod" | "Node")).then_some(Workload { kind, name })
    }
}
