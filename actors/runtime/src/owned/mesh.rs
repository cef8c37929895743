//! The threads that a node among several thinks on.

use std::{sync::Arc, time::Duration};

use actix::{Arbiter, ArbiterHandle};
use tapio_engine::Rules;
use tapio_model::ShardId;
use tapio_owner::{Hands, OwnerParts, own};
use tokio::sync::oneshot;

use super::{
    ActorBrain, Hosted,
    reader::{Readers, ShardReader},
};
use crate::{
    related::OpenIncidents,
    system::StartError,
    threads::{Stopper, Threads},
};

/// Arbiters on threads of their own; every shard is pinned to one.
///
/// Dropping it stops them and waits for nobody; [`MeshActors::shutdown`] waits.
#[derive(Debug)]
pub struct MeshActors {
    arbiters: Vec<ArbiterHandle>,
    rules: Arc<Rules>,
    index: Arc<OpenIncidents>,
    readers: Arc<Readers>,
    stopper: Stopper,
    threads: Threads,
}

impl MeshActors {
    /// Starts so many arbiters, at least one. `rules` hold the limits of one shard.
    ///
    /// # Errors
    /// [`StartError`] if the threads could not be had.
    pub async fn start(arbiters: usize, rules: Arc<Rules>) -> Result<Self, StartError> {
        let (ready, started) = oneshot::channel();
        let threads = Threads::start(async move |threads| {
            threads.extend((0..arbiters.max(1)).map(|_| Arbiter::new()));
            let handles: Vec<_> = threads.iter().map(Arbiter::handle).collect();
            ready.send((Stopper::current(), handles)).is_ok()
        })?;
        let (stopper, arbiters) = started.await.map_err(|_ended| StartError::Gone)?;
        let (index, readers) = (Arc::default(), Arc::default());
        Ok(Self { arbiters, rules, index, readers, stopper, threads })
    }

    /// Makes a brain for `shard` on the shard's arbiter, and runs there what `make` makes of it.
    ///
    /// Dropping what is returned stops it, and with it the shard's actors. A panic in it is its own.
    pub fn run_on<F, Fut>(&self, shard: ShardId, make: F) -> Hosted<Fut::Output>
    where
        F: FnOnce(ActorBrain) -> Fut + Send + 'static,
        Fut: Future<Output: Send> + 'static,
    {
        let (hosted, run) = Hosted::pair();
        self.spawn_on(shard, move |brain| run.run(make(brain)));
        hosted
    }

    /// An arbiter that has ended drops what it is to run.
    fn spawn_on<F, Fut>(&self, shard: ShardId, make: F)
    where
        F: FnOnce(ActorBrain) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + 'static,
    {
        let rules = Arc::clone(&self.rules);
        let (index, readers) = (Arc::clone(&self.index), Arc::clone(&self.readers));
        let arbiter = shard.index() % self.arbiters.len().max(1);
        if let Some(arbiter) = self.arbiters.get(arbiter) {
            arbiter.spawn_fn(move || {
                let brain = ActorBrain::start(shard, rules, index, readers);
                drop(actix::spawn(make(brain)));
            });
        }
    }

    /// Returns how `shard` is read, if this node thinks for it.
    #[must_use]
    pub fn reader(&self, shard: ShardId) -> Option<ShardReader> {
        self.readers.get(shard)
    }

    /// Returns how the shards are read that this node thinks for, in order.
    #[must_use]
    pub fn readers(&self) -> Vec<ShardReader> {
        self.readers.all()
    }

    /// Returns the node's open incidents by entity.
    #[must_use]
    pub fn open_incidents(&self) -> Arc<OpenIncidents> {
        Arc::clone(&self.index)
    }

    /// Drops whatever runs, and says whether every thread has ended within `limit`. One that has
    /// not, because a pattern does not return, is left behind.
    pub async fn shutdown(self, limit: Duration) -> bool {
        let Self { stopper, threads, .. } = self;
        drop(stopper);
        threads.ended_within(limit).await
    }
}

impl Hands for MeshActors {
    fn start(&self, parts: OwnerParts) -> tapio_owner::Running {
        let (mut done, ended) = oneshot::channel();
        self.spawn_on(parts.shard, move |brain| async move {
            let end = tokio::select! {
                biased;
                () = done.closed() => return,
                end = own(parts, brain) => end,
            };
            // Who no longer listens is told nothing.
            done.send(end).unwrap_or_default();
        });
        tapio_owner::Running { ended }
    }
}
