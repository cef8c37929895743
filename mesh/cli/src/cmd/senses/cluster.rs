//! The sense of the cluster, and whom it tells where pods are.

use std::{path::Path, sync::Arc};

use tapio_collect::{Addresses, Binder, Collector, CollectorError};
use tapio_collect_kube::{KubeCollector, KubeConfig, MemoryPositions};
use tapio_model::Clock;

use crate::cmd::{
    places::{learn, learn_address},
    up::SenseArgs,
};

/// Where a pod finds the token of its account.
const TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";

/// Makes a collector of the cluster that is named, or else of the one we are a pod of.
///
/// A kubeconfig that lies in a home is nobody's word that this machine is that cluster's.
pub(super) fn collector(
    args: &SenseArgs,
    binder: &Arc<Binder>,
    addresses: &Arc<Addresses>,
    clock: &Arc<dyn Clock>,
) -> Result<Box<dyn Collector>, CollectorError> {
    let kubeconfig = args.kubeconfig.clone().filter(|path| !path.as_os_str().is_empty());
    if kubeconfig.is_none() && !Path::new(TOKEN).exists() {
        return Err(CollectorError::Absent {
            source_name: "the Kubernetes API".into(),
            why: "neither a kubeconfig was named nor is there a pod's account".into(),
            cure: "name one with --kubeconfig, or say --no-kubernetes".into(),
        });
    }
    let config = KubeConfig { kubeconfig, ..config(args, binder, addresses) };
    let positions = Arc::new(MemoryPositions::default());
    Ok(Box::new(KubeCollector::new(config, Arc::clone(clock), positions)))
}

fn config(args: &SenseArgs, binder: &Arc<Binder>, addresses: &Arc<Addresses>) -> KubeConfig {
    KubeConfig {
        cluster: args.cluster.as_deref().map(Into::into),
        // What is told here is told here only: there is nobody to share the watching with, and no
        // right to write a Lease is needed.
        lead: false,
        learn: Some(learn(binder)),
        learn_address: Some(learn_address(addresses)),
        seed: u64::from(std::process::id()),
        ..KubeConfig::default()
    }
}
