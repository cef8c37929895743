//! What to watch, and how patiently.

use std::{collections::BTreeSet, fmt, net::IpAddr, path::PathBuf, sync::Arc, time::Duration};

use tapio_model::{Place, Text};

use crate::Resource;

/// Takes the place of a container or pod that became known.
pub type Learn = Arc<dyn Fn(&Place) + Send + Sync>;

/// Takes the place behind an address; `None` once nobody has it any more.
pub type LearnAddress = Arc<dyn Fn(IpAddr, Option<&Place>) + Send + Sync>;

/// Configuration of the Kubernetes collector.
#[derive(Clone)]
pub struct KubeConfig {
    /// Path of a kubeconfig; without one the usual places are searched, then the pod's own account.
    pub kubeconfig: Option<PathBuf>,
    /// Context in the kubeconfig; its current one by default.
    pub context: Option<String>,
    /// Cluster name, for places.
    pub cluster: Option<Text>,
    /// Namespaces to watch; empty means all. What has no namespace is watched regardless.
    pub namespaces: Vec<String>,
    /// Resources to watch.
    pub resources: BTreeSet<Resource>,
    /// Watch only the pods of this node, only to know places, and tell nothing.
    pub only_node: Option<Text>,
    /// Whether one of many instances watches; without it every instance does.
    pub lead: bool,
    /// How the one is chosen.
    pub leader: LeadConfig,
    /// How patiently.
    pub timing: Timing,
    /// Objects of one resource that are remembered; one of Kubernetes' tested limits is 150,000
    /// pods, and what comes above is counted as dropped.
    pub objects_max: usize,
    /// Who else wants to know places.
    pub learn: Option<Learn>,
    /// Who else wants to know addresses.
    pub learn_address: Option<LearnAddress>,
    /// Seed of the jitter: two instances with one seed knock at one time.
    pub seed: u64,
}

impl Default for KubeConfig {
    fn default() -> Self {
        Self {
            kubeconfig: None,
            context: None,
            cluster: None,
            namespaces: Vec::new(),
            resources: Resource::ALL.iter().copied().collect(),
            only_node: None,
            lead: true,
            leader: LeadConfig::default(),
            timing: Timing::default(),
            objects_max: 150_000,
            learn: None,
            learn_address: None,
            seed: 0,
        }
    }
}

impl fmt::Debug for KubeConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KubeConfig")
            .field("kubeconfig", &self.kubeconfig)
            .field("context", &self.context)
            .field("cluster", &self.cluster)
            .field("namespaces", &self.namespaces)
            .field("resources", &self.resources)
            .field("only_node", &self.only_node)
            .field("lead", &self.lead)
            .field("leader", &self.leader)
            .field("timing", &self.timing)
            .finish_non_exhaustive()
    }
}

/// How the one instance that watches is chosen: who holds a Lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeadConfig {
    /// Namespace of the Lease; Tapio's own.
    pub namespace: String,
    /// Name of the Lease.
    pub name: String,
    /// Who we are; unique among the instances.
    pub identity: String,
    /// How long a silent leader is waited for.
    pub ttl: Duration,
}

impl Default for LeadConfig {
    fn default() -> Self {
        Self {
            namespace: "tapio".into(),
            name: "tapio-collect-kube".into(),
            identity: "tapio".into(),
            // Kubernetes' own controllers wait as long.
            ttl: Duration::from_secs(15),
        }
    }
}

/// How patiently the API server is watched.
///
/// # Units
/// Monotonic time; `watch` is rounded to seconds, as the API has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// How long a watch is asked to last: short, as revoked rights show only when it ends.
    pub watch: Duration,
    /// How much longer than it was asked to a watch may last before the server counts as frozen.
    pub watch_grace: Duration,
    /// How long a response may take to begin, and a page of a listing to arrive.
    pub request: Duration,
    /// How often the server is asked for a sign of life during a watch.
    pub probe_every: Duration,
    /// How long a sign of life may take.
    pub probe: Duration,
    /// How often everything is listed again, should a watch have lost something.
    pub relist_every: Duration,
    /// First wait after trouble.
    pub backoff_min: Duration,
    /// Longest wait after trouble: how long a server that is back is not noticed.
    pub backoff_max: Duration,
    /// A watch that ends sooner, and said nothing, is trouble.
    pub brief: Duration,
    /// How long a 403 or 404 must last to be believed.
    pub refused_after: Duration,
    /// How often a believed 403 or 404 is tried again.
    pub refused_retry: Duration,
    /// How long without a sign of life until an alarm.
    pub stale_after: Duration,
    /// How often the positions are saved.
    pub save_every: Duration,
    /// How far behind saved positions stay: what was told within it may still be on its way when
    /// the process dies, and is told again, with the same ids.
    pub save_lag: Duration,
    /// How long the listing of what speaks of pods waits for that of the pods.
    pub owners: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        let secs = Duration::from_secs;
        Self {
            watch: secs(120),
            watch_grace: secs(10),
            request: secs(30),
            probe_every: secs(15),
            probe: secs(5),
            relist_every: secs(1_200),
            backoff_min: Duration::from_millis(250),
            backoff_max: secs(5),
            brief: secs(1),
            refused_after: secs(30),
            refused_retry: secs(30),
            stale_after: secs(60),
            save_every: secs(2),
            save_lag: secs(10),
            owners: secs(10),
        }
    }
}
