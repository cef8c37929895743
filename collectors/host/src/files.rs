//! Log files: followed through rotation, stack traces joined.

mod assembly;
mod join;
mod positions;
mod tail;
mod tails;
mod whole;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use tapio_collect::{Collector, CollectorError, Outlet, Stop};
use tapio_model::{Clock, Text};
use tokio::{
    task::spawn_blocking,
    time::{Instant, sleep},
};

use self::tails::{Moment, Tails, home};
pub use self::whole::translate_log;

/// How log files are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilesConfig {
    /// Files; each component may hold one `*`.
    pub paths: Vec<PathBuf>,
    /// The service that writes them; else each file's stem names it. Files of the kubelet name
    /// their pod themselves.
    pub service: Option<Text>,
    /// Whether to read what the files hold already.
    pub from_start: bool,
    /// Where to keep how far each file was read, so that the next run goes on from there; `None`
    /// keeps nothing.
    pub positions: Option<PathBuf>,
    /// How often new files are looked for; those that are known are looked at more often.
    pub discover_interval: Duration,
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
            positions: None,
            discover_interval: Duration::ZERO,
            interval: Duration::from_millis(200),
            line_idle: Duration::from_secs(1),
            trace_idle: Duration::from_millis(200),
            line_bytes_max: 65_536,
            files_max: 1_024,
        }
    }
}

impl FilesConfig {
    /// Returns how the logs of pods below `root` (the kubelet's `/var/log/pods`) are read: those of
    /// every container, as it comes; those that the kubelet rotated have other names, and are not
    /// read again.
    #[must_use]
    pub fn pod_logs(root: &Path) -> Self {
        Self {
            paths: vec![root.join("*/*/*.log")],
            // Some thousand directories, and a new container is no haste: its file is read whole.
            discover_interval: Duration::from_secs(1),
            ..Self::default()
        }
    }
}

/// Follows log files.
#[derive(Debug)]
pub struct FilesCollector {
    name: &'static str,
    config: FilesConfig,
    clock: Arc<dyn Clock>,
}

impl FilesCollector {
    /// Makes a collector; nothing is opened before it runs.
    #[must_use]
    pub fn new(config: FilesConfig, clock: Arc<dyn Clock>) -> Self {
        Self { name: "files", config, clock }
    }

    /// Makes a collector of its own name and account for the logs of pods.
    #[must_use]
    pub fn of_pods(config: FilesConfig, clock: Arc<dyn Clock>) -> Self {
        Self { name: "pod_logs", config, clock }
    }

    fn moment(&self) -> Moment {
        Moment { wall: self.clock.now(), timer: Instant::now() }
    }

    /// Finds out whether there is anything to wait for: a file may still come, its directory not.
    fn check(&self) -> Result<(), CollectorError> {
        if self.config.paths.iter().any(|path| home(path).is_dir()) {
            return Ok(());
        }
        let (why, cure) = if self.config.paths.is_empty() {
            ("no path was given", "name log files, such as /var/log/containers/*.log")
        } else {
            ("no path's directory exists", "check the paths, or mount the host's /var/log")
        };
        Err(CollectorError::Absent {
            source_name: self.name.into(),
            why: why.into(),
            cure: cure.into(),
        })
    }
}

#[async_trait]
impl Collector for FilesCollector {
    fn name(&self) -> &'static str {
        self.name
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
