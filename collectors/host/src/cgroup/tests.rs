//! Looks at directories that pose as control groups.

use std::{fs, path::Path};

use tapio_collect::stop_signal;
use tapio_model::{Attributes, Kind, Timestamp, keys};
use tapio_telemetry::SystemClock;
use tokio::sync::mpsc;

use super::*;

/// A hierarchy of files, looked at once a second.
struct World {
    dir: tempfile::TempDir,
    look: Option<Look>,
    second: i64,
}

#[derive(Debug)]
struct At(i64);

impl Clock for At {
    fn now(&self) -> Timestamp {
        Timestamp::from_secs(self.0)
    }
}

impl World {
    fn new(mounts: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for mount in mounts {
            let path = dir.path().join(mount);
            if mount.contains('.') {
                fs::write(path, "").unwrap();
            } else {
                fs::create_dir_all(path).unwrap();
            }
        }
        Self { dir, look: None, second: 0 }
    }

    fn write(&self, file: &str, text: &str) {
        let path = self.dir.path().join(file);
        fs::create_dir_all(path.parent().unwrap_or(Path::new("/"))).unwrap();
        fs::write(path, text).unwrap();
    }

    fn config(&self) -> CgroupConfig {
        CgroupConfig { root: self.dir.path().into(), ..CgroupConfig::default() }
    }

    fn look_at(&mut self, second: i64) -> Harvest {
        self.second = second;
        let config = self.config();
        let look = self.look.get_or_insert_with(|| Look {
            scan: Scan::find(&config).unwrap(),
            watch: Watch::new(config),
            is_cut: false,
        });
        look.take(&At(second))
    }
}

fn told(harvest: &Harvest) -> Vec<(Kind, &str, Option<i64>)> {
    let told = harvest.events.iter().map(|event| {
        let said = Attributes::new(event.attributes.clone());
        (event.kind, event.place.cgroup.as_deref().unwrap_or_default(), said.int(keys::COUNT))
    });
    told.collect()
}

const V1: [&str; 2] = ["memory", "cpu"];
const V2: [&str; 1] = ["cgroup.controllers"];

#[test]
fn a_rise_is_told_and_what_was_there_before_is_not() {
    let kills = |n: u32| format!("oom_kill_disable 0\nunder_oom 0\noom_kill {n}\n");
    let mut world = World::new(&V1);
    world.write("memory/docker/memory.oom_control", &kills(2));
    assert_eq!(told(&world.look_at(0)), []);
    assert_eq!(told(&world.look_at(1)), []);
    world.write("memory/docker/memory.oom_control", &kills(5));
    let harvest = world.look_at(2);
    assert_eq!(told(&harvest), [(Kind::OomKillCounted, "/docker", Some(3))]);
    assert!(harvest.is_balanced());
    assert_eq!(told(&world.look_at(3)), []);
}

#[test]
fn a_young_group_counts_from_zero_and_so_does_its_successor() {
    let mut world = World::new(&V2);
    assert_eq!(told(&world.look_at(0)), []);
    world.write("a/memory.events.local", "max 0\noom_kill 1\n");
    world.write("a/memory.events", "max 0\noom_kill 7\n");
    world.write("a/memory.max", "1048576\n");
    let harvest = world.look_at(1);
    assert_eq!(told(&harvest), [(Kind::OomKillCounted, "/a", Some(1))]);
    let said = Attributes::new(harvest.events[0].attributes.clone());
    assert_eq!(said.int(keys::MEMORY_LIMIT), Some(1 << 20));
    // Held open so that its inode number is not given to the successor.
    let first = fs::File::open(world.dir.path().join("a")).unwrap();
    fs::remove_dir_all(world.dir.path().join("a")).unwrap();
    world.write("a/memory.events", "max 0\noom_kill 1\n");
    let again = world.look_at(2);
    assert_eq!(told(&again), [(Kind::OomKillCounted, "/a", Some(1))]);
    assert_ne!(again.events[0].id, harvest.events[0].id);
    drop(first);
}

#[test]
fn limits_reached_are_told_at_most_once_in_ten_seconds_with_their_count() {
    let mut world = World::new(&V1);
    world.write("memory/a/memory.failcnt", "5\n");
    assert_eq!(told(&world.look_at(0)), []);
    let mut sum = Harvest::default();
    for (second, failures, count) in
        [(1, 7, Some(2)), (2, 9, None), (5, 9, None), (10, 20, None), (11, 20, Some(13))]
    {
        world.write("memory/a/memory.failcnt", &format!("{failures}\n"));
        let harvest = world.look_at(second);
        let want: Vec<_> =
            count.map(|count| (Kind::MemoryLimitReached, "/a", Some(count))).into_iter().collect();
        assert_eq!(told(&harvest), want, "second {second}");
        sum.absorb(harvest);
    }
    assert!(sum.is_balanced() && sum.read == 3);
    world.write("memory/a/memory.failcnt", "21\n");
    assert_eq!(told(&world.look_at(12)), []);
    fs::remove_dir_all(world.dir.path().join("memory/a")).unwrap();
    assert_eq!(told(&world.look_at(13)), [(Kind::MemoryLimitReached, "/a", Some(1))]);
}

#[test]
fn throttling_is_told_by_its_share_of_the_interval() {
    for (mounts, file, time) in
        [(&V1[..], "cpu/a/cpu.stat", "throttled_time"), (&V2[..], "a/cpu.stat", "throttled_usec")]
    {
        let mut world = World::new(mounts);
        let stat = |periods: u32, hit: u32| {
            format!("nr_periods {periods}\nnr_throttled {hit}\n{time} 9\n")
        };
        world.write(file, &stat(1_000, 900));
        assert_eq!(told(&world.look_at(0)), []);
        world.write(file, &stat(1_010, 902));
        assert_eq!(told(&world.look_at(1)), []);
        world.write(file, &stat(1_020, 906));
        let harvest = world.look_at(2);
        assert_eq!(told(&harvest), [(Kind::CpuThrottled, "/a", Some(4))]);
        let said = Attributes::new(harvest.events[0].attributes.clone());
        assert_eq!(said.get(keys::RATIO), Some(&0.4.into()));
        world.write(file, &stat(1_030, 912));
        let harvest = world.look_at(3);
        assert_eq!((told(&harvest), harvest.dropped(DropReason::Ignored)), (vec![], 1));
    }
}

#[test]
fn pressure_is_told_per_resource() {
    let psi = |some: &str, full: &str| {
        format!(
            "some avg10={some} avg60=0.00 avg300=0.00 total=9\nfull avg10={full} avg60=0.00 avg300=0.00 total=8\n"
        )
    };
    let mut world = World::new(&V2);
    world.write("a/cpu.pressure", &psi("61.00", "0.00"));
    world.write("a/memory.pressure", &psi("90.00", "20.50"));
    world.write("a/io.pressure", &psi("99.00", "20.00"));
    let harvest = world.look_at(0);
    let resources: Vec<_> = harvest
        .events
        .iter()
        .map(|event| Attributes::new(event.attributes.clone()))
        .filter_map(|said| said.text(keys::RESOURCE).map(str::to_owned))
        .collect();
    assert_eq!(resources, ["cpu", "memory"]);
    assert_eq!(told(&world.look_at(1)), []);
    assert_eq!(told(&world.look_at(10)).len(), 2);
}

#[test]
fn garbage_is_counted_once_and_not_at_every_look() {
    let mut world = World::new(&V1);
    world.write("memory/a/memory.failcnt", "many\n");
    world.write("memory/a/memory.oom_control", "\u{0}\u{1}");
    for (second, lost) in [(0, 2), (1, 0)] {
        let harvest = world.look_at(second);
        assert_eq!((told(&harvest), harvest.dropped(DropReason::Malformed)), (vec![], lost));
    }
    world.write("memory/a/memory.failcnt", "1\n");
    drop(world.look_at(2));
    world.write("memory/a/memory.failcnt", "\n");
    assert_eq!(world.look_at(3).dropped(DropReason::Malformed), 1);
}

#[test]
fn a_walk_past_the_limits_is_cut_and_said_once() {
    let world = World::new(&V1);
    world.write("memory/a/b/c/memory.failcnt", "1\n");
    for limits in [
        CgroupConfig { cgroups_max: 2, ..world.config() },
        CgroupConfig { depth_max: 1, ..world.config() },
    ] {
        let scan = Scan::find(&limits).unwrap();
        let mut look = Look { scan, watch: Watch::new(limits), is_cut: false };
        assert_eq!(look.take(&At(0)).dropped(DropReason::TooLarge), 1);
        assert_eq!(look.take(&At(1)).dropped(DropReason::TooLarge), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn runs_until_it_is_told_to_stop() {
    let world = World::new(&V1);
    let collector = CgroupCollector::new(world.config(), Arc::new(SystemClock));
    let (events, mut seen) = mpsc::channel(8);
    let (stopper, stop) = stop_signal();
    let outlet = Outlet::new(events, Arc::default());
    let run = tapio_telemetry::spawn_named("cgroup", Box::new(collector).run(outlet, stop));
    // Young only if it appears after the first look: wait for one by making two.
    world.write("memory/early/memory.failcnt", "0\n");
    let mut tick = interval(Duration::from_secs(1));
    let mut kills = 0_u32;
    let event = loop {
        tokio::select! {
            event = seen.recv() => break event.unwrap(),
            _now = tick.tick() => {
                kills += 1;
                world.write("memory/a/memory.oom_control", &format!("oom_kill {kills}\n"));
            }
        }
    };
    assert_eq!(event.kind, Kind::OomKillCounted);
    stopper.stop();
    run.await.unwrap().unwrap();
}

#[tokio::test]
async fn says_what_would_bring_it() {
    let config = CgroupConfig { root: "/nowhere".into(), ..CgroupConfig::default() };
    let (events, _seen) = mpsc::channel(1);
    let (_stopper, stop) = stop_signal();
    let collector = Box::new(CgroupCollector::new(config, Arc::new(SystemClock)));
    let error = collector.run(Outlet::new(events, Arc::default()), stop).await.unwrap_err();
    assert!(matches!(error, CollectorError::Absent { .. }), "{error}");
}
