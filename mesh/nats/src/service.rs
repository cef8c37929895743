//! `correlation.request` as a NATS micro service, and as one subject for each shard.
//!
//! The service's endpoint has a queue group: one node of the mesh takes each request and
//! coordinates it. A shard's subject has none: whoever owns the shard listens, and without a
//! listener the server says so at once.

mod inbox;
mod requester;

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use async_nats::service::{Service, ServiceExt as _, endpoint};
use bytes::Bytes;
use tapio_bus::{Served, SharedServe};
use tapio_model::{Refusal, RefusalReason, Reply, ShardId, Text};
use tapio_telemetry::spawn_named;
use tapio_wire::{Form, VERSION, encode_reply};
use tokio::{
    sync::{Mutex, Semaphore, watch},
    task::JoinHandle,
};
use tracing::debug;

pub use requester::{Requester, RequesterError};

use crate::Connection;

/// Requests that a node works on at once; beyond it the answer is `busy`.
pub const REQUESTS_MAX: usize = 256;

/// The service's name, for `$SRV.PING.tapio-correlation` and its siblings.
const NAME: &str = "tapio-correlation";
/// The group whose members share the requests to the mesh.
const QUEUE_GROUP: &str = "tapio";

/// Why the service is not there.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// The connection did not take a subscription.
    #[error("cannot listen on {subject}: {why}")]
    Subscribe {
        /// Where.
        subject: String,
        /// What the client said.
        why: String,
    },
}

/// What the service has turned away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ServiceFigures {
    /// Requests answered `busy`.
    pub busy: u64,
    /// Replies that the connection did not take.
    pub unsent: u64,
}

/// Takes requests from NATS, and sends the replies.
#[derive(Debug)]
pub struct RequestService {
    connection: Connection,
    counter: Arc<Counter>,
    service: Service,
    endpoint: Listener,
    any: Listener,
    shards: Mutex<BTreeMap<ShardId, Listener>>,
}

/// A task that listens on one subject until it is told to stop.
#[derive(Debug)]
struct Listener {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Listener {
    /// Stops listening, and waits for the requests that are under way.
    async fn end(self) {
        self.stop.send_replace(true);
        // A task that panicked has said so.
        drop(self.task.await);
    }
}

impl RequestService {
    /// Begins to take requests to the mesh, with `serve` to answer them. Shards are added with
    /// [`RequestService::own`].
    ///
    /// # Errors
    /// [`ServiceError`].
    pub async fn start(
        connection: &Connection,
        node: &Text,
        serve: SharedServe,
    ) -> Result<Self, ServiceError> {
        let subject = connection.subjects().request();
        let refuse = |why: async_nats::Error| ServiceError::Subscribe {
            subject: subject.to_owned(),
            why: why.to_string(),
        };
        let counter = Arc::new(Counter::new(serve));
        let stats = Arc::clone(&counter);
        let metadata = [("node", node.to_string()), ("protocol", VERSION.to_string())];
        let service = connection
            .client()
            .service_builder()
            .description("asks the correlation mesh: stories, traces, entities, owners")
            .metadata(metadata.map(|(key, value)| (key.to_owned(), value)).into_iter().collect())
            .queue_group(QUEUE_GROUP)
            .stats_handler(move |_, _: endpoint::Stats| stats.to_json())
            .start(NAME, env!("CARGO_PKG_VERSION"))
            .await
            .map_err(refuse)?;
        let endpoint = service.endpoint_builder().name("request").add(subject).await;
        let (stop, stopped) = watch::channel(false);
        let inbox = inbox::of_mesh(endpoint.map_err(refuse)?, Arc::clone(&counter), stopped);
        let endpoint = Listener { stop, task: spawn_named("requests", inbox) };
        let any = listen_any(connection, &counter).await?;
        let (connection, shards) = (connection.clone(), Mutex::default());
        let service = Self { connection, counter, service, endpoint, any, shards };
        service.settle(subject).await?;
        Ok(service)
    }

    /// Begins to answer for a shard. Answering for it already changes nothing.
    ///
    /// # Errors
    /// [`ServiceError`].
    pub async fn own(&self, shard: ShardId) -> Result<(), ServiceError> {
        let mut shards = self.shards.lock().await;
        if shards.contains_key(&shard) {
            return Ok(());
        }
        let subject = self.connection.subjects().request_of(shard);
        let client = self.connection.client().clone();
        let subscriber = client.subscribe(subject.clone()).await.map_err(|error| {
            ServiceError::Subscribe { subject: subject.clone(), why: error.to_string() }
        })?;
        let (stop, stopped) = watch::channel(false);
        let inbox =
            inbox::of_shard(Some(shard), (client, subscriber), Arc::clone(&self.counter), stopped);
        shards.insert(shard, Listener { stop, task: spawn_named("shard requests", inbox) });
        drop(shards);
        self.settle(&subject).await
    }

    /// Stops answering for a shard, once what is under way is answered.
    pub async fn disown(&self, shard: ShardId) {
        let listener = self.shards.lock().await.remove(&shard);
        if let Some(listener) = listener {
            listener.end().await;
        }
    }

    /// Returns what was turned away.
    #[must_use]
    pub fn figures(&self) -> ServiceFigures {
        self.counter.figures()
    }

    /// Returns a function that returns the figures of its moment, for whoever shows them.
    pub fn meter(&self) -> impl Fn() -> ServiceFigures + Send + Sync + 'static {
        let counter = Arc::clone(&self.counter);
        move || counter.figures()
    }

    /// Stops taking requests, once what is under way is answered.
    pub async fn stop(self) {
        self.endpoint.end().await;
        self.any.end().await;
        for listener in self.shards.into_inner().into_values() {
            listener.end().await;
        }
        if let Err(error) = self.service.stop().await {
            debug!(%error, "the service did not stop as it should");
        }
    }

    /// Waits until the server has heard of a subscription: from then on nobody is told that there
    /// is no responder.
    async fn settle(&self, subject: &str) -> Result<(), ServiceError> {
        let flushed = tokio::time::timeout(self.connection.patience(), async {
            self.connection.client().flush().await.map_err(|error| error.to_string())
        });
        let flushed = flushed.await.unwrap_or_else(|_elapsed| Err("no answer".into()));
        flushed.map_err(|why| ServiceError::Subscribe { subject: subject.to_owned(), why })
    }
}

/// Listens where all nodes do: for requests that were taken by one that does not answer.
async fn listen_any(
    connection: &Connection,
    counter: &Arc<Counter>,
) -> Result<Listener, ServiceError> {
    let (subject, client) = (connection.subjects().request_any(), connection.client().clone());
    let subscriber = client.subscribe(subject.clone()).await;
    let subscriber =
        subscriber.map_err(|error| ServiceError::Subscribe { subject, why: error.to_string() })?;
    let (stop, stopped) = watch::channel(false);
    let inbox = inbox::of_shard(None, (client, subscriber), Arc::clone(counter), stopped);
    Ok(Listener { stop, task: spawn_named("requests", inbox) })
}

/// What all listeners of a node share: who answers, how many at once, and what was turned away.
#[derive(Debug)]
struct Counter {
    serve: SharedServe,
    room: Semaphore,
    busy: AtomicU64,
    unsent: AtomicU64,
}

impl Counter {
    fn new(serve: SharedServe) -> Self {
        let room = Semaphore::new(REQUESTS_MAX);
        Self { serve, room, busy: AtomicU64::new(0), unsent: AtomicU64::new(0) }
    }

    /// Answers a request to the mesh, or to the owner of a shard.
    async fn serve(&self, shard: Option<ShardId>, request: Bytes) -> Served {
        let Ok(_room) = self.room.try_acquire() else {
            self.busy.fetch_add(1, Ordering::Relaxed);
            let text = format!("{REQUESTS_MAX} requests are under way");
            let reply = Reply::Refused(Refusal::new(RefusalReason::Busy, text));
            let body = encode_reply(&reply, Form::of(&request)).into();
            return Served { body, refused: Some(RefusalReason::Busy) };
        };
        match shard {
            None => self.serve.coordinate(request).await,
            Some(shard) => self.serve.answer(shard, request).await,
        }
    }

    fn note_unsent(&self, error: &async_nats::PublishError) {
        self.unsent.fetch_add(1, Ordering::Relaxed);
        debug!(%error, "a reply was not sent");
    }

    fn figures(&self) -> ServiceFigures {
        ServiceFigures {
            busy: self.busy.load(Ordering::Relaxed),
            unsent: self.unsent.load(Ordering::Relaxed),
        }
    }

    fn to_json(&self) -> serde_json::Value {
        let ServiceFigures { busy, unsent } = self.figures();
        serde_json::json!({ "busy": busy, "unsent": unsent })
    }
}
