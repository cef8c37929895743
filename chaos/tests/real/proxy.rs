//! What the proxy does to connections.

use std::error::Error;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tapio_chaos::real::{Direction, Fault, Proxy};
use tapio_telemetry::spawn_named;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, timeout};

use crate::{Case, Outcome, cases, ensure};

/// How long something may take that should be at once.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long nothing must happen to be believed.
const SILENCE: Duration = Duration::from_millis(200);

pub(crate) fn cases() -> Vec<Case> {
    cases![
        None;
        a_proxy_without_a_fault_passes_everything_on,
        a_delay_delays_both_ways_and_keeps_the_order,
        a_throttle_lets_no_more_through_than_it_says,
        a_black_hole_swallows_nothing_for_good,
        a_half_open_connection_passes_one_way,
        a_reset_resets_what_is_open_and_what_is_new,
        a_server_that_is_not_there_resets,
    ]
}

/// An echo behind a proxy.
async fn echo() -> io::Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let addr = listener.local_addr()?;
    // Detached: it ends with the runtime of the test.
    drop(spawn_named("echo", async move {
        while let Ok((mut connection, _peer)) = listener.accept().await {
            drop(spawn_named("echo-connection", async move {
                let (mut from, mut to) = connection.split();
                tokio::io::copy(&mut from, &mut to).await
            }));
        }
    }));
    Ok(addr)
}

async fn send(client: &mut TcpStream, bytes: &[u8]) -> Outcome {
    Ok(timeout(PATIENCE, client.write_all(bytes)).await??)
}

async fn receive(client: &mut TcpStream, count: usize) -> Result<Vec<u8>, Box<dyn Error>> {
    let mut bytes = vec![0; count];
    timeout(PATIENCE, client.read_exact(&mut bytes)).await??;
    Ok(bytes)
}

async fn is_silent(client: &mut TcpStream) -> bool {
    timeout(SILENCE, client.read_u8()).await.is_err()
}

async fn a_proxy_without_a_fault_passes_everything_on() -> Outcome {
    let proxy = Proxy::start(echo().await?).await?;
    let mut client = TcpStream::connect(proxy.addr()).await?;
    // More than the proxy holds at once: back-pressure, not loss.
    let sent: Vec<u8> =
        (0..3_000_000_u32).map(|n| n.to_le_bytes()[0] ^ n.to_le_bytes()[1]).collect();
    let (mut from, mut to) = client.split();
    let mut received = vec![0; sent.len()];
    let pass = async { tokio::try_join!(to.write_all(&sent), from.read_exact(&mut received)) };
    timeout(PATIENCE, pass).await??;
    ensure(received == sent, "other bytes came back")?;
    to.shutdown().await?;
    let end = timeout(PATIENCE, from.read(&mut [0])).await??;
    ensure(end == 0, "the end was not passed on")?;
    let counts = proxy.counts();
    ensure(counts.accepted == 1, format!("{counts:?}"))?;
    ensure(counts.bytes_to_server == 3_000_000, format!("{counts:?}"))?;
    ensure(counts.bytes_to_client == 3_000_000, format!("{counts:?}"))
}

async fn a_delay_delays_both_ways_and_keeps_the_order() -> Outcome {
    let proxy = Proxy::start(echo().await?).await?;
    let mut client = TcpStream::connect(proxy.addr()).await?;
    let (min, max) = (Duration::from_millis(50), Duration::from_millis(150));
    proxy.set(Fault::Delay { min, max, seed: 3 });
    let start = Instant::now();
    for byte in 0..20 {
        send(&mut client, &[byte]).await?;
        tokio::task::yield_now().await;
    }
    let first = receive(&mut client, 1).await?;
    ensure(start.elapsed() >= min * 2, format!("{:?}", start.elapsed()))?;
    let rest = receive(&mut client, 19).await?;
    ensure([first, rest].concat() == (0..20).collect::<Vec<u8>>(), "another order")?;
    ensure(start.elapsed() < PATIENCE / 2, format!("{:?}", start.elapsed()))
}

async fn a_throttle_lets_no_more_through_than_it_says() -> Outcome {
    let proxy = Proxy::start(echo().await?).await?;
    let mut client = TcpStream::connect(proxy.addr()).await?;
    proxy.set_direction(Direction::ToServer, Fault::Throttle { bytes_per_s: 20_000 });
    let start = Instant::now();
    send(&mut client, &[7; 10_000]).await?;
    receive(&mut client, 10_000).await?;
    let took = start.elapsed();
    ensure(took >= Duration::from_millis(400), format!("{took:?}"))
}

async fn a_black_hole_swallows_nothing_for_good() -> Outcome {
    let proxy = Proxy::start(echo().await?).await?;
    let mut old = TcpStream::connect(proxy.addr()).await?;
    send(&mut old, b"a").await?;
    receive(&mut old, 1).await?;
    proxy.set(Fault::Blackhole);
    let mut new = TcpStream::connect(proxy.addr()).await?;
    for client in [&mut old, &mut new] {
        send(client, b"b").await?;
        ensure(is_silent(client).await, "something passes a black hole")?;
    }
    ensure(proxy.counts().bytes_to_server == 1, format!("{:?}", proxy.counts()))?;
    proxy.set(Fault::None);
    for client in [&mut old, &mut new] {
        ensure(receive(client, 1).await? == b"b", "other bytes after the fault")?;
    }
    Ok(())
}

async fn a_half_open_connection_passes_one_way() -> Outcome {
    let proxy = Proxy::start(echo().await?).await?;
    let mut client = TcpStream::connect(proxy.addr()).await?;
    send(&mut client, b"a").await?;
    receive(&mut client, 1).await?;
    proxy.set_direction(Direction::ToClient, Fault::Blackhole);
    send(&mut client, b"b").await?;
    ensure(is_silent(&mut client).await, "the closed way is open")?;
    let counts = proxy.counts();
    ensure(counts.bytes_to_server == 2 && counts.bytes_to_client == 1, format!("{counts:?}"))?;
    proxy.set_direction(Direction::ToClient, Fault::None);
    ensure(receive(&mut client, 1).await? == b"b", "other bytes after the fault")
}

async fn a_reset_resets_what_is_open_and_what_is_new() -> Outcome {
    let proxy = Proxy::start(echo().await?).await?;
    let mut old = TcpStream::connect(proxy.addr()).await?;
    send(&mut old, b"a").await?;
    receive(&mut old, 1).await?;
    proxy.set(Fault::Reset);
    is_reset(&mut old).await?;
    // The kernel may tell of the reset as early as while connecting.
    match TcpStream::connect(proxy.addr()).await {
        Ok(mut new) => is_reset(&mut new).await?,
        Err(error) => ensure(error.kind() == io::ErrorKind::ConnectionReset, error.to_string())?,
    }
    ensure(proxy.counts().reset == 2, format!("{:?}", proxy.counts()))?;
    proxy.set(Fault::None);
    let mut healed = TcpStream::connect(proxy.addr()).await?;
    send(&mut healed, b"c").await?;
    ensure(receive(&mut healed, 1).await? == b"c", "not healed")
}

async fn a_server_that_is_not_there_resets() -> Outcome {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let upstream = listener.local_addr()?;
    let proxy = Proxy::start(upstream).await?;
    drop(listener);
    let mut client = TcpStream::connect(proxy.addr()).await?;
    is_reset(&mut client).await?;
    ensure(proxy.counts().unreachable == 1, format!("{:?}", proxy.counts()))
}

async fn is_reset(client: &mut TcpStream) -> Outcome {
    let read = timeout(PATIENCE, client.read_u8()).await?;
    let kind = read.as_ref().err().map(io::Error::kind);
    ensure(kind == Some(io::ErrorKind::ConnectionReset), format!("{read:?}"))
}
