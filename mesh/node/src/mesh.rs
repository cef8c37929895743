//! A node of the mesh: its share of the shards, its part of the answers, what it shows of itself.

mod answers;
mod feed;
mod figures;
mod health;
mod recall;
mod related;
mod samples;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tapio_actors::{MeshActors, StartError};
use tapio_bus::{Bus, SharedAsk, SharedFabric};
use tapio_engine::Rules;
use tapio_model::{Clock, Entity, Epoch, ShardId, Story};
use tapio_nats::{
    Acknowledge, Archive, Connection, NatsBus, NatsBusOptions, NatsFabric, RequestService,
    Requester, ServiceError,
};
use tapio_owner::{
    Hands, KeeperLimits, KeeperParts, MeshView, OwnerFigures, OwnerLimits, Phase, TakenIn, keep,
};
use tapio_shard::{NodeId, ShardCount};
use tapio_telemetry::{Meters, Telemetry, spawn_named};
use tokio::{
    sync::{broadcast, mpsc, watch},
    task::JoinHandle,
    time::timeout,
};
use tracing::warn;

use self::{
    answers::Answers, health::MeshHealth, recall::Roots, related::Neighbours, samples::Samples,
};
use crate::{
    Coordinator, CoordinatorParts, HttpError, HttpServer, Learner, OwnerMap, RequestDesk,
    StoryStore,
};

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
    /// What says the time to whoever learns what is normal; nothing is learnt without it.
    pub learns: Option<Arc<dyn Clock>>,
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
    sampler: JoinHandle<()>,
    stories: broadcast::Sender<Arc<Story>>,
    actors: Arc<MeshActors>,
    http: Option<HttpServer>,
    figures: Arc<OwnerFigures>,
    fabric: Arc<NatsFabric>,
    /// Held for as long as it learns.
    _learner: Option<Arc<Learner>>,
}

impl MeshNode {
    /// Joins the mesh.
    ///
    /// # Errors
    /// [`MeshError`].
    pub async fn start(parts: MeshParts) -> Result<Self, MeshError> {
        let inside = Inside::new(&parts).await?;
        let (view, seen) = watch::channel(MeshView::default());
        let (leave, leaves) = watch::channel(false);
        let (handoff, handoffs) = mpsc::channel(usize::from(parts.shards.get()));
        let bus = inside.bus(&parts);
        let bus_meter = Box::new(bus.meter());
        let learner = inside.learner(&parts);
        let desk = inside.desk(&parts, (Arc::new(bus), seen.clone(), handoff));
        let service = RequestService::start(&parts.connection, &parts.me.name, desk).await?;
        let keeper = inside.keeper(&parts, (leaves, handoffs, view));
        let keeper = spawn_named("keeper", keep(keeper));
        let samples = Arc::new(Samples::default());
        let sources = figures::Sources {
            owner: Arc::clone(&inside.figures),
            view: seen.clone(),
            index: inside.actors.open_incidents(),
            samples: Arc::clone(&samples),
            connection: parts.connection.clone(),
            fabric: Arc::clone(&inside.fabric),
            bus: bus_meter,
            service: Box::new(service.meter()),
        };
        figures::observe(&parts.meters, sources);
        let Inside { fabric, actors, figures, owners, .. } = inside;
        let sampler = spawn_named("samples", samples::sample(Arc::clone(&actors), samples));
        let MeshParts { connection, me, shards, store, meters, .. } = parts;
        let announcer = spawn_named("announce", announce(seen.clone(), service, owners, me));
        let (stories, _) = broadcast::channel(feed::BEHIND_MAX);
        let told = feed::follow(Archive::new(connection), store, stories.clone());
        let feed = spawn_named("stories", told);
        let http = match parts.http {
            Some(addr) => {
                let health = Arc::new(MeshHealth { view: seen.clone(), shards });
                Some(HttpServer::start(addr, health, meters).await?)
            }
            None => None,
        };
        Ok(Self {
            leave,
            view: seen,
            keeper,
            announcer,
            feed,
            sampler,
            stories,
            actors,
            http,
            figures,
            fabric,
            _learner: learner,
        })
    }

    /// Returns how the mesh looks from here, now and later.
    #[must_use]
    pub fn view(&self) -> watch::Receiver<MeshView> {
        self.view.clone()
    }

    /// Returns where the HTTP interface listens, if there is one.
    #[must_use]
    pub fn http_addr(&self) -> Option<SocketAddr> {
        self.http.as_ref().map(HttpServer::addr)
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
        let Self { leave, keeper, announcer, feed, sampler, actors, http, .. } = self;
        leave.send_replace(true);
        if let Err(why) = keeper.await {
            warn!(%why, "the keeper died while it was leaving");
        }
        // It stops answering for what it no longer owns, and ends with that.
        if timeout(STOP_MAX, announcer).await.is_err() {
            warn!("requests were still being answered");
        }
        feed.abort();
        sampler.abort();
        // It holds the actors until then, and a task that was stopped has nothing to say.
        drop(sampler.await);
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

/// What the parts of a node share.
struct Inside {
    fabric: Arc<NatsFabric>,
    actors: Arc<MeshActors>,
    figures: Arc<OwnerFigures>,
    owners: Arc<OwnerMap>,
    ask: SharedAsk,
}

impl Inside {
    async fn new(parts: &MeshParts) -> Result<Self, StartError> {
        Ok(Self {
            fabric: Arc::new(NatsFabric::new(parts.connection.clone())),
            actors: Arc::new(MeshActors::start(parts.arbiters, Arc::clone(&parts.rules)).await?),
            figures: Arc::new(OwnerFigures::default()),
            owners: Arc::new(OwnerMap::new(parts.shards)),
            ask: Arc::new(Requester::new(&parts.connection)),
        })
    }

    fn shared_fabric(&self) -> SharedFabric {
        Arc::<NatsFabric>::clone(&self.fabric)
    }

    /// The bus for events that a request delivers.
    fn bus(&self, parts: &MeshParts) -> NatsBus {
        let options = NatsBusOptions {
            shards: self.owners.count(),
            acknowledge: Acknowledge::Keep,
            telemetry: parts.telemetry.clone(),
            ..NatsBusOptions::default()
        };
        NatsBus::new(parts.connection.clone(), options)
    }

    /// What learns from all that comes in.
    fn learner(&self, parts: &MeshParts) -> Option<Arc<Learner>> {
        let clock = parts.learns.clone()?;
        let learner = Learner::start(Arc::new(self.bus(parts)), parts.shards, clock);
        let learner = Arc::new(learner);
        // The watch outlives the node, and must not keep the learner alive.
        let weak = Arc::downgrade(&learner);
        self.figures.intake.add(move |batch| {
            if let Some(learner) = weak.upgrade() {
                learner.hand(&batch.events);
            }
            TakenIn::new(|| {})
        });
        Some(learner)
    }

    /// What answers requests.
    fn desk(
        &self,
        parts: &MeshParts,
        (bus, view, handoff): (Arc<dyn Bus>, watch::Receiver<MeshView>, mpsc::Sender<ShardId>),
    ) -> Arc<RequestDesk> {
        let (shards, store) = (parts.shards, &parts.store);
        let coordinator = Coordinator::new(CoordinatorParts {
            node: parts.me.name.clone(),
            owners: Arc::clone(&self.owners),
            ask: Arc::clone(&self.ask),
            local: Arc::new(Answers {
                actors: Arc::clone(&self.actors),
                view,
                owners: Arc::clone(&self.owners),
                store: Arc::clone(store),
                bus,
                handoff,
            }),
            roots: Arc::new(Roots { fabric: self.shared_fabric(), store: Arc::clone(store) }),
            home: Arc::new(move |entity: &Entity| shards.shard_of_anchor(entity)),
        });
        let reply_bytes_max = parts.connection.payload_bytes_max();
        Arc::new(RequestDesk::new(coordinator, reply_bytes_max).measured(&parts.meters))
    }

    /// What keeps this node's share of the shards.
    fn keeper(
        &self,
        parts: &MeshParts,
        (leave, handoffs, view): (
            watch::Receiver<bool>,
            mpsc::Receiver<ShardId>,
            watch::Sender<MeshView>,
        ),
    ) -> KeeperParts {
        let hands: Arc<dyn Hands> = Arc::<MeshActors>::clone(&self.actors);
        let neighbours = Neighbours {
            me: parts.me.name.clone(),
            index: self.actors.open_incidents(),
            owners: Arc::clone(&self.owners),
            ask: Arc::clone(&self.ask),
        };
        KeeperParts {
            fabric: self.shared_fabric(),
            me: parts.me.clone(),
            capacity: parts.capacity,
            version: env!("CARGO_PKG_VERSION").into(),
            shards: parts.shards,
            rules: Arc::clone(&parts.rules),
            owner_limits: parts.owner_limits.clone(),
            limits: parts.keeper_limits,
            ask: Arc::new(neighbours),
            hands,
            leave,
            handoffs,
            view,
            figures: Arc::clone(&self.figures),
            telemetry: parts.telemetry.clone(),
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
