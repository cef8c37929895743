//! Finds out what the cluster lets us read.

use std::{path::Path, time::Duration};

use tapio_collect_kube::{KubeConfig, check_rbac, connect, rbac_rules};
use tokio::time::timeout;

/// Where a pod finds the token of its account.
const TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";

/// How long all the questions may take together.
const WAIT_MAX: Duration = Duration::from_secs(10);

/// What was found out about the cluster.
#[derive(Debug, Clone)]
pub(super) enum ClusterFacts {
    /// Neither a kubeconfig nor a pod's account.
    None,
    /// A cluster that cannot be asked.
    Silent(String),
    /// Each rule that the collector needs, and whether we have it.
    Rules(Vec<(String, bool)>),
}

/// Asks the cluster that is configured, if one is.
pub(super) async fn gather(kubeconfig: Option<&Path>) -> ClusterFacts {
    if kubeconfig.is_none() && !Path::new(TOKEN).exists() {
        return ClusterFacts::None;
    }
    let config = KubeConfig { kubeconfig: kubeconfig.map(Path::to_owned), ..KubeConfig::default() };
    let late = |_elapsed| Err(format!("the API server did not answer within {WAIT_MAX:?}"));
    match timeout(WAIT_MAX, Box::pin(ask(&config))).await.unwrap_or_else(late) {
        Ok(rules) => ClusterFacts::Rules(rules),
        Err(why) => ClusterFacts::Silent(why),
    }
}

async fn ask(config: &KubeConfig) -> Result<Vec<(String, bool)>, String> {
    let client = connect(config).await.map_err(|error| error.to_string())?;
    let checked = check_rbac(&client, rbac_rules(config)).await;
    let checked = checked.map_err(|error| error.to_string())?;
    Ok(checked.into_iter().map(|(rule, is_allowed)| (rule.to_string(), is_allowed)).collect())
}
