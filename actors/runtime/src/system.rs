//! Starts and stops the actors: arbiters, shards pinned to them, and what feeds them.

use std::{collections::BTreeMap, sync::Arc};

use actix::{Actor, Addr, Arbiter, Handler, Message};
use tapio_bus::{Bus, Start, SubscribeError};
use tapio_engine::{Rules, Told};
use tapio_model::{ShardId, Timestamp};
use tapio_shard::ShardCount;
use tokio::sync::{mpsc, oneshot};

use crate::{
    feed::{Feed, TimeSource},
    incident::{Finish, IncidentActor, Pass},
    related::OpenIncidents,
    shard::{Advance, GetStats, Settle, ShardActor},
    stats::ShardStats,
    threads::{Stopper, Threads},
};

/// Mailbox of a shard actor: a batch, a tick, a bell and a question at once, and some air.
const SHARD_MAILBOX: usize = 64;
/// Mailbox of the incident actor: one message a shard, and some air.
const INCIDENT_MAILBOX: usize = 64;

/// What the actors need.
#[derive(Debug)]
pub struct SystemParts {
    /// Where events come from.
    pub bus: Arc<dyn Bus>,
    /// How many shards there are.
    pub shards: ShardCount,
    /// Threads to spread the shards over; at least one.
    pub arbiters: usize,
    /// Patterns and limits, the limits of one shard: see [`Limits::for_shard`].
    ///
    /// [`Limits::for_shard`]: tapio_engine::Limits::for_shard
    pub rules: Arc<Rules>,
    /// Where time comes from.
    pub time: TimeSource,
    /// Where stories go.
    pub told: mpsc::Sender<Told>,
}

/// Why the actors could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No thread could be had.
    #[error("starting the actors' thread")]
    Thread(#[from] std::io::Error),
    /// The bus refused a subscription.
    #[error("reading from the bus: {0}")]
    Subscribe(#[from] SubscribeError),
    /// The actors' thread ended while they were being started.
    #[error("the actors' thread ended while starting")]
    Gone,
}

/// The addresses of running actors. Whoever drops them, even unread, stops the actors.
#[derive(Debug)]
struct Actors {
    shards: BTreeMap<ShardId, Addr<ShardActor>>,
    incidents: Addr<IncidentActor>,
    stopper: Stopper,
}

/// The running actors. Dropping it stops them, and waits until their threads have ended; what was
/// not told by then is not told.
#[derive(Debug)]
pub struct ActorSystem {
    actors: Actors,
    index: Arc<OpenIncidents>,
    fed: Option<oneshot::Receiver<()>>,
    threads: Threads,
}

impl ActorSystem {
    /// Starts arbiters, actors and their feeds, on threads of their own.
    ///
    /// # Errors
    /// [`StartError`] if a thread or a subscription could not be had.
    pub async fn start(parts: SystemParts) -> Result<Self, StartError> {
        let index = Arc::new(OpenIncidents::default());
        let (ready, started) = oneshot::channel();
        let (done, fed) = oneshot::channel();
        let for_thread = Arc::clone(&index);
        let mut threads = Threads::start(async move |arbiters| {
            run(parts, for_thread, (ready, done), arbiters).await
        })?;
        let actors = match started.await {
            Ok(Ok(actors)) => actors,
            Ok(Err(refused)) => {
                threads.join();
                return Err(refused.into());
            }
            Err(_ended) => return Err(StartError::Gone),
        };
        Ok(Self { actors, index, fed: Some(fed), threads })
    }

    /// Returns the node's open incidents by entity.
    #[must_use]
    pub fn open_incidents(&self) -> Arc<OpenIncidents> {
        Arc::clone(&self.index)
    }

    /// Returns the figures of all shards added up.
    pub async fn stats(&self) -> ShardStats {
        let mut sum = ShardStats::default();
        for shard in self.actors.shards.values() {
            if let Ok(stats) = shard.send(GetStats).await {
                sum.add(&stats);
            }
        }
        sum
    }

    /// Lets time pass for every shard and for the incidents, and waits until every trace has
    /// thought what was due by `now` and the stories that follow are told. It waits for a listener
    /// that is slow.
    ///
    /// For recordings, whose time has no clock.
    pub async fn advance(&self, now: Timestamp) {
        for shard in self.actors.shards.values() {
            shard.send(Advance(now)).await.unwrap_or_default();
        }
        self.settle().await;
        self.tell(|| Pass(now)).await;
    }

    /// Sends the incidents a message and waits until what follows from it is told. The telling runs
    /// behind the answer, so the same message is sent again, which finds nothing new and waits.
    async fn tell<M>(&self, message: impl Fn() -> M)
    where
        M: Message<Result = ()> + Send + 'static,
        IncidentActor: Handler<M>,
    {
        let incidents = &self.actors.incidents;
        incidents.send(message()).await.unwrap_or_default();
        incidents.send(message()).await.unwrap_or_default();
    }

    /// Waits until all shards have thought what is due. Then what they found is in the mailbox of
    /// the incidents, ahead of whatever is sent there next.
    async fn settle(&self) {
        for shard in self.actors.shards.values() {
            let (settled, waiting) = oneshot::channel();
            shard.send(Settle(settled)).await.unwrap_or_default();
            waiting.await.unwrap_or_default();
        }
    }

    /// Waits until the bus is closed and everything in it was delivered.
    pub async fn fed(&mut self) {
        if let Some(fed) = self.fed.take() {
            drop(fed.await);
        }
    }

    /// Waits until all traces have thought what is due, tells everything that was found and every
    /// amendment that waits for its time, then stops. It waits for a listener that is slow.
    pub async fn finish(mut self) -> ShardStats {
        self.settle().await;
        let stats = self.stats().await;
        self.tell(|| Finish).await;
        self.stop();
        stats
    }

    fn stop(&mut self) {
        self.actors.stopper.stop();
        self.threads.join();
    }
}

impl Drop for ActorSystem {
    fn drop(&mut self) {
        self.stop();
    }
}

type Ready = oneshot::Sender<Result<Actors, SubscribeError>>;

/// Starts everything; says whether there is something to run. The arbiters are the caller's to
/// stop and to wait for, also if not everything could be started.
async fn run(
    parts: SystemParts,
    index: Arc<OpenIncidents>,
    (ready, done): (Ready, oneshot::Sender<()>),
    arbiters: &mut Vec<Arbiter>,
) -> bool {
    match start(parts, index, arbiters).await {
        Ok((actors, feeds)) => {
            drop(actix::spawn(async move {
                for feed in feeds {
                    drop(feed.await);
                }
                done.send(()).unwrap_or_default();
            }));
            ready.send(Ok(actors)).is_ok()
        }
        Err(error) => {
            drop(ready.send(Err(error)));
            false
        }
    }
}

async fn start(
    parts: SystemParts,
    index: Arc<OpenIncidents>,
    started: &mut Vec<Arbiter>,
) -> Result<(Actors, Vec<oneshot::Receiver<()>>), SubscribeError> {
    let SystemParts { bus, shards, arbiters, rules, time, told } = parts;
    let incidents = {
        let rules = Arc::clone(&rules);
        IncidentActor::create(|ctx| {
            ctx.set_mailbox_capacity(INCIDENT_MAILBOX);
            IncidentActor::new(rules, index, told)
        })
    };
    let mut addrs = BTreeMap::new();
    let mut feeds = Vec::new();
    let arbiters = arbiters.clamp(1, usize::from(shards.get()));
    for arbiter in 0..arbiters {
        let thread = Arbiter::new();
        let handle = thread.handle();
        started.push(thread);
        let pinned: Vec<_> =
            shards.shards().filter(|shard| shard.index() % arbiters == arbiter).collect();
        let mut of_arbiter = BTreeMap::new();
        for shard in &pinned {
            let (rules, incidents) = (Arc::clone(&rules), incidents.clone());
            let addr = ShardActor::start_in_arbiter(&handle, |ctx| {
                ctx.set_mailbox_capacity(SHARD_MAILBOX);
                ShardActor::new(rules, incidents)
            });
            of_arbiter.insert(*shard, addr);
        }
        addrs.extend(of_arbiter.clone());
        let subscription = bus.subscribe(&pinned, Start::Earliest).await?;
        let feed = Feed {
            subscription,
            shards: of_arbiter,
            incidents: incidents.clone(),
            time: time.clone(),
        };
        let (done, fed) = oneshot::channel();
        handle.spawn(async move {
            feed.run().await;
            done.send(()).unwrap_or_default();
        });
        feeds.push(fed);
    }
    Ok((Actors { shards: addrs, incidents, stopper: Stopper::current() }, feeds))
}
