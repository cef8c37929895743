//! A server that is killed under a collector, and what was changed meanwhile.

use std::{process::Command, sync::Arc, time::Duration};

use libtest_mimic::Failed;
use tapio_collect_kube::{MemoryPositions, Resource, connect};
use tapio_telemetry::spawn_named;
use tokio::{
    sync::watch,
    time::{interval, timeout},
};

use crate::run::{Cluster, Ledger, Maps, PATIENCE, Run};

/// Maps that are made at least: some of them before an outage, some during it, some after.
const MAPS_MIN: usize = 40;

pub(crate) fn api_server(cluster: &Cluster) -> Result<(), Failed> {
    survives(cluster, "kill-apiserver")
}

pub(crate) fn store(cluster: &Cluster) -> Result<(), Failed> {
    survives(cluster, "kill-etcd")
}

/// Makes maps without a pause while the server goes and comes, twice; each is told once.
fn survives(cluster: &Cluster, outage: &'static str) -> Result<(), Failed> {
    let config = cluster.config(Resource::ALL);
    cluster.runtime.block_on(async {
        let ledger = Ledger::new(outage);
        let client = connect(&config).await?;
        let maps = Arc::new(Maps::new(client, &ledger));
        let run = Run::start(config, Arc::<MemoryPositions>::default(), &ledger).await?;
        run.settle(Resource::ALL.len()).await?;
        let (end, is_over) = watch::channel(false);
        let writing = spawn_named("writer", write(Arc::clone(&maps), is_over));
        for _ in 0..2 {
            strike(cluster, outage).await?;
            run.settle(Resource::ALL.len()).await?;
        }
        end.send_replace(true);
        let written = timeout(PATIENCE, writing).await??;
        let last = format!("{written} added");
        ledger.reach(&last).await?;
        for number in 0..=written {
            maps.delete(&number.to_string()).await?;
        }
        ledger.reach(&format!("{written} deleted")).await?;
        show(&run, outage);
        run.stop().await?;
        let told = |number| ["added", "deleted"].map(|what| format!("{number} {what}"));
        let wanted: Vec<String> = (0..=written).flat_map(told).collect();
        println!("{outage}: {} changes, each told once", wanted.len());
        ledger.expect(&wanted)
    })
}

pub(crate) fn new_store(cluster: &Cluster) -> Result<(), Failed> {
    let config = cluster.config(Resource::ALL);
    cluster.runtime.block_on(async {
        let ledger = Ledger::new("rebuilt");
        let client = connect(&config).await?;
        let maps = Maps::new(client, &ledger);
        let run = Run::start(config, Arc::<MemoryPositions>::default(), &ledger).await?;
        run.settle(Resource::ALL.len()).await?;
        maps.create("before").await?;
        ledger.reach("before added").await?;
        strike(cluster, "rebuild-etcd").await?;
        ledger.reach("before deleted").await?;
        run.settle(Resource::ALL.len()).await?;
        create(&maps, "after").await;
        ledger.reach("after added").await?;
        maps.delete("after").await?;
        ledger.reach("after deleted").await?;
        show(&run, "rebuild-etcd");
        run.stop().await?;
        let wanted = ["before added", "before deleted", "after added", "after deleted"];
        ledger.expect(&wanted.map(str::to_owned))
    })
}

/// Makes maps 0, 1, … until it is over; returns the last.
async fn write(maps: Arc<Maps>, is_over: watch::Receiver<bool>) -> usize {
    let mut ticks = interval(Duration::from_millis(50));
    for number in 0_usize.. {
        ticks.tick().await;
        create(&maps, &number.to_string()).await;
        if *is_over.borrow() && number >= MAPS_MIN {
            return number;
        }
    }
    0
}

/// Makes a map, however long it takes. What was made before its answer was lost is there already.
async fn create(maps: &Maps, name: &str) {
    let mut ticks = interval(Duration::from_millis(100));
    loop {
        ticks.tick().await;
        match timeout(Duration::from_secs(10), maps.create(name)).await {
            Ok(Ok(())) => return,
            Ok(Err(kube::Error::Api(status))) if status.code == 409 => return,
            Ok(Err(_)) | Err(_) => {}
        }
    }
}

/// Asks the script for an outage; returns once the server is ready again.
async fn strike(cluster: &Cluster, outage: &'static str) -> Result<(), Failed> {
    let mut command = Command::new("timeout");
    command.arg("180").arg("bash").arg(&cluster.server).arg(outage);
    let status = tokio::task::spawn_blocking(move || command.status()).await??;
    if status.success() { Ok(()) } else { Err(format!("{outage}: {status}").into()) }
}

fn show(run: &Run, outage: &str) {
    let rows = run.board.snapshot().resources;
    let blind = rows.values().map(|row| row.blind_max).max().unwrap_or_default();
    let maps = rows.get("configmaps").map(|row| (row.blind_max, row.listings, row.failures));
    println!(
        "{outage}: blind for at most {blind:?}; configmaps (blind, listings, failures) {maps:?}"
    );
}
