//! Walks the hierarchies and reads their files.

use std::{
    fs,
    io::{self, ErrorKind},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use super::{
    CgroupConfig,
    counters::{Pressure, Throttling, keyed, pressure, throttling},
};

/// What counts in a hierarchy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Hierarchy {
    /// v1, controller `memory`.
    Memory,
    /// v1, controller `cpu`.
    Cpu,
    /// v2: every controller.
    Unified,
}

/// A group at one moment.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Group {
    pub(super) hierarchy: Hierarchy,
    /// Path below the mount: `/kubepods/...`.
    pub(super) path: String,
    /// Tells a group from its successor of the same name.
    pub(super) inode: u64,
    pub(super) oom_kills: Option<u64>,
    pub(super) limit_hits: Option<u64>,
    pub(super) throttling: Option<Throttling>,
    pub(super) pressures: Vec<(&'static str, Pressure)>,
    /// Files that could not be read or understood.
    pub(super) unread: Vec<&'static str>,
    /// The group's directory, for what is read only when something rose.
    pub(super) directory: PathBuf,
}

impl Group {
    /// Reads the group's memory limit in bytes, if it has one.
    pub(super) fn memory_limit(&self) -> Option<i64> {
        /// v1 has no word for "none", but a page-aligned maximum.
        const NONE: i64 = 1 << 60;
        let file = match self.hierarchy {
            Hierarchy::Memory => "memory.limit_in_bytes",
            Hierarchy::Unified => "memory.max",
            Hierarchy::Cpu => return None,
        };
        let text = fs::read_to_string(self.directory.join(file)).ok()?;
        text.trim().parse().ok().filter(|limit| *limit < NONE)
    }
}

/// Everything that one walk saw.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) groups: Vec<Group>,
    /// Whether a limit ended the walk.
    pub(super) is_cut: bool,
}

/// The hierarchies of this host.
#[derive(Debug)]
pub(super) struct Scan {
    mounts: Vec<(Hierarchy, PathBuf)>,
    cgroups_max: usize,
    depth_max: usize,
}

impl Scan {
    /// Finds the hierarchies: v2 alone, v1, or both (hybrid).
    pub(super) fn find(config: &CgroupConfig) -> Option<Self> {
        let root = &config.root;
        let mounts = if root.join("cgroup.controllers").exists() {
            vec![(Hierarchy::Unified, root.clone())]
        } else {
            [
                (Hierarchy::Memory, mounted(root, &["memory"])),
                (Hierarchy::Cpu, mounted(root, &["cpu", "cpu,cpuacct", "cpuacct,cpu"])),
                (Hierarchy::Unified, mounted(root, &["unified"])),
            ]
            .into_iter()
            .filter_map(|(hierarchy, mount)| Some((hierarchy, mount?)))
            .collect()
        };
        let (cgroups_max, depth_max) = (config.cgroups_max, config.depth_max);
        (!mounts.is_empty()).then_some(Self { mounts, cgroups_max, depth_max })
    }

    /// Walks and reads; a group that goes away meanwhile is left out.
    pub(super) fn look(&self) -> Seen {
        let mut seen = Seen { groups: Vec::new(), is_cut: false };
        for (hierarchy, mount) in &self.mounts {
            let mut waiting = vec![(mount.clone(), 0)];
            let mut groups = 0;
            while let Some((directory, depth)) = waiting.pop() {
                if groups >= self.cgroups_max || depth > self.depth_max {
                    seen.is_cut = true;
                    continue;
                }
                groups += 1;
                seen.groups.extend(read_group(*hierarchy, mount, &directory));
                waiting.extend(children(&directory).map(|child| (child, depth + 1)));
            }
        }
        seen
    }
}

/// Returns the first of some mounts that is there.
pub(crate) fn mounted(root: &Path, names: &[&str]) -> Option<PathBuf> {
    names.iter().map(|name| root.join(name)).find(|mount| mount.is_dir())
}

/// Returns the groups right below one.
pub(crate) fn children(directory: &Path) -> impl Iterator<Item = PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
}

fn read_group(hierarchy: Hierarchy, mount: &Path, directory: &Path) -> Option<Group> {
    let inode = fs::metadata(directory).ok()?.ino();
    let below = directory.strip_prefix(mount).ok()?.to_string_lossy();
    let mut group = Group {
        hierarchy,
        path: format!("/{below}"),
        inode,
        oom_kills: None,
        limit_hits: None,
        throttling: None,
        pressures: Vec::new(),
        unread: Vec::new(),
        directory: directory.to_path_buf(),
    };
    match hierarchy {
        Hierarchy::Memory => {
            group.oom_kills = group.read("memory.oom_control", |text| keyed(text, "oom_kill"));
            let number = |text: &str| text.trim().parse::<u64>().ok();
            let memory = group.read("memory.failcnt", number);
            // Where swap counts too, its limit is the one that is reached.
            let swap = group.read("memory.memsw.failcnt", number);
            group.limit_hits = memory.map(|memory| memory.saturating_add(swap.unwrap_or(0)));
        }
        Hierarchy::Cpu => group.throttling = group.read("cpu.stat", throttling),
        Hierarchy::Unified => {
            // The plain file counts descendants too: one kill would be told at every level.
            let local = directory.join("memory.events.local").exists();
            let events = if local { "memory.events.local" } else { "memory.events" };
            let read =
                group.read(events, |text| Some((keyed(text, "oom_kill")?, keyed(text, "max")?)));
            (group.oom_kills, group.limit_hits) = read.unzip();
            group.throttling = group.read("cpu.stat", throttling);
            for (resource, file) in
                [("cpu", "cpu.pressure"), ("memory", "memory.pressure"), ("io", "io.pressure")]
            {
                let read = group.read(file, pressure);
                group.pressures.extend(read.map(|read| (resource, read)));
            }
        }
    }
    Some(group)
}

impl Group {
    /// Reads one file. That a kernel does not have it, or that the group is going away, is normal.
    fn read<T>(&mut self, file: &'static str, parse: impl Fn(&str) -> Option<T>) -> Option<T> {
        let read = match fs::read_to_string(self.directory.join(file)) {
            Ok(text) => parse(&text),
            Err(error) if is_absence(&error) => return None,
            Err(_unreadable) => None,
        };
        if read.is_none() {
            self.unread.push(file);
        }
        read
    }
}

fn is_absence(error: &io::Error) -> bool {
    // A group on its way out answers ENODEV; a kernel without PSI enabled EOPNOTSUPP.
    let is_going = error.raw_os_error() == Some(rustix::io::Errno::NODEV.raw_os_error());
    is_going || matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Unsupported)
}
