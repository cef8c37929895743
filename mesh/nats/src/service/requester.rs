//! Asks: the mesh, or the owner of a shard.

use std::{fmt, time::Duration};

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
        let reply = self.send(self.subjects.request().to_owned(), bytes, within).await;
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
