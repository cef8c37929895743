//! Three servers.

use std::time::Duration;

use tapio_chaos::real::{NatsCluster, NatsServerOptions, Need, RealError};
use tokio::time::{Instant, interval};

use crate::client::Client;
use crate::{Case, Outcome, cases, ensure};

/// How long an election may take.
const ELECTION: Duration = Duration::from_secs(30);

pub(crate) fn cases() -> Vec<Case> {
    cases![
        Some(Need::NatsServer);
        a_cluster_loses_leaders_and_everybody_and_comes_back,
        a_cluster_keeps_its_addresses_from_clients_when_told_to,
    ]
}

async fn a_cluster_loses_leaders_and_everybody_and_comes_back() -> Outcome {
    let mut cluster = NatsCluster::start(3, NatsServerOptions::default()).await?;
    let first = cluster.servers().first().ok_or("no server")?.addr();
    Client::connect(first).await?.create_stream("S", "s.>", 3).await?;
    let leader = led_by_other_than(&cluster, None).await?;
    ensure(cluster.stream_leader("none").await.is_none(), "a stream that is not has a leader")?;

    cluster.kill(leader).await?;
    let next = led_by_other_than(&cluster, Some(leader)).await?;
    let addr = cluster.servers().get(next).ok_or("no such server")?.addr();
    let ack = Client::connect(addr).await?.request("s.a", "x").await?;
    ensure(ack["seq"] == 1, ack.to_string())?;
    let unwell = cluster.wait_healthy(Duration::ZERO).await;
    ensure(matches!(unwell, Err(RealError::Unhealthy { .. })), format!("{unwell:?}"))?;
    cluster.restart(leader).await?;
    cluster.wait_healthy(ELECTION).await?;

    cluster.kill_all().await?;
    ensure(cluster.stream_leader("S").await.is_none(), "the dead lead")?;
    cluster.restart_all().await?;
    cluster.wait_healthy(ELECTION).await?;
    let messages = Client::connect(first).await?.messages("S").await?;
    ensure(messages == 1, format!("{messages} messages"))
}

/// Waits until the stream has a leader that is not `old`.
async fn led_by_other_than(cluster: &NatsCluster, old: Option<usize>) -> Result<usize, String> {
    let deadline = Instant::now() + ELECTION;
    let mut ticks = interval(Duration::from_millis(50));
    while Instant::now() < deadline {
        ticks.tick().await;
        match cluster.stream_leader("S").await {
            Some(leader) if Some(leader) != old => return Ok(leader),
            Some(_) | None => {}
        }
    }
    Err(format!("no leader but {old:?} in {ELECTION:?}"))
}

async fn a_cluster_keeps_its_addresses_from_clients_when_told_to() -> Outcome {
    for no_advertise in [false, true] {
        let options = NatsServerOptions { no_advertise, ..NatsServerOptions::default() };
        let cluster = NatsCluster::start(2, options).await?;
        let addr = cluster.servers().first().ok_or("no server")?.addr();
        let info = Client::connect(addr).await?.info;
        let gossips = info.get("connect_urls").is_some();
        ensure(gossips != no_advertise, format!("no_advertise {no_advertise}: {info}"))?;
    }
    Ok(())
}
