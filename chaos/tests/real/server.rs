//! One server.

use std::path::Path;
use std::time::Duration;

use tapio_chaos::real::{NatsServer, NatsServerOptions, Need, RealError, SyncInterval};

use crate::client::Client;
use crate::{Case, Outcome, cases, ensure};

pub(crate) fn cases() -> Vec<Case> {
    cases![
        Some(Need::NatsServer);
        a_killed_server_restarts_at_its_address_with_its_data,
        a_server_that_ended_leaves_no_process,
        a_paused_server_is_silent_until_it_resumes,
        a_server_that_cannot_start_shows_its_log,
        a_server_is_as_its_options_say,
        servers_started_at_once_do_not_collide,
    ]
}

async fn a_killed_server_restarts_at_its_address_with_its_data() -> Outcome {
    let mut server = NatsServer::start(NatsServerOptions::default()).await?;
    let (addr, pid) = (server.addr(), server.pid());
    let mut client = Client::connect(addr).await?;
    client.create_stream("S", "s.>", 1).await?;
    for sequence in 1..=10_u64 {
        let ack = client.request("s.a", "x").await?;
        ensure(ack["seq"] == sequence, ack.to_string())?;
    }
    server.kill().await?;
    ensure(Client::connect(addr).await.is_err(), "a killed server answers")?;
    server.restart().await?;
    ensure(server.addr() == addr && server.pid() != pid, "not the same place, or process")?;
    let messages = Client::connect(addr).await?.messages("S").await?;
    ensure(messages == 10, format!("{messages} messages"))
}

async fn a_server_that_ended_leaves_no_process() -> Outcome {
    let mut server = NatsServer::start(NatsServerOptions::default()).await?;
    let exists =
        |pid: Option<u32>| pid.is_some_and(|pid| Path::new(&format!("/proc/{pid}")).exists());
    let killed = server.pid();
    ensure(exists(killed) && server.is_running(), "it does not run")?;
    server.kill().await?;
    ensure(!exists(killed) && !server.is_running(), "it survives a kill")?;
    server.restart().await?;
    let terminated = server.pid();
    server.terminate(Duration::from_secs(10)).await?;
    ensure(!exists(terminated), "it survives its end")?;
    let refused = server.pause();
    ensure(matches!(refused, Err(RealError::NotRunning { .. })), format!("{refused:?}"))?;
    server.restart().await?;
    let dropped = server.pid();
    let directory = server.directory().to_owned();
    drop(server);
    ensure(!exists(dropped) && !directory.exists(), "a dropped server leaves something")
}

async fn a_paused_server_is_silent_until_it_resumes() -> Outcome {
    let mut server = NatsServer::start(NatsServerOptions::default()).await?;
    server.pause()?;
    let silent = tokio::time::timeout(Duration::from_millis(200), server.health()).await;
    ensure(silent.is_err(), format!("{silent:?}"))?;
    let ended = server.terminate(Duration::from_millis(100)).await;
    ensure(matches!(ended, Err(RealError::StillRuns { .. })), format!("{ended:?}"))?;
    server.restart().await?;
    server.pause()?;
    server.resume()?;
    Ok(server.health().await?)
}

async fn a_server_that_cannot_start_shows_its_log() -> Outcome {
    let options =
        NatsServerOptions { extra: "tapio_nonsense: 1".to_owned(), ..NatsServerOptions::default() };
    let error = NatsServer::start(options).await.err().ok_or("it starts with nonsense")?;
    ensure(error.to_string().contains("tapio_nonsense"), error.to_string())
}

async fn a_server_is_as_its_options_say() -> Outcome {
    let options = NatsServerOptions {
        sync_interval: SyncInterval::Always,
        payload_bytes_max: Some(4321),
        extra: "server_tags: [\"tapio\"]".to_owned(),
        ..NatsServerOptions::default()
    };
    let server = NatsServer::start(options).await?;
    let info = Client::connect(server.addr()).await?.info;
    ensure(info["max_payload"] == 4321, info.to_string())?;
    ensure(info.get("connect_urls").is_none(), "a single server gossips")?;
    ensure(server.store_dir().join("jetstream").is_dir(), "no store where it should be")
}

async fn servers_started_at_once_do_not_collide() -> Outcome {
    let start = || NatsServer::start(NatsServerOptions::default());
    let (a, b, c) = tokio::try_join!(start(), start(), start())?;
    ensure(a.addr() != b.addr() && b.addr() != c.addr() && a.addr() != c.addr(), "same address")
}
