//! Finds out about NATS, without making or changing anything there.

use std::time::Duration;

use tapio_model::{Clock as _, Timestamp};
use tapio_nats::{ConnectError, Connection, NatsConfig, Stream, StreamPlan};
use tapio_telemetry::SystemClock;
use tokio::time::timeout;

/// How long a server may take to answer; a check is for a person who waits.
const WAIT_MAX: Duration = Duration::from_secs(3);

/// What was found out about the mesh.
#[derive(Debug, Clone)]
pub(super) enum MeshFacts {
    /// No connection, and what it would have needed.
    Away {
        /// Whether a server answered, and lacks JetStream.
        is_without_jetstream: bool,
        /// Why, with the cure at the end.
        why: String,
    },
    /// A server to work with.
    There(ServerFacts),
}

/// What a server says of itself.
#[derive(Debug, Clone)]
pub(super) struct ServerFacts {
    pub(super) version: String,
    pub(super) payload_bytes_max: usize,
    /// Servers of the cluster that the server names.
    pub(super) servers: usize,
    /// The streams against the plan; or why nothing is known of them.
    pub(super) streams: Result<StreamFacts, String>,
    /// Servers that keep each event, if the stream is there.
    pub(super) replicas: Option<u64>,
    /// Milliseconds the server's clock is ahead of ours, if it said.
    pub(super) clock_ahead_ms: Option<i64>,
}

/// The streams against the plan.
#[derive(Debug, Clone, Default)]
pub(super) struct StreamFacts {
    /// What differs, each with its cure.
    pub(super) differing: Vec<(String, String)>,
    /// Names of those that are not there.
    pub(super) missing: Vec<String>,
}

/// Connects, asks, and disconnects.
pub(super) async fn gather(config: NatsConfig, plan: &StreamPlan) -> MeshFacts {
    let domain = config.domain.clone();
    let config = NatsConfig { startup: config.startup.min(WAIT_MAX), ..config };
    let connection = match Connection::open(&config).await {
        Ok(connection) => connection,
        Err(error) => {
            let is_without_jetstream = matches!(error, ConnectError::NoJetStream { .. });
            return MeshFacts::Away { is_without_jetstream, why: error.to_string() };
        }
    };
    let streams = connection.compare(plan).await.map_err(|error| error.to_string());
    let streams = streams.map(|(differing, missing)| {
        let said = |it: &tapio_nats::Difference| {
            let why =
                format!("{} has {} {} instead of {}", it.stream, it.field, it.found, it.wanted);
            (why, it.cure.clone())
        };
        StreamFacts { differing: differing.iter().map(said).collect(), missing }
    });
    let before = SystemClock.now();
    let info = info(&connection, domain.as_deref()).await;
    let after = SystemClock.now();
    let info = info.unwrap_or_default();
    let server = connection.client().server_info();
    let facts = ServerFacts {
        version: server.version.clone(),
        payload_bytes_max: connection.payload_bytes_max(),
        servers: server.connect_urls.len().max(1),
        streams,
        replicas: info.pointer("/config/num_replicas").and_then(serde_json::Value::as_u64),
        clock_ahead_ms: info.get("ts").and_then(|ts| ahead_ms(ts.as_str()?, before, after)),
    };
    connection.close().await;
    MeshFacts::There(facts)
}

/// Asks for the events stream as JetStream tells it.
async fn info(connection: &Connection, domain: Option<&str>) -> Option<serde_json::Value> {
    let api = domain.map_or("$JS.API".to_owned(), |domain| format!("$JS.{domain}.API"));
    let stream = connection.subjects().stream(Stream::Events);
    let asking = connection.client().request(format!("{api}.STREAM.INFO.{stream}"), "".into());
    let answer = timeout(connection.patience(), Box::pin(asking)).await.ok()?.ok()?;
    serde_json::from_slice(&answer.payload).ok()
}

/// Returns how far a server's time is ahead of the middle of the question.
pub(super) fn ahead_ms(server: &str, before: Timestamp, after: Timestamp) -> Option<i64> {
    let server: jiff::Timestamp = server.parse().ok()?;
    let [before, after] = [before, after].map(|time| time.as_nanos() / 1_000_000);
    Some(server.as_millisecond() - (before + (after - before) / 2))
}
