//! The ports of request and reply: how a node asks another, and how it is asked.
//!
//! Bytes go in and come out as they are: only `tapio-wire` reads them.

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use tapio_model::{RefusalReason, ShardId};

/// Why an owner did not answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// Nobody listens for the shard: it has no owner.
    #[error("nobody answers for the shard")]
    NoResponders,
    /// No answer in time.
    #[error("no answer in time")]
    Timeout,
    /// The transport could not carry the request.
    #[error("cannot ask: {0}")]
    Unreachable(String),
}

/// Asks the owners of shards.
#[async_trait]
pub trait Ask: Send + Sync + fmt::Debug {
    /// Asks whoever owns `shard`, and returns the first reply.
    ///
    /// # Errors
    /// [`AskError`], at the latest after `within`.
    /// # Cancel safety
    /// Dropping the future forgets the reply; the request may be answered all the same.
    async fn ask(
        &self,
        shard: ShardId,
        request: Bytes,
        within: Duration,
    ) -> Result<Bytes, AskError>;
}

/// Asks owners, shared.
pub type SharedAsk = Arc<dyn Ask>;

/// A reply, and whether it is a refusal: a transport may mark those in its own way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Served {
    /// The reply, in the form of its request.
    pub body: Bytes,
    /// Why the request was refused, if it was.
    pub refused: Option<RefusalReason>,
}

/// Answers requests, whatever they hold: garbage is answered too.
#[async_trait]
pub trait Serve: Send + Sync + fmt::Debug {
    /// Answers a request to the mesh: asks whoever has to be asked.
    async fn coordinate(&self, request: Bytes) -> Served;

    /// Answers a request to the owner of `shard`.
    async fn answer(&self, shard: ShardId, request: Bytes) -> Served;
}

/// Answers requests, shared.
pub type SharedServe = Arc<dyn Serve>;
