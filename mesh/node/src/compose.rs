//! Puts a node together: bus, actors, store, local interface.

use std::{path::Path, sync::Arc, time::Duration};

use tapio_actors::{ActorSystem, ShardStats, StartError, SystemParts, TimeSource};
use tapio_bus::Bus;
use tapio_engine::Rules;
use tapio_model::{Story, Timestamp};
use tapio_shard::ShardCount;
use tokio::{
    sync::{broadcast, mpsc},
    task::JoinHandle,
};
use tracing::error;

use crate::{
    api::{ApiServer, ServeError},
    status::{NodeState, StatusSource},
    store::StoryStore,
    tell::{TOLD_MAX, TellFigures, Teller, Tellings},
};

/// How much further than an event's settling time a node looks before it ends.
const MARGIN: Duration = Duration::from_millis(50);

/// What a node is made of.
#[derive(Debug)]
pub struct NodeParts {
    /// Patterns and limits.
    pub rules: Arc<Rules>,
    /// How many shards there are.
    pub shards: ShardCount,
    /// Threads to spread the shards over; at least one.
    pub arbiters: usize,
    /// Where events come from.
    pub bus: Arc<dyn Bus>,
    /// Where time comes from.
    pub time: TimeSource,
    /// Where stories are kept.
    pub store: Arc<StoryStore>,
}

/// Why a node could not be started.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The actors could not be started.
    #[error("starting the actors: {0}")]
    Start(#[from] StartError),
}

/// A running node. Dropping it stops it without telling what waits to be told.
#[derive(Debug)]
pub struct Node {
    state: Arc<NodeState>,
    tellings: Tellings,
    teller: JoinHandle<()>,
    api: Option<ApiServer>,
    time: TimeSource,
    settle: Duration,
}

impl Node {
    /// Starts the actors, and the task that keeps and passes on what they tell.
    ///
    /// # Errors
    /// [`NodeError`].
    pub async fn start(parts: NodeParts) -> Result<Self, NodeError> {
        let NodeParts { rules, shards, arbiters, bus, time, store } = parts;
        let (told, receiver) = mpsc::channel(TOLD_MAX);
        let limits = rules.limits();
        let settle = limits.settle.max(limits.window / 2);
        let system = ActorSystem::start(SystemParts {
            bus: Arc::clone(&bus),
            shards,
            arbiters,
            rules,
            time: time.clone(),
            told,
        });
        let system = system.await?;
        let figures = Arc::new(TellFigures::default());
        let teller = Teller::new(receiver, Arc::clone(&store), Arc::clone(&figures));
        let tellings = teller.tellings();
        let state = Arc::new(NodeState::new(Some(system), bus, store, figures));
        Ok(Self { state, tellings, teller: teller.spawn(), api: None, time, settle })
    }

    /// Returns the stories told from now on. It ends when the node has told its last.
    #[must_use]
    pub fn subscribe(&self) -> broadcast::Receiver<Arc<Story>> {
        self.tellings.subscribe()
    }

    /// Returns the figures of all shards added up.
    pub async fn stats(&self) -> ShardStats {
        self.state.stats().await.0
    }

    /// Lets time pass, for recordings, whose time has no clock.
    pub async fn advance(&self, now: Timestamp) {
        if let Some(system) = &*self.state.system.read().await {
            system.advance(now).await;
        }
    }

    /// Serves the local interface on a Unix socket, until the node shuts down.
    ///
    /// # Errors
    /// [`ServeError`], which says what to do about it.
    pub async fn serve(
        &mut self,
        socket: &Path,
        collectors: StatusSource,
    ) -> Result<(), ServeError> {
        let (state, tellings) = (Arc::clone(&self.state), self.tellings.clone());
        let api = ApiServer::start(socket, state, tellings, collectors).await?;
        if let Some(old) = self.api.replace(api) {
            old.stop().await;
        }
        Ok(())
    }

    /// Closes the bus, works off what is in it, tells and keeps what waits, and stops.
    pub async fn shutdown(self) -> ShardStats {
        let Self { state, tellings: _, teller, api, time, settle } = self;
        state.bus.close().await;
        let system = state.system.write().await.take();
        let mut stats = ShardStats::default();
        if let Some(mut system) = system {
            state.note(system.stats().await);
            system.fed().await;
            if let TimeSource::Clock(clock) = &time {
                // Whatever is held has been thought about once half a window from now.
                system.advance(clock.now().after(settle + MARGIN)).await;
            }
            stats = system.finish().await;
            state.note(stats);
        }
        if let Err(error) = teller.await {
            error!(%error, "not everything was told");
        }
        if let Some(api) = api {
            api.stop().await;
        }
        stats
    }
}

#[cfg(test)]
mod tests;
