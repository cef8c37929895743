//! Where a pod is and whose it is.

use k8s_openapi::api::core::v1::Pod;
use tapio_model::{Place, Text};

use crate::{WatchCache, translate::owner};

/// Where the API keeps the UID by which a static pod's cgroup is named.
const STATIC_POD_UID: &str = "kubernetes.io/config.hash";

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
        Place {
            cluster: self.cluster.clone(),
            node: node.filter(|node| !node.is_empty()).map(Text::from),
            namespace: meta.namespace.as_deref().map(Text::from),
            workload: owner::of_pod(meta),
            pod: meta.name.as_deref().map(Text::from),
            pod_uid: uid(pod),
            service: SERVICE_LABELS.into_iter().find_map(label).map(Text::from),
            ..Place::default()
        }
    }
}
