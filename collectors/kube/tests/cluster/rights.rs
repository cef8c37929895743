//! What may be watched, and what may not.

use std::sync::Arc;

use k8s_openapi::api::{
    authentication::v1::TokenRequest,
    core::v1::ServiceAccount,
    rbac::v1::{ClusterRole, ClusterRoleBinding},
};
use kube::{
    Api, Client, Config,
    api::{DeleteParams, PostParams},
    config::{AuthInfo, KubeConfigOptions, Kubeconfig},
};
use libtest_mimic::Failed;
use serde_json::json;
use tapio_collect_kube::{MemoryPositions, Resource, WatchState, check_rbac, connect, rbac_rules};

use crate::run::{Cluster, Ledger, Maps, NAMESPACE, Run};

pub(crate) fn rules(cluster: &Cluster) -> Result<(), Failed> {
    let config = cluster.config(Resource::ALL);
    cluster.runtime.block_on(async {
        let client = connect(&config).await?;
        let wanted = rbac_rules(&config);
        let checked = check_rbac(&client, wanted.clone()).await?;
        for (rule, _) in checked.iter().filter(|(_, is_allowed)| !is_allowed) {
            println!("missing: {rule}");
        }
        if checked.len() == wanted.len() { Ok(()) } else { Err("a rule was not checked".into()) }
    })
}

pub(crate) fn no_secrets(cluster: &Cluster) -> Result<(), Failed> {
    let resources = [Resource::ConfigMaps, Resource::Pods, Resource::Secrets];
    let config = cluster.config(&resources);
    cluster.runtime.block_on(async {
        let ledger = Ledger::new("rights");
        let admin = connect(&config).await?;
        let name = ledger.name("reader");
        let outcome = async {
            let token = give_rights(&admin, &name).await?;
            let client = client_of(cluster, &token).await?;
            let checked = check_rbac(&client, rbac_rules(&config)).await?;
            let missing: Vec<String> = checked
                .into_iter()
                .filter(|(_, is_allowed)| !is_allowed)
                .map(|(rule, _)| rule.resource)
                .collect();
            if missing != ["secrets"] {
                return Err(Failed::from(format!("the review misses {missing:?}")));
            }
            let positions = Arc::<MemoryPositions>::default();
            let run = Run::start_with(client, config.clone(), positions, &ledger);
            run.settle(resources.len()).await?;
            let maps = Maps::new(admin.clone(), &ledger);
            maps.create("a").await?;
            ledger.reach("a added").await?;
            maps.delete("a").await?;
            ledger.reach("a deleted").await?;
            let rows = run.board.snapshot().resources;
            run.stop().await?;
            let refused: Vec<_> = rows
                .iter()
                .filter(|(_, row)| row.state != WatchState::Watching)
                .map(|(name, row)| (name.as_str(), row.refused.as_ref().map(ToString::to_string)))
                .collect();
            let rule = r#"apiGroups: [""], resources: ["secrets"], verbs: ["list", "watch"]"#;
            println!("refused: {refused:?}");
            let is_so = refused == [("secrets", Some(rule.to_owned()))];
            if is_so { Ok(()) } else { Err(format!("{rows:?}").into()) }
        };
        let outcome = outcome.await;
        take_rights(&admin, &name).await;
        outcome
    })
}

/// Makes an account that may watch ConfigMaps and Pods; returns its token.
async fn give_rights(admin: &Client, name: &str) -> Result<String, Failed> {
    let post = PostParams::default();
    let metadata = json!({ "name": name });
    let account: ServiceAccount = serde_json::from_value(json!({ "metadata": metadata }))?;
    let role: ClusterRole = serde_json::from_value(json!({ "metadata": metadata, "rules": [
        { "apiGroups": [""], "resources": ["configmaps", "pods"], "verbs": ["list", "watch"] } ] }))?;
    let binding: ClusterRoleBinding = serde_json::from_value(json!({ "metadata": metadata,
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name },
        "subjects": [{ "kind": "ServiceAccount", "name": name, "namespace": NAMESPACE }] }))?;
    let accounts: Api<ServiceAccount> = Api::namespaced(admin.clone(), NAMESPACE);
    accounts.create(&post, &account).await?;
    Api::all(admin.clone()).create(&post, &role).await?;
    Api::all(admin.clone()).create(&post, &binding).await?;
    let request: TokenRequest =
        serde_json::from_value(json!({ "metadata": {}, "spec": { "audiences": [] } }))?;
    let made = accounts.create_token_request(name, &post, &request).await?;
    made.status.and_then(|status| status.token).ok_or_else(|| "no token was made".into())
}

/// Takes away what [`give_rights`] made, as far as it came.
async fn take_rights(admin: &Client, name: &str) {
    let delete = DeleteParams::default();
    let accounts: Api<ServiceAccount> = Api::namespaced(admin.clone(), NAMESPACE);
    drop(accounts.delete(name, &delete).await);
    drop(Api::<ClusterRole>::all(admin.clone()).delete(name, &delete).await);
    drop(Api::<ClusterRoleBinding>::all(admin.clone()).delete(name, &delete).await);
}

/// Makes a client that is nobody but the token's account.
async fn client_of(cluster: &Cluster, token: &str) -> Result<Client, Failed> {
    let kubeconfig = Kubeconfig::read_from(&cluster.kubeconfig)?;
    let mut config =
        Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    config.auth_info = serde_json::from_value::<AuthInfo>(json!({ "token": token }))?;
    config.default_retry = false;
    Ok(Client::try_from(config)?)
}
