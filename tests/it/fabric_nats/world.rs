//! What the tests of the fabric share: a connection, streams, and a publisher that does not give
//! up.

use std::{fmt::Display, sync::Arc, time::Duration};

use bytes::Bytes;
use tapio_bus::{Address, Fabric as _, LogReader, Parcel, Receipt};
use tapio_model::{ShardId, Text};
use tapio_nats::{Connection, NatsConfig, NatsFabric, StreamPlan};
use tokio::time::{MissedTickBehavior, interval, timeout};

/// The shard that finds, and the one whose incidents it finds for.
pub(super) const FROM: ShardId = ShardId::new(3);
pub(super) const TO: ShardId = ShardId::new(4);

/// How long a call may take here: long enough for a slow machine, short enough to be waited for.
pub(super) const PATIENCE: Duration = Duration::from_secs(1);

/// How often a publisher tries again while the servers are away.
const RETRY_EVERY: Duration = Duration::from_millis(20);

/// How often a reader here stops waiting and begins again, as one that has other things to do.
const CANCEL_EVERY: Duration = Duration::from_millis(1);

/// A fabric, and the connection it is made of.
pub(super) struct World {
    pub(super) connection: Connection,
    pub(super) fabric: Arc<NatsFabric>,
}

impl World {
    /// Connects, and makes the streams unless they are there.
    pub(super) async fn open(urls: Vec<String>, replicas: usize) -> Result<Self, String> {
        let config = NatsConfig { urls, patience: PATIENCE, ..NatsConfig::default() };
        let connection = Connection::open(&config).await.map_err(said)?;
        let plan = StreamPlan { replicas, audit: true, ..StreamPlan::default() };
        connection.set_up(&plan).await.map_err(said)?;
        let fabric = Arc::new(NatsFabric::new(connection.clone()));
        Ok(Self { connection, fabric })
    }
}

pub(super) fn said(error: impl Display) -> String {
    error.to_string()
}

/// Says what is wrong unless `is_so`.
pub(super) fn check(is_so: bool, what: impl Display) -> Result<(), String> {
    if is_so { Ok(()) } else { Err(what.to_string()) }
}

pub(super) fn findings(commit: u64) -> Parcel {
    Parcel {
        address: Address::Findings { from: FROM, to: TO, commit },
        body: Bytes::from(commit.to_string()),
        traceparent: Some(Text::from("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")),
    }
}

/// Delivers findings of commits 1 to `last`, each until it is acknowledged: with message ids, so
/// that each lies there once.
pub(super) async fn publish(fabric: Arc<NatsFabric>, last: u64) -> Result<(), String> {
    let mut retry = interval(RETRY_EVERY);
    retry.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for commit in 1..=last {
        let parcel = findings(commit);
        loop {
            match fabric.deliver(&parcel).await {
                Ok(Receipt::Delivered | Receipt::WasThere) => break,
                Ok(Receipt::Differs) => return Err(format!("commit {commit} differs")),
                Err(_) => drop(retry.tick().await),
            }
        }
    }
    Ok(())
}

/// Reads commits `from` to `last` and makes sure that none is skipped and none repeated.
pub(super) async fn read(reader: &mut dyn LogReader, from: u64, last: u64) -> Result<(), String> {
    let mut sequence = 0;
    for commit in from..=last {
        let entry = loop {
            if let Ok(entry) = timeout(CANCEL_EVERY, reader.next()).await {
                break entry.map_err(said)?;
            }
        };
        let body = String::from_utf8_lossy(&entry.body).into_owned();
        check(body == commit.to_string(), format!("read {body}, wanted {commit}"))?;
        check(entry.sequence > sequence, format!("{} after {sequence}", entry.sequence))?;
        sequence = entry.sequence;
    }
    Ok(())
}
