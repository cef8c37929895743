//! The systemd journal: what becomes of units, and what services write.

mod follow;
mod position;
mod translate;
mod units;

use std::{io, path::PathBuf, thread, time::Duration};

use async_trait::async_trait;
use tapio_collect::{Collector, CollectorError, Outlet, Stop};
use tokio::sync::oneshot;

/// How the journal is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalConfig {
    /// Directories of journal files, or of machines' directories with them; those that exist are
    /// read.
    pub directories: Vec<PathBuf>,
    /// Whether to read what the journal holds already.
    pub from_start: bool,
    /// Where to keep how far the journal was read, so that the next run goes on from there; `None`
    /// keeps nothing.
    pub position: Option<PathBuf>,
    /// Whether to leave the kernel's messages to the kernel log's collector.
    pub skip_kernel: bool,
    /// Restarts of a unit within `loop_within` that make a loop. systemd's own limit (5 in 10 s) is
    /// never reached by a unit that waits between its restarts.
    pub loop_restarts_min: usize,
    /// The time in which so many restarts are a loop; afterwards the loop is over.
    pub loop_within: Duration,
    /// How soon a stop is noticed; new entries are noticed at once.
    pub interval: Duration,
}

impl Default for JournalConfig {
    fn default() -> Self {
        Self {
            directories: vec!["/var/log/journal".into(), "/run/log/journal".into()],
            from_start: false,
            position: None,
            skip_kernel: true,
            loop_restarts_min: 4,
            loop_within: Duration::from_secs(600),
            interval: Duration::from_millis(250),
        }
    }
}

/// Reads the systemd journal's files.
#[derive(Debug)]
pub struct JournalCollector {
    config: JournalConfig,
}

impl JournalCollector {
    /// Makes a collector; nothing is opened before it runs.
    #[must_use]
    pub fn new(config: JournalConfig) -> Self {
        Self { config }
    }
}

#[async_trait]
impl Collector for JournalCollector {
    fn name(&self) -> &'static str {
        "journal"
    }

    async fn run(self: Box<Self>, outlet: Outlet, stop: Stop) -> Result<(), CollectorError> {
        let (ended, end) = oneshot::channel();
        let work = move || {
            // Nobody listens any more only when the collector itself was dropped.
            drop(ended.send(follow::follow(&self.config, &outlet, &stop)));
        };
        let broken =
            |why: String| CollectorError::Broken { source_name: "systemd journal".into(), why };
        // The reader blocks on inotify and on the files: a thread of its own.
        let thread: io::Result<_> = thread::Builder::new().name("journal".into()).spawn(work);
        thread.map_err(|error| broken(error.to_string()))?;
        end.await.map_err(|_dropped| broken("the reader died".into()))?
    }
}
