//! The files that say what is used.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use tapio_model::Place;

use super::UsageConfig;
use crate::{
    cgroup::{children, keyed, mounted},
    place_of_cgroup,
};

/// v1 has no word for "none", but a page-aligned maximum.
const NO_LIMIT: u64 = 1 << 60;

/// What a control group has used at one moment.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Use {
    pub(super) place: Place,
    /// Tells a group from its successor of the same name.
    pub(super) inode: u64,
    /// Since the group was made.
    pub(super) cpu: Option<Duration>,
    /// Cores.
    pub(super) cpu_limit: Option<f64>,
    /// Bytes that the kernel cannot just drop: what a kubelet evicts by.
    pub(super) working_set: Option<u64>,
    /// Bytes.
    pub(super) memory_limit: Option<u64>,
}

/// What the node has used at one moment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct NodeUse {
    /// Ticks of all processors, and how many of them were busy, since boot.
    pub(super) ticks: Option<(u64, u64)>,
    /// Share of the memory that is not available.
    pub(super) memory: Option<f64>,
}

/// Where the groups' files are.
#[derive(Debug)]
enum Groups {
    /// v2.
    Unified(PathBuf),
    /// v1: a hierarchy for each controller, with the same paths below.
    Legacy { memory: PathBuf, usage: Option<PathBuf>, quota: Option<PathBuf> },
}

/// What there is to read.
#[derive(Debug)]
pub(super) struct Sources {
    groups: Option<Groups>,
    proc: PathBuf,
    groups_max: usize,
    depth_max: usize,
}

impl Sources {
    /// Finds what there is; nothing if nothing is mounted.
    pub(super) fn find(config: &UsageConfig) -> Option<Self> {
        let root = &config.cgroup_root;
        let groups = if root.join("cgroup.controllers").exists() {
            Some(Groups::Unified(root.clone()))
        } else {
            let both = ["cpu,cpuacct", "cpuacct,cpu"];
            mounted(root, &["memory"]).map(|memory| Groups::Legacy {
                memory,
                usage: mounted(root, &["cpuacct"]).or_else(|| mounted(root, &both)),
                quota: mounted(root, &["cpu"]).or_else(|| mounted(root, &both)),
            })
        };
        let proc = config.proc_root.clone();
        let (groups_max, depth_max) = (config.groups_max, config.depth_max);
        (groups.is_some() || proc.join("stat").exists()).then_some(Self {
            groups,
            proc,
            groups_max,
            depth_max,
        })
    }

    /// Returns the boot's id, or nothing where it is not told.
    pub(super) fn boot_id(&self) -> String {
        fs::read_to_string(self.proc.join("sys/kernel/random/boot_id")).unwrap_or_default()
    }

    /// Reads what the pods use, and the containers that are in none; says whether these are all.
    pub(super) fn groups(&self) -> (Vec<Use>, bool) {
        let Some(groups) = &self.groups else { return (Vec::new(), true) };
        let (Groups::Unified(root) | Groups::Legacy { memory: root, .. }) = groups;
        let mut found = Vec::new();
        let mut waiting = vec![(root.clone(), 0)];
        while let Some((directory, depth)) = waiting.pop() {
            let Ok(below) = directory.strip_prefix(root) else { continue };
            let place = place_of_cgroup(&format!("/{}", below.display()));
            if place.pod_uid.is_none() && place.container_id.is_none() {
                let deeper = children(&directory).map(|child| (child, depth + 1));
                waiting.extend(deeper.filter(|(_, depth)| *depth <= self.depth_max));
                continue;
            }
            if found.len() >= self.groups_max {
                return (found, false);
            }
            // A group that goes away meanwhile is left out.
            let Ok(inode) = fs::metadata(&directory).map(|it| it.ino()) else { continue };
            found.push(groups.read(below, place, inode));
        }
        (found, true)
    }

    /// Reads what the node uses.
    pub(super) fn node(&self) -> NodeUse {
        let read = |file: &str| fs::read_to_string(self.proc.join(file)).ok();
        NodeUse {
            ticks: read("stat").and_then(|text| ticks(&text)),
            memory: read("meminfo").and_then(|text| memory_share(&text)),
        }
    }
}

impl Groups {
    fn read(&self, below: &Path, place: Place, inode: u64) -> Use {
        match self {
            Self::Unified(root) => {
                let at = root.join(below);
                Use {
                    place,
                    inode,
                    cpu: read(&at, "cpu.stat", |it| keyed(it, "usage_usec"))
                        .map(Duration::from_micros),
                    cpu_limit: read(&at, "cpu.max", |it| {
                        let (quota, period) = it.trim().split_once(' ')?;
                        cores(quota.parse().ok()?, period.parse().ok()?)
                    }),
                    working_set: read(&at, "memory.current", number).map(|all| {
                        let file = read(&at, "memory.stat", |it| keyed(it, "inactive_file"));
                        all.saturating_sub(file.unwrap_or_default())
                    }),
                    memory_limit: read(&at, "memory.max", number),
                }
            }
            Self::Legacy { memory, usage, quota } => {
                let at = memory.join(below);
                let usage = usage.as_ref().map(|root| root.join(below));
                let quota = quota.as_ref().map(|root| root.join(below));
                let figure = |file| quota.as_ref().and_then(|at| read(at, file, number));
                let limit = figure("cpu.cfs_quota_us").zip(figure("cpu.cfs_period_us"));
                Use {
                    place,
                    inode,
                    cpu: usage
                        .and_then(|at| read(&at, "cpuacct.usage", number))
                        .map(Duration::from_nanos),
                    cpu_limit: limit.and_then(|(quota, period)| cores(quota, period)),
                    working_set: read(&at, "memory.usage_in_bytes", number).map(|all| {
                        let file = read(&at, "memory.stat", |it| keyed(it, "total_inactive_file"));
                        all.saturating_sub(file.unwrap_or_default())
                    }),
                    memory_limit: read(&at, "memory.limit_in_bytes", number)
                        .filter(|limit| *limit < NO_LIMIT),
                }
            }
        }
    }
}

/// Reads one file; what is not there or not a figure (`max`, `-1`) is nothing.
fn read<T>(at: &Path, file: &str, parse: impl Fn(&str) -> Option<T>) -> Option<T> {
    parse(&fs::read_to_string(at.join(file)).ok()?)
}

fn number(text: &str) -> Option<u64> {
    text.trim().parse().ok()
}

/// Returns a quota in cores.
fn cores(quota: u64, period: u64) -> Option<f64> {
    (quota > 0 && period > 0).then(|| float(quota) / float(period))
}

/// Reads the ticks of all processors and how many of them were busy. A guest's ticks are in its
/// owner's already.
///
/// # Source
/// Documentation/filesystems/proc.rst in the kernel's tree, section 1.8.
fn ticks(stat: &str) -> Option<(u64, u64)> {
    let fields = stat.lines().find_map(|line| line.strip_prefix("cpu "))?;
    let ticks: Vec<u64> =
        fields.split_whitespace().take(8).map(|field| field.parse().ok()).collect::<Option<_>>()?;
    let idle = ticks.get(3)?.saturating_add(ticks.get(4).copied().unwrap_or_default());
    let all = ticks.iter().fold(0_u64, |sum, ticks| sum.saturating_add(*ticks));
    Some((all, all.saturating_sub(idle)))
}

/// Reads which share of the memory is not available.
fn memory_share(meminfo: &str) -> Option<f64> {
    let field = |name: &str| -> Option<u64> {
        let rest = meminfo.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        rest.trim().trim_end_matches(" kB").parse().ok()
    };
    let (all, available) = (field("MemTotal")?, field("MemAvailable")?);
    (all > 0).then(|| float(all.saturating_sub(available)) / float(all))
}

#[expect(clippy::cast_precision_loss, reason = "a measured number need not be exact")]
pub(super) const fn float(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_what_the_kernel_prints() {
        let stat = "cpu  100 5 45 800 50 0 0 0 30 0\ncpu0 1 2 3 4 5 6 7 8 9 10\nbtime 1\n";
        assert_eq!(ticks(stat), Some((1_000, 150)));
        assert_eq!(ticks("cpu  1 2 3 4\n"), Some((10, 6)), "an old kernel has fewer");
        assert_eq!(ticks("cpu0 1 2 3 4 5\n"), None);
        assert_eq!(ticks("cpu  1 2 x 4\n"), None);
        let meminfo = "MemTotal:       8000 kB\nMemFree:   10 kB\nMemAvailable:   2000 kB\n";
        assert_eq!(memory_share(meminfo), Some(0.75));
        assert_eq!(memory_share("MemTotal: 0 kB\nMemAvailable: 0 kB\n"), None);
        assert_eq!(memory_share("MemTotal: 5 kB\n"), None);
        assert_eq!((cores(150_000, 100_000), cores(1, 0)), (Some(1.5), None));
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "(cpu |MemTotal:|MemAvailable:)?[ -~\n]{0,80}") {
            let _ = (ticks(&text), memory_share(&text), number(&text));
        }
    }
}
