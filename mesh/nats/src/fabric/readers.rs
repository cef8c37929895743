//! Logs and signs of life, read with a [`Tail`].

use std::sync::Arc;

use async_nats::{
    HeaderMap,
    jetstream::{context::RequestErrorKind, response::Response, stream},
};
use async_trait::async_trait;
use bytes::Bytes;
use tapio_bus::{Beat, BeatReader, FabricError, LogEntry, LogReader, Revision};
use tapio_model::Text;

use super::{
    calls::{Area, Calls, is_marker},
    failure::Failure,
    figures::count,
    node_key::{key_of, node_of},
    parcel::TRACEPARENT,
    tail::{Course, Start, Tail},
};
use crate::Bucket;

/// Reads the entries of one shard.
#[derive(Debug)]
pub(super) struct ShardLog {
    tail: Tail,
    calls: Arc<Calls>,
    first_kept: u64,
}

impl ShardLog {
    /// Begins to read at `from`.
    pub(super) async fn open(
        calls: &Arc<Calls>,
        course: Course,
        from: u64,
        seed: u64,
    ) -> Result<Self, Failure> {
        let stream = course.stream.clone();
        let opening = async {
            let tail = Tail::open(Arc::clone(calls), course, Start::At(from), seed).await?;
            // Asked once the consumer stands: what ages out before that shows here.
            let first_kept = first_kept(calls, &stream).await?;
            Ok(Self { tail, calls: Arc::clone(calls), first_kept })
        };
        calls.bounded(Area::Logs, opening).await
    }
}

async fn first_kept(calls: &Calls, stream: &str) -> Result<u64, Failure> {
    let jetstream = calls.connection.jetstream();
    match jetstream.request(format!("STREAM.INFO.{stream}"), &()).await {
        Ok(Response::<stream::Info>::Ok(info)) => Ok(info.state.first_sequence),
        Ok(Response::Err { error }) => Err(error.into()),
        Err(error) => Err(match error.kind() {
            RequestErrorKind::InvalidSubject => Failure::Refused(error.to_string()),
            RequestErrorKind::NoResponders
            | RequestErrorKind::TimedOut
            | RequestErrorKind::Other => Failure::Unreachable(error.to_string()),
        }),
    }
}

#[async_trait]
impl LogReader for ShardLog {
    fn first_kept(&self) -> u64 {
        self.first_kept
    }

    async fn next(&mut self) -> Result<LogEntry, FabricError> {
        let (delivery, message) = self.tail.next().await?;
        count(&self.calls.counters.entries_read);
        Ok(LogEntry {
            sequence: delivery.stream,
            time: delivery.time,
            waiting: delivery.waiting,
            body: message.payload,
            traceparent: message.headers.as_ref().and_then(traceparent),
        })
    }
}

fn traceparent(headers: &HeaderMap) -> Option<Text> {
    headers.get(TRACEPARENT).map(|value| Text::from(value.as_str()))
}

/// Hears the signs of life of all nodes.
#[derive(Debug)]
pub(super) struct Beats {
    tail: Tail,
    calls: Arc<Calls>,
    keys: String,
}

impl Beats {
    /// Begins with the last sign of each node.
    pub(super) async fn open(calls: &Arc<Calls>, seed: u64) -> Result<Self, Failure> {
        let (stream, keys) = calls.bucket(Bucket::Nodes);
        let course = Course { stream, filter: format!("{keys}>") };
        let opening = Tail::open(Arc::clone(calls), course, Start::LastOfEach, seed);
        let tail = calls.bounded(Area::Beats, opening).await?;
        Ok(Self { tail, calls: Arc::clone(calls), keys })
    }
}

#[async_trait]
impl BeatReader for Beats {
    async fn next(&mut self) -> Result<Beat, FabricError> {
        loop {
            let (delivery, message) = self.tail.next().await?;
            let Some(node) = message.subject.strip_prefix(&self.keys).and_then(node_of) else {
                count(&self.calls.counters.malformed_dropped);
                continue;
            };
            count(&self.calls.counters.beats_heard);
            // A node that was deleted by hand has signed off, too.
            let is_gone = message.headers.as_ref().is_some_and(is_marker);
            let body = if is_gone { Bytes::new() } else { message.payload };
            return Ok(Beat { node, revision: Revision(delivery.stream), body });
        }
    }
}

impl Calls {
    /// Gives a sign of life.
    pub(super) async fn beat(&self, node: &str, body: &Bytes) -> Result<Revision, Failure> {
        let (_, keys) = self.bucket(Bucket::Nodes);
        let (key, headers) = (format!("{keys}{}", key_of(node)), HeaderMap::new());
        let ack = self.bounded(Area::Beats, self.append(&key, &headers, body)).await?;
        count(&self.counters.beats_given);
        Ok(Revision(ack.sequence))
    }
}
