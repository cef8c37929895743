//! The client: a bus whose other end is a node.

mod connect;
mod figures;
mod ledger;
mod link;

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use tapio_bus::{Batch, Bus, BusStats, Offset, PublishError, Start, SubscribeError, Subscription};
use tapio_model::ShardId;
use tapio_telemetry::spawn_named;
use tapio_wire::{BATCH_EVENTS_MAX, EventBatch, encode_batch};
use tokio::{
    sync::{Mutex, mpsc, oneshot, watch},
    task::JoinHandle,
};
use tracing::error;

pub use self::figures::DirectFigures;
use self::{
    connect::Nodes,
    figures::Figures,
    ledger::{Fate, Shipment},
    link::Link,
};
use crate::{DirectConfig, DirectError};

/// A bus whose other end is a node: published is what the node acknowledged as kept.
///
/// While no node is there publishing waits: that is back-pressure, and nothing is lost. What was
/// not acknowledged when a connection ended is sent again on the next one.
pub struct DirectBus {
    config: DirectConfig,
    shipments: mpsc::Sender<Shipment>,
    figures: Arc<Figures>,
    closing: watch::Sender<bool>,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl DirectBus {
    /// Makes a bus, and begins to look for a node.
    ///
    /// # Errors
    /// [`DirectError::NoAddress`] and [`DirectError::Address`]. That no node is there is none: it
    /// may come, and [`DirectBus::figures`] says why it is not.
    pub fn start(config: DirectConfig) -> Result<Self, DirectError> {
        let nodes = Nodes::new(&config)?;
        let (shipments, queue) = mpsc::channel(1);
        let (closing, closes) = watch::channel(false);
        let figures = Arc::new(Figures::default());
        let link = Link::new(&config, nodes, (queue, closes), Arc::clone(&figures));
        let task = Mutex::new(Some(spawn_named("direct", link.run())));
        Ok(Self { config, shipments, figures, closing, task })
    }

    /// Tries each address once, and returns the window that the first node grants that answers.
    ///
    /// # Errors
    /// [`DirectError`] of the last address, which names the cure.
    pub async fn probe(config: &DirectConfig) -> Result<u32, DirectError> {
        let mut nodes = Nodes::new(config)?;
        let mut last = DirectError::NoAddress;
        for _ in &config.addresses {
            match nodes.connect_next().await {
                Ok(session) => return Ok(session.credit),
                Err(why) => last = why,
            }
        }
        Err(last)
    }

    /// Returns the figures of this moment.
    #[must_use]
    pub fn figures(&self) -> DirectFigures {
        self.figures.snapshot()
    }

    /// Returns a function that returns the figures of its moment, for whoever shows them.
    pub fn meter(&self) -> impl Fn() -> DirectFigures + Clone + Send + Sync + 'static {
        let figures = Arc::clone(&self.figures);
        move || figures.snapshot()
    }

    /// Returns the parts of a batch that a node takes as one envelope each, last part on top.
    fn seal(&self, batch: Batch) -> Result<Vec<(bytes::Bytes, usize)>, PublishError> {
        let bytes_max = self.config.envelope_bytes_max;
        let Batch { shard, level, time, events } = batch;
        let mut rest = vec![EventBatch { shard, level, time, events }];
        let mut sealed = Vec::new();
        while let Some(mut batch) = rest.pop() {
            let count = batch.events.len();
            let body = (count <= BATCH_EVENTS_MAX).then(|| encode_batch(&batch));
            match body.filter(|body| body.len() <= bytes_max) {
                Some(body) => sealed.push((body.into(), count)),
                None if count < 2 => {
                    return Err(PublishError::TooLarge { events: count, events_max: 0 });
                }
                None => {
                    let events = batch.events.split_off(count / 2);
                    rest.push(EventBatch { shard, level, time, events });
                    rest.push(batch);
                }
            }
        }
        Ok(sealed)
    }

    async fn ship(&self, envelope: bytes::Bytes) -> Result<Fate, PublishError> {
        let (done, fate) = oneshot::channel();
        let shipment = Shipment { envelope, done };
        self.shipments.send(shipment).await.map_err(|_ended| PublishError::Closed)?;
        fate.await.map_err(|_ended| PublishError::Closed)
    }
}

#[async_trait]
impl Bus for DirectBus {
    /// # Cancel safety
    /// A batch that one envelope holds: as the port says. One that takes several may be published
    /// in part; that of the pump never does.
    async fn publish(&self, batch: Batch) -> Result<Offset, PublishError> {
        if batch.events.is_empty() {
            return Err(PublishError::Empty);
        }
        if *self.closing.borrow() {
            return Err(PublishError::Closed);
        }
        let shard = batch.shard;
        let mut last = Offset::default();
        for (envelope, events) in self.seal(batch)? {
            last = match self.ship(envelope).await? {
                Fate::Kept(offset) => {
                    self.figures.accept(events);
                    offset
                }
                Fate::Refused { code, why } => {
                    error!(%shard, code, why, "the node refuses an envelope for good");
                    return Err(meaning(&code, shard, events));
                }
            };
        }
        Ok(last)
    }

    /// # Errors
    /// [`SubscribeError::WriteOnly`], always.
    async fn subscribe(
        &self,
        _: &[ShardId],
        _: Start,
    ) -> Result<Box<dyn Subscription>, SubscribeError> {
        Err(SubscribeError::WriteOnly)
    }

    async fn close(&self) {
        self.closing.send_replace(true);
        // Whoever closes first waits; the others wait for that.
        let mut task = self.task.lock().await;
        if let Some(running) = task.take()
            && let Err(why) = running.await
        {
            error!(%why, "the connection to the node died; what it held is refused");
        }
    }

    fn stats(&self) -> BusStats {
        let figures = self.figures();
        BusStats {
            accepted_events: figures.kept_events,
            // What the node has is its own to hold.
            acknowledged_events: figures.kept_events,
            ..BusStats::default()
        }
    }
}

impl fmt::Debug for DirectBus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DirectBus")
            .field("config", &self.config)
            .field("figures", &self.figures())
            .finish_non_exhaustive()
    }
}

/// Says what the reason of a refusal is in the words of the port. Bytes that a node cannot read
/// are, like those that are too many, bytes that it will never take.
fn meaning(code: &str, shard: ShardId, events: usize) -> PublishError {
    match code {
        "unknown_shard" => PublishError::UnknownShard(shard),
        "empty" => PublishError::Empty,
        _ => PublishError::TooLarge { events, events_max: 0 },
    }
}
