//! The collector: the watches, who leads, and what is kept.

use std::{collections::VecDeque, fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use futures::{StreamExt as _, stream::FuturesUnordered};
use kube::Client;
use tapio_collect::{Collector, CollectorError, Outlet, Stop};
use tapio_model::Clock;
use tapio_telemetry::spawn_named;
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{Instant, interval, sleep, timeout},
};
use tracing::{info, warn};

use crate::{
    KubeConfig, Marks, Positions, Resource, StatusBoard, WatchCache, connect,
    lead::{Elector, Led},
    staleness::Vigil,
    watch::{Scope, Senses},
};

/// The minor version of Kubernetes 1 from which listings are served as streams without being asked.
const STREAMING_MINOR: u32 = 34;

/// Watches the Kubernetes API.
pub struct KubeCollector {
    config: Arc<KubeConfig>,
    client: Option<Client>,
    clock: Arc<dyn Clock>,
    positions: Arc<dyn Positions>,
    board: Arc<StatusBoard>,
    cache: Arc<WatchCache>,
}

impl KubeCollector {
    /// Makes a collector; it asks nobody anything before it runs.
    #[must_use]
    pub fn new(config: KubeConfig, clock: Arc<dyn Clock>, positions: Arc<dyn Positions>) -> Self {
        let cache = WatchCache::new(
            config.cluster.clone(),
            config.learn.clone(),
            config.learn_address.clone(),
        );
        Self {
            config: Arc::new(config),
            client: None,
            clock,
            positions,
            board: Arc::default(),
            cache: Arc::new(cache),
        }
    }

    /// Uses this client rather than what the configuration names.
    #[must_use]
    pub fn with_client(self, client: Client) -> Self {
        Self { client: Some(client), ..self }
    }

    /// Returns where the status is read, while it runs and after.
    #[must_use]
    pub fn status(&self) -> Arc<StatusBoard> {
        Arc::clone(&self.board)
    }

    /// Returns the watch cache.
    #[must_use]
    pub fn cache(&self) -> Arc<WatchCache> {
        Arc::clone(&self.cache)
    }

    fn scopes(&self) -> Vec<Scope> {
        let config = &self.config;
        if let Some(node) = &config.only_node {
            let fields = Some(format!("spec.nodeName={node}"));
            return vec![Scope { resource: Resource::Pods, namespace: None, fields }];
        }
        let mut scopes = Vec::new();
        for resource in &config.resources {
            let whole = Scope { resource: *resource, namespace: None, fields: None };
            if config.namespaces.is_empty() || !resource.is_namespaced() {
                scopes.push(whole);
                continue;
            }
            let namespaces = config.namespaces.iter().cloned().map(Some);
            scopes.extend(namespaces.map(|namespace| Scope { namespace, ..whole.clone() }));
        }
        scopes
    }

    /// Returns the name by which positions are this cluster's.
    fn cluster(&self) -> String {
        self.config.cluster.as_deref().unwrap_or_default().to_owned()
    }

    fn saved(&self) -> Marks {
        match self.positions.load() {
            Ok(marks) => marks,
            Err(error) => {
                warn!(%error, "the saved positions cannot be read: begins anew");
                Marks::default()
            }
        }
    }
}

impl fmt::Debug for KubeCollector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KubeCollector").field("config", &self.config).finish_non_exhaustive()
    }
}

#[async_trait]
impl Collector for KubeCollector {
    fn name(&self) -> &'static str {
        "kubernetes"
    }

    async fn run(self: Box<Self>, outlet: Outlet, mut stop: Stop) -> Result<(), CollectorError> {
        let client = match &self.client {
            Some(client) => client.clone(),
            None => connect(&self.config).await.map_err(|error| absent(&error))?,
        };
        let senses = Senses {
            is_streaming: is_streaming(&client, self.config.timing.request).await,
            client,
            outlet,
            clock: Arc::clone(&self.clock),
            cache: Arc::clone(&self.cache),
            board: Arc::clone(&self.board),
            config: Arc::clone(&self.config),
            marks: Arc::new(Marks::default()),
        };
        let (told, tells) = watch::channel(Marks::default());
        let (leave, leaves) = watch::channel(false);
        let (led, mut leads) = watch::channel(Led { is_leading: true, marks: None });
        let is_elected = self.config.lead && self.config.only_node.is_none();
        let elector = is_elected.then(|| {
            led.send_replace(Led::default());
            let shared = (Arc::clone(&self.clock), Arc::clone(&self.board));
            let elector = Elector::new(
                senses.client.clone(),
                self.config.leader.clone(),
                shared,
                tells.clone(),
            );
            Task(spawn_named("kube-lead", elector.run(led.clone(), leaves)))
        });
        let outcome = tokio::select! {
            biased;
            () = stop.stopped() => Ok(()),
            ended = self.terms(&senses, &mut leads, &told) => ended,
        };
        self.save(self.board.marks(&self.cluster()), &told).await;
        leave.send_replace(true);
        if let Some(mut elector) = elector {
            drop(timeout(self.config.leader.ttl, &mut elector.0).await);
        }
        outcome
    }
}

impl KubeCollector {
    /// Watches term after term, until it may not be passed on.
    async fn terms(
        &self,
        senses: &Senses,
        leads: &mut watch::Receiver<Led>,
        told: &watch::Sender<Marks>,
    ) -> Result<(), CollectorError> {
        loop {
            let Ok(led) = leads.wait_for(|led| led.is_leading).await.map(|led| led.clone()) else {
                return Ok(());
            };
            // The leader before us told further than we ever did.
            let before = led.marks.filter(|marks| !marks.versions.is_empty());
            let marks = before.unwrap_or_else(|| self.saved());
            let is_ours = marks.cluster == self.cluster();
            let marks = if is_ours { marks } else { Marks::default() };
            let senses = Senses { marks: Arc::new(marks), ..senses.clone() };
            tokio::select! {
                biased;
                lost = leads.wait_for(|led| !led.is_leading) => {
                    drop(lost);
                    info!("does not lead any more: stops watching");
                }
                ended = self.watch(&senses) => return ended,
                () = self.keep(told) => {}
                ended = self.vigil(&senses) => return ended,
            }
        }
    }

    /// Watches everything; dropping it ends every watch.
    async fn watch(&self, senses: &Senses) -> Result<(), CollectorError> {
        let scopes = self.scopes();
        let mut watches: FuturesUnordered<_> = scopes
            .into_iter()
            .map(|scope| Task(scope.resource.start(scope, senses.clone())))
            .map(|task| async move {
                // The guard goes where the wait goes: dropping one ends the other.
                let mut task = task;
                (&mut task.0).await
            })
            .collect();
        while let Some(ended) = watches.next().await {
            ended.map_err(|error| CollectorError::Broken {
                source_name: "the Kubernetes API".into(),
                why: error.to_string(),
            })??;
        }
        Ok(())
    }

    /// Saves the positions, well behind what was told.
    async fn keep(&self, told: &watch::Sender<Marks>) {
        let timing = self.config.timing;
        let mut ticks = interval(timing.save_every);
        let mut late: VecDeque<(Instant, Marks)> = VecDeque::new();
        loop {
            let now = ticks.tick().await;
            late.push_back((now, self.board.marks(&self.cluster())));
            let mut ripe = None;
            while late.front().is_some_and(|(at, _)| *at + timing.save_lag <= now) {
                ripe = late.pop_front();
            }
            if let Some((_, marks)) = ripe {
                self.save(marks, told).await;
            }
        }
    }

    async fn save(&self, marks: Marks, told: &watch::Sender<Marks>) {
        if marks.versions.is_empty() || *told.borrow() == marks {
            return;
        }
        told.send_replace(marks.clone());
        let positions = Arc::clone(&self.positions);
        let saved = tokio::task::spawn_blocking(move || positions.save(&marks)).await;
        match saved {
            Ok(Ok(())) => {}
            Ok(Err(error)) => warn!(%error, "the positions cannot be saved"),
            Err(error) => warn!(%error, "the positions cannot be saved"),
        }
    }

    /// Raises the alarm when the server is silent, and ends it.
    async fn vigil(&self, senses: &Senses) -> Result<(), CollectorError> {
        let after = self.config.timing.stale_after;
        let mut vigil = Vigil::default();
        loop {
            sleep(after / 4).await;
            let turn = vigil.look(&self.board.signs(), Instant::now(), after);
            for name in &turn.stale {
                self.board.write(name, |row| row.status.is_stale = true);
            }
            for name in &turn.recovered {
                self.board.write(name, |row| row.status.is_stale = false);
            }
            if !turn.stale.is_empty() {
                warn!(resources = turn.stale.join(", "), "no sign from the API server");
            }
            if self.config.only_node.is_some() {
                continue;
            }
            for event in turn.events(self.config.cluster.as_ref(), self.clock.now()) {
                senses.outlet.account().read(1);
                senses.outlet.emit(event).await?;
                senses.outlet.account().emitted(1);
            }
        }
    }
}

/// A task that ends with its owner.
struct Task<T>(JoinHandle<T>);

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Asks whether listings are served as streams; who does not answer does not.
async fn is_streaming(client: &Client, patience: Duration) -> bool {
    let Ok(Ok(version)) = timeout(patience, client.apiserver_version()).await else {
        return false;
    };
    let minor: String = version.minor.chars().take_while(char::is_ascii_digit).collect();
    version.major == "1" && minor.parse().is_ok_and(|minor: u32| minor >= STREAMING_MINOR)
}

fn absent(error: &dyn std::error::Error) -> CollectorError {
    CollectorError::Absent {
        source_name: "the Kubernetes API".into(),
        why: error.to_string(),
        cure: "name a kubeconfig, or run in a pod with a service account".into(),
    }
}
