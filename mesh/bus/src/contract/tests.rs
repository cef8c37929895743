use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use async_trait::async_trait;
use tapio_model::ShardId;
use tokio::task::JoinSet;

use super::{Options, run};
use crate::{
    Batch, Bus, BusStats, MemoryBus, MemoryBusLimits, Offset, PublishError, Start, SubscribeError,
    Subscription,
};

fn memory(options: Options) -> MemoryBus {
    MemoryBus::new(MemoryBusLimits {
        shards: options.shards,
        events_max_per_shard: options.events_max_per_shard,
        when_full: options.when_full,
    })
}

/// A bus that loses every second batch and says nothing.
#[derive(Debug)]
struct Lossy {
    inner: MemoryBus,
    published: AtomicU64,
}

#[async_trait]
impl Bus for Lossy {
    async fn publish(&self, batch: Batch) -> Result<Offset, PublishError> {
        let number = self.published.fetch_add(1, Relaxed);
        if number % 2 == 1 { Ok(Offset(number)) } else { self.inner.publish(batch).await }
    }

    async fn subscribe(
        &self,
        shards: &[ShardId],
        start: Start,
    ) -> Result<Box<dyn Subscription>, SubscribeError> {
        self.inner.subscribe(shards, start).await
    }

    async fn close(&self) {
        self.inner.close().await;
    }

    fn stats(&self) -> BusStats {
        self.inner.stats()
    }
}

/// A bus that reads everything to everybody.
#[derive(Debug)]
struct Chatty(MemoryBus);

#[async_trait]
impl Bus for Chatty {
    async fn publish(&self, batch: Batch) -> Result<Offset, PublishError> {
        self.0.publish(batch).await
    }

    async fn subscribe(
        &self,
        _: &[ShardId],
        start: Start,
    ) -> Result<Box<dyn Subscription>, SubscribeError> {
        self.0.subscribe(&super::SHARDS.shards().collect::<Vec<_>>(), start).await
    }

    async fn close(&self) {
        self.0.close().await;
    }

    fn stats(&self) -> BusStats {
        self.0.stats()
    }
}

/// Returns what the contract says of a bus, if it breaks it.
async fn complaint(make: fn(Options) -> Arc<dyn Bus>) -> Option<String> {
    let mut tasks = JoinSet::new();
    tasks.spawn(run(move |options| async move { make(options) }));
    let panic = tasks.join_next().await?.err()?.try_into_panic().ok()?;
    panic.downcast_ref::<String>().cloned()
}

#[tokio::test(start_paused = true)]
async fn the_memory_bus_keeps_the_contract() {
    run(|options| async move {
        let bus: Arc<dyn Bus> = Arc::new(memory(options));
        bus
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn buses_that_break_the_contract_are_told_which_promise() {
    let lossy = complaint(|options| {
        Arc::new(Lossy { inner: memory(options), published: AtomicU64::new(0) })
    });
    let said = lossy.await.unwrap_or_default();
    assert!(said.starts_with("a shard is read in order: a batch never came"), "{said}");
    let chatty = complaint(|options| Arc::new(Chatty(memory(options))));
    let said = chatty.await.unwrap_or_default();
    assert!(said.starts_with("only subscribed shards are read: "), "{said}");
}
