//! The archive: what left the mesh, for whoever reads it: tellings and dead letters.

mod dead_letters;
mod tellings;
mod witness;

use std::time::Duration;

use tapio_bus::FabricError;
use tapio_wire::DecodeError;
use tokio::time::timeout;

pub use self::{
    dead_letters::{DeadLetterEntry, DeadLetterFilter, DeadLetters},
    tellings::{TellingEntry, TellingFeed},
    witness::{AuditFeed, RootEntry, RootFeed},
};
use crate::{
    Connection, NatsFabric, Stream, Subjects,
    fabric::{Kept, KeptState},
};

/// How long reading to an end that was there may take to get one message further. An election takes
/// up to nine seconds, and a new consumer after it some more.
const STEP_MAX: Duration = Duration::from_secs(30);

/// Why something of the archive cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ArchiveError {
    /// There is no such stream.
    #[error(
        "there is no stream {stream}: either no node of this mesh has run yet, or \
         NATS_SUBJECT_PREFIX is another one"
    )]
    Missing {
        /// Which.
        stream: String,
    },
    /// No answer, or a refusal.
    #[error("reading stream {stream}: {why}")]
    Failed {
        /// Which.
        stream: String,
        /// What came instead.
        why: FabricError,
    },
    /// A message that is there and is not what this build reads.
    #[error("message {sequence} of stream {stream} cannot be read: {why}")]
    Unreadable {
        /// Which stream.
        stream: String,
        /// Which message.
        sequence: u64,
        /// Why not.
        why: DecodeError,
    },
}

/// What left the mesh, over one connection. Makes no streams: it only reads.
#[derive(Debug)]
pub struct Archive {
    fabric: NatsFabric,
    subjects: Subjects,
}

impl Archive {
    /// Makes an archive of a connection, which it shares with whoever else has it.
    #[must_use]
    pub fn new(connection: Connection) -> Self {
        let subjects = connection.subjects().clone();
        Self { fabric: NatsFabric::new(connection), subjects }
    }

    /// Says whether there is such a stream.
    ///
    /// # Errors
    /// [`ArchiveError::Failed`].
    pub async fn has(&self, stream: Stream) -> Result<bool, ArchiveError> {
        match self.state(stream).await {
            Ok(_state) => Ok(true),
            Err(ArchiveError::Missing { .. }) => Ok(false),
            Err(error @ (ArchiveError::Failed { .. } | ArchiveError::Unreadable { .. })) => {
                Err(error)
            }
        }
    }

    async fn state(&self, stream: Stream) -> Result<KeptState, ArchiveError> {
        let state = self.fabric.kept_state(&self.subjects.stream(stream)).await;
        let state = state.map_err(|why| self.failed(stream, why))?;
        state.ok_or_else(|| ArchiveError::Missing { stream: self.subjects.stream(stream) })
    }

    /// Hands everything that lies at `filter` at this moment to `take`, oldest first.
    async fn scan(
        &self,
        stream: Stream,
        filter: String,
        mut take: impl FnMut(Kept),
    ) -> Result<(), ArchiveError> {
        self.state(stream).await?;
        let failed = |why| self.failed(stream, why);
        let name = self.subjects.stream(stream);
        let Some(last) = self.fabric.last_kept(&name, &filter).await.map_err(failed)? else {
            return Ok(());
        };
        let mut reader = self.fabric.read_kept(&name, filter, 1).await.map_err(failed)?;
        loop {
            let next = timeout(STEP_MAX, reader.next()).await.unwrap_or_else(|_elapsed| {
                Err(FabricError::Unreachable(format!("nothing came within {STEP_MAX:?}")))
            });
            let kept = next.map_err(failed)?;
            // The last may have aged out since it was looked for: then nothing waits either.
            let is_last = kept.entry.sequence >= last || kept.entry.waiting == 0;
            take(kept);
            if is_last {
                return Ok(());
            }
        }
    }

    fn failed(&self, stream: Stream, why: FabricError) -> ArchiveError {
        ArchiveError::Failed { stream: self.subjects.stream(stream), why }
    }
}
