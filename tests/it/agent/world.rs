//! A server, a node that takes envelopes, and what arrived.

use std::{collections::BTreeMap, fs, net::SocketAddr, time::Duration};

use tapio_bus::{Bus as _, Start, Subscription};
use tapio_chaos::real::{NatsServer, NatsServerOptions, NodeCommand, NodeProcess, http_get};
use tapio_model::{Event, EventId, ShardId, TraceId};
use tapio_nats::{Connection, NatsBus, NatsBusOptions, NatsConfig};
use tapio_shard::ShardCount;
use tapio_tests::tapio_binary;
use tokio::time::{interval, timeout};

/// How long nothing may happen where something must: a machine under load is slow, not wrong.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// How long is listened for what nobody expects.
const SILENCE: Duration = Duration::from_secs(1);

/// How often is looked whether something has happened.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Why a case failed.
pub(super) type Outcome<T = ()> = Result<T, String>;

/// Makes what went wrong text.
pub(super) fn said(why: impl std::fmt::Display) -> String {
    why.to_string()
}

/// Fails unless `holds`.
pub(super) fn check(holds: bool, what: impl FnOnce() -> String) -> Outcome {
    if holds { Ok(()) } else { Err(what()) }
}

/// Looks until there is what is looked for. It is given up once what is missing stays the same for
/// long: that is the failure.
pub(super) async fn until<T>(mut look: impl AsyncFnMut() -> Outcome<T>) -> Outcome<T> {
    let mut tick = interval(LOOK_EVERY);
    let mut missing = String::new();
    loop {
        let changing = async {
            loop {
                tick.tick().await;
                match look().await {
                    Ok(found) => return Ok(found),
                    Err(why) if why != missing => return Err(why),
                    Err(_) => {}
                }
            }
        };
        match timeout(PATIENCE, changing).await {
            Ok(Ok(found)) => return Ok(found),
            Ok(Err(why)) => missing = why,
            Err(_elapsed) => return Err(format!("not within {PATIENCE:?}: {missing}")),
        }
    }
}

/// Returns how to connect.
pub(super) fn nats(url: String) -> NatsConfig {
    NatsConfig { startup: Duration::from_secs(5), ..NatsConfig::to(url) }
}

/// A server, and a node on it that takes envelopes. Both end when it is dropped.
pub(super) struct Mesh {
    pub(super) server: NatsServer,
    node: NodeProcess,
    http: SocketAddr,
    direct: SocketAddr,
}

impl Mesh {
    /// Starts both, and waits until the node is ready.
    pub(super) async fn start() -> Outcome<Self> {
        let server = NatsServer::start(NatsServerOptions::default()).await.map_err(said)?;
        let mut node = NodeProcess::prepare("tapio-0").map_err(said)?;
        let (url, data) = (server.url(), node.state_dir());
        let data = data.to_string_lossy();
        let at = ["node", "--nats", &url, "--http", "127.0.0.1:0", "--direct", "127.0.0.1:0"];
        // A window longer than the test: a repeat is known as one.
        let rest = ["--data", &data, "--arbiters", "1", "--window", "5m", "--log-level", "warn"];
        let command = NodeCommand {
            program: tapio_binary()?,
            args: at.iter().chain(&rest).map(Into::into).collect(),
            env: vec![("POD_NAME".into(), "tapio-0".into())],
        };
        node.start(&command).await.map_err(said)?;
        let stderr = node.stderr_path();
        let (http, direct) = until(async || {
            let said = fs::read_to_string(&stderr).unwrap_or_default();
            let address = |before: &str| -> Option<SocketAddr> {
                let word = said.split(before).nth(1)?.split([';', '\n']).next()?;
                word.trim().parse().ok()
            };
            address("; http ").zip(address("envelopes on ")).ok_or_else(|| said.clone())
        })
        .await?;
        let mesh = Self { server, node, http, direct };
        until(async || {
            let (status, body) = http_get(mesh.http, "/readyz").await.map_err(said)?;
            check(status == 200, || String::from_utf8_lossy(&body).into_owned())
        })
        .await?;
        Ok(mesh)
    }

    /// Returns the `output` section of an agent's configuration.
    pub(super) fn output(&self, mode: &str) -> String {
        let (nats, direct) = (self.server.url(), self.direct);
        format!(
            "output:\n  mode: {mode}\n  nats: {{ url: '{nats}' }}\n  direct: {{ url: \
             'http://{direct}' }}\n"
        )
    }

    /// Begins to read the events stream from its first entry.
    pub(super) async fn read(&self) -> Outcome<Box<dyn Subscription>> {
        let connection = Connection::open(&nats(self.server.url())).await.map_err(said)?;
        let bus = NatsBus::new(connection, NatsBusOptions::default());
        let shards: Vec<_> = (0..ShardCount::DEFAULT.get()).map(ShardId::new).collect();
        bus.subscribe(&shards, Start::Earliest).await.map_err(said)
    }

    /// Waits until the node has an account of so many distinct events, and returns how many more
    /// it counted as seen before.
    pub(super) async fn accounts(&self, distinct: u64) -> Outcome<u64> {
        let looked = until(async || {
            let (status, page) = http_get(self.http, "/metrics").await.map_err(said)?;
            check(status == 200, || format!("/metrics: {status}"))?;
            let page = String::from_utf8_lossy(&page);
            let accounts: BTreeMap<&str, u64> = page
                .lines()
                .filter_map(|line| line.strip_prefix("tapio_outcome_events{outcome=\""))
                .filter_map(|line| line.split_once("\"} "))
                .filter_map(|(outcome, events)| Some((outcome, events.parse().ok()?)))
                .collect();
            let repeats = accounts.get("duplicate").copied().unwrap_or_default();
            let once = accounts.values().sum::<u64>() - repeats;
            check(once == distinct, || format!("{once} of {distinct}: {accounts:?}"))?;
            Ok(repeats)
        });
        looked.await.map_err(|why| format!("{why}\n{}", self.node.stderr_tail()))
    }
}

/// What the events stream held.
#[derive(Debug, Default)]
pub(super) struct Arrived {
    /// The events by id: how often, and of which trace.
    pub(super) events: BTreeMap<EventId, (u64, TraceId)>,
    /// Ids that came with another trace the second time.
    pub(super) torn: u64,
}

impl Arrived {
    /// Notes an event; true if it is new.
    pub(super) fn note(&mut self, event: &Event) -> bool {
        let seen = self.events.entry(event.id).or_insert((0, event.trace.trace_id));
        seen.0 += 1;
        self.torn += u64::from(seen.1 != event.trace.trace_id);
        seen.0 == 1
    }

    /// Reads until so many distinct events came, and then until nothing comes.
    pub(super) async fn read(mesh: &Mesh, distinct: usize) -> Outcome<Self> {
        let mut subscription = mesh.read().await?;
        let mut arrived = Self::default();
        loop {
            let wait = if arrived.events.len() < distinct { PATIENCE } else { SILENCE };
            let Ok(Some(delivery)) = timeout(wait, subscription.next()).await else { break };
            for event in &delivery.batch.events {
                arrived.note(event);
            }
        }
        Ok(arrived)
    }

    /// Returns how many copies came of events that had come before.
    pub(super) fn repeats(&self) -> u64 {
        self.events.values().map(|(copies, _)| copies - 1).sum()
    }
}
