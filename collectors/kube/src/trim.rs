//! What is kept of an object: what translations read, and no secret.

use std::{
    hash::{BuildHasher as _, RandomState},
    sync::LazyLock,
};

use k8s_openapi::{
    ByteString,
    api::{
        admissionregistration::v1::{MutatingWebhookConfiguration, ValidatingWebhookConfiguration},
        apps::v1::{DaemonSet, Deployment, ReplicaSet, StatefulSet},
        autoscaling::v2::HorizontalPodAutoscaler,
        batch::v1::{CronJob, Job},
        core::v1::{
            ConfigMap, Container, Event, Node, PersistentVolume, PersistentVolumeClaim, Pod,
            PodSpec, ResourceQuota, Secret, Service,
        },
        discovery::v1::EndpointSlice,
        networking::v1::NetworkPolicy,
        rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding},
    },
};
use kube::api::ObjectMeta;

use crate::{WatchCache, translate::Translate};

/// An object that is watched.
pub(crate) trait Watched: Translate + kube::Resource<DynamicType = ()> {
    /// Drops what nobody reads, and what nobody may.
    fn trim(&mut self) {}

    /// Teaches the cache.
    fn learn(&self, _cache: &WatchCache) {}

    /// Tells the cache that it is gone.
    fn forget(&self, _cache: &WatchCache) {}
}

/// Drops most of what the server writes about itself: of the writes only the last one's time stays,
/// and the copy of the object that `kubectl apply` leaves (with a Secret's values) goes.
pub(crate) fn trim_meta(meta: &mut ObjectMeta) {
    if let Some(fields) = &mut meta.managed_fields {
        fields.sort_by(|a, b| b.time.cmp(&a.time));
        fields.truncate(1);
        for field in fields {
            (field.fields_v1, field.manager, field.operation) = (None, None, None);
            (field.fields_type, field.api_version, field.subresource) = (None, None, None);
        }
    }
    if let Some(annotations) = &mut meta.annotations {
        annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
    }
}

macro_rules! watched_as_it_is {
    ($($object:ty,)+) => { $(impl Watched for $object {})+ };
}

watched_as_it_is! {
    ClusterRole,
    ClusterRoleBinding,
    CronJob,
    DaemonSet,
    Deployment,
    Event,
    Job,
    MutatingWebhookConfiguration,
    NetworkPolicy,
    PersistentVolume,
    PersistentVolumeClaim,
    ResourceQuota,
    Role,
    RoleBinding,
    StatefulSet,
    ValidatingWebhookConfiguration,
}

/// Key of the digests: random, of this process, and never shown.
static KEY: LazyLock<RandomState> = LazyLock::new(RandomState::new);

/// Says whether a value is another one, and nothing else of it: without the key not even a short
/// password can be found by trying.
fn digest(value: &[u8]) -> [u8; 8] {
    KEY.hash_one(value).to_le_bytes()
}

impl Watched for Secret {
    fn trim(&mut self) {
        for value in self.data.iter_mut().flatten().map(|(_, value)| value) {
            *value = ByteString(digest(&value.0).into());
        }
        // Written only, and never sent back; a server that does is not to be trusted with it.
        self.string_data = None;
    }
}

impl Watched for ConfigMap {
    fn trim(&mut self) {
        for value in self.data.iter_mut().flatten().map(|(_, value)| value) {
            *value = digest(value.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
        }
        for value in self.binary_data.iter_mut().flatten().map(|(_, value)| value) {
            *value = ByteString(digest(&value.0).into());
        }
    }
}

impl Watched for Pod {
    fn trim(&mut self) {
        if let Some(spec) = &mut self.spec {
            trim_pod(spec);
        }
    }

    fn learn(&self, cache: &WatchCache) {
        cache.learn_pod(self);
    }

    fn forget(&self, cache: &WatchCache) {
        cache.forget_pod(self);
    }
}

impl Watched for ReplicaSet {
    /// Its template is its Deployment's, and a Deployment has ten old ones.
    fn trim(&mut self) {
        let template = self.spec.as_mut().and_then(|spec| spec.template.as_mut());
        if let Some(spec) = template.and_then(|template| template.spec.as_mut()) {
            trim_pod(spec);
        }
    }

    fn learn(&self, cache: &WatchCache) {
        cache.learn_set(self);
    }
}

impl Watched for EndpointSlice {
    fn learn(&self, cache: &WatchCache) {
        cache.learn_slice(self);
    }

    fn forget(&self, cache: &WatchCache) {
        cache.forget_slice(self);
    }
}

impl Watched for HorizontalPodAutoscaler {
    fn learn(&self, cache: &WatchCache) {
        cache.learn_scaler(self);
    }
}

impl Watched for Service {
    fn learn(&self, cache: &WatchCache) {
        cache.learn_service(self);
    }
}

impl Watched for Node {
    /// A node lists every image that it holds.
    fn trim(&mut self) {
        if let Some(status) = &mut self.status {
            status.images = None;
        }
    }

    fn learn(&self, cache: &WatchCache) {
        cache.learn_node(self);
    }
}

fn trim_pod(spec: &mut PodSpec) {
    (spec.affinity, spec.tolerations, spec.topology_spread_constraints) = (None, None, None);
    let init = spec.init_containers.iter_mut().flatten();
    spec.containers.iter_mut().chain(init).for_each(trim_container);
}

fn trim_container(container: &mut Container) {
    (container.command, container.args, container.lifecycle) = (None, None, None);
    (container.volume_mounts, container.security_context) = (None, None);
    // The values are data; the references say which ConfigMap and Secret it needs.
    if let Some(env) = &mut container.env {
        env.retain(|variable| variable.value_from.is_some());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_that_changes_is_seen_to_change() {
        let map = |value: &str| {
            let data = Some([("key".to_owned(), value.to_owned())].into());
            let mut map = ConfigMap { data, ..ConfigMap::default() };
            map.trim();
            map.data
        };
        assert_eq!(map("a"), map("a"));
        assert_ne!(map("a"), map("b"));
    }

    #[test]
    fn no_value_of_a_secret_stays_in_memory() {
        let json = r#"{"metadata":{"name":"s",
            "annotations":{"kubectl.kubernetes.io/last-applied-configuration":"hunter2","a":"b"},
            "managedFields":[{"manager":"m","time":"2026-01-01T00:00:00Z","fieldsV1":{"f:data":{}}},
                             {"manager":"n","time":"2026-01-02T00:00:00Z"}]},
            "data":{"password":"aHVudGVyMg=="},"stringData":{"token":"hunter2"}}"#;
        let mut secret: Secret = serde_json::from_str(json).unwrap();
        secret.trim();
        trim_meta(&mut secret.metadata);
        let left = serde_json::to_string(&secret).unwrap();
        assert!(!left.contains("hunter2") && !left.contains("aHVudGVyMg"), "{left}");
        assert!(left.contains("password") && left.contains("2026-01-02"));
        assert!(!left.contains("2026-01-01") && !left.contains("f:data"), "{left}");
    }
}
