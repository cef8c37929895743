//! What the cache learns from each object.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use k8s_openapi::api::{
    apps::v1::ReplicaSet,
    autoscaling::v2::HorizontalPodAutoscaler,
    core::v1::{Container, ContainerStatus, Node, Pod, PodSpec, Service},
    discovery::v1::{Endpoint, EndpointSlice},
};
use kube::api::ObjectMeta;
use moka::ops::compute::Op;
use tapio_model::{Place, Text, Workload};

use super::place::uid;
use crate::{
    WatchCache,
    translate::{Owners as _, owner, scaling},
};

const CONFIG_MAP: &str = "ConfigMap";
const SECRET: &str = "Secret";
const CLAIM: &str = "PersistentVolumeClaim";

const SCALER: &str = "HorizontalPodAutoscaler";

/// Kinds whose users are remembered; an autoscaler's is what it scales.
pub(super) const KINDS: [&str; 4] = [CONFIG_MAP, SECRET, CLAIM, SCALER];

/// Label of a slice that names its service.
const SERVICE_NAME: &str = "kubernetes.io/service-name";

impl WatchCache {
    pub(crate) fn learn_set(&self, set: &ReplicaSet) {
        self.learn_workload(&set.metadata, owner::of_object("ReplicaSet", &set.metadata));
    }

    fn learn_workload(&self, meta: &ObjectMeta, workload: Option<Workload>) {
        if let Some((uid, workload)) = meta.uid.as_deref().zip(workload) {
            self.workloads.insert(uid.into(), workload);
        }
    }

    pub(crate) fn learn_pod(&self, pod: &Pod) {
        self.learn_workload(&pod.metadata, owner::of_pod(&pod.metadata));
        let Some(uid) = uid(pod) else { return };
        let place = self.place_of(pod);
        self.learn_users(pod, &place);
        self.learn_tenant(pod, &place);
        for status in statuses(pod) {
            let Some(id) = container_id(status) else { continue };
            let container = Place {
                container: Some(status.name.as_str().into()),
                container_id: Some(id.clone()),
                ..place.clone()
            };
            self.say(&container);
            self.containers.insert(id, Arc::new(container));
        }
        self.say(&place);
        let place = Arc::new(place);
        self.pods.insert(uid, Arc::clone(&place));
        for address in addresses(pod) {
            if is_done(pod) {
                self.free(address, &place);
            } else {
                self.give(address, Arc::clone(&place));
            }
        }
    }

    /// Frees the addresses; the place stays, for what is late.
    pub(crate) fn forget_pod(&self, pod: &Pod) {
        let place = self.place_of(pod);
        addresses(pod).for_each(|address| self.free(address, &place));
        self.tenants.forget(pod.metadata.uid.as_deref().unwrap_or_default());
    }

    /// Learns the labels of a pod that is there; nothing calls or is called by one that is done.
    fn learn_tenant(&self, pod: &Pod, place: &Place) {
        let meta = &pod.metadata;
        let Some(uid) = meta.uid.as_deref() else { return };
        let home = place.namespace.clone().zip(place.workload.clone());
        match home.filter(|_| !is_done(pod)) {
            Some(home) => {
                let labels = meta.labels.as_ref();
                self.tenants.learn(uid, home, labels.unwrap_or(&BTreeMap::new()));
            }
            None => self.tenants.forget(uid),
        }
    }

    /// Learns what an autoscaler scales; it scales one thing at a time.
    pub(crate) fn learn_scaler(&self, scaler: &HorizontalPodAutoscaler) {
        let meta = &scaler.metadata;
        let Some((namespace, name)) = meta.namespace.as_deref().zip(meta.name.as_deref()) else {
            return;
        };
        let target = Arc::new(BTreeSet::from([scaling::target(scaler)]));
        self.users.insert((namespace.into(), SCALER, name.into()), target);
    }

    pub(crate) fn learn_service(&self, service: &Service) {
        let place = Place {
            cluster: self.cluster.clone(),
            namespace: service.metadata.namespace.as_deref().map(Text::from),
            service: service.metadata.name.as_deref().map(Text::from),
            ..Place::default()
        };
        let place = Arc::new(place);
        let addresses = service.spec.iter().flat_map(|spec| spec.cluster_ips.iter().flatten());
        for address in addresses.filter_map(|address| address.parse().ok()) {
            self.give(address, Arc::clone(&place));
        }
    }

    pub(crate) fn learn_node(&self, node: &Node) {
        let place = Place {
            cluster: self.cluster.clone(),
            node: node.metadata.name.as_deref().map(Text::from),
            ..Place::default()
        };
        let place = Arc::new(place);
        let addresses = node.status.iter().flat_map(|status| status.addresses.iter().flatten());
        let own = addresses.filter(|address| address.type_.ends_with("IP"));
        for address in own.filter_map(|address| address.address.parse().ok()) {
            self.give(address, Arc::clone(&place));
        }
    }

    pub(crate) fn learn_slice(&self, slice: &EndpointSlice) {
        self.write_slice(slice, Some(count(slice)));
    }

    pub(crate) fn forget_slice(&self, slice: &EndpointSlice) {
        self.write_slice(slice, None);
    }

    fn write_slice(&self, slice: &EndpointSlice, count: Option<(i64, i64)>) {
        let meta = &slice.metadata;
        let service = meta.labels.as_ref().and_then(|labels| labels.get(SERVICE_NAME));
        let Some((service, name)) = service.zip(meta.name.as_ref()) else { return };
        let key = (meta.namespace.as_deref().unwrap_or_default().into(), service.as_str().into());
        if count.is_some() {
            self.backends.learn(&key, &self.workloads_of(slice));
        }
        self.slices.entry(key).and_compute_with(|entry| {
            let mut slices = entry.map(|entry| (*entry.into_value()).clone()).unwrap_or_default();
            match count {
                Some(count) => slices.insert(name.as_str().into(), count),
                None => slices.remove(name.as_str()),
            };
            if slices.is_empty() { Op::Remove } else { Op::Put(Arc::new(slices)) }
        });
    }

    /// Returns the workloads of the pods that are endpoints of a slice.
    fn workloads_of(&self, slice: &EndpointSlice) -> BTreeSet<Workload> {
        let targets = slice.endpoints.iter().flatten().filter_map(|one| one.target_ref.as_ref());
        let pods = targets.filter(|target| target.kind.as_deref() == Some("Pod"));
        pods.filter_map(|pod| self.workload(pod.uid.as_deref()?)).collect()
    }

    fn learn_users(&self, pod: &Pod, place: &Place) {
        let (Some(workload), Some(spec)) = (&place.workload, &pod.spec) else { return };
        let namespace = place.namespace.clone().unwrap_or_default();
        for (kind, name) in uses(spec) {
            self.learn_user((namespace.clone(), kind, name.into()), workload);
        }
    }

    fn learn_user(&self, object: super::Object, workload: &Workload) {
        self.users.entry(object).and_compute_with(|entry| {
            let known = entry.map(moka::Entry::into_value).unwrap_or_default();
            if known.contains(workload) {
                return Op::Nop;
            }
            let mut users = (*known).clone();
            users.insert(workload.clone());
            Op::Put(Arc::new(users))
        });
    }

    fn say(&self, place: &Place) {
        if let Some(tell) = &self.tell {
            tell(place);
        }
    }

    fn give(&self, address: IpAddr, place: Arc<Place>) {
        if let Some(tell) = &self.tell_address {
            tell(address, Some(&place));
        }
        self.addresses.insert(address, place);
    }

    /// Frees an address, unless somebody else has it by now.
    fn free(&self, address: IpAddr, place: &Place) {
        let is_ours =
            self.addresses.get(&address).is_some_and(|known| known.pod_uid == place.pod_uid);
        if is_ours {
            self.addresses.invalidate(&address);
            if let Some(tell) = &self.tell_address {
                tell(address, None);
            }
        }
    }
}

fn statuses(pod: &Pod) -> impl Iterator<Item = &ContainerStatus> {
    pod.status.iter().flat_map(|status| {
        let init = status.init_container_statuses.iter().flatten();
        let ephemeral = status.ephemeral_container_statuses.iter().flatten();
        status.container_statuses.iter().flatten().chain(init).chain(ephemeral)
    })
}

/// Returns the id without `containerd://`.
fn container_id(status: &ContainerStatus) -> Option<Text> {
    let id = status.container_id.as_deref()?;
    let id = id.split_once("://").map_or(id, |(_, id)| id);
    (!id.is_empty()).then(|| id.into())
}

/// Returns a pod's own addresses; those of the host's network are the node's.
fn addresses(pod: &Pod) -> impl Iterator<Item = IpAddr> {
    let is_host = pod.spec.as_ref().is_some_and(|spec| spec.host_network == Some(true));
    let status = pod.status.iter().filter(move |_| !is_host);
    status.flat_map(|status| status.pod_ips.iter().flatten()).filter_map(|ip| ip.ip.parse().ok())
}

fn is_done(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed"))
}

/// Lists the ConfigMaps, Secrets and claims that a pod needs.
fn uses(spec: &PodSpec) -> BTreeSet<(&'static str, &str)> {
    let mut uses = BTreeSet::new();
    let init = spec.init_containers.iter().flatten();
    spec.containers.iter().chain(init).for_each(|container| environment(container, &mut uses));
    for volume in spec.volumes.iter().flatten() {
        uses.extend(volume.config_map.as_ref().map(|map| (CONFIG_MAP, map.name.as_str())));
        let secret = volume.secret.as_ref().and_then(|secret| secret.secret_name.as_deref());
        uses.extend(secret.map(|name| (SECRET, name)));
        let claim = volume.persistent_volume_claim.as_ref();
        uses.extend(claim.map(|claim| (CLAIM, claim.claim_name.as_str())));
        let projected = volume.projected.iter().flat_map(|all| all.sources.iter().flatten());
        for source in projected {
            uses.extend(source.config_map.as_ref().map(|map| (CONFIG_MAP, map.name.as_str())));
            uses.extend(source.secret.as_ref().map(|secret| (SECRET, secret.name.as_str())));
        }
    }
    let pulls = spec.image_pull_secrets.iter().flatten();
    uses.extend(pulls.map(|secret| (SECRET, secret.name.as_str())));
    uses
}

fn environment<'a>(container: &'a Container, uses: &mut BTreeSet<(&'static str, &'a str)>) {
    for from in container.env_from.iter().flatten() {
        uses.extend(from.config_map_ref.as_ref().map(|map| (CONFIG_MAP, map.name.as_str())));
        uses.extend(from.secret_ref.as_ref().map(|secret| (SECRET, secret.name.as_str())));
    }
    let from = container.env.iter().flatten().filter_map(|one| one.value_from.as_ref());
    for from in from {
        let map = from.config_map_key_ref.as_ref();
        uses.extend(map.map(|map| (CONFIG_MAP, map.name.as_str())));
        let secret = from.secret_key_ref.as_ref();
        uses.extend(secret.map(|secret| (SECRET, secret.name.as_str())));
    }
}

/// Counts endpoints as translation does: unknown readiness is readiness, one that goes is neither.
fn count(slice: &EndpointSlice) -> (i64, i64) {
    let is_ready = |endpoint: &&Endpoint| {
        endpoint.conditions.as_ref().is_none_or(|conditions| conditions.ready != Some(false))
    };
    let is_leaving = |endpoint: &Endpoint| {
        endpoint.conditions.as_ref().is_some_and(|it| it.terminating == Some(true))
    };
    let endpoints = || slice.endpoints.iter().flatten();
    let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
    let waiting = endpoints().filter(|one| !is_ready(one) && !is_leaving(one));
    (number(endpoints().filter(is_ready).count()), number(waiting.count()))
}
