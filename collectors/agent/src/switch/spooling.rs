//! The spool as asynchronous code uses it: one at a time, on a thread that may block.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicBool, Ordering::Relaxed},
};

use tapio_bus::Batch;
use tapio_model::{Level, ShardId};
use tokio::{sync::Mutex as AsyncMutex, task::spawn_blocking};
use tracing::error;

use super::envelope;
use crate::{Spool, SpoolError, SpoolStats};

/// The spool and what is known of it without asking it.
#[derive(Debug)]
pub(super) struct Spooling {
    spool: Arc<AsyncMutex<Spool>>,
    known: Arc<Known>,
}

#[derive(Debug)]
struct Known {
    holds_any: AtomicBool,
    stats: Mutex<SpoolStats>,
}

impl Known {
    fn learn(&self, spool: &Spool) {
        self.holds_any.store(!spool.is_empty(), Relaxed);
        *self.stats.lock().unwrap_or_else(PoisonError::into_inner) = spool.stats();
    }
}

impl Spooling {
    pub(super) fn new(spool: Spool) -> Self {
        let known = Known { holds_any: AtomicBool::default(), stats: Mutex::default() };
        known.learn(&spool);
        Self { spool: Arc::new(AsyncMutex::new(spool)), known: Arc::new(known) }
    }

    /// Does something with the spool; none if it panicked, which the spool survives.
    ///
    /// # Cancel safety
    /// Dropping the future before the spool's turn does nothing; after it, all of it is done.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Spool) -> T + Send + 'static,
    ) -> Option<T> {
        let mut spool = Arc::clone(&self.spool).lock_owned().await;
        let known = Arc::clone(&self.known);
        let done = spawn_blocking(move || {
            let answer = work(&mut spool);
            known.learn(&spool);
            answer
        });
        done.await.inspect_err(|why| error!(%why, "the spool")).ok()
    }

    pub(super) async fn append(&self, batch: &Batch) -> Result<(), SpoolError> {
        let batch = envelope(batch);
        self.run(move |spool| spool.append(&batch)).await.unwrap_or(Err(SpoolError::Full))
    }

    /// Counts events that nothing could hold, so that they are told.
    pub(super) async fn drop_events(&self, batch: &Batch) {
        let (level, events) = (batch.level, u64::try_from(batch.events.len()).unwrap_or(u64::MAX));
        self.run(move |spool| spool.drop_events(level, events)).await;
    }

    pub(super) async fn holds(&self, level: Level, shard: ShardId) -> bool {
        self.spool.lock().await.holds(level, shard)
    }

    pub(super) fn holds_any(&self) -> bool {
        self.known.holds_any.load(Relaxed)
    }

    pub(super) fn stats(&self) -> SpoolStats {
        *self.known.stats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
