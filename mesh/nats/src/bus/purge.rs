//! Removing from the stream what is done with, behind the back of whoever said so.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tapio_bus::Offset;
use tapio_model::ShardId;
use tapio_telemetry::spawn_named;
use tokio::{
    runtime::Handle,
    sync::watch,
    time::{sleep, timeout},
};
use tracing::warn;

use super::figures::{Counters, add};
use crate::{Connection, backoff::Backoff};

/// Delays between attempts to purge.
const DELAYS: [Duration; 2] = [Duration::from_millis(50), Duration::from_secs(1)];

/// Attempts to purge one shard. What stays is skipped when it is read again, and aged out in time.
const ATTEMPTS_MAX: usize = 10;

/// Removes from the stream.
///
/// # Invariant
/// At most one task purges, and it is running while `wanted` is not empty.
pub(super) struct Purger {
    inner: Arc<Inner>,
}

struct Inner {
    connection: Connection,
    stream: String,
    counters: Arc<Counters>,
    state: Mutex<State>,
    /// Whether nothing is left to purge.
    is_idle: watch::Sender<bool>,
}

#[derive(Default)]
struct State {
    /// The first offset to keep, by shard.
    wanted: BTreeMap<ShardId, Offset>,
    is_running: bool,
}

impl Purger {
    pub(super) fn new(connection: Connection, stream: String, counters: Arc<Counters>) -> Self {
        let is_idle = watch::Sender::new(true);
        let state = Mutex::default();
        Self { inner: Arc::new(Inner { connection, stream, counters, state, is_idle }) }
    }

    /// Has everything of a shard before `begin` removed, soon.
    pub(super) fn purge(&self, shard: ShardId, begin: Offset) {
        // Without a runtime there is nobody to do it, nor a connection to do it over.
        let Ok(_runtime) = Handle::try_current() else { return };
        let mut state = self.inner.lock();
        let wanted = state.wanted.entry(shard).or_default();
        *wanted = begin.max(*wanted);
        if !state.is_running {
            state.is_running = true;
            self.inner.is_idle.send_replace(false);
            let inner = Arc::clone(&self.inner);
            // Ends by itself once nothing is left; `finish` waits for that.
            drop(spawn_named("nats purge", async move { inner.run().await }));
        }
    }

    /// Deletes messages. What the server does not delete at once is skipped by readers of this
    /// bus, and aged out in time.
    pub(super) async fn delete(&self, offsets: &[Offset]) {
        let inner = &self.inner;
        let patience = inner.connection.patience();
        let Ok(stream) = inner.connection.jetstream().get_stream_no_info(&inner.stream).await
        else {
            return;
        };
        for offset in offsets {
            let deleted = timeout(patience, stream.delete_message(offset.0)).await;
            if !matches!(deleted, Ok(Ok(_))) {
                add(&inner.counters.failed_deletions, 1);
            }
        }
    }

    /// Waits until nothing is left to purge.
    pub(super) async fn finish(&self, bound: Duration) {
        let mut is_idle = self.inner.is_idle.subscribe();
        drop(timeout(bound, is_idle.wait_for(|idle| *idle)).await);
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it holds the lock, short of memory running out.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the next shard to purge; if there is none, the task is over.
    fn next(&self) -> Option<(ShardId, Offset)> {
        let mut state = self.lock();
        let next = state.wanted.pop_first();
        if next.is_none() {
            state.is_running = false;
            self.is_idle.send_replace(true);
        }
        next
    }

    async fn run(&self) {
        while let Some((shard, begin)) = self.next() {
            self.purge(shard, begin).await;
        }
    }

    async fn purge(&self, shard: ShardId, begin: Offset) {
        let patience = self.connection.patience();
        let subject = self.connection.subjects().events_of(shard);
        let backoff = Backoff::new(DELAYS[0], DELAYS[1], self.connection.seed());
        let Ok(stream) = self.connection.jetstream().get_stream_no_info(&self.stream).await else {
            return;
        };
        for attempt in 1..=ATTEMPTS_MAX {
            let purging = stream.purge().filter(subject.as_str()).sequence(begin.0);
            match timeout(patience, async { purging.await }).await {
                Ok(Ok(_purged)) => return,
                Ok(Err(why)) => warn!(%shard, attempt, %why, "what is done with stays for now"),
                Err(_elapsed) => warn!(%shard, attempt, "no answer to a purge"),
            }
            add(&self.counters.failed_deletions, 1);
            sleep(backoff.delay(attempt)).await;
        }
    }
}
