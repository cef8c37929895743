//! One consumer of the events stream: made, read, and forgotten.

use std::time::Duration;

use async_nats::jetstream::{
    consumer::{AckPolicy, Consumer, DeliverPolicy, PullConsumer, pull},
    message::Message,
};
use futures::StreamExt as _;
use tapio_telemetry::spawn_named;
use tokio::{
    runtime::Handle,
    time::{sleep, timeout},
};
use tracing::debug;

use crate::Connection;

/// Envelopes asked for at once: at 20 KB each, 5 MB that wait in the client.
const PULL_ENVELOPES: usize = 256;

/// How long one request for envelopes stands.
const PULL_EXPIRES: Duration = Duration::from_secs(30);

/// How often a server with nothing to say says so. Two that stay away and the consumer is made
/// again, so a reader is back within two seconds of a server's return.
const HEARTBEAT: Duration = Duration::from_secs(1);

/// How long a server keeps the consumer of a reader that is gone. Until then it costs every
/// publisher a little.
const INACTIVE_MAX: Duration = Duration::from_secs(30);

/// Where a consumer begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum From {
    /// With the first message there is.
    First,
    /// With the next one published.
    New,
    /// With the first at or after a sequence.
    Sequence(u64),
}

/// A consumer, as far as it was read.
pub(super) struct Reader {
    connection: Connection,
    stream: String,
    consumer: PullConsumer,
    messages: pull::Stream,
    /// Messages received of it.
    received: u64,
    /// The first sequence not received.
    pub(super) next: u64,
}

/// What came of a consumer.
#[derive(Debug)]
pub(super) enum Received {
    /// A message, with its sequence.
    Message(Box<Message>, u64),
    /// Messages before this one did not come.
    Gap,
    /// Nothing more will come.
    Lost(String),
}

impl Reader {
    /// Makes a consumer of what the filters let through.
    pub(super) async fn open(
        connection: Connection,
        stream: String,
        filters: Vec<String>,
        from: From,
    ) -> Result<Self, String> {
        let config = pull::Config {
            deliver_policy: match from {
                From::First => DeliverPolicy::All,
                From::New => DeliverPolicy::New,
                // A server takes no zero for a sequence: the first is 1.
                From::Sequence(first) => {
                    DeliverPolicy::ByStartSequence { start_sequence: first.max(1) }
                }
            },
            ack_policy: AckPolicy::None,
            filter_subjects: filters,
            inactive_threshold: INACTIVE_MAX,
            num_replicas: 1,
            memory_storage: true,
            ..pull::Config::default()
        };
        let opening = async {
            let made = connection.jetstream().create_consumer_on_stream(config, &stream).await;
            let consumer: Consumer<pull::Config> = made.map_err(|why| why.to_string())?;
            let pulling = consumer
                .stream()
                .max_messages_per_batch(PULL_ENVELOPES)
                .expires(PULL_EXPIRES)
                .heartbeat(HEARTBEAT);
            let messages = pulling.messages().await.map_err(|why| why.to_string())?;
            Ok::<_, String>((consumer, messages))
        };
        let opened = timeout(connection.patience().saturating_mul(2), opening).await;
        let (consumer, messages) = opened.map_err(|_elapsed| "no answer".to_owned())??;
        let next = match from {
            From::Sequence(first) => first,
            From::First | From::New => consumer.cached_info().delivered.stream_sequence + 1,
        };
        Ok(Self { connection, stream, consumer, messages, received: 0, next })
    }

    /// Waits for what comes next.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub(super) async fn receive(&mut self) -> Received {
        let message = match self.messages.next().await {
            Some(Ok(message)) => message,
            Some(Err(why)) => return Received::Lost(why.to_string()),
            None => return Received::Lost("ended".to_owned()),
        };
        let (sequence, place) = match message.info() {
            Ok(info) => (info.stream_sequence, info.consumer_sequence),
            Err(why) => return Received::Lost(why.to_string()),
        };
        if place != self.received + 1 {
            return Received::Gap;
        }
        self.received = place;
        self.next = sequence.saturating_add(1);
        Received::Message(Box::new(message), sequence)
    }

    /// Says whether everything in the stream was received.
    pub(super) async fn is_drained(&self) -> Result<bool, String> {
        let asking = timeout(self.connection.patience(), self.consumer.get_info()).await;
        let info = asking.map_err(|_elapsed| "no answer".to_owned())?;
        let info = info.map_err(|why| why.to_string())?;
        Ok(info.num_pending == 0 && info.delivered.consumer_sequence <= self.received)
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        // Without a runtime the server forgets it by itself.
        let Ok(_runtime) = Handle::try_current() else { return };
        let (connection, stream) = (self.connection.clone(), self.stream.clone());
        let name = self.consumer.cached_info().name.clone();
        // Nobody waits for it: a consumer that stays is forgotten after a while.
        drop(spawn_named("nats forget consumer", async move {
            let forgetting = connection.jetstream().delete_consumer_from_stream(&name, &stream);
            tokio::select! {
                answer = forgetting => debug!(name, ok = answer.is_ok(), "consumer forgotten"),
                () = sleep(connection.patience()) => {}
            }
        }));
    }
}
