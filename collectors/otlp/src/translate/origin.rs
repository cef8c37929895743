//! Where records come from: their resource and scope.

use opentelemetry_proto::tonic::common::v1::KeyValue;
use prost::Message as _;
use tapio_collect::event_id;
use tapio_model::{EventId, Place, Text, Workload};

use super::attributes::find_text;

/// The longest name taken over into a place.
const NAME_BYTES_MAX: usize = 512;

/// Top owners first: a `CronJob` owns its Jobs.
const WORKLOADS: [(&str, &str); 5] = [
    ("Deployment", "k8s.deployment.name"),
    ("StatefulSet", "k8s.statefulset.name"),
    ("DaemonSet", "k8s.daemonset.name"),
    ("CronJob", "k8s.cronjob.name"),
    ("Job", "k8s.job.name"),
];

/// Where records come from: the resource that all of them share, and who wrote them.
#[derive(Debug, Clone)]
pub(crate) struct Origin {
    /// Where it happened.
    pub(super) place: Place,
    /// Name of the instrumentation scope: the logger, the library.
    pub(super) scope: Text,
    /// Tells resources apart in the ids of log records.
    pub(super) resource_id: EventId,
}

impl Origin {
    /// Reads a resource's attributes.
    pub(crate) fn new(resource: &[KeyValue], scope: &str) -> Self {
        Self {
            place: place(resource),
            scope: clip(scope),
            resource_id: event_id(&[&bytes(resource)]),
        }
    }
}

/// Returns attributes as bytes, for ids.
pub(super) fn bytes(attributes: &[KeyValue]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for attribute in attributes {
        bytes.extend(attribute.encode_length_delimited_to_vec());
    }
    bytes
}

fn place(resource: &[KeyValue]) -> Place {
    let name = |key: &str| find_text(resource, &[key]).map(|name| clip(&name));
    let (pod, pod_uid) = (name("k8s.pod.name"), name("k8s.pod.uid"));
    // Inside a pod the host name is the pod's.
    let host = if pod.is_none() && pod_uid.is_none() { name("host.name") } else { None };
    Place {
        cluster: name("k8s.cluster.name"),
        node: name("k8s.node.name").or(host),
        namespace: name("k8s.namespace.name"),
        workload: WORKLOADS
            .into_iter()
            .find_map(|(kind, key)| name(key).map(|name| Workload { kind: kind.into(), name })),
        pod,
        pod_uid,
        container: name("k8s.container.name"),
        container_id: name("container.id").map(|id| without_runtime(&id)),
        // What SDKs say when nobody named the service: the same for all of them.
        service: name("service.name").filter(|name| !name.starts_with("unknown_service")),
        cgroup: None,
    }
}

/// Strips `containerd://` and its like.
fn without_runtime(id: &Text) -> Text {
    id.split_once("://").map_or_else(|| id.clone(), |(_, id)| id.into())
}

fn clip(name: &str) -> Text {
    name.get(..name.floor_char_boundary(NAME_BYTES_MAX)).unwrap_or_default().into()
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::common::v1::{AnyValue, any_value::Value as Any};

    use super::*;

    fn resource(pairs: &[(&str, &str)]) -> Vec<KeyValue> {
        pairs
            .iter()
            .map(|(key, value)| KeyValue {
                key: (*key).into(),
                value: Some(AnyValue { value: Some(Any::StringValue((*value).into())) }),
                ..KeyValue::default()
            })
            .collect()
    }

    #[test]
    fn a_full_kubernetes_resource_names_everything() {
        let place = place(&resource(&[
            ("service.name", "cart"),
            ("service.namespace", "not-a-kubernetes-namespace"),
            ("k8s.cluster.name", "prod"),
            ("k8s.namespace.name", "shop"),
            ("k8s.node.name", "n1"),
            ("host.name", "cart-7d9f"),
            ("k8s.pod.name", "cart-7d9f"),
            ("k8s.pod.uid", "u-1"),
            ("k8s.container.name", "cart"),
            ("container.id", "containerd://abc"),
            ("k8s.deployment.name", "cart"),
        ]));
        let expected = Place {
            cluster: Some("prod".into()),
            node: Some("n1".into()),
            namespace: Some("shop".into()),
            workload: Some(Workload { kind: "Deployment".into(), name: "cart".into() }),
            pod: Some("cart-7d9f".into()),
            pod_uid: Some("u-1".into()),
            container: Some("cart".into()),
            container_id: Some("abc".into()),
            service: Some("cart".into()),
            cgroup: None,
        };
        assert_eq!(place, expected);
    }

    #[test]
    fn workloads_are_the_top_owner() {
        for (pairs, kind) in [
            (&[("k8s.statefulset.name", "a")][..], Some("StatefulSet")),
            (&[("k8s.daemonset.name", "a")], Some("DaemonSet")),
            (&[("k8s.job.name", "a-1"), ("k8s.cronjob.name", "a")], Some("CronJob")),
            (&[("k8s.job.name", "a")], Some("Job")),
            (&[("k8s.deployment.name", "")], None),
        ] {
            let workload = place(&resource(pairs)).workload;
            assert_eq!(workload.as_ref().map(|workload| workload.kind.as_str()), kind, "{pairs:?}");
        }
    }

    #[test]
    fn a_host_name_is_a_node_only_outside_of_pods() {
        let host =
            place(&resource(&[("host.name", "vm-1"), ("service.name", "unknown_service:java")]));
        assert_eq!(host, Place { node: Some("vm-1".into()), ..Place::default() });
        let pod = place(&resource(&[("host.name", "cart-1"), ("k8s.pod.name", "cart-1")]));
        assert_eq!(pod.node, None);
    }
}
