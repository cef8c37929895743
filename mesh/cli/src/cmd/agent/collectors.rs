//! What an agent can collect, and how its configuration makes it.

use std::{path::PathBuf, sync::Arc};

use async_trait::async_trait;
use tapio_agent::{AgentConfig, CollectorSpec, MakeCollector};
use tapio_collect::{Addresses, Binder, Collector, CollectorError, Outlet, Stop};
use tapio_collect_host::{
    CgroupConfig, FilesConfig, HostConfig, JournalConfig, KmsgConfig, UsageConfig, host_collectors,
    place_of_cgroup,
};
use tapio_collect_kernel::{KernelCollector, KernelConfig};
use tapio_collect_kube::{
    FilePositions, KubeCollector, KubeConfig, LeadConfig, MemoryPositions, Positions,
};
use tapio_collect_otlp::{OtlpCollector, OtlpConfig};
use tapio_model::Clock;
use tapio_telemetry::SystemClock;

use crate::cmd::places::{learn, learn_address};

/// Where the kubelet puts the logs of pods.
pub(crate) const POD_LOGS: &str = "/var/log/pods";

/// What all collectors share.
#[derive(Debug, Clone)]
pub(super) struct Senses {
    pub(super) binder: Arc<Binder>,
    pub(super) addresses: Arc<Addresses>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) node: String,
}

type Made = Result<Option<Box<dyn Collector>>, CollectorError>;

/// Compares one collector's part of two configurations.
macro_rules! differs {
    ($($part:ident).+) => {
        |old, new| old.collectors.$($part).+ != new.collectors.$($part).+
    };
}

/// Lists what an agent can collect.
pub(super) fn specs(senses: &Senses) -> Vec<CollectorSpec> {
    let host = |name, pick: fn(&AgentConfig) -> HostConfig, differs: Differs| {
        let clock = Arc::clone(&senses.clock);
        spec(name, differs, move |config| Ok(host_collectors(pick(config), &clock).pop()))
    };
    let kernel = senses.clone();
    let [cluster, pods] = [false, true].map(|is_local| {
        let senses = senses.clone();
        move |config: &AgentConfig| Ok(kubernetes(config, &senses, is_local))
    });
    vec![
        spec("kernel", differs!(kernel), move |config| Ok(probes(config, &kernel))),
        spec("kubernetes", differs!(kubernetes), cluster),
        spec("kubernetes_pods", differs!(kubernetes), pods),
        host(
            "kmsg",
            |config| HostConfig {
                kmsg: config.collectors.host.kmsg.enabled.then(KmsgConfig::default),
                ..nothing()
            },
            differs!(host.kmsg),
        ),
        host(
            "cgroup",
            |config| HostConfig {
                cgroup: config.collectors.host.cgroup.enabled.then(CgroupConfig::default),
                ..nothing()
            },
            differs!(host.cgroup),
        ),
        host(
            "usage",
            |config| HostConfig {
                usage: config.collectors.host.usage.enabled.then(UsageConfig::default),
                ..nothing()
            },
            differs!(host.usage),
        ),
        host(
            "journal",
            |config| HostConfig {
                journal: config.collectors.host.journal.enabled.then(|| JournalConfig {
                    position: beside_spool(config, "journal.position"),
                    ..JournalConfig::default()
                }),
                ..nothing()
            },
            differs!(host.journal),
        ),
        host(
            "files",
            |config| HostConfig { log_files: log_files(config), ..nothing() },
            differs!(host.files),
        ),
        host(
            "pod_logs",
            |config| HostConfig { pod_logs: pod_logs(config), ..nothing() },
            differs!(host.pod_logs),
        ),
        spec("otlp", differs!(otlp), otlp),
    ]
}

/// Says whether a collector must be made anew.
type Differs = fn(&AgentConfig, &AgentConfig) -> bool;

fn spec(
    name: &'static str,
    differs: Differs,
    make: impl Fn(&AgentConfig) -> Made + Send + Sync + 'static,
) -> CollectorSpec {
    let make: MakeCollector = Box::new(make);
    CollectorSpec { name, differs, make }
}

const fn nothing() -> HostConfig {
    HostConfig {
        kmsg: None,
        cgroup: None,
        usage: None,
        journal: None,
        log_files: None,
        pod_logs: None,
    }
}

/// Returns a file beside the spool: what is read again after a restart is known there.
fn beside_spool(config: &AgentConfig, name: &str) -> Option<PathBuf> {
    let folder = config.spool.path.as_ref()?.parent()?;
    Some(folder.join(name))
}

fn log_files(config: &AgentConfig) -> Option<FilesConfig> {
    let files = &config.collectors.host.files;
    (!files.is_empty()).then(|| FilesConfig {
        paths: files.iter().map(PathBuf::from).collect(),
        positions: beside_spool(config, "files.positions"),
        ..FilesConfig::default()
    })
}

fn pod_logs(config: &AgentConfig) -> Option<FilesConfig> {
    config.collectors.host.pod_logs.enabled.then(|| FilesConfig {
        positions: beside_spool(config, "pod_logs.positions"),
        ..FilesConfig::pod_logs(POD_LOGS.as_ref())
    })
}

fn probes(config: &AgentConfig, senses: &Senses) -> Option<Box<dyn Collector>> {
    let wanted = config.collectors.kernel.enabled.then(|| KernelConfig {
        place_of_cgroup: Arc::new(place_of_cgroup),
        addresses: Arc::clone(&senses.addresses),
        ..KernelConfig::default()
    })?;
    Some(Box::new(KernelCollector::new(wanted, Arc::clone(&senses.clock))))
}

/// Watches the cluster, which one agent of all does, or the pods of this node, which each does for
/// itself and tells nothing of.
fn kubernetes(config: &AgentConfig, senses: &Senses, is_local: bool) -> Option<Box<dyn Collector>> {
    if !config.collectors.kubernetes.enabled {
        return None;
    }
    let identity = config.pod.clone().unwrap_or_else(|| senses.node.clone());
    let wanted = KubeConfig {
        cluster: config.cluster.as_deref().map(Into::into),
        only_node: is_local.then(|| senses.node.as_str().into()),
        leader: LeadConfig { identity, ..LeadConfig::default() },
        learn: Some(learn(&senses.binder)),
        learn_address: Some(learn_address(&senses.addresses)),
        seed: u64::from(std::process::id()),
        ..KubeConfig::default()
    };
    let saved = beside_spool(config, "kubernetes.positions").filter(|_| !is_local);
    let positions: Arc<dyn Positions> = match saved {
        Some(path) => Arc::new(FilePositions::new(path)),
        None => Arc::new(MemoryPositions::default()),
    };
    Some(Box::new(KubeCollector::new(wanted, Arc::clone(&senses.clock), positions)))
}

fn otlp(config: &AgentConfig) -> Made {
    let wanted = &config.collectors.otlp;
    if wanted.grpc.is_none() && wanted.http.is_none() {
        return Ok(None);
    }
    let defaults = OtlpConfig::default();
    let config = OtlpConfig {
        grpc: wanted.grpc.unwrap_or(defaults.grpc),
        http: wanted.http.unwrap_or(defaults.http),
        ..defaults
    };
    Ok(Some(Box::new(BoundLater(config))))
}

/// An OTLP receiver that takes its ports once it runs: the one before it must let them go first.
#[derive(Debug)]
struct BoundLater(OtlpConfig);

#[async_trait]
impl Collector for BoundLater {
    fn name(&self) -> &'static str {
        "otlp"
    }

    async fn run(self: Box<Self>, outlet: Outlet, stop: Stop) -> Result<(), CollectorError> {
        let (collector, _) = OtlpCollector::bind(self.0, Box::new(SystemClock)).await?;
        Box::new(collector).run(outlet, stop).await
    }
}
