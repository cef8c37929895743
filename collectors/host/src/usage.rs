//! What pods, containers and the node use of processor and memory.
//!
//! Samples are no signs: the baseline learns from them what is usual.

mod files;
mod sampler;

use std::{path::PathBuf, sync::Arc, time::Duration};

use async_trait::async_trait;
use tapio_collect::{Collector, CollectorError, Outlet, Stop};
use tapio_model::Clock;
use tokio::{
    task::spawn_blocking,
    time::{Instant, MissedTickBehavior, interval},
};

use self::{files::Sources, sampler::Sampler};

/// How use is sampled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsageConfig {
    /// Where the hierarchies of control groups are mounted.
    pub cgroup_root: PathBuf,
    /// Where the kernel tells of the node.
    pub proc_root: PathBuf,
    /// How often a sample is taken. The baseline counts its memory in samples and was measured with
    /// one a minute.
    pub interval: Duration,
    /// Pods and containers that are sampled.
    pub groups_max: usize,
    /// Levels below the root that are looked at.
    pub depth_max: usize,
}

impl Default for UsageConfig {
    fn default() -> Self {
        Self {
            cgroup_root: "/sys/fs/cgroup".into(),
            proc_root: "/proc".into(),
            interval: Duration::from_secs(60),
            groups_max: 1_024,
            depth_max: 12,
        }
    }
}

/// Samples what is used.
#[derive(Debug)]
pub struct UsageCollector {
    config: UsageConfig,
    clock: Arc<dyn Clock>,
}

impl UsageCollector {
    /// Makes a collector; nothing is read before it runs.
    #[must_use]
    pub fn new(config: UsageConfig, clock: Arc<dyn Clock>) -> Self {
        Self { config, clock }
    }
}

#[async_trait]
impl Collector for UsageCollector {
    fn name(&self) -> &'static str {
        "usage"
    }

    async fn run(self: Box<Self>, outlet: Outlet, mut stop: Stop) -> Result<(), CollectorError> {
        let Some(sources) = Sources::find(&self.config) else {
            return Err(CollectorError::Absent {
                source_name: self.config.proc_root.display().to_string(),
                why: "neither the node's figures nor a cgroup hierarchy are mounted".into(),
                cure: "mount the host's /proc or /sys/fs/cgroup, or switch this collector off"
                    .into(),
            });
        };
        let mut tick = interval(self.config.interval.max(Duration::from_millis(1)));
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut sampler = Sampler::new(sources);
        let mut before = Instant::now();
        loop {
            let now = tokio::select! {
                _due = tick.tick() => Instant::now(),
                () = stop.stopped() => return Ok(()),
            };
            // By this clock and not by the wall's, which may be set meanwhile.
            let elapsed = now.duration_since(std::mem::replace(&mut before, now));
            let time = self.clock.now();
            // Some hundred small files: too long for a thread that others wait on.
            let sampled = spawn_blocking(move || {
                let harvest = sampler.sample(time, elapsed);
                (sampler, harvest)
            });
            let (after, harvest) = sampled.await.map_err(|died| CollectorError::Broken {
                source_name: "samples of use".into(),
                why: died.to_string(),
            })?;
            sampler = after;
            harvest.pass_on(&outlet).await?;
        }
    }
}

#[cfg(test)]
mod tests;
