//! Clients and servers over real sockets.

mod flow;
mod loss;
mod refusal;
mod tls;

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use tapio_bus::{Batch, Offset, PublishError};
use tapio_model::{
    Attributes, Binding, Class, Event, EventId, Impact, Kind, Level, Place, Severity, ShardId,
    Source, Timestamp, TraceContext, TraceId,
};
use tapio_wire::EventBatch;
use tokio::sync::watch;

use crate::{DirectError, DirectServer, ServeConfig, Sink};

/// Any port of this machine.
const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// A sink that remembers, and keeps only while its gate is open.
#[derive(Debug)]
struct GateSink {
    gate: watch::Sender<bool>,
    /// Batches that came to the gate.
    came: watch::Sender<usize>,
    /// How often each event was kept.
    kept: Mutex<BTreeMap<EventId, usize>>,
    refuses: Option<PublishError>,
    /// Batches after which the gate closes for good.
    keeps_max: usize,
}

impl GateSink {
    fn new(is_open: bool) -> Arc<Self> {
        Arc::new(Self::make(is_open, None))
    }

    fn refusing(why: PublishError) -> Arc<Self> {
        Arc::new(Self::make(true, Some(why)))
    }

    /// Keeps so many batches, and lets all that come after them wait for ever.
    fn dying_after(keeps_max: usize) -> Arc<Self> {
        Arc::new(Self { keeps_max, ..Self::make(true, None) })
    }

    fn make(is_open: bool, refuses: Option<PublishError>) -> Self {
        let (gate, came) = (watch::Sender::new(is_open), watch::Sender::new(0));
        Self { gate, came, kept: Mutex::default(), refuses, keeps_max: usize::MAX }
    }

    fn open(&self) {
        self.gate.send_replace(true);
    }

    /// Waits until so many batches have come.
    async fn has_come(&self, count: usize) {
        drop(self.came.subscribe().wait_for(|came| *came >= count).await);
    }

    fn kept(&self) -> BTreeMap<EventId, usize> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[async_trait]
impl Sink for GateSink {
    async fn keep(&self, batch: EventBatch) -> Result<Offset, PublishError> {
        let mut number = 0;
        self.came.send_modify(|came| {
            *came += 1;
            number = *came;
        });
        if number > self.keeps_max {
            std::future::pending::<()>().await;
        }
        drop(self.gate.subscribe().wait_for(|is_open| *is_open).await);
        if let Some(why) = self.refuses {
            return Err(why);
        }
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        for event in &batch.events {
            *kept.entry(event.id).or_default() += 1;
        }
        Ok(Offset(kept.len() as u64))
    }
}

async fn serve(sink: &Arc<GateSink>, config: ServeConfig) -> Result<DirectServer, DirectError> {
    let sink: Arc<dyn Sink> = Arc::<GateSink>::clone(sink);
    DirectServer::start(ANY, sink, config).await
}

fn id(number: u64) -> EventId {
    EventId::from_bytes(u128::from(number).to_be_bytes())
}

/// Makes a batch of one event, told apart by its number.
fn batch(number: u64) -> Batch {
    let event = Event {
        id: id(number),
        time: Timestamp::from_secs(1),
        source: Source::Kernel,
        kind: Kind::OomKill,
        trace: TraceContext {
            trace_id: TraceId::from_bytes(7_u128.to_be_bytes()),
            span_id: None,
            parent_span_id: None,
            binding: Binding::Explicit,
        },
        place: Arc::new(Place::default()),
        severity: Severity::Info,
        impact: Impact::NONE,
        class: Class::Memory,
        attributes: Attributes::default(),
    };
    Batch {
        shard: ShardId::new(0),
        level: Level::Normal,
        time: Timestamp::from_secs(2),
        events: vec![Arc::new(event)],
    }
}

fn envelope(batch: Batch) -> Vec<u8> {
    let Batch { shard, level, time, events } = batch;
    tapio_wire::encode_batch(&EventBatch { shard, level, time, events })
}
