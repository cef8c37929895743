//! The connection: opened once, with what was learnt about the server.

mod events;
mod server;

use std::{fmt, sync::Arc, time::Duration};

use async_nats::{Client, connection::State, jetstream};
use tokio::time::timeout;
use tracing::warn;

use self::events::Counters;
pub use self::{
    events::{AsyncEvent, ConnectionFigures},
    server::ConnectError,
};
use crate::{Difference, NatsConfig, StreamError, StreamPlan, Subjects, stream};

/// How long closing waits for what is still to be sent.
const DRAIN_MAX: Duration = Duration::from_secs(5);

/// A connection, and what was learnt about its server. A clone shares it.
#[derive(Clone)]
pub struct Connection {
    inner: Arc<Inner>,
}

struct Inner {
    client: Client,
    jetstream: jetstream::Context,
    subjects: Subjects,
    counters: Arc<Counters>,
    patience: Duration,
    seed: u64,
}

impl Connection {
    /// Connects, and makes sure that the server is one to work with.
    ///
    /// # Errors
    /// [`ConnectError`], which names the cure.
    /// # Shape
    /// Bounded by `config.startup`.
    pub async fn open(config: &NatsConfig) -> Result<Self, ConnectError> {
        let counters = Arc::new(Counters::default());
        // Boxed: the client's futures are large, and who opens a connection should not be.
        let client = Box::pin(server::connect(config, &counters)).await?;
        let jetstream = Box::pin(server::jetstream(config, client.clone())).await?;
        let inner = Inner {
            client,
            jetstream,
            subjects: config.subjects.clone(),
            counters,
            patience: config.patience,
            seed: config.seed,
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Returns the client.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.inner.client
    }

    /// Returns JetStream. Its calls wait [`Connection::patience`] for an answer; sending can take
    /// longer while the connection is away, so a caller bounds it.
    #[must_use]
    pub fn jetstream(&self) -> &jetstream::Context {
        &self.inner.jetstream
    }

    /// Returns the names.
    #[must_use]
    pub fn subjects(&self) -> &Subjects {
        &self.inner.subjects
    }

    /// Returns how long a call may take.
    #[must_use]
    pub fn patience(&self) -> Duration {
        self.inner.patience
    }

    /// Returns the seed of whatever is left to chance here.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.inner.seed
    }

    /// Returns the figures of this moment.
    #[must_use]
    pub fn figures(&self) -> ConnectionFigures {
        self.inner.counters.snapshot()
    }

    /// Returns how many bytes the server takes in one message.
    #[must_use]
    pub fn payload_bytes_max(&self) -> usize {
        self.client().max_payload()
    }

    /// Says whether there is a connection at this moment.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        matches!(self.inner.client.connection_state(), State::Connected)
    }

    /// Creates the streams and buckets that are missing, and checks those that are there.
    ///
    /// # Errors
    /// [`StreamError`]; what differs is explained and left as it is.
    /// # Cancel safety
    /// Dropping the future may leave some of them made; the next call goes on.
    pub async fn set_up(&self, plan: &StreamPlan) -> Result<(), StreamError> {
        Box::pin(stream::set_up(self, plan)).await
    }

    /// Compares the streams and buckets with a plan, and makes nothing: returns what differs, and the
    /// names of those that are missing.
    ///
    /// # Errors
    /// [`StreamError`] if the server does not say.
    pub async fn compare(
        &self,
        plan: &StreamPlan,
    ) -> Result<(Vec<Difference>, Vec<String>), StreamError> {
        Box::pin(stream::look(self, plan)).await
    }

    /// Sends what is still to be sent, and ends the connection for all clones.
    pub async fn close(&self) {
        let draining = async {
            self.inner.client.flush().await.map_err(|why| why.to_string())?;
            self.inner.client.drain().await.map_err(|why| why.to_string())?;
            self.inner.counters.closed().await;
            Ok::<_, String>(())
        };
        match timeout(DRAIN_MAX, draining).await {
            Ok(Ok(())) => {}
            Ok(Err(why)) => warn!(why, "the connection to NATS ended before all was sent"),
            Err(_elapsed) => warn!("the connection to NATS did not end in time"),
        }
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("subjects", &self.inner.subjects)
            .field("figures", &self.figures())
            .finish_non_exhaustive()
    }
}
