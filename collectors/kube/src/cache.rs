//! What runs where and for whom: the shared watch cache.

mod backends;
mod feed;
mod place;
mod tenants;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::IpAddr,
    sync::Arc,
    time::Duration,
};

use moka::sync::Cache;
use tapio_model::{Place, Text, Workload};

use self::{backends::Backends, tenants::Tenants};
use crate::{
    Learn, LearnAddress,
    translate::{Labels, Owners},
};

/// Things of one sort that are remembered.
const KNOWN_MAX: u64 = 150_000;

/// How long something is remembered that no listing mentions any more: late events of a pod that
/// is gone still find its place. Must exceed the time between two listings.
const KNOWN_IDLE: Duration = Duration::from_secs(3_600);

/// Pods whose labels are remembered.
const TENANTS_MAX: usize = 150_000;

/// A ConfigMap, Secret, claim or autoscaler: namespace, kind, name.
type Object = (Text, &'static str, Text);

/// Ready and not ready endpoints, by slice.
type Slices = BTreeMap<Text, (i64, i64)>;

/// Turns container id, pod, address into a place, and objects into their workloads.
pub struct WatchCache {
    cluster: Option<Text>,
    workloads: Cache<Text, Workload>,
    pods: Cache<Text, Arc<Place>>,
    containers: Cache<Text, Arc<Place>>,
    addresses: Cache<IpAddr, Arc<Place>>,
    users: Cache<Object, Arc<BTreeSet<Workload>>>,
    slices: Cache<(Text, Text), Arc<Slices>>,
    backends: Backends,
    tenants: Tenants,
    tell: Option<Learn>,
    tell_address: Option<LearnAddress>,
}

impl WatchCache {
    /// Makes a cache that knows nothing and tells what it learns.
    #[must_use]
    pub fn new(
        cluster: Option<Text>,
        tell: Option<Learn>,
        tell_address: Option<LearnAddress>,
    ) -> Self {
        Self {
            cluster,
            workloads: cache(),
            pods: cache(),
            containers: cache(),
            addresses: cache(),
            users: cache(),
            slices: cache(),
            backends: Backends::new(),
            tenants: Tenants::new(TENANTS_MAX),
            tell,
            tell_address,
        }
    }

    /// Returns the place of a pod.
    #[must_use]
    pub fn pod(&self, uid: &str) -> Option<Arc<Place>> {
        self.pods.get(uid)
    }

    /// Returns the place of a container, by its id without the runtime's prefix.
    #[must_use]
    pub fn container(&self, id: &str) -> Option<Arc<Place>> {
        self.containers.get(id)
    }

    /// Returns who has an address: a pod, a service or a node.
    #[must_use]
    pub fn address(&self, address: IpAddr) -> Option<Arc<Place>> {
        self.addresses.get(&address)
    }
}

impl Owners for WatchCache {
    fn workload(&self, uid: &str) -> Option<Workload> {
        self.workloads.get(uid)
    }

    fn node(&self, uid: &str) -> Option<Text> {
        self.pods.get(uid)?.node.clone()
    }

    fn users(&self, namespace: &str, kind: &str, name: &str) -> Vec<Workload> {
        let Some(kind) = feed::KINDS.into_iter().find(|known| *known == kind) else {
            return Vec::new();
        };
        let users = self.users.get(&(namespace.into(), kind, name.into()));
        users.map_or_else(Vec::new, |users| users.iter().cloned().collect())
    }

    fn tenants(&self, namespace: &str, is_meant: &dyn Fn(&Labels) -> bool) -> Vec<Workload> {
        self.tenants.of(namespace, is_meant)
    }

    fn backends(&self, namespace: &str, service: &str) -> Vec<Workload> {
        self.backends.of(&(namespace.into(), service.into()))
    }

    fn other_endpoints(&self, namespace: &str, service: &str, slice: &str) -> (i64, i64) {
        let slices = self.slices.get(&(namespace.into(), service.into())).unwrap_or_default();
        let others = slices.iter().filter(|(name, _)| &***name != slice);
        others.fold((0, 0), |sum, (_, count)| (sum.0 + count.0, sum.1 + count.1))
    }
}

impl fmt::Debug for WatchCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WatchCache")
            .field("cluster", &self.cluster)
            .field("pods", &self.pods.entry_count())
            .field("containers", &self.containers.entry_count())
            .field("addresses", &self.addresses.entry_count())
            .finish_non_exhaustive()
    }
}

fn cache<K, V>() -> Cache<K, V>
where
    K: std::hash::Hash + Eq + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    Cache::builder().max_capacity(KNOWN_MAX).time_to_idle(KNOWN_IDLE).build()
}

#[cfg(test)]
mod tests;
