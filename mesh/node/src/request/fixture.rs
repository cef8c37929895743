//! A mesh in memory: nodes that answer at once, late, or not at all.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use tapio_bus::{Ask, AskError, Serve as _};
use tapio_model::{
    Entity, Epoch, Handoff, Item, Op, Request, ShardAnswer, ShardId, StoryId, Text, Timestamp,
};
use tapio_shard::ShardCount;
use tokio::time::{sleep, timeout};

use super::{Answering, Coordinator, CoordinatorParts, OwnerMap, Recall, Recalled, RequestDesk};

/// Shards of the mesh.
pub(super) const SHARDS: ShardCount = ShardCount::new(6);
/// How long an answer is on its way.
pub(super) const TRAVEL: Duration = Duration::from_micros(300);

/// What is wrong with a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trouble {
    /// Nobody listens any more.
    Gone,
    /// It listens, and says nothing.
    Paused,
    /// What it says makes no sense.
    Garbled,
}

/// Who owns what, as it really is, and who is in trouble.
#[derive(Debug, Default)]
pub(super) struct World {
    pub(super) owners: BTreeMap<ShardId, (Text, Epoch)>,
    pub(super) trouble: BTreeMap<Text, Trouble>,
    /// Shards whose roots can be read.
    pub(super) roots: BTreeSet<ShardId>,
    /// Requests sent between nodes: the shard they went by.
    pub(super) sent: Vec<ShardId>,
    /// Events in the log, by shard.
    pub(super) log: BTreeMap<ShardId, usize>,
    desks: BTreeMap<Text, Weak<RequestDesk>>,
}

/// The world, shared by all nodes.
#[derive(Debug, Clone, Default)]
pub(super) struct Mesh(Arc<Mutex<World>>);

impl Mesh {
    /// Makes a mesh whose shards take turns at the nodes `a`, `b` and `c`, and a desk for each.
    pub(super) fn of_three() -> (Self, Vec<Arc<RequestDesk>>) {
        let mesh = Self::default();
        let names = ["a", "b", "c"];
        for (shard, name) in SHARDS.shards().zip(names.into_iter().cycle()) {
            mesh.change(|world| world.owners.insert(shard, (name.into(), Epoch(1))));
        }
        let desks = names.map(|name| mesh.node(name));
        (mesh, desks.into())
    }

    fn node(&self, name: &str) -> Arc<RequestDesk> {
        let owners = Arc::new(OwnerMap::new(SHARDS));
        self.change(|world| {
            for (shard, (node, epoch)) in &world.owners {
                owners.learn(*shard, node, *epoch);
            }
        });
        let local = Local { node: name.into(), mesh: self.clone() };
        let parts = CoordinatorParts {
            node: name.into(),
            owners,
            ask: Arc::new(self.clone()),
            local: Arc::new(local),
            roots: Arc::new(self.clone()),
            home: Arc::new(|_: &Entity| ShardId::new(4)),
        };
        let desk = Arc::new(RequestDesk::new(Coordinator::new(parts), 1 << 20));
        self.change(|world| world.desks.insert(name.into(), Arc::downgrade(&desk)));
        desk
    }

    pub(super) fn change<T>(&self, change: impl FnOnce(&mut World) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[async_trait]
impl Ask for Mesh {
    async fn ask(
        &self,
        shard: ShardId,
        request: Bytes,
        within: Duration,
    ) -> Result<Bytes, AskError> {
        let (desk, trouble) = self.change(|world| {
            world.sent.push(shard);
            let owner = world.owners.get(&shard).map(|(owner, _)| owner);
            let desk = owner.and_then(|owner| world.desks.get(owner)?.upgrade());
            (desk, owner.and_then(|owner| world.trouble.get(owner).copied()))
        });
        let answer = async {
            sleep(TRAVEL).await;
            match (desk, trouble) {
                (None, _) | (_, Some(Trouble::Gone)) => Err(AskError::NoResponders),
                (Some(_), Some(Trouble::Garbled)) => Ok(Bytes::from_static(b"\xc1no")),
                (Some(_), Some(Trouble::Paused)) => std::future::pending().await,
                (Some(desk), None) => Ok(desk.answer(shard, request).await.body),
            }
        };
        timeout(within, answer).await.unwrap_or(Err(AskError::Timeout))
    }
}

#[async_trait]
impl Recall for Mesh {
    async fn recall(&self, shard: ShardId, _: &Op) -> Option<Recalled> {
        sleep(TRAVEL).await;
        let is_there = self.change(|world| world.roots.contains(&shard));
        let results = vec![incident(shard)];
        is_there.then_some(Recalled { epoch: Epoch(1), results, omitted: 0 })
    }
}

/// A node's own shards.
#[derive(Debug)]
struct Local {
    node: Text,
    mesh: Mesh,
}

#[async_trait]
impl Answering for Local {
    async fn answer(&self, shards: &[ShardId], op: &Op) -> Vec<ShardAnswer> {
        let answer = |shard: &ShardId| {
            self.mesh.change(|world| {
                let shard = *shard;
                let (owner, epoch) = world.owners.get(&shard).cloned()?;
                if owner != self.node {
                    return Some(ShardAnswer::Moved { shard, owner: Some(owner), epoch });
                }
                let item = match op {
                    Op::Deliver { events } => {
                        *world.log.entry(shard).or_default() += events.len();
                        Item::Accepted { shard, events: events.len().try_into().ok()? }
                    }
                    Op::Handoff(Handoff::Shard(_) | Handoff::Node(_)) => Item::Released { shard },
                    Op::Story(_)
                    | Op::Trace(_)
                    | Op::Entity(_)
                    | Op::List { .. }
                    | Op::Related { .. }
                    | Op::WhoOwns(_) => incident(shard),
                };
                Some(ShardAnswer::Known { shard, epoch, results: vec![item], omitted: 0 })
            })
        };
        shards.iter().filter_map(answer).collect()
    }
}

fn incident(shard: ShardId) -> Item {
    let at = Timestamp::from_millis(i64::from(shard.number()));
    Item::Incident { id: StoryId::new(at, [1; 10]), opened_at: at, touches: vec![] }
}

/// A request for the open stories.
pub(super) fn list() -> Request {
    Request::new(Op::List { limit: 50 })
}

/// Shards by their numbers.
pub(super) fn shards(numbers: &[u16]) -> Vec<ShardId> {
    numbers.iter().copied().map(ShardId::new).collect()
}
