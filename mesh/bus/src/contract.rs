//! The contract: every promise of the port as a check that any adapter can be put through.
//!
//! A check waits up to five seconds for what must happen, and watches for a tenth of a second that
//! what must not happen does not; in a test with paused time neither takes any.

mod promises;

use std::{future::Future, sync::Arc, time::Duration};

use tapio_model::{
    Attributes, Binding, Class, Event, EventId, Impact, Kind, Level, Place, Severity, ShardId,
    Source, Timestamp, TraceContext, TraceId,
};
use tapio_shard::ShardCount;
use tokio::time::{sleep, timeout};

use crate::{Batch, Bus, BusStats, Delivery, Offset, Start, Subscription, WhenFull};

/// How long a check waits for what was promised.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long a check watches that nothing happens.
const QUIET: Duration = Duration::from_millis(100);

/// The bus a check asks for. It must be empty, and nobody else may use it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// How many shards it has.
    pub shards: ShardCount,
    /// How many events a shard's log holds.
    pub events_max_per_shard: usize,
    /// What a publisher meets when a log is full.
    pub when_full: WhenFull,
}

/// Puts the buses that `make` returns through every promise of the port, one after the other.
///
/// # Panics
/// If a promise is broken; the message begins with the promise.
pub async fn run<F, Fut>(make: F)
where
    F: Fn(Options) -> Fut,
    Fut: Future<Output = Arc<dyn Bus>>,
{
    let roomy = || make(options(1_024, WhenFull::Block));
    let blocking = || make(options(4, WhenFull::Block));
    let shedding = || make(options(4, WhenFull::ShedLowestFirst));

    keep("a shard is read in order", promises::order(roomy().await)).await;
    keep("only subscribed shards are read", promises::only_subscribed(roomy().await)).await;
    keep("an offset is where a replay begins", promises::replay_from_offset(roomy().await)).await;
    keep("what is not acknowledged is read again", promises::replay_all(roomy().await)).await;
    keep("what is acknowledged is gone, and said to be", promises::gone(roomy().await)).await;
    keep("a new reader reads only what comes", promises::new_only(roomy().await)).await;
    keep("a dropped wait loses nothing", promises::dropped_next(roomy().await)).await;
    keep("nonsense is refused", promises::nonsense(blocking().await)).await;
    keep("acknowledging frees room", promises::frees_room(blocking().await)).await;
    keep("a dropped publish is whole or nothing", promises::dropped_publish(blocking().await))
        .await;
    keep("refusals are counted by level", promises::refusals(shedding().await)).await;
    keep("critical events displace normal ones", promises::displaces(shedding().await)).await;
    keep("nothing accepted is lost", promises::accounts(shedding().await)).await;
    keep("readers of a closed bus end when all is read", promises::close_ends(roomy().await)).await;
    keep("closing wakes who waits", promises::close_wakes(blocking().await)).await;
}

fn options(events_max_per_shard: usize, when_full: WhenFull) -> Options {
    Options { shards: SHARDS, events_max_per_shard, when_full }
}

async fn keep(promise: &str, kept: impl Future<Output = Kept>) {
    let why = kept.await.err();
    assert!(why.is_none(), "{promise}: {}", why.unwrap_or_default());
}

/// Why a promise is broken.
type Kept<T = ()> = Result<T, String>;

const SHARDS: ShardCount = ShardCount::new(3);
const FIRST: ShardId = ShardId::new(0);
const SECOND: ShardId = ShardId::new(1);

/// Breaks the promise unless the two are equal.
fn same<T: PartialEq + std::fmt::Debug>(what: &str, is: &T, should_be: &T) -> Kept {
    if is == should_be {
        return Ok(());
    }
    Err(format!("{what}: {is:?} instead of {should_be:?}"))
}

/// Makes a batch of as many events as `numbers` has, which tell it apart from others.
pub(crate) fn batch(shard: ShardId, level: Level, numbers: std::ops::Range<u64>) -> Batch {
    let impact = match level {
        Level::Normal => Impact::NONE,
        Level::High => Impact::new(0.8),
        Level::Critical => Impact::CRITICAL,
    };
    let trace = TraceContext {
        trace_id: trace_of(shard),
        span_id: None,
        parent_span_id: None,
        binding: Binding::Explicit,
    };
    let event = |number: u64| Event {
        id: EventId::from_bytes(u128::from(number).to_be_bytes()),
        time: Timestamp::from_secs(1),
        source: Source::Kernel,
        kind: Kind::OomKill,
        trace,
        place: Arc::new(Place::default()),
        severity: Severity::Info,
        impact,
        class: Class::Memory,
        attributes: Attributes::default(),
    };
    let events = numbers.map(|number| Arc::new(event(number))).collect();
    Batch { shard, level, time: Timestamp::from_secs(2), events }
}

/// Returns some trace of the shard; a shard the count lacks gets any.
fn trace_of(shard: ShardId) -> TraceId {
    (1..10_000_u128)
        .map(|number| TraceId::from_bytes(number.to_be_bytes()))
        .find(|trace| SHARDS.shard_of(*trace) == shard)
        .unwrap_or_default()
}

async fn publish(bus: &dyn Bus, batch: &Batch) -> Kept<Offset> {
    let published = timeout(PATIENCE, bus.publish(batch.clone())).await;
    let accepted = published.map_err(|_elapsed| "publishing takes for ever".to_owned())?;
    accepted.map_err(|why| format!("refused: {why}"))
}

async fn subscribe(bus: &dyn Bus, shards: &[ShardId], start: Start) -> Kept<Box<dyn Subscription>> {
    bus.subscribe(shards, start).await.map_err(|why| format!("subscription refused: {why}"))
}

/// Returns what comes next; it must come.
async fn next(subscription: &mut dyn Subscription) -> Kept<Delivery> {
    let next = timeout(PATIENCE, subscription.next()).await;
    let delivery = next.map_err(|_elapsed| "a batch never came".to_owned())?;
    delivery.ok_or_else(|| "the subscription ended before everything was read".to_owned())
}

/// Reads one batch for each of `batches`, which must be these, in this order.
async fn expect(subscription: &mut dyn Subscription, batches: &[Batch]) -> Kept<Vec<Offset>> {
    let mut offsets = Vec::new();
    for batch in batches {
        let delivery = next(subscription).await?;
        same("a batch read", &*delivery.batch, batch)?;
        offsets.push(delivery.offset);
    }
    Ok(offsets)
}

/// Breaks the promise if `what` happens.
async fn never<T: std::fmt::Debug>(what: &str, future: impl Future<Output = T>) -> Kept {
    timeout(QUIET, future).await.map_or(Ok(()), |done| Err(format!("{what}: {done:?}")))
}

/// Waits until the figures are as they should be; an adapter may learn of them late.
async fn settle(bus: &dyn Bus, what: &str, settled: impl Fn(&BusStats) -> bool) -> Kept {
    let settling = async {
        while !settled(&bus.stats()) {
            sleep(QUIET / 10).await;
        }
    };
    let outcome = timeout(PATIENCE, settling).await;
    outcome.map_err(|_elapsed| format!("{what} does not hold: {:?}", bus.stats()))
}

#[cfg(test)]
mod tests;
