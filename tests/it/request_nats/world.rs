//! Two nodes in one process: real subjects, and answers out of thin air.

use std::{
    collections::BTreeMap,
    fmt::Display,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use async_nats::Client;
use async_trait::async_trait;
use tapio_chaos::real::{NatsServer, NatsServerOptions};
use tapio_model::{Entity, Epoch, Item, Op, Owner, ShardAnswer, ShardId, StoryId, Text, Timestamp};
use tapio_nats::{Connection, NatsConfig, RequestService, Requester};
use tapio_node::{
    Answering, Coordinator, CoordinatorParts, OwnerMap, Recall, Recalled, RequestDesk,
};
use tapio_shard::ShardCount;

const SHARDS: ShardCount = ShardCount::new(4);

type Owners = Arc<Mutex<BTreeMap<ShardId, Owner>>>;

/// A server, and the nodes `a` (shards 0 and 2) and `b` (shards 1 and 3).
pub(super) struct World {
    pub(super) nodes: [Node; 2],
    owners: Owners,
    server: NatsServer,
}

/// One node.
pub(super) struct Node {
    pub(super) service: RequestService,
    pub(super) desk: Arc<RequestDesk>,
    is_paused: Arc<AtomicBool>,
}

impl Node {
    /// Makes the node listen and say nothing.
    pub(super) fn pause(&self) {
        self.is_paused.store(true, Ordering::Relaxed);
    }
}

pub(super) async fn server() -> Result<NatsServer, String> {
    NatsServer::start(NatsServerOptions::default()).await.map_err(said)
}

impl World {
    pub(super) async fn start() -> Result<Self, String> {
        let server = server().await?;
        let owner = |shard: ShardId| {
            let node = if shard.number().is_multiple_of(2) { "a" } else { "b" };
            (shard, Owner { node: node.into(), epoch: Epoch(1) })
        };
        let owners = Arc::new(Mutex::new(SHARDS.shards().map(owner).collect()));
        let a = node(&server, "a", &owners).await?;
        let b = node(&server, "b", &owners).await?;
        Ok(Self { nodes: [a, b], owners, server })
    }

    /// Changes who owns a shard, without telling anybody.
    pub(super) fn owns(&self, shard: ShardId, node: &str, epoch: u64) {
        let owner = Owner { node: node.into(), epoch: Epoch(epoch) };
        self.owners.lock().unwrap_or_else(PoisonError::into_inner).insert(shard, owner);
    }

    /// A client that nobody here wrote.
    pub(super) async fn stranger(&self) -> Result<Client, String> {
        async_nats::connect(self.server.url()).await.map_err(said)
    }

    pub(super) async fn connection(&self) -> Result<Connection, String> {
        Connection::open(&NatsConfig::to(self.server.url())).await.map_err(said)
    }
}

async fn node(server: &NatsServer, name: &str, owners: &Owners) -> Result<Node, String> {
    let connection = Connection::open(&NatsConfig::to(server.url())).await.map_err(said)?;
    let is_paused = Arc::new(AtomicBool::new(false));
    let hints = Arc::new(OwnerMap::new(SHARDS));
    let known = owners.lock().unwrap_or_else(PoisonError::into_inner).clone();
    for (shard, owner) in &known {
        hints.learn(*shard, &owner.node, owner.epoch);
    }
    let local =
        Local { name: name.into(), owners: Arc::clone(owners), is_paused: Arc::clone(&is_paused) };
    let coordinator = Coordinator::new(CoordinatorParts {
        node: name.into(),
        owners: hints,
        ask: Arc::new(Requester::new(&connection)),
        local: Arc::new(local),
        roots: Arc::new(Roots),
        home: Arc::new(|_: &Entity| ShardId::new(0)),
    });
    let desk = Arc::new(RequestDesk::new(coordinator, 1 << 20));
    let serve = Arc::clone(&desk);
    let service = RequestService::start(&connection, &name.into(), serve).await.map_err(said)?;
    for (shard, _) in known.iter().filter(|(_, owner)| owner.node == *name) {
        service.own(*shard).await.map_err(said)?;
    }
    Ok(Node { service, desk, is_paused })
}

/// One incident in each shard.
#[derive(Debug)]
struct Local {
    name: Text,
    owners: Owners,
    is_paused: Arc<AtomicBool>,
}

#[async_trait]
impl Answering for Local {
    async fn answer(&self, shards: &[ShardId], op: &Op) -> Vec<ShardAnswer> {
        if self.is_paused.load(Ordering::Relaxed) {
            return std::future::pending().await;
        }
        let owners = self.owners.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let answer = |shard: &ShardId| {
            let shard = *shard;
            let owner = owners.get(&shard)?.clone();
            let epoch = owner.epoch;
            if owner.node != self.name {
                return Some(ShardAnswer::Moved { shard, owner: Some(owner.node), epoch });
            }
            let item = if matches!(op, Op::WhoOwns(_)) {
                Item::Owner { shard, owner: Some(owner) }
            } else {
                incident(shard)
            };
            Some(ShardAnswer::Known { shard, epoch, results: vec![item], omitted: 0 })
        };
        shards.iter().filter_map(answer).collect()
    }
}

fn incident(shard: ShardId) -> Item {
    let opened_at = Timestamp::from_millis(i64::from(shard.number()));
    Item::Incident { id: StoryId::new(opened_at, [1; 10]), opened_at, touches: vec![] }
}

/// Only shard 1 was ever committed.
#[derive(Debug)]
struct Roots;

#[async_trait]
impl Recall for Roots {
    async fn recall(&self, shard: ShardId, _: &Op) -> Option<Recalled> {
        let results = vec![incident(shard)];
        (shard.number() == 1).then_some(Recalled { epoch: Epoch(1), results, omitted: 0 })
    }
}

pub(super) fn said(error: impl Display) -> String {
    error.to_string()
}

/// Says what is wrong unless `is_so`.
pub(super) fn check(is_so: bool, what: impl Display) -> Result<(), String> {
    if is_so { Ok(()) } else { Err(what.to_string()) }
}
