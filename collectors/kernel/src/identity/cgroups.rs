//! From the number of a control group to its path.

use std::{fs, os::unix::fs::MetadataExt as _, path::PathBuf, sync::Arc, time::Duration};

use moka::sync::Cache;

use super::{Roots, Task, Turns};

/// Groups that are remembered: a node runs some hundred, and as many ended within the hour.
const KNOWN_MAX: u64 = 16_384;

/// How long a group is remembered that nobody mentions; its last words may come late.
const KNOWN_IDLE: Duration = Duration::from_secs(3_600);

/// How long a number that belongs to no group is not looked for again.
const ABSENT_FOR: Duration = Duration::from_secs(5);

/// Directories of a hierarchy that one walk looks at, and how deep.
const WALK_MAX: usize = 4_096;
const DEPTH_MAX: usize = 12;

/// Which tree of groups: each numbers its groups for itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Hierarchy {
    /// v1, controller `memory`.
    Memory,
    /// v2.
    Unified,
}

/// The trees of this machine and what is known of them.
#[derive(Debug)]
pub(super) struct Cgroups {
    mounts: Vec<(Hierarchy, PathBuf)>,
    proc: PathBuf,
    known: Cache<(Hierarchy, u64), Arc<str>>,
    absent: Cache<(Hierarchy, u64), ()>,
    turns: Turns,
}

impl Cgroups {
    pub(super) fn find(roots: &Roots) -> Self {
        let table = fs::read_to_string(&roots.mounts).unwrap_or_default();
        Self {
            mounts: mounts(&table),
            proc: roots.proc.clone(),
            known: Cache::builder().max_capacity(KNOWN_MAX).time_to_idle(KNOWN_IDLE).build(),
            absent: Cache::builder().max_capacity(KNOWN_MAX).time_to_live(ABSENT_FOR).build(),
            turns: Turns::default(),
        }
    }

    /// Returns the group that accounts a task's memory: the tree that kubelets and counters use.
    pub(super) fn of_memory(&self, task: Task) -> Option<(Hierarchy, u64)> {
        let has_v1 = self.mounts.iter().any(|(hierarchy, _)| *hierarchy == Hierarchy::Memory);
        if has_v1 && task.memory != 0 {
            return Some((Hierarchy::Memory, task.memory));
        }
        let unified = if task.unified == 0 && !has_v1 { task.memory } else { task.unified };
        (unified != 0).then_some((Hierarchy::Unified, unified))
    }

    /// Returns the path of a group below its mount.
    pub(super) fn path(&mut self, hierarchy: Hierarchy, id: u64, pid: u32) -> Option<Arc<str>> {
        let key = (hierarchy, id);
        if let Some(path) = self.known.get(&key) {
            return Some(path);
        }
        if self.absent.contains_key(&key) {
            return None;
        }
        // A process that lives says it in one file; the number proves that it was not moved.
        let said = self.path_said_by(pid, hierarchy).filter(|(_, inode)| *inode == id);
        if let Some((path, _)) = said {
            self.known.insert(key, Arc::clone(&path));
            return Some(path);
        }
        let (mounts, known) = (&self.mounts, &self.known);
        let walked = self.turns.take(|| walk(mounts, known));
        let path = known.get(&key);
        if path.is_none() && walked {
            self.absent.insert(key, ());
        }
        path
    }

    /// Returns the path of a living process's group.
    pub(super) fn path_of_pid(&self, pid: u32) -> Option<Arc<str>> {
        [Hierarchy::Memory, Hierarchy::Unified]
            .into_iter()
            .find_map(|hierarchy| self.path_said_by(pid, hierarchy))
            .map(|(path, _)| path)
    }

    fn path_said_by(&self, pid: u32, hierarchy: Hierarchy) -> Option<(Arc<str>, u64)> {
        let (_, mount) = self.mounts.iter().find(|(known, _)| *known == hierarchy)?;
        let text = fs::read_to_string(self.proc.join(pid.to_string()).join("cgroup")).ok()?;
        let path = text.lines().find_map(|line| group_of(line, hierarchy))?;
        let inode = fs::metadata(mount.join(path.trim_start_matches('/'))).ok()?.ino();
        Some((path.into(), inode))
    }
}

/// Reads `3:memory:/path` (v1) or `0::/path` (v2).
fn group_of(line: &str, hierarchy: Hierarchy) -> Option<&str> {
    let mut parts = line.splitn(3, ':');
    let (number, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
    let is_it = match hierarchy {
        Hierarchy::Memory => controllers.split(',').any(|name| name == "memory"),
        Hierarchy::Unified => number == "0" && controllers.is_empty(),
    };
    is_it.then_some(path)
}

/// Reads the kernel's table of mounts.
fn mounts(table: &str) -> Vec<(Hierarchy, PathBuf)> {
    let hierarchy = |line: &str| {
        let mut fields = line.split(' ').skip(1);
        let (path, kind, options) = (fields.next()?, fields.next()?, fields.next()?);
        let hierarchy = match kind {
            "cgroup2" => Hierarchy::Unified,
            "cgroup" if options.split(',').any(|it| it == "memory") => Hierarchy::Memory,
            _ => return None,
        };
        Some((hierarchy, PathBuf::from(path)))
    };
    // The first of each kind: later ones are the same tree again, seen from inside containers.
    let mut mounts: Vec<_> = table.lines().filter_map(hierarchy).collect();
    mounts.sort_by_key(|(hierarchy, _)| *hierarchy);
    mounts.dedup_by_key(|(hierarchy, _)| *hierarchy);
    mounts
}

/// Says whether memory is accounted in a tree of v1.
pub(crate) fn memory_is_v1() -> bool {
    let table = fs::read_to_string(Roots::default().mounts).unwrap_or_default();
    mounts(&table).iter().any(|(hierarchy, _)| *hierarchy == Hierarchy::Memory)
}

fn walk(mounts: &[(Hierarchy, PathBuf)], known: &Cache<(Hierarchy, u64), Arc<str>>) {
    for (hierarchy, mount) in mounts {
        let mut waiting = vec![(mount.clone(), 0)];
        let mut seen = 0;
        while let Some((directory, depth)) = waiting.pop() {
            seen += 1;
            if seen > WALK_MAX || depth > DEPTH_MAX {
                continue;
            }
            let Ok(metadata) = fs::metadata(&directory) else { continue };
            let Ok(below) = directory.strip_prefix(mount) else { continue };
            let path = format!("/{}", below.to_string_lossy());
            known.insert((*hierarchy, metadata.ino()), path.into());
            let children = fs::read_dir(&directory).into_iter().flatten().flatten();
            let is_group = |it: &fs::DirEntry| it.file_type().is_ok_and(|kind| kind.is_dir());
            waiting.extend(children.filter(is_group).map(|it| (it.path(), depth + 1)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_trees_among_the_mounts() {
        let hybrid = "tmpfs /sys/fs/cgroup tmpfs rw,mode=755 0 0\n\
                      cgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\n\
                      cgroup /sys/fs/cgroup/memory cgroup rw,relatime,memory 0 0\n\
                      cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n";
        let v2 = "cgroup2 /sys/fs/cgroup cgroup2 rw,nsdelegate 0 0\nmalformed\n";
        let want = [
            (Hierarchy::Memory, PathBuf::from("/sys/fs/cgroup/memory")),
            (Hierarchy::Unified, PathBuf::from("/sys/fs/cgroup/unified")),
        ];
        assert_eq!(mounts(hybrid), want);
        assert_eq!(mounts(v2), [(Hierarchy::Unified, PathBuf::from("/sys/fs/cgroup"))]);
        assert_eq!(mounts(""), []);
    }

    #[test]
    fn reads_what_a_process_says_of_its_groups() {
        let lines = [
            ("3:memory:/kubepods/a:b", Hierarchy::Memory, Some("/kubepods/a:b")),
            ("0::/system.slice/x.service", Hierarchy::Unified, Some("/system.slice/x.service")),
            ("1:name=systemd:/x", Hierarchy::Unified, None),
            ("3:memory:/x", Hierarchy::Unified, None),
            ("4:cpu,cpuacct:/x", Hierarchy::Memory, None),
            ("nonsense", Hierarchy::Memory, None),
        ];
        for (line, hierarchy, want) in lines {
            assert_eq!(group_of(line, hierarchy), want, "{line}");
        }
    }
}
