//! Which probes run, and from what on they tell.

use std::{fmt, path::PathBuf, sync::Arc, time::Duration};

use tapio_collect::Addresses;
use tapio_ebpf_abi::{Probe, Settings};
use tapio_model::Place;

use crate::{identity::PlaceOfCgroup, tier::Tier};

/// How the kernel is watched.
#[derive(Clone)]
pub struct KernelConfig {
    /// An object to load instead of the built-in one.
    pub object: Option<PathBuf>,
    /// The probes to run.
    pub probes: Vec<Probe>,
    /// No tier better than this is tried.
    pub tier_best: Tier,
    /// Bytes of the ring buffer: a power of two and a multiple of the page size. Counted twice in the
    /// resident memory, for the kernel maps it twice over.
    pub ring_bytes: u32,
    /// From what on something is told.
    pub thresholds: Thresholds,
    /// Whether this process's own doings are left out.
    pub skips_itself: bool,
    /// The file with the boot's id: the kernel's clock repeats after a boot, ids must not.
    pub boot_id_path: PathBuf,
    /// Reads what the path of a control group says.
    pub place_of_cgroup: PlaceOfCgroup,
    /// Who has which address.
    pub addresses: Arc<Addresses>,
}

/// From what on something is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Thresholds {
    /// A connection that takes as long to be made is slow.
    pub connect_min: Duration,
    /// A block device's request.
    pub block_min: Duration,
    /// A thread that is ready and waits for a processor.
    pub cpu_delay_min: Duration,
    /// A stall in reclaim.
    pub reclaim_min: Duration,
    /// An answer of a name server.
    pub dns_min: Duration,
    /// One process tells of one kind of trouble once in this time, with a count; zero for always.
    pub window: Duration,
    /// Whether every end of a process is told, rather than errors, signals and first processes.
    pub every_exit: bool,
}

impl Default for Thresholds {
    fn default() -> Self {
        let settings = Settings::DEFAULT;
        Self {
            connect_min: Duration::from_nanos(settings.connect_ns_min),
            block_min: Duration::from_nanos(settings.block_ns_min),
            cpu_delay_min: Duration::from_nanos(settings.cpu_delay_ns_min),
            reclaim_min: Duration::from_nanos(settings.reclaim_ns_min),
            dns_min: Duration::from_nanos(settings.dns_ns_min),
            window: Duration::from_nanos(settings.window_ns),
            every_exit: settings.every_exit == 1,
        }
    }
}

/// Bytes of the ring buffer by default: eighty milliseconds of the fastest flood that was measured, at
/// a sixteenth of the agent's memory.
const RING_BYTES: u32 = 4 << 20;

impl Default for KernelConfig {
    fn default() -> Self {
        Self {
            object: None,
            probes: Probe::ALL.to_vec(),
            tier_best: Tier::TpBtf,
            ring_bytes: RING_BYTES,
            thresholds: Thresholds::default(),
            skips_itself: true,
            boot_id_path: "/proc/sys/kernel/random/boot_id".into(),
            place_of_cgroup: Arc::new(|path: &str| Place {
                cgroup: Some(path.into()),
                ..Place::default()
            }),
            addresses: Arc::new(Addresses::new()),
        }
    }
}

impl fmt::Debug for KernelConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KernelConfig")
            .field("object", &self.object)
            .field("probes", &self.probes)
            .field("tier_best", &self.tier_best)
            .field("ring_bytes", &self.ring_bytes)
            .field("thresholds", &self.thresholds)
            .field("skips_itself", &self.skips_itself)
            .finish_non_exhaustive()
    }
}

impl Thresholds {
    /// Writes the thresholds into what the probes are given.
    pub(crate) fn apply(&self, settings: &mut Settings) {
        settings.connect_ns_min = nanos(self.connect_min);
        settings.block_ns_min = nanos(self.block_min);
        settings.cpu_delay_ns_min = nanos(self.cpu_delay_min);
        settings.reclaim_ns_min = nanos(self.reclaim_min);
        settings.dns_ns_min = nanos(self.dns_min);
        settings.window_ns = nanos(self.window);
        settings.every_exit = u64::from(self.every_exit);
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn default_thresholds_are_the_probes_own() {
        let mut settings = Settings { connect_ns_min: 0, window_ns: 0, ..Settings::DEFAULT };
        Thresholds::default().apply(&mut settings);
        assert_eq!(settings, Settings::DEFAULT);
        Thresholds { connect_min: Duration::MAX, ..Thresholds::default() }.apply(&mut settings);
        assert_eq!(settings.connect_ns_min, u64::MAX);
    }
}
