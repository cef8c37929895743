//! From the number of a network namespace to the pod that lives in it.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use moka::sync::Cache;
use tapio_model::Place;

use super::Turns;

/// Networks that are remembered: one a pod.
const KNOWN_MAX: u64 = 4_096;

/// How long a network is remembered that nobody mentions.
const KNOWN_IDLE: Duration = Duration::from_secs(3_600);

/// How long a number that belongs to no living network is not looked for again.
const ABSENT_FOR: Duration = Duration::from_secs(5);

/// Processes that one walk looks at.
const WALK_MAX: usize = 8_192;

/// The networks of this machine, but for its own, in which everybody may be.
#[derive(Debug)]
pub(super) struct Networks {
    proc: PathBuf,
    host: Option<u32>,
    known: Cache<u32, Arc<Place>>,
    absent: Cache<u32, ()>,
    turns: Turns,
}

impl Networks {
    pub(super) fn new(proc: PathBuf) -> Self {
        // The first process is in the machine's own network; in a container it is not visible, and
        // then ours is as good as any.
        let host = network_of(&proc.join("1")).or_else(|| network_of(&proc.join("self")));
        Self {
            proc,
            host,
            known: Cache::builder().max_capacity(KNOWN_MAX).time_to_idle(KNOWN_IDLE).build(),
            absent: Cache::builder().max_capacity(KNOWN_MAX).time_to_live(ABSENT_FOR).build(),
            turns: Turns::default(),
        }
    }

    /// Remembers that a task at `place` is in `network`.
    pub(super) fn learn(&self, network: u32, place: &Place) {
        if !self.is_someones(network) || self.known.contains_key(&network) {
            return;
        }
        self.known.insert(network, Arc::new(shared(place)));
    }

    /// Returns whose network it is; `place_of` knows where a process is.
    pub(super) fn at(
        &mut self,
        network: u32,
        mut place_of: impl FnMut(u32) -> Option<Place>,
    ) -> Option<Arc<Place>> {
        if !self.is_someones(network) {
            return None;
        }
        if let Some(place) = self.known.get(&network) {
            return Some(place);
        }
        if self.absent.contains_key(&network) {
            return None;
        }
        let (proc, known, host) = (&self.proc, &self.known, self.host);
        let walked = self.turns.take(|| {
            for (pid, network) in networks(proc) {
                // The lowest number came first: the pod's own first process.
                if Some(network) != host && !known.contains_key(&network) {
                    let place = place_of(pid).map(|place| Arc::new(shared(&place)));
                    place.into_iter().for_each(|place| known.insert(network, place));
                }
            }
        });
        let place = known.get(&network);
        if place.is_none() && walked {
            self.absent.insert(network, ());
        }
        place
    }

    fn is_someones(&self, network: u32) -> bool {
        network != 0 && Some(network) != self.host
    }
}

/// Returns what the tasks of one network share: the pod, where there is one.
fn shared(place: &Place) -> Place {
    match &place.pod_uid {
        Some(uid) => Place { pod_uid: Some(uid.clone()), ..Place::default() },
        None => place.clone(),
    }
}

/// Lists living processes with their networks, in order of process ids.
fn networks(proc: &Path) -> Vec<(u32, u32)> {
    let entries = fs::read_dir(proc).into_iter().flatten().flatten();
    let pid = |entry: fs::DirEntry| entry.file_name().to_str()?.parse::<u32>().ok();
    let mut pids: Vec<_> = entries.filter_map(pid).take(WALK_MAX).collect();
    pids.sort_unstable();
    let network = |pid: u32| Some((pid, network_of(&proc.join(pid.to_string()))?));
    pids.into_iter().filter_map(network).collect()
}

/// Reads the link `net:[4026531840]`.
fn network_of(process: &Path) -> Option<u32> {
    let link = fs::read_link(process.join("ns/net")).ok()?;
    link.to_str()?.strip_prefix("net:[")?.strip_suffix(']')?.parse().ok()
}
