//! A bus of which somebody sees every batch on its way in.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use tapio_model::ShardId;

use crate::{Batch, Bus, BusStats, Offset, PublishError, Start, SubscribeError, Subscription};

/// Whoever sees the batches.
type Tap = dyn Fn(&Batch) + Send + Sync;

/// Shows each batch to a tap before it is published; the rest is the inner bus's.
pub struct Tapped {
    inner: Arc<dyn Bus>,
    tap: Box<Tap>,
}

impl Tapped {
    /// Taps `inner`. The tap must not wait: publishers do not go on before it returns.
    #[must_use]
    pub fn new(inner: Arc<dyn Bus>, tap: impl Fn(&Batch) + Send + Sync + 'static) -> Self {
        Self { inner, tap: Box::new(tap) }
    }
}

impl fmt::Debug for Tapped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tapped").field("inner", &self.inner).finish_non_exhaustive()
    }
}

#[async_trait]
impl Bus for Tapped {
    async fn publish(&self, batch: Batch) -> Result<Offset, PublishError> {
        (self.tap)(&batch);
        self.inner.publish(batch).await
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
