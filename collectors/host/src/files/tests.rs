//! Files that are written, rotated and truncated while they are followed.

use std::{
    fs::{self, OpenOptions},
    io::Write as _,
};

use tapio_collect::{Account, DropReason, stop_signal};
use tapio_model::{Attributes, Kind, Timestamp, keys};
use tapio_telemetry::{SystemClock, spawn_named};
use tokio::sync::mpsc;

use super::{tails::Pass, *};

mod pods;

/// A directory of logs, looked at when the test says so.
struct World {
    dir: tempfile::TempDir,
    tails: Tails,
    start: Instant,
}

impl World {
    fn new(name: &str, config: FilesConfig) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let paths = vec![dir.path().join(name)];
        let tails = Tails::new(FilesConfig { paths, ..config });
        Self { dir, tails, start: Instant::now() }
    }

    fn write(&self, name: &str, text: &str) {
        let mut open = OpenOptions::new();
        let mut file = open.append(true).create(true).open(self.dir.path().join(name)).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    fn rename(&self, from: &str, to: &str) {
        fs::rename(self.dir.path().join(from), self.dir.path().join(to)).unwrap();
    }

    fn pass(&mut self, millis: u64) -> Pass {
        let timer = self.start + Duration::from_millis(millis);
        self.tails.pass(Moment { wall: Timestamp::from_secs(9), timer })
    }

    /// Passes, and shows the messages.
    fn read(&mut self, millis: u64) -> Vec<String> {
        let pass = self.pass(millis);
        let said =
            pass.harvest.events.iter().map(|event| Attributes::new(event.attributes.clone()));
        said.filter_map(|said| said.text(keys::MESSAGE).map(str::to_owned)).collect()
    }
}

#[test]
fn begins_at_the_end_and_reads_new_files_whole() {
    let mut world = World::new("*.log", FilesConfig::default());
    world.write("a.log", "INFO old\n");
    assert_eq!(world.read(0), Vec::<String>::new());
    world.write("a.log", "INFO new\n");
    world.write("b.log", "INFO first\n");
    world.write("c.txt", "INFO no log\n");
    assert_eq!(world.read(1), ["INFO new", "INFO first"]);
}

#[test]
fn from_start_reads_what_is_there() {
    let config = FilesConfig { from_start: true, ..FilesConfig::default() };
    let mut world = World::new("a.log", config);
    world.write("a.log", "INFO old\n");
    assert_eq!(world.read(0), ["INFO old"]);
}

#[test]
fn a_renamed_file_is_read_to_its_end_before_its_successor() {
    let mut world = World::new("a.log", FilesConfig::default());
    world.write("a.log", "INFO zero\n");
    assert_eq!(world.read(0), Vec::<String>::new());
    world.write("a.log", "INFO one\nINFO two");
    world.rename("a.log", "a.log.1");
    world.write("a.log", "INFO three\n");
    assert_eq!(world.read(1), ["INFO one", "INFO two", "INFO three"]);
    fs::remove_file(world.dir.path().join("a.log")).unwrap();
    assert_eq!(world.read(2), Vec::<String>::new());
}

#[test]
fn a_truncated_file_begins_again() {
    let config = FilesConfig { from_start: true, ..FilesConfig::default() };
    let mut world = World::new("a.log", config);
    world.write("a.log", "INFO one two three\n");
    let first = world.pass(0).harvest.events.remove(0).id;
    fs::write(world.dir.path().join("a.log"), "INFO four\n").unwrap();
    let second = world.pass(1).harvest.events.remove(0);
    assert_eq!(Attributes::new(second.attributes).text(keys::MESSAGE), Some("INFO four"));
    assert_ne!(first, second.id);
}

#[test]
fn half_a_line_waits_for_its_newline_or_for_silence() {
    let mut world = World::new("a.log", FilesConfig::default());
    world.write("a.log", "");
    assert_eq!(world.read(0), Vec::<String>::new());
    world.write("a.log", "INFO ha");
    assert_eq!(world.read(1), Vec::<String>::new());
    world.write("a.log", "lf\nINFO no end");
    assert_eq!(world.read(2), ["INFO half"]);
    assert_eq!(world.read(900), Vec::<String>::new());
    assert_eq!(world.read(1_100), ["INFO no end"]);
}

#[test]
fn a_stack_trace_waits_for_its_end_or_for_silence() {
    let mut world = World::new("a.log", FilesConfig::default());
    world.write("a.log", "");
    drop(world.pass(0));
    world.write("a.log", "ERROR boom\njava.lang.Error: x\n");
    assert_eq!(world.read(1), Vec::<String>::new());
    world.write("a.log", "\tat a.b(C.java:1)\n");
    assert_eq!(world.read(2), Vec::<String>::new());
    let mut events = world.pass(300).harvest.events;
    let exception = events.remove(0);
    assert_eq!((exception.kind, exception.place.label()), (Kind::Exception, "a".into()));
    assert_eq!(events, []);
}

#[test]
fn reading_again_repeats_the_ids() {
    let config = FilesConfig { from_start: true, ..FilesConfig::default() };
    let mut world = World::new("a.log", config.clone());
    world.write("a.log", "INFO same\nINFO same\n");
    let ids = |pass: Pass| pass.harvest.events.iter().map(|event| event.id).collect::<Vec<_>>();
    let first = ids(world.pass(0));
    let paths = vec![world.dir.path().join("a.log")];
    world.tails = Tails::new(FilesConfig { paths, ..config });
    assert_eq!(ids(world.pass(0)), first);
    assert_ne!(first.first(), first.last());
}

#[test]
fn files_past_the_limit_are_said_once() {
    let config = FilesConfig { files_max: 1, ..FilesConfig::default() };
    let mut world = World::new("*.log", config);
    world.write("a.log", "x\n");
    world.write("b.log", "x\n");
    assert_eq!(world.pass(0).harvest.dropped(DropReason::TooLarge), 1);
    assert_eq!(world.pass(1).harvest.dropped(DropReason::TooLarge), 0);
}

#[test]
fn a_long_file_is_read_in_parts() {
    let config = FilesConfig { from_start: true, ..FilesConfig::default() };
    let mut world = World::new("a.log", config);
    world.write("a.log", &"INFO line\n".repeat(60_000));
    let (mut lines, mut passes) = (0, 0);
    loop {
        let pass = world.pass(0);
        lines += pass.harvest.events.len();
        passes += 1;
        if !pass.has_more {
            break;
        }
    }
    assert_eq!(lines, 60_000);
    assert!(passes > 1, "{passes}");
}

#[tokio::test(start_paused = true)]
async fn what_is_held_is_told_at_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.log");
    fs::write(&path, "INFO one\nERROR two").unwrap();
    let config = FilesConfig {
        paths: vec![path],
        from_start: true,
        line_idle: Duration::MAX,
        ..FilesConfig::default()
    };
    let account = Arc::new(Account::default());
    let (events, mut seen) = mpsc::channel(8);
    let (stopper, stop) = stop_signal();
    let collector = Box::new(FilesCollector::new(config, Arc::new(SystemClock)));
    let outlet = Outlet::new(events, Arc::clone(&account));
    let run = spawn_named("files", collector.run(outlet, stop));
    assert!(seen.recv().await.is_some());
    stopper.stop();
    assert!(seen.recv().await.is_some());
    run.await.unwrap().unwrap();
    let accounts = account.snapshot();
    assert_eq!((accounts.read, accounts.emitted, accounts.lost()), (2, 2, 0));
}

#[tokio::test]
async fn says_what_would_bring_them() {
    for paths in [vec![], vec![PathBuf::from("/nowhere/x.log")]] {
        let config = FilesConfig { paths, ..FilesConfig::default() };
        let (events, _seen) = mpsc::channel(1);
        let (_stopper, stop) = stop_signal();
        let collector = Box::new(FilesCollector::new(config, Arc::new(SystemClock)));
        let error = collector.run(Outlet::new(events, Arc::default()), stop).await.unwrap_err();
        assert!(matches!(error, CollectorError::Absent { .. }), "{error}");
    }
}
