//! Finds out about this machine, without changing it.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use rustix::{
    fs::{Access, access, statvfs},
    process::{Resource, getrlimit},
};
use tapio_collect_kernel::{Types, probe_tier};

/// Where journals lie.
const JOURNALS: [&str; 2] = ["/var/log/journal", "/run/log/journal"];

/// Where the kubelet has the logs of pods.
const PODS: &str = "/var/log/pods";

/// What was found out about this machine.
#[derive(Debug, Clone)]
pub(super) struct HostFacts {
    pub(super) kernel: String,
    /// The tier of the probes.
    pub(super) tier: &'static str,
    /// Why it is no better one, and what would make it one.
    pub(super) hindrance: Option<(String, String)>,
    /// Effective capabilities, by bit.
    pub(super) capabilities: u64,
    pub(super) has_btf: bool,
    pub(super) has_tracefs: bool,
    pub(super) cgroup: Cgroup,
    pub(super) kmsg: Result<(), String>,
    /// The journal that can be read, or why none can.
    pub(super) journal: Result<PathBuf, String>,
    /// Why the logs of pods cannot be read, if they cannot.
    pub(super) pods: Result<(), String>,
    /// Whether the clock is known to be synchronised.
    pub(super) is_synchronised: bool,
    pub(super) spool: PathBuf,
    /// Bytes free for it, or why it cannot be written.
    pub(super) spool_free: Result<u64, String>,
    /// Bytes that can be had, this cgroup's limit included.
    pub(super) memory: Option<u64>,
    /// Files this process may open; `None` for any number.
    pub(super) open_files: Option<u64>,
}

/// Which hierarchies of control groups there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cgroup {
    /// Version 2 alone.
    Unified,
    /// Version 1 with version 2 beside it.
    Hybrid,
    /// Version 1 alone.
    Legacy,
    /// None is mounted.
    None,
}

/// Looks at everything once.
pub(super) fn gather(spool: &Path) -> HostFacts {
    let probes = probe_tier();
    let hindrance = probes.hindrances.first();
    let status = read("/proc/self/status");
    HostFacts {
        kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
        tier: probes.tier.name(),
        hindrance: hindrance.map(|it| (it.reason.clone(), it.cure.clone())),
        capabilities: capabilities(&status),
        has_btf: probes.facts.types != Types::None,
        has_tracefs: probes.facts.has_tracefs,
        cgroup: cgroup(&read("/proc/self/mounts")),
        kmsg: openable(Path::new("/dev/kmsg")),
        journal: journal(),
        pods: listable(Path::new(PODS)),
        is_synchronised: Path::new("/run/systemd/timesync/synchronized").exists(),
        spool: spool.to_owned(),
        spool_free: free(spool).map_err(|error| error.to_string()),
        memory: memory(&read("/proc/meminfo"), &read("/sys/fs/cgroup/memory.max")),
        open_files: getrlimit(Resource::Nofile).current,
    }
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// Reads the effective capabilities in the kernel's account of a process.
pub(super) fn capabilities(status: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    line.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}

/// Says which hierarchies are in a list of mounts.
pub(super) fn cgroup(mounts: &str) -> Cgroup {
    let has = |kind: &str| mounts.lines().any(|line| line.split(' ').nth(2) == Some(kind));
    match (has("cgroup"), has("cgroup2")) {
        (true, true) => Cgroup::Hybrid,
        (true, false) => Cgroup::Legacy,
        (false, true) => Cgroup::Unified,
        (false, false) => Cgroup::None,
    }
}

/// Returns the bytes that can be had: what is available, within the limit of this cgroup.
pub(super) fn memory(meminfo: &str, limit: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let available: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    let available = available.checked_mul(1 << 10)?;
    Some(limit.trim().parse().map_or(available, |limit: u64| limit.min(available)))
}

fn openable(path: &Path) -> Result<(), String> {
    File::open(path).map(drop).map_err(|error| format!("{}: {error}", path.display()))
}

fn listable(path: &Path) -> Result<(), String> {
    fs::read_dir(path).map(drop).map_err(|error| format!("{}: {error}", path.display()))
}

/// Returns the first directory with a journal that can be read.
fn journal() -> Result<PathBuf, String> {
    let mut why = Vec::new();
    for root in JOURNALS.map(Path::new) {
        match files(root) {
            Ok(files) if files.is_empty() => why.push(format!("{}: no journal", root.display())),
            Ok(files) => match files.iter().find_map(|file| File::open(file).err()) {
                None => return Ok(root.to_owned()),
                Some(error) => why.push(format!("{}: {error}", root.display())),
            },
            Err(error) => why.push(format!("{}: {error}", root.display())),
        }
    }
    Err(why.join("; "))
}

/// Lists the journals of a directory, which are one level below it.
fn files(root: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for machine in fs::read_dir(root)? {
        let Ok(entries) = fs::read_dir(machine?.path()) else { continue };
        let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
        found.extend(paths.filter(|path| path.extension().is_some_and(|it| it == "journal")));
    }
    Ok(found)
}

/// Returns the bytes free where a directory is, or would be made.
fn free(directory: &Path) -> io::Result<u64> {
    let there = directory.ancestors().find(|path| path.exists());
    let there = there.unwrap_or_else(|| Path::new("/"));
    access(there, Access::WRITE_OK)?;
    let disk = statvfs(there)?;
    Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
}
