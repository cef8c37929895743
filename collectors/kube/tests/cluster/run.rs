//! A collector at work, and what it told.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, Client,
    api::{DeleteParams, ObjectMeta, Patch, PatchParams, PostParams},
};
use libtest_mimic::Failed;
use tapio_collect::{
    Account, Collector as _, CollectorError, Outlet, Stopper, Unbound, stop_signal,
};
use tapio_collect_kube::{
    KubeCollector, KubeConfig, KubeStatus, Positions, Resource, StatusBoard, WatchState, connect,
};
use tapio_model::{EventId, keys};
use tapio_telemetry::{SystemClock, spawn_named};
use tokio::{
    runtime::Runtime,
    sync::{mpsc, watch},
    task::JoinHandle,
    time::timeout,
};

/// Longer than anything here takes, on a slow machine too.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// Namespace that every cluster has.
pub(crate) const NAMESPACE: &str = "default";

/// The cluster under test.
pub(crate) struct Cluster {
    pub(crate) kubeconfig: PathBuf,
    /// The script that ends the server and starts it again.
    pub(crate) server: PathBuf,
    pub(crate) runtime: Runtime,
}

impl Cluster {
    pub(crate) fn new(kubeconfig: PathBuf, server: PathBuf) -> Result<Self, Failed> {
        Ok(Self { kubeconfig, server, runtime: Runtime::new()? })
    }

    /// Returns the configuration of a collector that does not lead, in a hurry.
    pub(crate) fn config(&self, resources: &[Resource]) -> KubeConfig {
        let mut config = KubeConfig {
            kubeconfig: Some(self.kubeconfig.clone()),
            resources: resources.iter().copied().collect(),
            lead: false,
            ..KubeConfig::default()
        };
        config.timing.refused_after = Duration::from_secs(3);
        config.timing.refused_retry = Duration::from_secs(3);
        config.timing.probe_every = Duration::from_secs(2);
        config.timing.save_every = Duration::from_millis(100);
        config.timing.save_lag = Duration::ZERO;
        config
    }
}

/// What collectors told of the objects of one test, and how often.
pub(crate) struct Ledger {
    prefix: String,
    told: Mutex<Vec<(EventId, String)>>,
    changed: watch::Sender<usize>,
}

impl Ledger {
    pub(crate) fn new(test: &str) -> Arc<Self> {
        let prefix = format!("tapio-test-{}-{test}", std::process::id());
        Arc::new(Self { prefix, told: Mutex::default(), changed: watch::channel(0).0 })
    }

    /// Names an object of this test.
    pub(crate) fn name(&self, name: &str) -> String {
        format!("{}-{name}", self.prefix)
    }

    fn told(&self) -> MutexGuard<'_, Vec<(EventId, String)>> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, event: &Unbound) {
        let text = |key: &str| {
            let found = event.attributes.iter().find(|(known, _)| known == key);
            found.and_then(|(_, value)| value.as_str()).unwrap_or_default()
        };
        let name = text(keys::OBJECT_NAME).strip_prefix(&self.prefix);
        let Some(name) = name.and_then(|name| name.strip_prefix('-')) else { return };
        let said = format!("{name} {}", text(keys::CHANGE));
        self.told().push((event.id, said));
        self.changed.send_modify(|count| *count += 1);
    }

    /// Waits until this was told.
    pub(crate) async fn reach(&self, said: &str) -> Result<(), Failed> {
        let mut changed = self.changed.subscribe();
        let reached = async {
            while !self.told().iter().any(|(_, told)| told == said) {
                if changed.changed().await.is_err() {
                    return;
                }
            }
        };
        let reached = timeout(PATIENCE, reached).await;
        reached.map_err(|_elapsed| format!("never told: {said}; told: {:?}", self.told()).into())
    }

    /// Checks that exactly this was told, each once.
    pub(crate) fn expect(&self, wanted: &[String]) -> Result<(), Failed> {
        let mut told: Vec<String> = self.told().iter().map(|(_, said)| said.clone()).collect();
        let mut wanted = wanted.to_vec();
        told.sort();
        wanted.sort();
        if told == wanted { Ok(()) } else { Err(format!("told {told:?}, not {wanted:?}").into()) }
    }

    /// Checks that exactly this was told, and what was told again bore the same id.
    pub(crate) fn expect_ids(&self, wanted: &[&str]) -> Result<(), Failed> {
        let mut ids: BTreeMap<String, BTreeSet<EventId>> = BTreeMap::new();
        for (id, said) in self.told().iter() {
            ids.entry(said.clone()).or_default().insert(*id);
        }
        let is_complete = ids.keys().map(String::as_str).eq(wanted.iter().copied());
        let is_single = ids.values().all(|ids| ids.len() == 1);
        if is_complete && is_single { Ok(()) } else { Err(format!("{ids:?}").into()) }
    }
}

/// A running collector; it ends with its owner.
pub(crate) struct Run {
    pub(crate) board: Arc<StatusBoard>,
    stopper: Stopper,
    running: JoinHandle<Result<(), CollectorError>>,
}

impl Drop for Run {
    fn drop(&mut self) {
        self.running.abort();
    }
}

impl Run {
    pub(crate) async fn start(
        config: KubeConfig,
        positions: Arc<dyn Positions>,
        ledger: &Arc<Ledger>,
    ) -> Result<Self, Failed> {
        let client = connect(&config).await?;
        Ok(Self::start_with(client, config, positions, ledger))
    }

    pub(crate) fn start_with(
        client: Client,
        config: KubeConfig,
        positions: Arc<dyn Positions>,
        ledger: &Arc<Ledger>,
    ) -> Self {
        let collector =
            KubeCollector::new(config, Arc::new(SystemClock), positions).with_client(client);
        let board = collector.status();
        let (sender, mut events) = mpsc::channel::<Unbound>(64);
        let (stopper, stop) = stop_signal();
        let outlet = Outlet::new(sender, Arc::new(Account::default()));
        let running = spawn_named("collector", Box::new(collector).run(outlet, stop));
        let ledger = Arc::clone(ledger);
        // Ends with the collector, whose outlet is the other end.
        spawn_named("ledger", async move {
            while let Some(event) = events.recv().await {
                ledger.take(&event);
            }
        });
        Self { board, stopper, running }
    }

    pub(crate) async fn reach(
        &self,
        is_so: impl Fn(&KubeStatus) -> bool + Send + Sync,
    ) -> Result<(), Failed> {
        let reached = timeout(PATIENCE, self.board.wait_until(is_so)).await;
        reached.map_err(|_elapsed| format!("never reached: {:?}", self.board.snapshot()).into())
    }

    /// Waits until every resource is watched, or will not be.
    pub(crate) async fn settle(&self, count: usize) -> Result<(), Failed> {
        self.reach(|all| all.resources.len() == count && all.resources.values().all(is_settled))
            .await
    }

    pub(crate) async fn stop(mut self) -> Result<(), Failed> {
        self.stopper.stop();
        timeout(PATIENCE, &mut self.running).await???;
        Ok(())
    }
}

fn is_settled(status: &tapio_collect_kube::ResourceStatus) -> bool {
    matches!(status.state, WatchState::Watching | WatchState::Refused | WatchState::NotServed)
        && (status.state != WatchState::Watching || status.trouble.is_none())
}

/// ConfigMaps of a test.
pub(crate) struct Maps {
    api: Api<ConfigMap>,
    ledger: Arc<Ledger>,
}

impl Maps {
    pub(crate) fn new(client: Client, ledger: &Arc<Ledger>) -> Self {
        Self { api: Api::namespaced(client, NAMESPACE), ledger: Arc::clone(ledger) }
    }

    pub(crate) async fn create(&self, name: &str) -> Result<(), kube::Error> {
        let name = Some(self.ledger.name(name));
        let metadata = ObjectMeta { name, ..ObjectMeta::default() };
        let map = ConfigMap { metadata, ..ConfigMap::default() };
        self.api.create(&PostParams::default(), &map).await.map(drop)
    }

    pub(crate) async fn modify(&self, name: &str) -> Result<(), kube::Error> {
        let patch = serde_json::json!({ "data": { "key": name } });
        let name = self.ledger.name(name);
        self.api.patch(&name, &PatchParams::default(), &Patch::Merge(&patch)).await.map(drop)
    }

    pub(crate) async fn delete(&self, name: &str) -> Result<(), kube::Error> {
        self.api.delete(&self.ledger.name(name), &DeleteParams::default()).await.map(drop)
    }
}
