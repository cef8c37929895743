//! A node of the mesh: its share of the shards, its part of the answers, what it shows of itself.

mod answers;
mod feed;
mod figures;
mod health;
mod recall;
mod related;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tapio_actors::{MeshActors, StartError};
use tapio_bus::{Bus, SharedAsk, SharedFabric};
use tapio_engine::Rules;
use tapio_model::{Entity, Epoch, ShardId, Story};
use tapio_nats::{
    Acknowledge, Archive, Connection, NatsBus, NatsBusOptions, NatsFabric, RequestService, Requester,
    ServiceError,
};
use tapio_owner::{
    Hands, KeeperLimits, KeeperParts, MeshView, OwnerFigures, OwnerLimits, Phase, keep,
};
use tapio_shard::{NodeId, ShardCount};
use tapio_telemetry::{Meters, Telemetry, spawn_named};
use tokio::{
    sync::{broadcast, mpsc, watch},
    task::JoinHandle,
    time::timeout,
};
use tracing::warn;

use self::{answers::Answers, health::MeshHealth, recall::Roots, related::Neighbours};
use crate::{Coordinator, CoordinatorParts, HttpError, HttpServer, OwnerMap, RequestDesk, StoryStore};

/// How long actors may take to stop.
const STOP_MAX: Duration = Duration::from_secs(2);

/// What a node of the mesh is made of.
#[derive(Debug)]
pub struct MeshParts {
    /// The connection; its streams are set up.
    pub connection: Connection,
    /// Who this is.
    pub me: NodeId,
    /// How much it takes, relative to the others.
    pub capacity: u32,
    /// How many shards there are.
    pub shards: ShardCount,
    /// Threads to spread the shards over; at least one.
    pub arbiters: usize,
    /// Patterns and limits, the limits of one shard.
    pub rules: Arc<Rules>,
    /// Bounds and times of owners.
    pub owner_limits: OwnerLimits,
    /// Times of the keeper.
    pub keeper_limits: KeeperLimits,
    /// Where this node keeps a copy of all stories.
    pub store: Arc<StoryStore>,
    /// Where it is measured.
    pub meters: Meters,
    /// Where its own spans go.
    pub telemetry: Telemetry,
    /// Where `/livez`, `/readyz` and `/metrics` are served, if at all.
    pub http: Option<SocketAddr>,
}

/// Why a node of the mesh could not be started.
#[derive(Debug, thiserror::Error)]
pub enum MeshError {
    /// The actors could not be started.
    #[error("starting the actors: {0}")]
    Start(#[from] StartError),
    /// Requests cannot be answered.
    #[error("serving correlation.request: {0}")]
    Service(#[from] ServiceError),
    /// The HTTP interface cannot be served.
    #[error(transparent)]
    Http(#[from] HttpError),
}

/// A running node of the mesh. Dropping it is a crash: others take over.
#[derive(Debug)]
pub struct MeshNode {
    leave: watch::Sender<bool>,
    view: watch::Receiver<MeshView>,
    keeper: JoinHandle<()>,
    announcer: JoinHandle<()>,
    feed: JoinHandle<()>,
    stories: broadcast::Sender<Arc<Story>>,
    actors: Arc<MeshActors>,
    http: Option<HttpServer>,
    figures: Arc<OwnerFigures>,
    fabric: Arc<NatsFabric>,
}

impl MeshNode {
    /// Joins the mesh.
    ///
    /// # Errors
    /// [`MeshError`].
    pub async fn start(parts: MeshParts) -> Result<Self, MeshError> {
        let MeshParts { connection, me, capacity, shards, arbiters, rules, .. } = parts;
        let fabric = Arc::new(NatsFabric::new(connection.clone()));
        let shared: SharedFabric = Arc::<NatsFabric>::clone(&fabric);
        let actors = Arc::new(MeshActors::start(arbiters, Arc::clone(&rules)).await?);
        let figures = Arc::new(OwnerFigures::default());
        let owners = Arc::new(OwnerMap::new(shards));
        let (view, seen) = watch::channel(MeshView::default());
        let (leave, leaves) = watch::channel(false);
        let (handoff, handoffs) = mpsc::channel(usize::from(shards.get()));
        let requester: SharedAsk = Arc::new(Requester::new(&connection));
        let options = NatsBusOptions { shards, acknowledge: Acknowledge::Keep, ..NatsBusOptions::default() };
        let bus: Arc<dyn Bus> = Arc::new(NatsBus::new(connection.clone(), options));
        let local = Arc::new(Answers {
            actors: Arc::clone(&actors),
            view: seen.clone(),
            owners: Arc::clone(&owners),
            store: Arc::clone(&parts.store),
            bus,
            handoff,
        });
        let roots = Arc::new(Roots { fabric: Arc::clone(&shared), store: Arc::clone(&parts.store) });
        let coordinator = Coordinator::new(CoordinatorParts {
            node: me.name.clone(),
            owners: Arc::clone(&owners),
            ask: Arc::clone(&requester),
            local,
            roots,
            home: Arc::new(move |entity: &Entity| shards.shard_of_anchor(entity)),
        });
        let reply_bytes_max = connection.payload_bytes_max();
        let desk = Arc::new(RequestDesk::new(coordinator, reply_bytes_max));
        let service = RequestService::start(&connection, &me.name, desk).await?;
        let neighbours = Neighbours {
            me: me.name.clone(),
            index: actors.open_incidents(),
            owners: Arc::clone(&owners),
            ask: requester,
        };
        let hands: Arc<dyn Hands> = Arc::<MeshActors>::clone(&actors);
        let keeper = keep(KeeperParts {
            fabric: shared,
            me: me.clone(),
            capacity,
            version: env!("CARGO_PKG_VERSION").into(),
            shards,
            rules,
            owner_limits: parts.owner_limits,
            limits: parts.keeper_limits,
            ask: Arc::new(neighbours),
            hands,
            leave: leaves,
            handoffs,
            view,
            figures: Arc::clone(&figures),
            telemetry: parts.telemetry,
        });
        let keeper = spawn_named("keeper", keeper);
        figures::observe(&parts.meters, figures::Sources {
            owner: Arc::clone(&figures),
            view: seen.clone(),
            actors: Arc::clone(&actors),
            connection: connection.clone(),
            fabric: Arc::clone(&fabric),
        });
        let announcer = spawn_named("announce", announce(seen.clone(), service, owners, me));
        let (stories, _) = broadcast::channel(feed::BEHIND_MAX);
        let told = feed::follow(Archive::new(connection), parts.store, stories.clone());
        let feed = spawn_named("stories", told);
        let http = match parts.http {
            Some(addr) => {
                let health = Arc::new(MeshHealth { view: seen.clone(), shards });
                Some(HttpServer::start(addr, health, parts.meters).await?)
            }
            None => None,
        };
        Ok(Self {
            leave,
            view: seen,
            keeper,
            announcer,
            feed,
            stories,
            actors,
            http,
            figures,
            fabric,
        })
    }

    /// Returns how the mesh looks from here, now and later.
    #[must_use]
    pub fn view(&self) -> watch::Receiver<MeshView> {
        self.view.clone()
    }

    /// Returns the stories of the whole mesh, from now on.
    #[must_use]
    pub fn subscribe(&self) -> broadcast::Receiver<Arc<Story>> {
        self.stories.subscribe()
    }

    /// Returns what the owners count.
    #[must_use]
    pub fn figures(&self) -> Arc<OwnerFigures> {
        Arc::clone(&self.figures)
    }

    /// Returns the durable middle as this node sees it.
    #[must_use]
    pub fn fabric(&self) -> SharedFabric {
        Arc::<NatsFabric>::clone(&self.fabric)
    }

    /// Waits until the node has ended by itself, which it should not.
    pub async fn ended(&mut self) {
        if let Err(why) = (&mut self.keeper).await {
            warn!(%why, "the keeper died");
        }
    }

    /// Hands everything over and leaves the mesh.
    pub async fn leave(self) {
        let Self { leave, keeper, announcer, feed, actors, http, .. } = self;
        leave.send_replace(true);
        if let Err(why) = keeper.await {
            warn!(%why, "the keeper died while it was leaving");
        }
        // It stops answering for what it no longer owns, and ends with that.
        if timeout(STOP_MAX, announcer).await.is_err() {
            warn!("requests were still being answered");
        }
        feed.abort();
        if let Some(http) = http {
            http.stop().await;
        }
        if let Some(actors) = Arc::into_inner(actors)
            && !actors.shutdown(STOP_MAX).await
        {
            warn!("a thread of the actors was left behind");
        }
    }
}

/// Answers for the shards that are owned here, and learns who owns the others.
async fn announce(
    mut view: watch::Receiver<MeshView>,
    service: RequestService,
    owners: Arc<OwnerMap>,
    me: NodeId,
) {
    let mut answering: std::collections::BTreeSet<ShardId> = std::collections::BTreeSet::new();
    while view.changed().await.is_ok() {
        let now = view.borrow_and_update().clone();
        for (shard, owner) in &now.owners {
            owners.learn(*shard, &owner.node.name, Epoch(owner.epoch));
        }
        for (shard, status) in &now.held {
            let is_owning = status.phase == Phase::Owning;
            if is_owning {
                owners.learn(*shard, &me.name, Epoch(status.epoch));
            }
            if is_owning && !answering.contains(shard) {
                match service.own(*shard).await {
                    Ok(()) => drop(answering.insert(*shard)),
                    Err(why) => warn!(%shard, %why, "cannot answer for a shard"),
                }
            }
        }
        let over: Vec<_> = answering
            .iter()
            .filter(|shard| now.held.get(shard).is_none_or(|it| it.phase != Phase::Owning))
            .copied()
            .collect();
        for shard in over {
            service.disown(shard).await;
            answering.remove(&shard);
        }
    }
    service.stop().await;
}
