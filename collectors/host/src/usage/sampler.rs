//! From two looks to a sample.

use std::{collections::BTreeMap, time::Duration};

use tapio_collect::{DropReason, Unbound, event_id};
use tapio_model::{Kind, Place, Source, Text, Timestamp, Value, keys};
use tracing::warn;

use super::files::{NodeUse, Sources, Use, float};
use crate::harvest::Harvest;

/// Remembers the counters and makes samples of what they gained.
#[derive(Debug)]
pub(super) struct Sampler {
    sources: Sources,
    /// Paths and inodes repeat after a boot, ids must not.
    boot_id: String,
    /// What each group had used, and its inode.
    groups: BTreeMap<Text, (u64, Option<Duration>)>,
    ticks: Option<(u64, u64)>,
    is_cut: bool,
}

impl Sampler {
    pub(super) fn new(sources: Sources) -> Self {
        let boot_id = sources.boot_id();
        Self { sources, boot_id, groups: BTreeMap::new(), ticks: None, is_cut: false }
    }

    /// Takes a sample of everything that was there at the last look.
    pub(super) fn sample(&mut self, time: Timestamp, elapsed: Duration) -> Harvest {
        let mut harvest = Harvest::default();
        let node = self.sources.node();
        let ticks = std::mem::replace(&mut self.ticks, node.ticks);
        self.keep(&mut harvest, time, of_node(&node, ticks));
        let (groups, is_all) = self.sources.groups();
        if !is_all && !self.is_cut {
            warn!("more pods and containers than the limit: the rest is not sampled");
            harvest.lose(DropReason::TooLarge, 1);
        }
        self.is_cut = !is_all;
        let mut before = std::mem::take(&mut self.groups);
        for used in groups {
            let Some(path) = used.place.cgroup.clone() else { continue };
            let known = before.remove(&path).filter(|(inode, _)| *inode == used.inode);
            self.groups.insert(path, (used.inode, used.cpu));
            if let Some((_, cpu)) = known {
                self.keep(&mut harvest, time, of_group(used, cpu, elapsed));
            }
        }
        harvest
    }

    /// Makes an event of a sample, if anything in it could be read.
    fn keep(&self, harvest: &mut Harvest, time: Timestamp, sample: Sample) {
        let metrics: Vec<_> =
            sample.metrics.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
        if metrics.is_empty() {
            // Of a node the first look says nothing.
            harvest.lose(DropReason::Malformed, u64::from(sample.inode > 0));
            return;
        }
        let id = event_id(&[
            b"usage",
            self.boot_id.as_bytes(),
            sample.place.cgroup.as_deref().unwrap_or_default().as_bytes(),
            &sample.inode.to_le_bytes(),
            &time.as_nanos().to_le_bytes(),
        ]);
        let said: Vec<_> = sample.said.into_iter().flatten().collect();
        let event = Unbound::new(id, time, sample.source, Kind::Metric).at(sample.place);
        let event = metrics
            .into_iter()
            .fold(event, |event, (name, value)| event.with(name, Value::Float(value)));
        harvest.read += 1;
        harvest.emit(event.message(said.join(", ")), 1);
    }
}

/// What one thing used.
#[derive(Debug)]
struct Sample {
    place: Place,
    inode: u64,
    source: Source,
    metrics: Vec<(&'static str, Option<f64>)>,
    /// For people.
    said: [Option<String>; 2],
}

/// How the Collector's kubeletstats receiver names what a pod uses.
const OF_POD: [&str; 4] =
    [keys::POD_CPU, keys::POD_CPU_SHARE, keys::POD_MEMORY, keys::POD_MEMORY_SHARE];

/// The same of a container that is in no pod.
const OF_CONTAINER: [&str; 4] = [
    keys::CONTAINER_CPU,
    keys::CONTAINER_CPU_SHARE,
    keys::CONTAINER_MEMORY,
    keys::CONTAINER_MEMORY_SHARE,
];

/// Returns what a pod or a container used.
fn of_group(used: Use, before: Option<Duration>, elapsed: Duration) -> Sample {
    let gained = used.cpu.zip(before).and_then(|(now, before)| now.checked_sub(before));
    let cores = gained
        .filter(|_| !elapsed.is_zero())
        .map(|gained| gained.as_secs_f64() / elapsed.as_secs_f64());
    let bytes = used.working_set.map(float);
    let share = |part: Option<f64>, whole: Option<f64>| Some(part? / whole.filter(|it| *it > 0.0)?);
    let names = if used.place.pod_uid.is_some() { OF_POD } else { OF_CONTAINER };
    let values =
        [cores, share(cores, used.cpu_limit), bytes, share(bytes, used.memory_limit.map(float))];
    Sample {
        inode: used.inode,
        source: Source::Cgroup,
        metrics: names.into_iter().zip(values).collect(),
        said: [
            cores.map(|cores| format!("{cores:.2} cores")),
            used.working_set.map(|bytes| format!("{} MiB", bytes >> 20)),
        ],
        place: used.place,
    }
}

/// Returns what the node used, named as the Collector's hostmetrics receiver does.
fn of_node(node: &NodeUse, before: Option<(u64, u64)>) -> Sample {
    let busy = node.ticks.zip(before).and_then(|((all, busy), (all_before, busy_before))| {
        let all = all.checked_sub(all_before).filter(|all| *all > 0)?;
        Some(float(busy.checked_sub(busy_before)?) / float(all))
    });
    // The first look has no share of the processors yet, and a sample is of both.
    let memory = busy.and(node.memory);
    let percent = |what, share: Option<f64>| share.map(|it| format!("{what} {:.0} %", 100.0 * it));
    Sample {
        place: Place::default(),
        inode: 0,
        source: Source::Kernel,
        metrics: vec![(keys::NODE_CPU_SHARE, busy), (keys::NODE_MEMORY_SHARE, memory)],
        said: [percent("processors", busy), percent("memory", memory)],
    }
}
