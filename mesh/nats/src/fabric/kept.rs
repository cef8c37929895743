//! What streams keep of what left the mesh, with the subjects it lies at.

use std::sync::Arc;

use async_nats::{
    HeaderMap,
    jetstream::{
        context::RequestErrorKind,
        message::StreamMessage,
        response::Response,
        stream::{Info, RawMessageErrorKind},
    },
};
use tapio_bus::{FabricError, LogEntry};
use tapio_model::{Text, Timestamp};
use tokio::time::timeout;

use super::{
    NatsFabric,
    calls::{Area, Calls},
    failure::Failure,
    parcel::TRACEPARENT,
    tail::{Course, Start, Tail},
};

/// Part of its patience that a read spends on whichever replica is near, before it asks the leader.
const NEAR_PART: u32 = 3;

/// A message that a stream keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Kept {
    /// Where it lies.
    pub(crate) subject: String,
    /// What lies there.
    pub(crate) entry: LogEntry,
}

/// How much a stream keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct KeptState {
    /// Messages in it.
    pub(crate) messages: u64,
    /// The first sequence it still has.
    pub(crate) first: u64,
    /// The last sequence it ever gave.
    pub(crate) last: u64,
}

/// Reads messages as they come, over whatever happens to servers and connections.
#[derive(Debug)]
pub(crate) struct KeptReader {
    tail: Tail,
}

impl KeptReader {
    /// Waits for the next message.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub(crate) async fn next(&mut self) -> Result<Kept, FabricError> {
        let (delivery, message) = self.tail.next().await?;
        let entry = LogEntry {
            sequence: delivery.stream,
            time: delivery.time,
            waiting: delivery.waiting,
            traceparent: message.headers.as_ref().and_then(traceparent),
            body: message.payload,
        };
        Ok(Kept { subject: message.subject.to_string(), entry })
    }
}

impl NatsFabric {
    /// Reads what a stream keeps at `filter`, from sequence `from` on, and what comes.
    pub(crate) async fn read_kept(
        &self,
        stream: &str,
        filter: String,
        from: u64,
    ) -> Result<KeptReader, FabricError> {
        let course = Course { stream: stream.to_owned(), filter };
        let opening = Tail::open(Arc::clone(&self.calls), course, Start::At(from), self.seed());
        Ok(KeptReader { tail: self.calls.bounded(Area::Logs, opening).await? })
    }

    /// Returns the sequence of the last message at `filter`; `None` if there is none.
    pub(crate) async fn last_kept(
        &self,
        stream: &str,
        filter: &str,
    ) -> Result<Option<u64>, FabricError> {
        let last = self.calls.bounded(Area::Logs, self.calls.last(stream, filter)).await?;
        Ok(last.map(|stored| stored.sequence))
    }

    /// Returns the message with `sequence`; `None` if there is none, or not any more.
    pub(crate) async fn kept_at(
        &self,
        stream: &str,
        sequence: u64,
    ) -> Result<Option<Kept>, FabricError> {
        Ok(self.calls.bounded(Area::Logs, at(&self.calls, stream, sequence)).await?)
    }

    /// Returns how much a stream keeps; `None` if there is no such stream.
    pub(crate) async fn kept_state(&self, stream: &str) -> Result<Option<KeptState>, FabricError> {
        match self.calls.bounded(Area::Logs, state(&self.calls, stream)).await {
            Ok(state) => Ok(Some(state)),
            Err(Failure::Missing(_)) => Ok(None),
            Err(
                failure @ (Failure::Lost
                | Failure::Busy(_)
                | Failure::Unreachable(_)
                | Failure::Full(_)
                | Failure::Refused(_)),
            ) => Err(failure.into()),
        }
    }
}

async fn at(calls: &Calls, stream: &str, sequence: u64) -> Result<Option<Kept>, Failure> {
    let handle = calls.connection.jetstream().get_stream_no_info(stream).await;
    let handle = handle.map_err(|error| Failure::Refused(error.to_string()))?;
    // Straight from a replica: the leader's own answer would be half as large again, in JSON.
    let near = timeout(calls.patience() / NEAR_PART, handle.direct_get(sequence)).await;
    if let Ok(Ok(message)) = near {
        return Ok(Some(Kept::from(message)));
    }
    match handle.get_raw_message(sequence).await {
        Ok(message) => Ok(Some(Kept::from(message))),
        Err(error) => match error.kind() {
            RawMessageErrorKind::NoMessageFound => Ok(None),
            RawMessageErrorKind::JetStream(error) => Err(error.into()),
            RawMessageErrorKind::InvalidSubject => Err(Failure::Refused(error.to_string())),
            RawMessageErrorKind::Other => Err(Failure::Unreachable(error.to_string())),
        },
    }
}

async fn state(calls: &Calls, stream: &str) -> Result<KeptState, Failure> {
    let jetstream = calls.connection.jetstream();
    match jetstream.request(format!("STREAM.INFO.{stream}"), &()).await {
        Ok(Response::<Info>::Ok(info)) => Ok(KeptState {
            messages: info.state.messages,
            first: info.state.first_sequence,
            last: info.state.last_sequence,
        }),
        Ok(Response::Err { error }) => Err(error.into()),
        Err(error) => Err(match error.kind() {
            RequestErrorKind::InvalidSubject => Failure::Refused(error.to_string()),
            RequestErrorKind::NoResponders
            | RequestErrorKind::TimedOut
            | RequestErrorKind::Other => Failure::Unreachable(error.to_string()),
        }),
    }
}

fn traceparent(headers: &HeaderMap) -> Option<Text> {
    headers.get(TRACEPARENT).map(|value| Text::from(value.as_str()))
}

impl From<StreamMessage> for Kept {
    fn from(message: StreamMessage) -> Self {
        let nanos = i64::try_from(message.time.unix_timestamp_nanos()).unwrap_or_default();
        let entry = LogEntry {
            sequence: message.sequence,
            time: Timestamp::from_nanos(nanos),
            waiting: 0,
            traceparent: traceparent(&message.headers),
            body: message.payload,
        };
        Self { subject: message.subject.to_string(), entry }
    }
}
