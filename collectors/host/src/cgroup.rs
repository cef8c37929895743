//! Counters of control groups: kills, limits reached, throttling, pressure.
//!
//! Evidence that stays when the kernel log is unreadable or was overwritten.

mod counters;
mod scan;
mod translate;

use std::{path::PathBuf, sync::Arc, time::Duration};

use async_trait::async_trait;
use tapio_collect::{Collector, CollectorError, DropReason, Outlet, Stop};
use tapio_model::Clock;
use tokio::{
    task::spawn_blocking,
    time::{MissedTickBehavior, interval},
};
use tracing::warn;

pub(crate) use self::{
    counters::keyed,
    scan::{children, mounted},
};
use self::{scan::Scan, translate::Watch};
use crate::harvest::Harvest;

/// How control groups are watched.
#[derive(Debug, Clone, PartialEq)]
pub struct CgroupConfig {
    /// Where the hierarchies are mounted.
    pub root: PathBuf,
    /// The file with the boot's id: paths, inodes and counts repeat after a boot, ids must not.
    pub boot_id_path: PathBuf,
    /// How often the counters are read.
    pub interval: Duration,
    /// How long a group that keeps reaching a limit stays quiet between two events.
    pub quiet: Duration,
    /// Share of periods throttled in an interval, above which it is told.
    pub throttled_ratio_min: f64,
    /// Percent of ten seconds in which all tasks stalled (for CPU, see below), above which it is told.
    pub pressure_full_min: f64,
    /// Percent of ten seconds in which some task stalled for CPU, above which it is told.
    pub pressure_some_cpu_min: f64,
    /// Groups of one hierarchy that are watched; a node runs some hundred.
    pub cgroups_max: usize,
    /// Levels below the root that are watched; Kubernetes in Docker has nine.
    pub depth_max: usize,
}

impl Default for CgroupConfig {
    fn default() -> Self {
        Self {
            root: "/sys/fs/cgroup".into(),
            boot_id_path: "/proc/sys/kernel/random/boot_id".into(),
            interval: Duration::from_secs(1),
            quiet: Duration::from_secs(10),
            throttled_ratio_min: 0.25,
            pressure_full_min: 20.0,
            pressure_some_cpu_min: 60.0,
            cgroups_max: 4_096,
            depth_max: 12,
        }
    }
}

/// Watches the counters of control groups.
#[derive(Debug)]
pub struct CgroupCollector {
    config: CgroupConfig,
    clock: Arc<dyn Clock>,
}

impl CgroupCollector {
    /// Makes a collector; nothing is read before it runs.
    #[must_use]
    pub fn new(config: CgroupConfig, clock: Arc<dyn Clock>) -> Self {
        Self { config, clock }
    }
}

#[async_trait]
impl Collector for CgroupCollector {
    fn name(&self) -> &'static str {
        "cgroup"
    }

    async fn run(self: Box<Self>, outlet: Outlet, mut stop: Stop) -> Result<(), CollectorError> {
        let Some(scan) = Scan::find(&self.config) else {
            return Err(CollectorError::Absent {
                source_name: self.config.root.display().to_string(),
                why: "no cgroup hierarchy is mounted there".into(),
                cure: "mount the host's /sys/fs/cgroup, or switch this collector off".into(),
            });
        };
        let mut tick = interval(self.config.interval.max(Duration::from_millis(1)));
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut look = Look { scan, watch: Watch::new(self.config), is_cut: false };
        loop {
            tokio::select! {
                _now = tick.tick() => {}
                () = stop.stopped() => break,
            }
            let clock = Arc::clone(&self.clock);
            // Some thousand small files: too long for a thread that others wait on.
            let looked = spawn_blocking(move || {
                let harvest = look.take(clock.as_ref());
                (look, harvest)
            });
            let (after, harvest) = looked.await.map_err(|died| CollectorError::Broken {
                source_name: "cgroup counters".into(),
                why: died.to_string(),
            })?;
            look = after;
            harvest.pass_on(&outlet).await?;
        }
        let mut harvest = Harvest::default();
        look.watch.close(self.clock.now(), &mut harvest);
        harvest.pass_on(&outlet).await
    }
}

/// The state between two looks.
struct Look {
    scan: Scan,
    watch: Watch,
    is_cut: bool,
}

impl Look {
    fn take(&mut self, clock: &dyn Clock) -> Harvest {
        let mut harvest = Harvest::default();
        let seen = self.scan.look();
        if seen.is_cut && !self.is_cut {
            warn!("more cgroups than the limit: the rest is not watched");
            harvest.lose(DropReason::TooLarge, 1);
        }
        self.is_cut = seen.is_cut;
        self.watch.compare(seen.groups, clock.now(), &mut harvest);
        harvest
    }
}

#[cfg(test)]
mod tests;
