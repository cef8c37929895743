//! Starts and stops the actors: arbiters, shards pinned to them, and what feeds them.

use std::{collections::BTreeMap, sync::Arc, thread};

use actix::{Actor, Addr, Arbiter, System};
use tapio_bus::{Bus, Start, SubscribeError};
use tapio_engine::{Rules, Told};
use tapio_model::{ShardId, Timestamp};
use tapio_shard::ShardCount;
use tokio::sync::{mpsc, oneshot};

use crate::{
    feed::{Feed, TimeSource},
    incident::{Finish, IncidentActor, Pass},
    registry::ShardStats,
    related::OpenIncidents,
    shard::{Advance, Bell, GetStats, ShardActor},
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
    /// Patterns and limits, the limits of a whole node.
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

#[derive(Debug, Clone)]
struct Actors {
    shards: BTreeMap<ShardId, Addr<ShardActor>>,
    incidents: Addr<IncidentActor>,
    system: System,
}

/// The running actors. Dropping it stops them.
#[derive(Debug)]
pub struct ActorSystem {
    actors: Actors,
    index: Arc<OpenIncidents>,
    fed: Option<oneshot::Receiver<()>>,
    thread: Option<thread::JoinHandle<()>>,
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
        let thread = thread::Builder::new().name("actors".into()).spawn(move || {
            let system = System::new();
            if system.block_on(run(parts, for_thread, ready, done)) {
                // An exit code other than zero is impossible: nobody stops with one.
                drop(system.run());
            }
        })?;
        let actors = started.await.map_err(|_ended| StartError::Gone)??;
        Ok(Self { actors, index, fed: Some(fed), thread: Some(thread) })
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

    /// Lets time pass for every shard and for the incidents, and waits until they have thought.
    ///
    /// For recordings, whose time has no clock.
    pub async fn advance(&self, now: Timestamp) {
        for shard in self.actors.shards.values() {
            shard.send(Advance(now)).await.unwrap_or_default();
        }
        // A trace thinks in its own actor, and its report comes back over the desk: one round
        // through every shard's mailbox behind the woken actors, and one more for their reports.
        for _ in 0..2 {
            for shard in self.actors.shards.values() {
                shard.send(Bell).await.unwrap_or_default();
            }
        }
        self.actors.incidents.send(Pass(now)).await.unwrap_or_default();
    }

    /// Waits until the bus is closed and everything in it was delivered.
    pub async fn fed(&mut self) {
        if let Some(fed) = self.fed.take() {
            drop(fed.await);
        }
    }

    /// Tells amendments that wait for their time, then stops.
    pub async fn finish(mut self) -> ShardStats {
        let stats = self.stats().await;
        self.actors.incidents.send(Finish).await.unwrap_or_default();
        // The telling itself runs behind the answer: the next message waits for it.
        self.actors.incidents.send(Finish).await.unwrap_or_default();
        self.stop();
        stats
    }

    fn stop(&mut self) {
        self.actors.system.stop();
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

impl Drop for ActorSystem {
    fn drop(&mut self) {
        self.stop();
    }
}

type Ready = oneshot::Sender<Result<Actors, SubscribeError>>;

/// Starts everything; says whether there is something to run.
async fn run(
    parts: SystemParts,
    index: Arc<OpenIncidents>,
    ready: Ready,
    done: oneshot::Sender<()>,
) -> bool {
    match start(parts, index).await {
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
        let handle = Arbiter::new().handle();
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
    Ok((Actors { shards: addrs, incidents, system: System::current() }, feeds))
}
