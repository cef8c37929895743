//! What a collector is.

use std::fmt;

use async_trait::async_trait;
use tokio::sync::watch;

use crate::Outlet;

/// Why a collector ended before it was told to.
#[derive(Debug, thiserror::Error)]
pub enum CollectorError {
    /// Its source is not on this machine. Normal, and said once.
    #[error("{source_name} is not here: {why}; {cure}")]
    Absent {
        /// The source: `/dev/kmsg`, `systemd journal`, ...
        source_name: String,
        /// What was found instead.
        why: String,
        /// What would bring it.
        cure: String,
    },
    /// Its source broke.
    #[error("reading {source_name}: {why}")]
    Broken {
        /// The source.
        source_name: String,
        /// What happened.
        why: String,
    },
    /// Nobody takes its events any more.
    #[error("nobody takes events any more")]
    Closed,
}

/// A sense: reads one source until told to stop.
#[async_trait]
pub trait Collector: Send + fmt::Debug {
    /// Returns the collector's name: its file, its label.
    fn name(&self) -> &'static str;

    /// Reads until `stop`, or until the source ends. Everything read is either emitted or counted
    /// as dropped.
    ///
    /// # Errors
    /// [`CollectorError`]; what was read before it has been emitted.
    async fn run(self: Box<Self>, outlet: Outlet, stop: Stop) -> Result<(), CollectorError>;
}

/// Tells collectors to stop. Dropping it tells them too.
#[derive(Debug)]
pub struct Stopper(watch::Sender<bool>);

/// The receiving end of a [`Stopper`].
#[derive(Debug, Clone)]
pub struct Stop(watch::Receiver<bool>);

/// Makes a stop signal.
#[must_use]
pub fn stop_signal() -> (Stopper, Stop) {
    let (sender, receiver) = watch::channel(false);
    (Stopper(sender), Stop(receiver))
}

impl Stopper {
    /// Tells everybody to stop.
    pub fn stop(&self) {
        self.0.send_replace(true);
    }
}

impl Stop {
    /// Says whether it is time to stop; for loops that block.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        *self.0.borrow() || self.0.has_changed().is_err()
    }

    /// Waits until it is time to stop.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn stopped(&mut self) {
        // An error means that the stopper is gone, which says the same.
        drop(self.0.wait_for(|stopped| *stopped).await);
    }
}
