use std::{pin::pin, sync::Arc, time::Duration};

use futures::poll;
use tapio_model::{Level, ShardId};
use tapio_shard::ShardCount;
use tokio::{task::JoinSet, time::timeout};

use super::{MemoryBus, MemoryBusLimits, WhenFull};
use crate::{Batch, Bus, Delivery, Offset, PublishError, Start, Subscription, contract};

const SHARDS: ShardCount = ShardCount::new(3);
const SHARD: ShardId = ShardId::new(0);

fn bus(events_max_per_shard: usize, when_full: WhenFull) -> MemoryBus {
    MemoryBus::new(MemoryBusLimits { shards: SHARDS, events_max_per_shard, when_full })
}

fn batch(level: Level, numbers: std::ops::Range<u64>) -> Batch {
    contract::batch(SHARD, level, numbers)
}

/// Returns the offsets that can be read now.
async fn readable(reader: &mut dyn Subscription) -> Vec<Delivery> {
    let mut read = Vec::new();
    while let Ok(Some(delivery)) = timeout(Duration::from_millis(1), reader.next()).await {
        read.push(delivery);
    }
    read
}

#[tokio::test(start_paused = true)]
async fn the_least_urgent_goes_first_and_of_those_the_oldest() {
    let bus = bus(6, WhenFull::ShedLowestFirst);
    let levels = [Level::High, Level::Normal, Level::Critical, Level::High, Level::Normal];
    for level in levels {
        assert!(bus.publish(batch(level, 0..1)).await.is_ok());
    }
    let mut reader = bus.subscribe(&[SHARD], Start::Earliest).await.expect("a shard");
    assert_eq!(bus.publish(batch(Level::Normal, 0..2)).await, Err(PublishError::Full));
    // One event is free: three need the normal ones too, and four the oldest of the high ones.
    assert_eq!(bus.publish(batch(Level::High, 0..4)).await, Err(PublishError::Full));
    assert_eq!(bus.stats().evicted_events, 0, "what does not help is not evicted");
    assert_eq!(bus.publish(batch(Level::Critical, 0..4)).await, Ok(Offset(5)));
    let read: Vec<_> = readable(&mut *reader).await.iter().map(|read| read.offset.0).collect();
    assert_eq!(read, [2, 3, 5]);
    let stats = bus.stats();
    assert_eq!((stats.evicted_events, stats.refused_events), (3, [2, 4, 0]));
    // An evicted offset was shed, not acknowledged: asking for it is no mistake of the reader's.
    let mut again = bus.subscribe(&[SHARD], Start::At(Offset(1))).await.expect("not gone");
    assert_eq!(again.next().await.map(|delivery| delivery.offset), Some(Offset(2)));
}

#[tokio::test(start_paused = true)]
async fn what_was_given_out_is_never_evicted() {
    let bus = bus(2, WhenFull::ShedLowestFirst);
    let mut reader = bus.subscribe(&[SHARD], Start::Earliest).await.expect("a shard");
    for _ in 0..2 {
        assert!(bus.publish(batch(Level::Normal, 0..1)).await.is_ok());
    }
    let given = reader.next().await.expect("a batch");
    assert_eq!(bus.publish(batch(Level::Critical, 0..2)).await, Err(PublishError::Full));
    assert_eq!(bus.publish(batch(Level::Critical, 0..1)).await, Ok(Offset(2)));
    let mut again = bus.subscribe(&[SHARD], Start::Earliest).await.expect("a shard");
    let read: Vec<_> = readable(&mut *again).await.iter().map(|read| read.offset).collect();
    assert_eq!(read, [given.offset, Offset(2)]);
}

#[tokio::test(start_paused = true)]
async fn a_busy_shard_does_not_starve_the_others() {
    let bus = bus(100, WhenFull::Block);
    for shard in [0, 0, 0, 0, 0, 0, 1, 2, 2] {
        let batch = contract::batch(ShardId::new(shard), Level::Normal, 0..1);
        assert!(bus.publish(batch).await.is_ok());
    }
    let shards: Vec<_> = SHARDS.shards().collect();
    let mut reader = bus.subscribe(&shards, Start::Earliest).await.expect("shards");
    let read = readable(&mut *reader).await;
    let read: Vec<_> = read.iter().map(|delivery| delivery.batch.shard.number()).collect();
    assert_eq!(read, [0, 1, 2, 0, 2, 0, 0, 0, 0]);
}

#[tokio::test(start_paused = true)]
async fn who_waits_longest_is_let_in_first() {
    let bus = bus(4, WhenFull::Block);
    let mut reader = bus.subscribe(&[SHARD], Start::Earliest).await.expect("a shard");
    for _ in 0..4 {
        assert!(bus.publish(batch(Level::Normal, 0..1)).await.is_ok());
    }
    let mut large = pin!(bus.publish(batch(Level::Normal, 0..4)));
    assert!(poll!(&mut large).is_pending());
    let mut small = pin!(bus.publish(batch(Level::Critical, 0..1)));
    for offset in 0..4 {
        assert!(poll!(&mut small).is_pending(), "it would overtake the large batch");
        reader.acknowledge(SHARD, Offset(offset));
    }
    assert_eq!(large.await, Ok(Offset(4)));
    assert!(poll!(&mut small).is_pending());
    reader.acknowledge(SHARD, Offset(4));
    assert_eq!(small.await, Ok(Offset(5)));
}

#[tokio::test(start_paused = true)]
async fn acknowledging_reaches_no_further_than_it_may() {
    let bus = bus(4, WhenFull::Block);
    assert!(bus.publish(batch(Level::Normal, 0..1)).await.is_ok());
    let mut other = bus.subscribe(&[ShardId::new(1)], Start::Earliest).await.expect("a shard");
    other.acknowledge(SHARD, Offset(0));
    assert_eq!(bus.stats().held_events, 1, "not its shard");
    let mut reader = bus.subscribe(&[SHARD, SHARD], Start::Earliest).await.expect("a shard");
    reader.acknowledge(SHARD, Offset(u64::MAX));
    assert_eq!((bus.stats().held_events, bus.stats().acknowledged_events), (0, 1));
    assert_eq!(bus.publish(batch(Level::Normal, 1..2)).await, Ok(Offset(1)));
    assert_eq!(reader.next().await.map(|delivery| delivery.offset), Some(Offset(1)));
}

#[tokio::test(start_paused = true)]
async fn a_dropped_subscription_leaves_nothing_behind() {
    let bus = bus(4, WhenFull::Block);
    let shards: Vec<_> = SHARDS.shards().collect();
    let kept = bus.subscribe(&shards, Start::New).await;
    drop(bus.subscribe(&shards, Start::New).await);
    let refused = [SHARD, ShardId::new(99)];
    assert!(bus.subscribe(&refused, Start::New).await.is_err());
    assert!(bus.shards.iter().all(|shard| shard.lock().readers.len() == 1));
    drop(kept);
    assert!(bus.shards.iter().all(|shard| shard.lock().readers.is_empty()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn publishers_on_several_threads_lose_nothing_and_keep_their_order() {
    const PUBLISHERS: u64 = 4;
    const BATCHES: u64 = 500;
    let bus = Arc::new(bus(16, WhenFull::Block));
    let shards: Vec<_> = SHARDS.shards().collect();
    let mut reader = bus.subscribe(&shards, Start::Earliest).await.expect("shards");
    let mut publishers = JoinSet::new();
    for publisher in 0..PUBLISHERS {
        let bus = Arc::clone(&bus);
        publishers.spawn(async move {
            for number in 0..BATCHES {
                let first = publisher * 1_000_000 + number * 10;
                let shard = ShardId::new(u16::try_from(publisher % 3).unwrap_or_default());
                let batch = contract::batch(shard, Level::Normal, first..first + 1 + number % 5);
                assert!(bus.publish(batch).await.is_ok());
            }
        });
    }
    let mut read = Vec::new();
    for _ in 0..PUBLISHERS * BATCHES {
        let delivery = reader.next().await.expect("the bus is open");
        reader.acknowledge(delivery.batch.shard, delivery.offset);
        let id = delivery.batch.events[0].id;
        read.push(u64::try_from(u128::from_be_bytes(*id.as_bytes())).expect("a small number"));
    }
    publishers.join_all().await;
    for publisher in 0..PUBLISHERS {
        let of_one = read.iter().filter(|first| *first / 1_000_000 == publisher);
        let numbers: Vec<_> = of_one.map(|first| first % 1_000_000 / 10).collect();
        assert_eq!(numbers, (0..BATCHES).collect::<Vec<_>>());
    }
    let stats = bus.stats();
    assert_eq!((stats.held_events, stats.acknowledged_events), (0, stats.accepted_events));
}
