//! Why a world could not be built or read.

use std::time::Duration;

use tapio_nats::{ArchiveError, ConnectError};

use crate::real::{NeedError, RealError};

/// Why a world could not be built or read.
#[derive(Debug, thiserror::Error)]
pub enum WorldError {
    /// Servers or nodes.
    #[error(transparent)]
    Real(#[from] RealError),
    /// The connection of the suite.
    #[error("the suite cannot reach the servers: {0}")]
    Connect(#[from] ConnectError),
    /// What left the mesh.
    #[error("what left the mesh cannot be read: {0}")]
    Archive(#[from] ArchiveError),
    /// A node did not own its share in time.
    #[error("{node} was not ready within {patience:?}: {why}; its last lines:\n{log_tail}")]
    NotReady {
        /// Which node.
        node: String,
        /// How long it was given.
        patience: Duration,
        /// What it answered last.
        why: String,
        /// The end of its log.
        log_tail: String,
    },
    /// The run took longer than any run may.
    #[error("the run was not over after {0:?}")]
    Overdue(Duration),
}

impl WorldError {
    /// Returns what the machine lacks, if that is the reason.
    pub(super) fn need(self) -> Result<NeedError, Self> {
        match self {
            Self::Real(RealError::Need(need)) => Ok(need),
            other @ (Self::Real(_)
            | Self::Connect(_)
            | Self::Archive(_)
            | Self::NotReady { .. }
            | Self::Overdue(_)) => Err(other),
        }
    }
}
