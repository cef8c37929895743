//! The load on its way: each shard in order, one batch at a time, counted once the log has it.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tapio_bus::{Batch, Bus as _, Offset};
use tapio_model::EventId;
use tapio_nats::{Connection, NatsBus, NatsBusOptions};
use tapio_telemetry::spawn_named;
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
    time::{sleep_until, timeout},
};
use tracing::warn;

use super::RunClock;
use crate::{
    load::{Load, Step},
    record::Sending,
};

/// Batches of one shard that wait: while the servers are away for long, the load waits too.
const WAITING_MAX: usize = 4_096;

/// How long the last batches may take to be acknowledged once the load is over.
const LAST_ACKS_MAX: Duration = Duration::from_secs(60);

/// An acknowledgement that took longer may have been of a second try: the bus repeats itself.
const RETRY_AFTER: Duration = Duration::from_millis(200);

/// How often the bus may have sent what it was slow to send.
const RETRIES_MAX: u32 = 8;

/// What was sent.
#[derive(Debug, Default)]
pub(super) struct Published {
    /// By event.
    pub(super) sent: BTreeMap<EventId, Sending>,
    /// From the first event to the last acknowledgement.
    pub(super) took: Duration,
}

type Ledger = Arc<Mutex<BTreeMap<EventId, Sending>>>;

/// Sends a load.
#[derive(Debug)]
pub(super) struct Publisher {
    bus: Arc<NatsBus>,
    ledger: Ledger,
    task: JoinHandle<()>,
    done: watch::Receiver<bool>,
    clock: RunClock,
}

impl Publisher {
    pub(super) fn start(load: Load, connection: Connection, clock: RunClock) -> Self {
        let options = NatsBusOptions { shards: load.options().shards, ..NatsBusOptions::default() };
        let bus = Arc::new(NatsBus::new(connection, options));
        let ledger = Ledger::default();
        let (finished, done) = watch::channel(false);
        let sending = send(load, Arc::clone(&bus), Arc::clone(&ledger), clock);
        let task = spawn_named("chaos publish", async move {
            sending.await;
            finished.send_replace(true);
        });
        Self { bus, ledger, task, done, clock }
    }

    /// Returns where it is seen that everything was sent.
    pub(super) fn done(&self) -> watch::Receiver<bool> {
        self.done.clone()
    }

    /// Waits until everything is acknowledged, or until that has taken too long.
    pub(super) async fn finish(mut self) -> Published {
        if timeout(LAST_ACKS_MAX, &mut self.task).await.is_err() {
            warn!("some of the load was never acknowledged");
            self.task.abort();
        }
        self.bus.close().await;
        let sent = std::mem::take(&mut *lock(&self.ledger));
        let last = sent.values().filter_map(|sending| sending.acked).max();
        Published { sent, took: last.unwrap_or_else(|| self.clock.elapsed()) }
    }
}

/// Sends every step at its time, through one queue a shard.
async fn send(load: Load, bus: Arc<NatsBus>, ledger: Ledger, clock: RunClock) {
    let mut queues = BTreeMap::new();
    let mut workers = Vec::new();
    for shard in load.options().shards.shards() {
        let (queue, waiting) = mpsc::channel::<(Batch, u32)>(WAITING_MAX);
        queues.insert(shard, queue);
        let work = work(waiting, Arc::clone(&bus), Arc::clone(&ledger), clock);
        workers.push(spawn_named("chaos publish shard", work));
    }
    for step in load {
        sleep_until(clock.start + step.at).await;
        let Step { copies, .. } = step;
        let Some(queue) = queues.get(&step.shard()) else { continue };
        let batch = step.stamped(clock.wall());
        if queue.send((batch, copies)).await.is_err() {
            return;
        }
    }
    drop(queues);
    for worker in workers {
        if let Err(why) = worker.await {
            warn!(%why, "a publisher died");
        }
    }
}

async fn work(
    mut waiting: mpsc::Receiver<(Batch, u32)>,
    bus: Arc<NatsBus>,
    ledger: Ledger,
    clock: RunClock,
) {
    while let Some((batch, copies)) = waiting.recv().await {
        for copy in 0..copies {
            // Other bytes, so that the log takes it a second time: the same events all the same.
            let time = batch.time.after(Duration::from_nanos(u64::from(copy)));
            let batch = Batch { time, ..batch.clone() };
            let at = clock.elapsed();
            note_sent(&ledger, &batch, at);
            match bus.publish(batch.clone()).await {
                Ok(offset) => note_acked(&ledger, &batch, offset, (at, clock.elapsed())),
                Err(why) => warn!(%why, shard = %batch.shard, "a batch was not taken"),
            }
        }
    }
}

fn note_sent(ledger: &Ledger, batch: &Batch, at: Duration) {
    let mut ledger = lock(ledger);
    for event in &batch.events {
        let new = Sending { at, acked: None, sequence: None, shard: batch.shard, copies: 0 };
        ledger.entry(event.id).or_insert(new).copies += 1;
    }
}

fn note_acked(ledger: &Ledger, batch: &Batch, offset: Offset, (from, to): (Duration, Duration)) {
    let retries = if to.saturating_sub(from) > RETRY_AFTER { RETRIES_MAX } else { 0 };
    let mut ledger = lock(ledger);
    for event in &batch.events {
        let Some(sending) = ledger.get_mut(&event.id) else { continue };
        sending.copies += retries;
        sending.acked.get_or_insert(to);
        sending.sequence.get_or_insert(offset.0);
    }
}

fn lock(ledger: &Ledger) -> std::sync::MutexGuard<'_, BTreeMap<EventId, Sending>> {
    ledger.lock().unwrap_or_else(PoisonError::into_inner)
}
