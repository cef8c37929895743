//! A collector that stops and begins again.

use std::sync::Arc;

use libtest_mimic::Failed;
use tapio_collect_kube::{FilePositions, Resource, connect};

use crate::run::{Cluster, Ledger, Maps, Run};

pub(crate) fn restart(cluster: &Cluster) -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("positions.json");
    let config = cluster.config(&[Resource::ConfigMaps]);
    cluster.runtime.block_on(async {
        let ledger = Ledger::new("restart");
        let maps = Maps::new(connect(&config).await?, &ledger);
        let start = || {
            let positions = Arc::new(FilePositions::new(path.clone()));
            Run::start(config.clone(), positions, &ledger)
        };
        let run = start().await?;
        run.settle(1).await?;
        for name in ["a", "b", "c"] {
            maps.create(name).await?;
        }
        ledger.reach("c added").await?;
        run.stop().await?;
        maps.modify("a").await?;
        maps.delete("b").await?;
        maps.create("d").await?;
        let run = start().await?;
        for said in ["a modified", "b deleted", "d added"] {
            ledger.reach(said).await?;
        }
        run.stop().await?;
        // Nothing happens meanwhile, so what comes next is the first that is told.
        let run = start().await?;
        run.settle(1).await?;
        maps.delete("a").await?;
        maps.delete("c").await?;
        maps.delete("d").await?;
        ledger.reach("d deleted").await?;
        run.stop().await?;
        let wanted = [
            "a added",
            "b added",
            "c added",
            "a modified",
            "b deleted",
            "d added",
            "a deleted",
            "c deleted",
            "d deleted",
        ];
        ledger.expect(&wanted.map(str::to_owned))
    })
}
