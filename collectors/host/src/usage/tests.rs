//! Looks at directories that pose as the kernel's, and at the real ones.

use std::{fs, path::Path};

use tapio_collect::{DropReason, Unbound, stop_signal};
use tapio_model::{Attributes, Kind, Source, Timestamp, Value, keys};
use tapio_telemetry::SystemClock;
use tokio::sync::mpsc;

use super::*;
use crate::harvest::Harvest;

const POD: &str = "kubepods/pod6d1b2f3a-8c4e-4a5b-9d6e-7f8091a2b3c4";
const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const MIB: u64 = 1 << 20;

/// A cgroup root and a node's figures, looked at once a minute.
struct World {
    dir: tempfile::TempDir,
    sampler: Option<Sampler>,
    minute: i64,
}

impl World {
    fn new() -> Self {
        let world = Self { dir: tempfile::tempdir().unwrap(), sampler: None, minute: 0 };
        fs::create_dir(world.dir.path().join("cgroup")).unwrap();
        world
    }

    /// Writes files below a directory.
    fn write(&self, at: &str, files: &[(&str, &str)]) {
        let at = self.dir.path().join(at);
        fs::create_dir_all(&at).unwrap();
        for (name, text) in files {
            let path = at.join(name);
            fs::create_dir_all(path.parent().unwrap_or(Path::new("/"))).unwrap();
            fs::write(path, text).unwrap();
        }
    }

    /// Writes what a group of v2 used.
    fn unified(&self, group: &str, cpu_seconds: u64, (current, inactive): (u64, u64)) {
        let cpu = format!("usage_usec {}\nuser_usec 1\n", cpu_seconds * 1_000_000);
        let (current, stat) =
            (format!("{}\n", current * MIB), format!("anon 1\ninactive_file {}\n", inactive * MIB));
        let files = [("cpu.stat", &*cpu), ("memory.current", &current), ("memory.stat", &stat)];
        self.write("cgroup", &[("cgroup.controllers", "")]);
        self.write(&format!("cgroup/{group}"), &files);
    }

    fn config(&self) -> UsageConfig {
        let root = self.dir.path();
        UsageConfig {
            cgroup_root: root.join("cgroup"),
            proc_root: root.join("proc"),
            ..UsageConfig::default()
        }
    }

    fn look(&mut self) -> Harvest {
        let config = self.config();
        let begin = || Sampler::new(Sources::find(&config).unwrap());
        let sampler = self.sampler.get_or_insert_with(begin);
        self.minute += 1;
        sampler.sample(Timestamp::from_secs(60 * self.minute), Duration::from_secs(60))
    }
}

fn told(event: &Unbound) -> Vec<(String, f64)> {
    let said = Attributes::new(event.attributes.clone());
    let float = |value: &Value| if let Value::Float(value) = value { Some(*value) } else { None };
    said.iter().filter_map(|(name, value)| Some((name.to_string(), float(value)?))).collect()
}

fn named(of: &str, metrics: &[(&str, f64)]) -> Vec<(String, f64)> {
    metrics.iter().map(|(name, value)| (format!("{of}.{name}"), *value)).collect()
}

#[test]
fn a_pod_is_sampled_with_shares_of_its_limits_if_it_has_any() {
    let mut world = World::new();
    world.unified(POD, 10, (100, 20));
    world.write(
        &format!("cgroup/{POD}"),
        &[("cpu.max", "100000 100000\n"), ("memory.max", "167772160\n")],
    );
    assert_eq!(world.look().events.len(), 0, "one look has no difference");
    world.unified(POD, 40, (100, 20));
    let harvest = world.look();
    let [event] = &harvest.events[..] else { panic!("{harvest:?}") };
    assert_eq!((event.kind, event.source), (Kind::Metric, Source::Cgroup));
    assert_eq!(event.place.pod_uid.as_deref(), POD.strip_prefix("kubepods/pod"));
    let limited = [
        ("cpu.usage", 0.5),
        ("cpu_limit_utilization", 0.5),
        ("memory.working_set", 80.0 * 1_048_576.0),
        ("memory_limit_utilization", 0.5),
    ];
    assert_eq!(told(event), named("k8s.pod", &limited));
    let said = Attributes::new(event.attributes.clone());
    assert_eq!(said.text(keys::MESSAGE), Some("0.50 cores, 80 MiB"));
    assert!(harvest.is_balanced());

    world.write(&format!("cgroup/{POD}"), &[("cpu.max", "max 100000\n"), ("memory.max", "max\n")]);
    let again = world.look();
    let free = [("cpu.usage", 0.0), ("memory.working_set", 80.0 * 1_048_576.0)];
    assert_eq!(told(&again.events[0]), named("k8s.pod", &free));
    assert_ne!(again.events[0].id, harvest.events[0].id);
}

#[test]
fn the_old_hierarchies_are_read_mounted_together_or_apart() {
    for (usage, quota) in [("cpuacct", "cpu"), ("cpu,cpuacct", "cpu,cpuacct")] {
        let mut world = World::new();
        for seconds in ["10", "25"] {
            let nanos = format!("{seconds}000000000\n");
            world.write(&format!("cgroup/{usage}/{POD}"), &[("cpuacct.usage", &nanos)]);
            world.write(
                &format!("cgroup/{quota}/{POD}"),
                &[("cpu.cfs_quota_us", "50000\n"), ("cpu.cfs_period_us", "100000\n")],
            );
            world.write(
                &format!("cgroup/memory/{POD}"),
                &[
                    ("memory.usage_in_bytes", "2097152\n"),
                    ("memory.stat", "inactive_file 7\ntotal_inactive_file 1048576\n"),
                    ("memory.limit_in_bytes", "9223372036854771712\n"),
                ],
            );
            world.minute += 1;
            let harvest = world.look();
            if seconds == "25" {
                let want = [
                    ("cpu.usage", 0.25),
                    ("cpu_limit_utilization", 0.5),
                    ("memory.working_set", 1_048_576.0),
                ];
                assert_eq!(told(&harvest.events[0]), named("k8s.pod", &want), "{usage}");
            }
        }
    }
}

#[test]
fn a_container_is_sampled_where_it_is_in_no_pod() {
    let mut world = World::new();
    for seconds in [0, 6] {
        world.unified(&format!("docker/{ID}"), seconds, (8, 0));
        world.unified(POD, seconds, (8, 0));
        world.unified(&format!("{POD}/{ID}"), seconds, (8, 0));
        world.unified("system.slice/nginx.service", seconds, (8, 0));
        let harvest = world.look();
        if seconds == 6 {
            let mut names: Vec<_> = harvest.events.iter().map(|it| told(it)[0].clone()).collect();
            names.sort_by(|a, b| a.0.cmp(&b.0));
            let want = [
                named("container", &[("cpu.usage", 0.1)]),
                named("k8s.pod", &[("cpu.usage", 0.1)]),
            ];
            assert_eq!(names, want.concat());
        }
    }
}

#[test]
fn a_successor_and_a_counter_that_went_back_are_not_compared() {
    let mut world = World::new();
    world.unified(POD, 100, (8, 0));
    drop(world.look());
    world.unified(POD, 5, (8, 0));
    let memory = [("memory.working_set", 8.0 * 1_048_576.0)];
    assert_eq!(told(&world.look().events[0]), named("k8s.pod", &memory));
    // Held open so that its inode number is not given to the successor.
    let group = world.dir.path().join("cgroup").join(POD);
    let first = fs::File::open(&group).unwrap();
    fs::remove_dir_all(&group).unwrap();
    world.unified(POD, 500, (8, 0));
    assert_eq!(world.look().events.len(), 0);
    drop(first);
}

#[test]
fn a_group_of_which_nothing_can_be_read_is_counted() {
    let mut world = World::new();
    world.unified(POD, 1, (8, 0));
    drop(world.look());
    world.write(
        &format!("cgroup/{POD}"),
        &[("cpu.stat", "usage_usec many\n"), ("memory.current", "\u{0}\n")],
    );
    let harvest = world.look();
    assert_eq!((harvest.events.len(), harvest.dropped(DropReason::Malformed)), (0, 1));
    assert!(harvest.is_balanced());
}

#[test]
fn more_groups_than_the_limit_are_said_once() {
    let world = World::new();
    world.unified(POD, 1, (8, 0));
    world.unified(&format!("docker/{ID}"), 1, (8, 0));
    let config = UsageConfig { groups_max: 1, ..world.config() };
    let mut sampler = Sampler::new(Sources::find(&config).unwrap());
    let mut lost = |second| {
        let harvest = sampler.sample(Timestamp::from_secs(second), Duration::from_secs(60));
        harvest.dropped(DropReason::TooLarge)
    };
    assert_eq!((lost(60), lost(120)), (1, 0));
}

#[test]
fn the_node_is_sampled_by_what_its_processors_did_since() {
    let mut world = World::new();
    let meminfo = "MemTotal:  1000 kB\nMemAvailable:  600 kB\n";
    let figures = |stat| [("stat", stat), ("meminfo", meminfo)];
    world.write("proc", &figures("cpu  100 0 0 900 0 0 0 0 0 0\n"));
    assert_eq!(world.look().events.len(), 0);
    world.write("proc", &figures("cpu  160 0 20 1000 20 0 0 0 0 0\n"));
    let harvest = world.look();
    let [event] = &harvest.events[..] else { panic!("{harvest:?}") };
    let want = [("cpu.utilization", 0.4), ("memory.utilization", 0.4)];
    assert_eq!((told(event), event.source), (named("system", &want), Source::Kernel));
    assert_eq!(event.place, tapio_model::Place::default(), "whoever binds it knows the node");
}

#[tokio::test(start_paused = true)]
async fn this_machine_is_sampled_until_it_is_told_to_stop() {
    let (events, mut seen) = mpsc::channel(64);
    let (stopper, stop) = stop_signal();
    let outlet = Outlet::new(events, Arc::default());
    // Without groups: others may run containers here.
    let config = UsageConfig { cgroup_root: "/nowhere".into(), ..UsageConfig::default() };
    let collector = Box::new(UsageCollector::new(config, Arc::new(SystemClock)));
    let run = tapio_telemetry::spawn_named("usage", collector.run(outlet, stop));
    let event = seen.recv().await.unwrap();
    let shares = told(&event);
    assert!(
        !shares.is_empty() && shares.iter().all(|(_, it)| (0.0..=1.0).contains(it)),
        "{shares:?}"
    );
    stopper.stop();
    run.await.unwrap().unwrap();
}

#[tokio::test]
async fn says_what_would_bring_it() {
    let nowhere = || "/nowhere".into();
    let config =
        UsageConfig { cgroup_root: nowhere(), proc_root: nowhere(), ..UsageConfig::default() };
    let (events, _seen) = mpsc::channel(1);
    let (_stopper, stop) = stop_signal();
    let collector = Box::new(UsageCollector::new(config, Arc::new(SystemClock)));
    let error = collector.run(Outlet::new(events, Arc::default()), stop).await.unwrap_err();
    assert!(matches!(error, CollectorError::Absent { .. }), "{error}");
}
