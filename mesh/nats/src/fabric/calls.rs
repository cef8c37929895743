//! Calls to JetStream: each bounded, counted, and through a breaker.

use std::{future::Future, time::Duration};

use async_nats::{
    HeaderMap, HeaderValue, Request,
    header::NATS_EXPECTED_LAST_SUBJECT_SEQUENCE,
    jetstream::{
        message::StreamMessage,
        publish::PublishAck,
        response::Response,
        stream::{DirectGetErrorKind, LastRawMessageErrorKind, PurgeErrorKind, Stream as Handle},
    },
};
use bytes::Bytes;
use tapio_model::Timestamp;
use tokio::time::{sleep, timeout};

use super::{
    breaker::Breaker,
    clock::LogClock,
    failure::Failure,
    figures::{Counters, count},
};
use crate::{Bucket, Connection};

/// How long a write waits before it tries again where another one is under way.
const BUSY_WAIT: Duration = Duration::from_millis(10);

/// Part of its patience that a read spends on whichever replica is near, before it asks the leader.
const NEAR_PART: u32 = 3;

/// What is called. Each has a breaker of its own: an election of one stream's leader must not keep
/// a node from showing that it lives, nor a missing audit stream a story from being told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Area {
    Roots,
    Chunks,
    Logs,
    Findings,
    Stories,
    DeadLetters,
    Audit,
    Beats,
}

/// Calls to JetStream, and what they have in common.
#[derive(Debug)]
pub(super) struct Calls {
    pub(super) connection: Connection,
    pub(super) clock: LogClock,
    pub(super) counters: Counters,
    breakers: [Breaker; 8],
}

/// A message as it lies in a stream.
#[derive(Debug, Clone)]
pub(super) struct Stored {
    pub(super) sequence: u64,
    /// Nothing where a key was deleted: the marker has a sequence, and no value.
    pub(super) body: Option<Bytes>,
}

impl Calls {
    pub(super) fn new(connection: Connection) -> Self {
        Self {
            connection,
            clock: LogClock::new(),
            counters: Counters::default(),
            breakers: Default::default(),
        }
    }

    pub(super) fn patience(&self) -> Duration {
        self.connection.patience()
    }

    const fn breaker(&self, area: Area) -> &Breaker {
        let [roots, chunks, logs, findings, stories, dead_letters, audit, beats] = &self.breakers;
        match area {
            Area::Roots => roots,
            Area::Chunks => chunks,
            Area::Logs => logs,
            Area::Findings => findings,
            Area::Stories => stories,
            Area::DeadLetters => dead_letters,
            Area::Audit => audit,
            Area::Beats => beats,
        }
    }

    /// Says whether some calls fail at once.
    pub(super) fn is_open(&self) -> bool {
        !self.connection.is_connected() || self.breakers.iter().any(Breaker::is_open)
    }

    /// Makes a call, which answers or fails within [`Calls::patience`].
    pub(super) async fn bounded<T>(
        &self,
        area: Area,
        call: impl Future<Output = Result<T, Failure>> + Send,
    ) -> Result<T, Failure> {
        // Sent while there is no connection it would be written once there is one, long after its
        // caller has given it up.
        if !self.connection.is_connected() {
            count(&self.counters.failed_fast);
            return Err(Failure::Unreachable("not connected to NATS".to_owned()));
        }
        let Some(pass) = self.breaker(area).enter() else {
            count(&self.counters.failed_fast);
            return Err(Failure::Unreachable("no answer lately, so not asked".to_owned()));
        };
        let patience = self.patience();
        let answer = timeout(patience, call).await.unwrap_or_else(|_elapsed| {
            Err(Failure::Unreachable(format!("none within {} ms", patience.as_millis())))
        });
        match &answer {
            Err(failure) if failure.is_silence() => pass.silent(),
            Ok(_) | Err(_) => pass.answered(),
        }
        if let Err(failure) = &answer {
            self.count(failure);
        }
        answer
    }

    fn count(&self, failure: &Failure) {
        match failure {
            // Not a failure of the call; swaps count it themselves.
            Failure::Lost => {}
            Failure::Busy(_) | Failure::Missing(_) | Failure::Unreachable(_) => {
                count(&self.counters.unreachable);
            }
            Failure::Full(_) => count(&self.counters.full),
            Failure::Refused(_) => count(&self.counters.refused),
        }
    }

    /// Writes a message and waits until its stream has it.
    ///
    /// A request of our own, not `kv.update` or `publish`: those map one of the two codes of a
    /// lost race, and wait in a queue without end while the connection is away.
    pub(super) async fn append(
        &self,
        subject: &str,
        headers: &HeaderMap,
        body: &Bytes,
    ) -> Result<PublishAck, Failure> {
        loop {
            let request = Request::new()
                .headers(headers.clone())
                .payload(body.clone())
                .timeout(Some(self.patience()));
            let answer = self.connection.client().send_request(subject.to_owned(), request).await?;
            let answer = serde_json::from_slice(&answer.payload)
                .map_err(|error| Failure::Unreachable(format!("not an answer: {error}")))?;
            match answer {
                Response::Ok(ack) => return Ok(ack),
                Response::Err { error } => match Failure::from(error) {
                    Failure::Busy(_) => sleep(BUSY_WAIT).await,
                    failure @ (Failure::Lost
                    | Failure::Missing(_)
                    | Failure::Unreachable(_)
                    | Failure::Full(_)
                    | Failure::Refused(_)) => return Err(failure),
                },
            }
        }
    }

    /// Reads the last message of a subject from the stream's leader.
    ///
    /// A direct get, which `kv.get` makes where the bucket allows it, may be answered by a replica
    /// that has not yet taken the last write: a root read so could be older than a write its
    /// reader has seen acknowledged.
    pub(super) async fn last(
        &self,
        stream: &str,
        subject: &str,
    ) -> Result<Option<Stored>, Failure> {
        let handle = self.handle(stream).await?;
        match handle.get_last_raw_message_by_subject(subject).await {
            Ok(message) => Ok(Some(self.stored(message))),
            Err(error) => match error.kind() {
                LastRawMessageErrorKind::NoMessageFound => Ok(None),
                LastRawMessageErrorKind::JetStream(error) => Err(error.into()),
                LastRawMessageErrorKind::InvalidSubject => Err(Failure::Refused(error.to_string())),
                LastRawMessageErrorKind::Other => Err(Failure::Unreachable(error.to_string())),
            },
        }
    }

    /// Reads the last message of a subject that is written once, from whichever replica is near;
    /// only where that has nothing from the leader, which knows.
    pub(super) async fn only(
        &self,
        stream: &str,
        subject: &str,
    ) -> Result<Option<Stored>, Failure> {
        let handle = self.handle(stream).await?;
        let near = handle.direct_get_last_for_subject(subject);
        match timeout(self.patience() / NEAR_PART, near).await {
            Ok(Ok(message)) => Ok(Some(self.stored(message))),
            Ok(Err(error)) if error.kind() == DirectGetErrorKind::InvalidSubject => {
                Err(Failure::Refused(error.to_string()))
            }
            Ok(Err(_)) | Err(_) => self.last(stream, subject).await,
        }
    }

    /// Removes all messages of a subject, without leaving a marker: names of chunks never come
    /// back, and their markers would stay for ever.
    pub(super) async fn erase(&self, stream: &str, subject: &str) -> Result<(), Failure> {
        let handle = self.handle(stream).await?;
        match handle.purge().filter(subject).await {
            Ok(_) => Ok(()),
            Err(error) => match error.kind() {
                PurgeErrorKind::JetStream(error) => Err(error.into()),
                PurgeErrorKind::Request | PurgeErrorKind::TimedOut => {
                    Err(Failure::Unreachable(error.to_string()))
                }
            },
        }
    }

    async fn handle(&self, stream: &str) -> Result<Handle<()>, Failure> {
        // Asks nobody: it is the name, checked.
        let handle = self.connection.jetstream().get_stream_no_info(stream).await;
        handle.map_err(|error| Failure::Refused(error.to_string()))
    }

    fn stored(&self, message: StreamMessage) -> Stored {
        if let Ok(nanos) = i64::try_from(message.time.unix_timestamp_nanos()) {
            self.clock.hear(Timestamp::from_nanos(nanos));
        }
        let body = (!is_marker(&message.headers)).then_some(message.payload);
        Stored { sequence: message.sequence, body }
    }

    /// Returns the stream behind a bucket, and what its keys begin with as subjects.
    pub(super) fn bucket(&self, bucket: Bucket) -> (String, String) {
        let name = self.connection.subjects().bucket(bucket);
        (format!("KV_{name}"), format!("$KV.{name}."))
    }
}

/// Says whether a message marks the end of a key.
pub(super) fn is_marker(headers: &HeaderMap) -> bool {
    let operation = headers.get("KV-Operation").map(|value| value.as_str());
    // The server's own marker of a limit says so under another name.
    matches!(operation, Some("DEL" | "PURGE")) || headers.get("Nats-Marker-Reason").is_some()
}

/// Returns headers that let a write through only if the subject's last write was `sequence`; 0 for
/// none.
pub(super) fn expecting(sequence: u64) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, HeaderValue::from(sequence));
    headers
}
