//! Three servers, and the one that leads dies.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use tapio_bus::{Fabric as _, Revision, SwapError, Versioned};
use tapio_chaos::real::{NatsCluster, NatsServerOptions};
use tapio_model::ShardId;
use tapio_nats::{Bucket, NatsFabric, Stream};
use tapio_telemetry::spawn_named;
use tokio::{
    task::JoinSet,
    time::{interval, timeout},
};

use super::world::{TO, World, check, publish, read, said};

const SHARD: ShardId = ShardId::new(7);

/// How long three servers may take to have a leader again.
const HEALTHY_MAX: Duration = Duration::from_secs(30);

async fn start() -> Result<(NatsCluster, World), String> {
    let cluster = NatsCluster::start(3, NatsServerOptions::default()).await.map_err(said)?;
    let world = Box::pin(World::open(cluster.urls(), 3)).await?;
    Ok((cluster, world))
}

async fn kill_leader(cluster: &mut NatsCluster, stream: &str) -> Result<usize, String> {
    let mut retry = interval(Duration::from_millis(100));
    let leader = timeout(HEALTHY_MAX, async {
        loop {
            if let Some(leader) = cluster.stream_leader(stream).await {
                return leader;
            }
            retry.tick().await;
        }
    });
    let leader = leader.await.map_err(|_elapsed| format!("nobody leads {stream}"))?;
    cluster.kill(leader).await.map_err(said)?;
    Ok(leader)
}

pub(super) async fn reader_over_election() -> Result<(), String> {
    const LAST: u64 = 2_000;
    let (mut cluster, world) = Box::pin(start()).await?;
    let stream = world.connection.subjects().stream(Stream::Findings);
    let mut reader = world.fabric.read_findings(TO, 1).await.map_err(said)?;
    let publisher = spawn_named("publisher", publish(Arc::clone(&world.fabric), LAST));
    read(reader.as_mut(), 1, 300).await?;
    let leader = kill_leader(&mut cluster, &stream).await?;
    read(reader.as_mut(), 301, 1_000).await?;
    cluster.restart(leader).await.map_err(said)?;
    cluster.wait_healthy(HEALTHY_MAX).await.map_err(said)?;
    cluster.kill_all().await.map_err(said)?;
    cluster.restart_all().await.map_err(said)?;
    read(reader.as_mut(), 1_001, LAST).await?;
    publisher.await.map_err(said)??;
    let figures = world.fabric.figures();
    check(figures.reopenings_failed < 100, format!("{figures:?}"))
}

/// What one writer knows of its writes.
#[derive(Debug, Default)]
struct Account {
    won: Vec<Revision>,
    unsure: u64,
}

pub(super) async fn roots_over_election() -> Result<(), String> {
    let (mut cluster, world) = Box::pin(start()).await?;
    let stream = format!("KV_{}", world.connection.subjects().bucket(Bucket::Roots));
    let is_over = Arc::new(AtomicBool::new(false));
    let mut writers = JoinSet::new();
    for _ in 0..4 {
        let other = Box::pin(World::open(cluster.urls(), 3)).await?;
        writers.spawn(write(other.fabric, Arc::clone(&is_over)));
    }
    wait_for(&world.fabric, 100).await?;
    let leader = kill_leader(&mut cluster, &stream).await?;
    let at = counter(world.fabric.read_root(SHARD).await.ok().flatten().as_ref());
    wait_for(&world.fabric, at + 100).await?;
    cluster.restart(leader).await.map_err(said)?;
    cluster.wait_healthy(HEALTHY_MAX).await.map_err(said)?;
    is_over.store(true, Ordering::Relaxed);
    let (mut won, mut unsure, mut revisions) = (0_u64, 0, BTreeSet::new());
    while let Some(account) = writers.join_next().await {
        let account = account.map_err(said)?;
        unsure += account.unsure;
        for revision in account.won {
            won += 1;
            check(revisions.insert(revision), format!("two writers won {revision:?}"))?;
        }
    }
    // Each write counts on by one: as many as the counter says were written, and each was either
    // won or not known to be.
    let written = counter(world.fabric.read_root(SHARD).await.map_err(said)?.as_ref());
    let is_right = won <= written && written <= won + unsure;
    check(is_right, format!("{written} written, {won} won, {unsure} unsure"))
}

fn counter(root: Option<&Versioned>) -> u64 {
    let text = root.map(|root| String::from_utf8_lossy(&root.bytes).into_owned());
    text.and_then(|text| text.parse().ok()).unwrap_or_default()
}

/// Counts on, over and over, from whatever is there.
async fn write(fabric: Arc<NatsFabric>, is_over: Arc<AtomicBool>) -> Account {
    let mut account = Account::default();
    let mut pace = interval(Duration::from_millis(2));
    while !is_over.load(Ordering::Relaxed) {
        pace.tick().await;
        let Ok(root) = fabric.read_root(SHARD).await else { continue };
        let bytes = Bytes::from((counter(root.as_ref()) + 1).to_string());
        let expect = root.map(|root| root.revision);
        match fabric.swap_root(SHARD, bytes, expect).await {
            Ok(revision) => account.won.push(revision),
            Err(SwapError::Unsure(_)) => account.unsure += 1,
            Err(SwapError::Lost | SwapError::Refused(_)) => {}
        }
    }
    account
}

/// Waits until the counter is at `least`.
async fn wait_for(fabric: &NatsFabric, least: u64) -> Result<(), String> {
    let mut retry = interval(Duration::from_millis(50));
    let reached = timeout(HEALTHY_MAX, async {
        while counter(fabric.read_root(SHARD).await.ok().flatten().as_ref()) < least {
            retry.tick().await;
        }
    });
    reached.await.map_err(|_elapsed| format!("the counter does not reach {least}"))
}
