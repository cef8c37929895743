//! A TCP proxy that does harm on demand.

mod fault;
mod pump;

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tapio_telemetry::spawn_named;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

pub use self::fault::{Direction, Fault};

use self::fault::{Delays, Faults};
use self::pump::Pump;
use crate::real::RealError;

/// How many connections pass at once; further ones are reset and counted.
const CONNECTIONS_MAX: usize = 1024;

/// How long the server may take to accept; on one machine, it does at once or never.
const CONNECT_PATIENCE: Duration = Duration::from_secs(5);

/// How long nothing is taken after taking a connection went wrong.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(10);

/// A TCP proxy in front of one server, whose faults can be changed while connections are open.
///
/// A NATS client that goes through it must not learn the server's own address: see
/// [`NatsServerOptions::no_advertise`](crate::real::NatsServerOptions::no_advertise). Behind TLS
/// it sees only sealed bytes, and harms them all the same.
///
/// Dropping it closes every connection.
#[derive(Debug)]
pub struct Proxy {
    addr: SocketAddr,
    faults: watch::Sender<Faults>,
    counters: Arc<Counters>,
    listening: JoinHandle<()>,
}

/// What a proxy has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProxyCounts {
    /// Connections taken, those that were reset at once included.
    pub accepted: u64,
    /// Connections reset by [`Fault::Reset`].
    pub reset: u64,
    /// Connections reset because the server did not take them.
    pub unreachable: u64,
    /// Connections reset because too many were open.
    pub refused: u64,
    /// Bytes that arrived at the server.
    pub bytes_to_server: u64,
    /// Bytes that arrived at clients.
    pub bytes_to_client: u64,
}

#[derive(Debug, Default)]
struct Counters {
    accepted: AtomicU64,
    reset: AtomicU64,
    unreachable: AtomicU64,
    refused: AtomicU64,
    bytes_to_server: AtomicU64,
    bytes_to_client: AtomicU64,
}

impl Proxy {
    /// Starts a proxy on loopback, without a fault.
    ///
    /// # Errors
    /// [`RealError::Io`] when there is no port for it.
    pub async fn start(upstream: SocketAddr) -> Result<Self, RealError> {
        Self::start_at(Ipv4Addr::LOCALHOST.into(), upstream).await
    }

    /// Starts a proxy that listens at `host`, such as the address a namespace knows.
    ///
    /// # Errors
    /// [`RealError::Io`] when it cannot listen there.
    pub async fn start_at(host: IpAddr, upstream: SocketAddr) -> Result<Self, RealError> {
        let what = || RealError::io(format!("listen at {host}"));
        let listener = TcpListener::bind((host, 0)).await.map_err(what())?;
        let addr = listener.local_addr().map_err(what())?;
        let (faults, seen) = watch::channel(Faults::default());
        let counters = Arc::new(Counters::default());
        let front = Front { listener, upstream, faults: seen, counters: Arc::clone(&counters) };
        let listening = spawn_named("chaos-proxy", front.run());
        Ok(Self { addr, faults, counters, listening })
    }

    /// Where clients connect to.
    #[must_use]
    pub const fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Where NATS clients connect to.
    #[must_use]
    pub fn url(&self) -> String {
        format!("nats://{}", self.addr)
    }

    /// Sets the fault of both directions, from now on, also of open connections.
    pub fn set(&self, fault: Fault) {
        self.faults.send_replace(Faults { to_server: fault, to_client: fault });
    }

    /// Sets the fault of one direction; a [`Fault::Blackhole`] here is a half-open connection.
    pub fn set_direction(&self, direction: Direction, fault: Fault) {
        self.faults.send_modify(|faults| match direction {
            Direction::ToServer => faults.to_server = fault,
            Direction::ToClient => faults.to_client = fault,
        });
    }

    /// Returns what was done so far.
    #[must_use]
    pub fn counts(&self) -> ProxyCounts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let counters = &self.counters;
        ProxyCounts {
            accepted: read(&counters.accepted),
            reset: read(&counters.reset),
            unreachable: read(&counters.unreachable),
            refused: read(&counters.refused),
            bytes_to_server: read(&counters.bytes_to_server),
            bytes_to_client: read(&counters.bytes_to_client),
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

/// The task that takes connections; the connections end with it.
struct Front {
    listener: TcpListener,
    upstream: SocketAddr,
    faults: watch::Receiver<Faults>,
    counters: Arc<Counters>,
}

impl Front {
    async fn run(self) {
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                taken = self.listener.accept() => {
                    let Ok((client, _peer)) = taken else {
                        // Such as too many open files, which passes: no reason to spin till then.
                        tokio::time::sleep(ACCEPT_BACKOFF).await;
                        continue;
                    };
                    let number = self.counters.accepted.fetch_add(1, Ordering::Relaxed);
                    if connections.len() >= CONNECTIONS_MAX {
                        reset(&client, &self.counters.refused);
                        continue;
                    }
                    let connection = Connection {
                        number,
                        upstream: self.upstream,
                        faults: self.faults.clone(),
                        counters: Arc::clone(&self.counters),
                    };
                    connections.spawn(connection.run(client));
                }
                Some(_ended) = connections.join_next() => {}
            }
        }
    }
}

/// One client's way to the server.
struct Connection {
    number: u64,
    upstream: SocketAddr,
    faults: watch::Receiver<Faults>,
    counters: Arc<Counters>,
}

impl Connection {
    async fn run(mut self, mut client: TcpStream) {
        // A connection is made of packets of both directions, so either black hole delays it.
        let way = self.faults.wait_for(|faults| !faults.any(Fault::Blackhole)).await;
        let Ok(is_reset) = way.map(|faults| faults.any(Fault::Reset)) else { return };
        if is_reset {
            return reset(&client, &self.counters.reset);
        }
        let Ok(mut server) = self.connect().await else {
            return reset(&client, &self.counters.unreachable);
        };
        // Small messages at once: the proxy's only delays are those asked for.
        if client.set_nodelay(true).and_then(|()| server.set_nodelay(true)).is_err() {
            return;
        }
        let mut faults = self.faults.clone();
        let is_reset = tokio::select! {
            biased;
            changed = faults.wait_for(|faults| faults.any(Fault::Reset)) => changed.is_ok(),
            passed = self.pass(&mut client, &mut server) => {
                if let Err(error) = passed {
                    tracing::debug!(%error, "a connection through the proxy broke");
                }
                false
            }
        };
        if is_reset {
            reset(&client, &self.counters.reset);
            if let Err(error) = server.set_zero_linger() {
                tracing::debug!(%error, "the server is not told of a reset");
            }
        }
    }

    async fn connect(&self) -> io::Result<TcpStream> {
        tokio::time::timeout(CONNECT_PATIENCE, TcpStream::connect(self.upstream)).await?
    }

    async fn pass(&self, client: &mut TcpStream, server: &mut TcpStream) -> io::Result<()> {
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        let pump = |direction, passed, twin| Pump {
            direction,
            faults: self.faults.clone(),
            delays: Delays::new(self.number * 2 + twin),
            passed,
        };
        let up = pump(Direction::ToServer, &self.counters.bytes_to_server, 0);
        let down = pump(Direction::ToClient, &self.counters.bytes_to_client, 1);
        tokio::try_join!(up.run(from_client, to_server), down.run(from_server, to_client))?;
        Ok(())
    }
}

/// Has the connection end with a reset when it is dropped, and counts it.
fn reset(connection: &TcpStream, counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
    if let Err(error) = connection.set_zero_linger() {
        tracing::debug!(%error, "a client is not told of a reset");
    }
}
