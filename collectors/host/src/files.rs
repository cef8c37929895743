//! Log files: followed through rotation, stack traces joined.

mod assembly;
mod join;
mod tail;

use std::{path::PathBuf, sync::Arc, time::Duration};

use async_trait::async_trait;
use tapio_collect::{Collector, CollectorError, Outlet, Stop};
use tapio_model::{Clock, Text};
use tokio::{
    task::spawn_blocking,
    time::{Instant, sleep},
};

use self::tail::{Moment, Tails};

/// How log files are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilesConfig {
    /// Files; the last component may hold one `*`.
    pub paths: Vec<PathBuf>,
    /// The service that writes them; else each file's stem names it. Files of the kubelet name
    /// their pod themselves.
    pub service: Option<Text>,
    /// Whether to read what the files hold already.
    pub from_start: bool,
    /// How often the files are looked at. A quarter of a second is below what a person notices, and
    /// some hundred files cost a millisecond.
    pub interval: Duration,
    /// Silence after which a line without its newline is taken as it is.
    pub line_idle: Duration,
    /// Silence after which a stack trace is taken as complete: writers write one in one go.
    pub trace_idle: Duration,
    /// Bytes of a line; longer ones are dropped and counted.
    pub line_bytes_max: usize,
    /// Files that are followed.
    pub files_max: usize,
}

impl Default for FilesConfig {
    fn default() -> Self {
        Self {
            paths: Vec::new(),
            service: None,
            from_start: false,
            interval: Duration::from_millis(200),
            line_idle: Duration::from_secs(1),
            trace_idle: Duration::from_millis(200),
            line_bytes_max: 65_536,
            files_max: 1_024,
        }
    }
}

/// Follows log files.
#[derive(Debug)]
pub struct FilesCollector {
    config: FilesConfig,
    clock: Arc<dyn Clock>,
}

impl FilesCollector {
    /// Makes a collector; nothing is opened before it runs.
    #[must_use]
    pub fn new(config: FilesConfig, clock: Arc<dyn Clock>) -> Self {
        Self { config, clock }
    }

    fn moment(&self) -> Moment {
        Moment { wall: self.clock.now(), timer: Instant::now() }
    }

    /// Finds out whether there is anything to wait for: a file may still come, its directory not.
    fn check(&self) -> Result<(), CollectorError> {
        let has_home = |path: &PathBuf| path.parent().is_some_and(std::path::Path::is_dir);
        if self.config.paths.iter().any(has_home) {
            return Ok(());
        }
        let (why, cure) = if self.config.paths.is_empty() {
            ("no path was given", "name log files, such as /var/log/containers/*.log")
        } else {
            ("no path's directory exists", "check the paths, or mount the host's /var/log")
        };
        Err(CollectorError::Absent {
            source_name: "log files".into(),
            why: why.into(),
            cure: cure.into(),
        })
    }
}

#[async_trait]
impl Collector for FilesCollector {
    fn name(&self) -> &'static str {
        "files"
    }

    async fn run(self: Box<Self>, outlet: Outlet, mut stop: Stop) -> Result<(), CollectorError> {
        self.check()?;
        let mut tails = Tails::new(self.config.clone());
        loop {
            let now = self.moment();
            // Files may be on a slow disk: not on a thread that others wait on.
            let passed = spawn_blocking(move || {
                let pass = tails.pass(now);
                (tails, pass)
            });
            let (after, pass) = passed.await.map_err(|died| CollectorError::Broken {
                source_name: "log files".into(),
                why: died.to_string(),
            })?;
            tails = after;
            pass.harvest.pass_on(&outlet).await?;
            let wait = if pass.has_more { Duration::ZERO } else { self.config.interval };
            tokio::select! {
                biased;
                () = stop.stopped() => break,
                () = sleep(wait) => {}
            }
        }
        tails.close(self.moment()).pass_on(&outlet).await
    }
}

#[cfg(test)]
mod tests;
