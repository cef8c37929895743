//! What is watched and told while nothing goes wrong.

use std::sync::Arc;

use libtest_mimic::Failed;
use tapio_collect_kube::{MemoryPositions, Resource, connect};

use crate::run::{Cluster, Ledger, Maps, Run};

pub(crate) fn watches(cluster: &Cluster) -> Result<(), Failed> {
    let config = cluster.config(Resource::ALL);
    cluster.runtime.block_on(async {
        let positions = Arc::<MemoryPositions>::default();
        let run = Run::start(config, positions, &Ledger::new("watches")).await?;
        run.settle(Resource::ALL.len()).await?;
        for (name, status) in run.board.snapshot().resources {
            println!("{name}: {:?}, {} objects", status.state, status.known);
        }
        run.stop().await
    })
}

pub(crate) fn changes(cluster: &Cluster) -> Result<(), Failed> {
    let config = cluster.config(&[Resource::ConfigMaps]);
    cluster.runtime.block_on(async {
        let ledger = Ledger::new("changes");
        let maps = Maps::new(connect(&config).await?, &ledger);
        let run = Run::start(config, Arc::<MemoryPositions>::default(), &ledger).await?;
        run.settle(1).await?;
        maps.create("a").await?;
        maps.modify("a").await?;
        maps.delete("a").await?;
        ledger.reach("a deleted").await?;
        run.stop().await?;
        ledger.expect(&["a added", "a modified", "a deleted"].map(str::to_owned))
    })
}
