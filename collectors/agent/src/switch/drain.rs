//! The task that empties the spool, the most urgent first, and tells what it lost.

use std::{collections::BTreeMap, sync::Arc, sync::atomic::Ordering::Relaxed, time::Duration};

use futures::future::join_all;
use tapio_bus::Batch;
use tapio_model::{Level, ShardId};
use tokio::time::{Instant, timeout};
use tracing::{info, warn};

use super::{Answer, Loss, Shared, add, spooling::Spooling};
use crate::{Entry, Fate, Spool};

/// What became of a window.
enum Window {
    /// There was nothing to send.
    Nothing,
    /// Some batches are done with.
    Sent,
    /// The output took none of them.
    Stuck,
}

pub(super) async fn run(shared: Arc<Shared>) {
    let Some(spooling) = &shared.spooling else { return };
    let mut failures = 0_u32;
    let mut synced_at = Instant::now();
    while !*shared.closed.borrow() {
        match pass(&shared, spooling).await {
            Window::Sent => {
                if failures > 0 {
                    info!("the output takes events again");
                }
                failures = 0;
            }
            Window::Stuck => {
                if failures == 0 {
                    warn!("the output does not take events: the spool does");
                }
                failures = failures.saturating_add(1);
                shared.pause(delay(&shared, failures)).await;
            }
            Window::Nothing => {
                // Whoever appends wakes it; nobody having done so, it is time to sync anyway.
                drop(timeout(shared.limits.sync_every, shared.news.notified()).await);
            }
        }
        if synced_at.elapsed() >= shared.limits.sync_every {
            synced_at = Instant::now();
            if spooling.holds_any() {
                spooling.run(Spool::sync).await;
            }
            tell(&shared, spooling).await;
        }
    }
}

/// Waits longer after each failure.
fn delay(shared: &Shared, failures: u32) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    shared.limits.retry_min.saturating_mul(1 << doublings).min(shared.limits.retry_max)
}

/// Sends one window of the most urgent level that has something.
async fn pass(shared: &Shared, spooling: &Spooling) -> Window {
    if !spooling.holds_any() {
        return Window::Nothing;
    }
    for level in Level::ALL.into_iter().rev() {
        let many = shared.limits.window_batches.max(1);
        let entries = match spooling.run(move |spool| spool.peek(level, many)).await {
            Some(Ok(entries)) => entries,
            Some(Err(why)) => {
                warn!(%why, "the spool cannot be read");
                continue;
            }
            None => continue,
        };
        if !entries.is_empty() {
            return send_window(shared, spooling, level, entries).await;
        }
    }
    Window::Nothing
}

/// Sends batches, those of one shard one after the other, and acknowledges those that stand before
/// the first that was not taken: what was taken behind it is sent again, with the ids it has.
async fn send_window(
    shared: &Shared,
    spooling: &Spooling,
    level: Level,
    entries: Vec<Entry>,
) -> Window {
    let mut by_shard = BTreeMap::<ShardId, Vec<(usize, &Entry)>>::new();
    for (index, entry) in entries.iter().enumerate() {
        by_shard.entry(entry.batch.shard).or_default().push((index, entry));
    }
    let fates = join_all(by_shard.into_values().map(|chain| send_chain(shared, chain))).await;
    let fates: BTreeMap<usize, Fate> = fates.into_iter().flatten().collect();
    let done = (0..entries.len()).map_while(|index| fates.get(&index).copied()).collect::<Vec<_>>();
    let is_stuck = done.is_empty();
    let taken = entries.iter().zip(&done).filter(|(_, fate)| **fate == Fate::Taken);
    add(&shared.drained, taken.map(|(entry, _)| entry.batch.events.len()).sum());
    let settle = move |spool: &mut Spool| {
        for (entry, fate) in entries.iter().zip(done) {
            spool.acknowledge(level, entry, fate);
        }
        spool.release(level);
    };
    spooling.run(settle).await;
    if is_stuck { Window::Stuck } else { Window::Sent }
}

/// Sends one shard's batches until one is not taken; returns what became of the others.
async fn send_chain(shared: &Shared, chain: Vec<(usize, &Entry)>) -> Vec<(usize, Fate)> {
    let mut fates = Vec::with_capacity(chain.len());
    for (index, entry) in chain {
        let wire = &entry.batch;
        let events = wire.events.clone();
        let batch = Batch { shard: wire.shard, level: wire.level, time: wire.time, events };
        match shared.send(&batch).await {
            Answer::Taken => fates.push((index, Fate::Taken)),
            Answer::Never(why) => {
                warn!(%why, shard = %batch.shard, "the output will never take these events");
                fates.push((index, Fate::Refused));
            }
            Answer::Unavailable | Answer::Closed => break,
        }
    }
    fates
}

/// Tells what was lost, once the output takes it.
async fn tell(shared: &Shared, spooling: &Spooling) {
    let Some(teller) = shared.teller.as_ref().filter(|_| shared.is_available.load(Relaxed)) else {
        return;
    };
    for level in Level::ALL {
        let untold = spooling.run(move |spool| (spool.untold(level), spool.identity())).await;
        let Some(((events, events_ever), spool)) = untold.filter(|((events, _), _)| *events > 0)
        else {
            continue;
        };
        let batch = teller(Loss { spool, level, events, events_ever });
        if matches!(shared.send(&batch).await, Answer::Taken) {
            spooling.run(move |spool| spool.told(level, events_ever)).await;
        }
    }
}
