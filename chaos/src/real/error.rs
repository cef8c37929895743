//! What the real world could not do.

use std::io;
use std::time::Duration;

use crate::real::NeedError;

/// Why a part of the real world could not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum RealError {
    /// The machine lacks something; suites count this as skipped.
    #[error(transparent)]
    Need(#[from] NeedError),
    /// The operating system refused.
    #[error("could not {what}")]
    Io {
        /// What was tried.
        what: String,
        /// What the system answered.
        #[source]
        source: io::Error,
    },
    /// A program ended before it was ready.
    #[error("{name} ended before it was ready; its last lines:\n{log_tail}")]
    Ended {
        /// Which program.
        name: String,
        /// The end of its log.
        log_tail: String,
    },
    /// A program runs but did not become ready in time.
    #[error("{name} was not ready within {patience:?}; its last lines:\n{log_tail}")]
    NotReady {
        /// Which program.
        name: String,
        /// How long it was given.
        patience: Duration,
        /// The end of its log.
        log_tail: String,
    },
    /// A program that was told to end still runs.
    #[error("process {pid} still runs {patience:?} after it was told to end")]
    StillRuns {
        /// Which process.
        pid: u32,
        /// How long it was given.
        patience: Duration,
    },
    /// The program was asked for something that only a running one can do.
    #[error("{name} does not run")]
    NotRunning {
        /// Which program.
        name: String,
    },
    /// A cluster did not become healthy in time.
    #[error("the cluster was not healthy within {patience:?}: {reason}")]
    Unhealthy {
        /// How long it was given.
        patience: Duration,
        /// What was wrong when time was up.
        reason: String,
    },
    /// A monitoring endpoint answered something that is no answer.
    #[error("{url} answered badly: {reason}")]
    Monitor {
        /// What was asked.
        url: String,
        /// What is wrong with the answer.
        reason: String,
    },
}

impl RealError {
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }
}
