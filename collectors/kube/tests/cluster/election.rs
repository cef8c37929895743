//! Two collectors and one Lease.

use std::{sync::Arc, time::Duration};

use k8s_openapi::api::coordination::v1::Lease;
use kube::{Api, api::DeleteParams};
use libtest_mimic::Failed;
use tapio_collect_kube::{KubeConfig, LeadState, MemoryPositions, Resource, WatchState, connect};

use crate::run::{Cluster, Ledger, Maps, NAMESPACE, Run};

/// Long enough that a machine that stands still for a second stays the leader.
const TTL: Duration = Duration::from_secs(6);

pub(crate) fn succession(cluster: &Cluster) -> Result<(), Failed> {
    let mut config = cluster.config(&[Resource::ConfigMaps]);
    let ledger = Ledger::new("election");
    config.lead = true;
    config.leader.namespace = NAMESPACE.into();
    config.leader.name = ledger.name("lease");
    config.leader.ttl = TTL;
    cluster.runtime.block_on(async {
        let client = connect(&config).await?;
        let maps = Maps::new(client.clone(), &ledger);
        let outcome = pass_on(&config, &maps, &ledger).await;
        let leases: Api<Lease> = Api::namespaced(client, NAMESPACE);
        leases.delete(&config.leader.name, &DeleteParams::default()).await?;
        outcome
    })
}

async fn pass_on(config: &KubeConfig, maps: &Maps, ledger: &Arc<Ledger>) -> Result<(), Failed> {
    let start = |identity: &str| {
        let mut config = config.clone();
        config.leader.identity = identity.into();
        Run::start(config, Arc::<MemoryPositions>::default(), ledger)
    };
    let one = start("one").await?;
    leads(&one).await?;
    let two = start("two").await?;
    follows(&two, "one").await?;
    maps.create("a").await?;
    ledger.reach("a added").await?;
    if !two.board.snapshot().resources.is_empty() {
        return Err("who follows watches too".into());
    }
    // It lets go, and says how far it told.
    one.stop().await?;
    maps.create("b").await?;
    leads(&two).await?;
    maps.create("c").await?;
    ledger.reach("b added").await?;
    ledger.reach("c added").await?;
    ledger.expect(&["a added", "b added", "c added"].map(str::to_owned))?;
    // It dies, and says nothing.
    let three = start("three").await?;
    follows(&three, "two").await?;
    drop(two);
    maps.delete("a").await?;
    leads(&three).await?;
    maps.delete("b").await?;
    maps.delete("c").await?;
    for said in ["a deleted", "b deleted", "c deleted"] {
        ledger.reach(said).await?;
    }
    three.stop().await?;
    ledger.expect_ids(&["a added", "a deleted", "b added", "b deleted", "c added", "c deleted"])
}

async fn leads(run: &Run) -> Result<(), Failed> {
    run.reach(|all| {
        all.lead == LeadState::Leading
            && all.resources.values().any(|one| one.state == WatchState::Watching)
    })
    .await
}

async fn follows(run: &Run, leader: &str) -> Result<(), Failed> {
    let state = LeadState::Following { leader: leader.into() };
    run.reach(|all| all.lead == state).await
}
