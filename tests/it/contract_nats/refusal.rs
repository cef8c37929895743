//! What is refused, with the reason and the cure.

use std::time::Duration;

use tapio_chaos::real::NatsServerOptions;
use tapio_nats::{ConnectError, Connection, NatsConfig, Storage, StreamError, StreamPlan};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpListener,
};

use super::{Outcome, check, config, connect, plan, run, start};

pub(super) fn differs() -> Outcome {
    run(async {
        let server = start(NatsServerOptions::default()).await?;
        let config = config(server.url());
        let connection = connect(&config, &plan()).await?;
        let other = StreamPlan {
            storage: Storage::File,
            events_max_age: Duration::from_secs(60),
            ..plan()
        };
        // Twice: what differs was not changed by the first look.
        for _ in 0..2 {
            let why = connection.set_up(&other).await.err().ok_or("nothing is said")?;
            let StreamError::Differs(differences) = &why else { return Err(why.to_string()) };
            let events = differences.iter().filter(|one| one.stream == "TAPIO_EVENTS_1");
            let fields: Vec<_> = events.map(|one| one.field).collect();
            check(fields == ["storage", "age limit", "duplicate window"], || why.to_string())?;
            let cure = "`nats stream edit TAPIO_EVENTS_1 --max-age=60s`";
            check(why.to_string().contains(cure), || why.to_string())?;
        }
        connection.set_up(&plan()).await.map_err(|why| format!("what is there is fine: {why}"))
    })
}

pub(super) fn replicas() -> Outcome {
    run(async {
        let server = start(NatsServerOptions::default()).await?;
        let refused = connect(&config(server.url()), &StreamPlan { replicas: 3, ..plan() }).await;
        let why = refused.err().ok_or("one server keeps three replicas")?;
        check(why.contains("stream TAPIO_EVENTS_1") && why.contains("run a cluster"), || why)
    })
}

pub(super) fn no_jetstream() -> Outcome {
    run(async {
        // An account that was given none, on a server that has it.
        let extra = "accounts { plain { users: [{ user: u, password: p }] } }\nno_auth_user: u";
        let options = NatsServerOptions { extra: extra.to_owned(), ..NatsServerOptions::default() };
        let server = start(options).await?;
        let why = Connection::open(&config(server.url())).await.err().ok_or("it connects")?;
        check(matches!(why, ConnectError::NoJetStream { .. }), || why.to_string())?;
        check(why.to_string().contains("enable it for the account"), || why.to_string())
    })
}

pub(super) fn too_old() -> Outcome {
    run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.map_err(|why| why.to_string())?;
        let address = listener.local_addr().map_err(|why| why.to_string())?;
        let config = config(format!("nats://{address}"));
        let (connected, _greeted) = tokio::join!(Connection::open(&config), greet(listener));
        let why = connected.err().ok_or("it connects")?;
        check(matches!(&why, ConnectError::TooOld { found, .. } if found == "2.9.10"), || {
            why.to_string()
        })?;
        check(why.to_string().contains("ignores filters by several subjects"), || why.to_string())
    })
}

/// Speaks as much of the protocol as a client needs to believe that it is connected.
async fn greet(listener: TcpListener) -> std::io::Result<()> {
    let (mut stream, _) = listener.accept().await?;
    let (read, mut write) = stream.split();
    let info = r#"INFO {"server_id":"old","version":"2.9.10","max_payload":1048576,"headers":true,"jetstream":true,"proto":1}"#;
    write.write_all(info.as_bytes()).await?;
    write.write_all(b"\r\n").await?;
    let mut lines = BufReader::new(read).lines();
    while let Some(line) = lines.next_line().await? {
        if line.starts_with("PING") {
            write.write_all(b"PONG\r\n").await?;
            // The client now knows the version; it ends the connection, or the case does.
            break;
        }
    }
    Ok(())
}

pub(super) fn nobody_there() -> Outcome {
    run(async {
        // Taken and given back: nobody else is likely to listen there.
        let listener = TcpListener::bind("127.0.0.1:0").await.map_err(|why| why.to_string())?;
        let address = listener.local_addr().map_err(|why| why.to_string())?;
        drop(listener);
        let startup = Duration::from_millis(300);
        let config = NatsConfig { startup, ..NatsConfig::to(format!("nats://{address}")) };
        let why = Connection::open(&config).await.err().ok_or("it connects")?;
        check(matches!(why, ConnectError::Unreachable { .. }), || why.to_string())?;
        let names_it = why.to_string().contains(&format!("nats://{address}"));
        check(names_it && why.to_string().contains("is it running"), || why.to_string())
    })
}
