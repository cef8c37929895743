//! Asks: the mesh, or the owner of a shard.

use std::{fmt, pin::pin, time::Duration};

use async_nats::{Client, client::RequestErrorKind};
use async_trait::async_trait;
use bytes::Bytes;
use tapio_bus::{Ask, AskError};
use tapio_model::{Answer, Refusal, Reply, Request, ShardId};
use tapio_wire::{DecodeError, Form, decode_reply, encode_request};
use tokio::time::timeout;

use crate::{Connection, Subjects};

/// What a request waits for beyond its deadline: the way there and back.
const TRAVEL: Duration = Duration::from_secs(2);

/// Part of its deadline after which a request that only reads is asked of every node: the one that
/// took it may stand still, and the server goes on giving it its share for minutes.
const HEDGE_PART: u32 = 4;

/// Part of its deadline that is left for the way back of such an answer.
const WAY_PART: u32 = 20;

/// Why a request got no answer.
#[derive(Debug, thiserror::Error)]
pub enum RequesterError {
    /// No node of the mesh listens.
    #[error("no node of the mesh listens; start one with: tapio node")]
    NoMesh,
    /// A node listens, and its answer did not come.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// The request could not be sent.
    #[error("cannot ask: {0}")]
    Unreachable(String),
    /// The mesh refused.
    #[error(transparent)]
    Refused(Refusal),
    /// What came back is no answer.
    #[error("what answers is not of this mesh: {0}")]
    Unreadable(#[source] DecodeError),
}

/// Asks the mesh, or the owner of a shard. A clone shares the connection.
#[derive(Clone)]
pub struct Requester {
    client: Client,
    subjects: Subjects,
}

impl fmt::Debug for Requester {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Requester").field("subjects", &self.subjects).finish_non_exhaustive()
    }
}

impl Requester {
    /// Makes a requester on a connection.
    #[must_use]
    pub fn new(connection: &Connection) -> Self {
        let (client, subjects) = (connection.client().clone(), connection.subjects().clone());
        Self { client, subjects }
    }

    /// Asks the mesh.
    ///
    /// # Errors
    /// [`RequesterError`], at the latest 2 s after the request's deadline.
    /// # Cancel safety
    /// Dropping the future forgets the answer; what was to be done may be done all the same.
    pub async fn request(&self, request: &Request) -> Result<Answer, RequesterError> {
        let within = request.within() + TRAVEL;
        let bytes = encode_request(request, Form::MessagePack).into();
        let first = self.send(self.subjects.request().to_owned(), bytes, within);
        let reply =
            if request.op.is_read() { self.hedged(request, first).await } else { first.await };
        let reply = reply.map_err(|error| match error {
            AskError::NoResponders => RequesterError::NoMesh,
            AskError::Timeout => RequesterError::Timeout(within),
            AskError::Unreachable(why) => RequesterError::Unreachable(why),
        })?;
        match decode_reply(&reply).map_err(RequesterError::Unreadable)? {
            Reply::Answer(answer) => Ok(answer),
            Reply::Refused(refusal) => Err(RequesterError::Refused(refusal)),
            Reply::Part(_) => Err(RequesterError::Unreadable(DecodeError::Malformed {
                what: "an owner's answer, where a coordinator's was expected".into(),
            })),
        }
    }

    /// Waits for the reply to `request`, and asks all nodes if it does not come soon. Whatever
    /// answers first is the answer.
    async fn hedged(
        &self,
        request: &Request,
        first: impl Future<Output = Result<Bytes, AskError>>,
    ) -> Result<Bytes, AskError> {
        let mut first = pin!(first);
        let (deadline, after) = (request.within(), request.within() / HEDGE_PART);
        if let Ok(reply) = timeout(after, &mut first).await {
            return reply;
        }
        let left = deadline.saturating_sub(after + deadline / WAY_PART);
        let again = Request { deadline: Some(left), ..request.clone() };
        let bytes = encode_request(&again, Form::MessagePack).into();
        let second = self.send(self.subjects.request_any(), bytes, left + TRAVEL);
        tokio::select! {
            reply = &mut first => reply,
            // Whoever took the first may still answer where nobody takes the second.
            reply = second => match reply {
                Ok(reply) => Ok(reply),
                Err(_unanswered) => first.await,
            },
        }
    }

    /// Sends a request and waits for its first reply. While the connection is away the client
    /// would wait for it for good: both have the one limit.
    async fn send(
        &self,
        subject: String,
        request: Bytes,
        within: Duration,
    ) -> Result<Bytes, AskError> {
        let request = async_nats::Request::new().payload(request).timeout(Some(within));
        let reply = timeout(within, self.client.send_request(subject, request)).await;
        match reply {
            Ok(Ok(message)) => Ok(message.payload),
            Ok(Err(error)) => Err(match error.kind() {
                RequestErrorKind::NoResponders => AskError::NoResponders,
                RequestErrorKind::TimedOut => AskError::Timeout,
                RequestErrorKind::InvalidSubject
                | RequestErrorKind::MaxPayloadExceeded
                | RequestErrorKind::Other => AskError::Unreachable(error.to_string()),
            }),
            Err(_elapsed) => Err(AskError::Timeout),
        }
    }
}

#[async_trait]
impl Ask for Requester {
    async fn ask(
        &self,
        shard: ShardId,
        request: Bytes,
        within: Duration,
    ) -> Result<Bytes, AskError> {
        self.send(self.subjects.request_of(shard), request, within).await
    }
}
