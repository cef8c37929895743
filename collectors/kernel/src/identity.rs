//! Who was it: from the numbers that the kernel knows to a place.

mod cgroups;
mod networks;

use std::{fmt, path::PathBuf, sync::Arc, time::Duration};

use tapio_model::Place;

pub(crate) use self::cgroups::memory_is_v1;
use self::{cgroups::Cgroups, networks::Networks};
use crate::time::KernelNanos;

/// Reads what the path of a control group says: runtimes hide pods and containers in it.
pub type PlaceOfCgroup = Arc<dyn Fn(&str) -> Place + Send + Sync>;

/// The part of the time that walks through directories may take: one in five.
const REST_PER_WALK: u32 = 4;

/// The numbers by which a task is known.
///
/// # Units
/// `memory` and `unified` are the inode numbers of control groups, 0 if unknown; `network` is the
/// inode number of a network namespace, 0 if unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Task {
    pub(crate) pid: u32,
    pub(crate) memory: u64,
    pub(crate) unified: u64,
    pub(crate) network: u32,
}

/// Where the kernel shows its groups and processes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Roots {
    pub(crate) mounts: PathBuf,
    pub(crate) proc: PathBuf,
}

impl Default for Roots {
    fn default() -> Self {
        Self { mounts: "/proc/mounts".into(), proc: "/proc".into() }
    }
}

/// Remembers who has which number.
///
/// # Invariant
/// Bounded and expiring; what was not found is not looked for again at once.
pub(crate) struct Identity {
    cgroups: Cgroups,
    networks: Networks,
    place_of_cgroup: PlaceOfCgroup,
}

impl Identity {
    /// Finds the hierarchies; nothing is walked yet.
    pub(crate) fn new(roots: &Roots, place_of_cgroup: PlaceOfCgroup) -> Self {
        Self {
            cgroups: Cgroups::find(roots),
            networks: Networks::new(roots.proc.clone()),
            place_of_cgroup,
        }
    }

    /// Returns where a task is that was current when the record was made, or is the record's
    /// subject, and remembers its network.
    pub(crate) fn of_task(&mut self, task: Task) -> Place {
        let place = self.of_groups(task);
        if let Some(place) = &place {
            self.networks.learn(task.network, place);
        }
        // A task in no group that is known still has a network that may be known.
        place.or_else(|| self.of_network(task.network)).unwrap_or_default()
    }

    /// Returns where a socket belongs, whoever was current: by its group unless that is the root,
    /// in which everybody may be, else by its network.
    pub(crate) fn of_socket(&mut self, task: Task) -> Place {
        let wide = match self.of_groups(task) {
            Some(place) if place.cgroup.as_deref() != Some("/") => return place,
            wide => wide,
        };
        self.of_network(task.network).or(wide).unwrap_or_default()
    }

    /// Returns the path of a memory cgroup.
    pub(crate) fn memory_group(&mut self, id: u64) -> Option<Arc<str>> {
        let (hierarchy, id) = self.cgroups.of_memory(Task { memory: id, ..Task::default() })?;
        self.cgroups.path(hierarchy, id, 0)
    }

    fn of_groups(&mut self, task: Task) -> Option<Place> {
        let (hierarchy, id) = self.cgroups.of_memory(task)?;
        let path = self.cgroups.path(hierarchy, id, task.pid)?;
        Some((self.place_of_cgroup)(&path))
    }

    fn of_network(&mut self, network: u32) -> Option<Place> {
        let (cgroups, place_of) = (&mut self.cgroups, &self.place_of_cgroup);
        let place =
            self.networks.at(network, |pid| cgroups.path_of_pid(pid).map(|it| place_of(&it)));
        place.map(|place| Place::clone(&place))
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("cgroups", &self.cgroups)
            .field("networks", &self.networks)
            .finish_non_exhaustive()
    }
}

/// Keeps walks from taking more than their part of the time.
#[derive(Debug, Clone, Copy, Default)]
struct Turns {
    next: KernelNanos,
}

impl Turns {
    /// Walks if it is time to; says whether it did.
    fn take(&mut self, walk: impl FnOnce()) -> bool {
        let begin = KernelNanos::now();
        if begin < self.next {
            return false;
        }
        walk();
        let end = KernelNanos::now();
        let rest = end.since(begin) * REST_PER_WALK;
        let rest = rest.max(Duration::from_micros(100));
        self.next = KernelNanos(end.0.saturating_add(u64::try_from(rest.as_nanos()).unwrap_or(0)));
        true
    }
}

#[cfg(test)]
mod tests;
