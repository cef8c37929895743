//! Logs of pods, and what a restart does to them.

use std::{fs::File, path::Path, time::SystemTime};

use proptest::prelude::*;
use tapio_collect::Unbound;

use super::*;

const POD: &str = "shop_cart-7d9f_6d1b2f3a-8c4e-4a5b-9d6e-7f8091a2b3c4";
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

/// A host's `/var/log/pods`, and positions that outlive a collector.
struct Host {
    dir: tempfile::TempDir,
    tails: Tails,
    start: Instant,
}

impl Host {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let tails = Tails::new(Self::config(dir.path()));
        Self { dir, tails, start: Instant::now() }
    }

    fn config(dir: &Path) -> FilesConfig {
        let positions = Some(dir.join("positions"));
        FilesConfig { positions, from_start: true, ..FilesConfig::pod_logs(&dir.join("pods")) }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join("pods").join(POD).join(name)
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let mut file = OpenOptions::new().append(true).create(true).open(path).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    fn lines(&self, name: &str, texts: &[&str]) {
        for text in texts {
            self.write(name, &format!("2026-01-02T03:04:05Z stdout F INFO {text}\n"));
        }
    }

    fn now(&self, millis: u64) -> Moment {
        let timer = self.start + Duration::from_millis(millis);
        Moment { wall: Timestamp::from_secs(2_000_000_000), timer }
    }

    fn events(&mut self, millis: u64) -> Vec<Unbound> {
        let now = self.now(millis);
        self.tails.pass(now).harvest.events
    }

    fn read(&mut self, millis: u64) -> Vec<String> {
        messages(&self.events(millis))
    }

    /// Ends the collector in order, and starts the next.
    fn restart(&mut self) {
        let now = self.now(0);
        let harvest = self.tails.close(now);
        assert_eq!(harvest.events, []);
        self.tails = Tails::new(Self::config(self.dir.path()));
    }
}

fn messages(events: &[Unbound]) -> Vec<String> {
    let said = events.iter().map(|event| Attributes::new(event.attributes.clone()));
    said.map(|said| said.text(keys::MESSAGE).unwrap().trim_start_matches("INFO ").to_owned())
        .collect()
}

#[test]
fn pods_that_come_and_go_are_found() {
    let mut host = Host::new();
    assert_eq!(host.read(0), Vec::<String>::new());
    host.lines("cart/0.log", &["one"]);
    host.lines("proxy/0.log", &["two"]);
    host.lines("cart/0.log.20260102-030405", &["rotated"]);
    host.lines("cart/0.log.20260102-030405.gz", &["packed"]);
    // Not before it is time to look again.
    assert_eq!(host.read(500), Vec::<String>::new());
    let events = host.events(1_000);
    assert_eq!(messages(&events), ["one", "two"]);
    assert_eq!(events.first().unwrap().place.label(), "shop/cart-7d9f/cart");
    host.lines("cart/1.log", &["restarted"]);
    assert_eq!(host.read(2_000), ["restarted"]);
    fs::remove_dir_all(host.dir.path().join("pods").join(POD)).unwrap();
    assert_eq!(host.read(3_000), Vec::<String>::new());
    assert_eq!(host.read(9_000), Vec::<String>::new());
    assert!(host.tails.is_empty());
}

#[test]
fn what_is_written_to_a_renamed_file_is_still_read() {
    let mut host = Host::new();
    host.lines("cart/0.log", &["one"]);
    assert_eq!(host.read(0), ["one"]);
    fs::rename(host.path("cart/0.log"), host.path("cart/0.log.20260102-030405")).unwrap();
    // The runtime has not reopened its log yet.
    assert_eq!(host.read(1_000), Vec::<String>::new());
    host.lines("cart/0.log.20260102-030405", &["late"]);
    host.lines("cart/0.log", &["two"]);
    let mut read = host.read(2_000);
    read.sort();
    assert_eq!(read, ["late", "two"]);
}

#[test]
fn lines_of_every_runtime_give_trace_and_template() {
    let mut host = Host::new();
    host.write("cart/0.log", &format!("2026-01-02T03:04:05Z stdout P INFO [trace_id={TRACE}] pa\n2026-01-02T03:04:05Z stdout F id 7\n"));
    host.write("cart/1.log", &format!(
        "{}\n{}\n",
        format_args!(r#"{{"log":"{{\"level\":\"info\",\"msg\":\"paid 8\",\"traceparent\":\"00-{TRACE}-00f067aa0ba902b7-01\"}}\n","stream":"stdout","time":"2026-01-02T03:04:05Z"}}"#),
        format_args!(r#"{{"log":"GET /pay traceparent: 00-{TRACE}-00f067aa0ba902b7-01\n","stream":"stderr","time":"2026-01-02T03:04:05Z"}}"#),
    ));
    let mut events = host.events(0);
    // What may have a stack trace behind it waits for a while.
    events.extend(host.events(2_000));
    assert_eq!(events.len(), 3, "{events:?}");
    for event in &events {
        assert_eq!(event.trace_id.map(|id| id.to_string()).as_deref(), Some(TRACE));
        let said = Attributes::new(event.attributes.clone());
        assert!(said.text(keys::TEMPLATE).is_some_and(|template| template.contains("<*>")));
    }
}

#[test]
fn a_restart_neither_repeats_nor_skips() {
    let mut host = Host::new();
    host.lines("cart/0.log", &["one", "two"]);
    host.write("cart/0.log", "2026-01-02T03:04:05Z stdout P INFO thr");
    assert_eq!(host.read(0), ["one", "two"]);
    host.restart();
    host.write("cart/0.log", "ee\n2026-01-02T03:04:05Z stdout F  and more\n");
    host.lines("proxy/0.log", &["while away"]);
    assert_eq!(host.read(0), ["three and more", "while away"]);
    host.restart();
    assert_eq!(host.read(0), Vec::<String>::new());
}

#[test]
fn a_file_that_was_rotated_while_nobody_was_here_is_read_to_its_end() {
    let mut host = Host::new();
    host.lines("cart/0.log", &["one"]);
    assert_eq!(host.read(0), ["one"]);
    host.restart();
    host.lines("cart/0.log", &["two"]);
    fs::rename(host.path("cart/0.log"), host.path("cart/0.log.20260102-030405")).unwrap();
    host.lines("cart/0.log", &["three"]);
    assert_eq!(host.read(0), ["two", "three"]);
}

#[test]
fn a_file_that_came_and_was_rotated_before_its_position_was_kept_is_read_whole() {
    let mut host = Host::new();
    host.lines("cart/0.log", &["one"]);
    assert_eq!(host.read(0), ["one"]);
    host.restart();
    let told = host.events(0);
    assert_eq!(told, []);
    // Long rotated, and known to have been read.
    host.lines("cart/0.log.20250101-000000", &["long ago"]);
    let rotated = File::open(host.path("cart/0.log.20250101-000000")).unwrap();
    rotated.set_modified(SystemTime::UNIX_EPOCH).unwrap();
    host.lines("proxy/0.log", &["two"]);
    let told = host.events(1_000);
    assert_eq!(messages(&told), ["two"]);
    // Killed, and the rest comes while nobody is here.
    host.tails = Tails::new(Host::config(host.dir.path()));
    host.lines("proxy/0.log", &["three"]);
    fs::rename(host.path("proxy/0.log"), host.path("proxy/0.log.20260102-030405")).unwrap();
    host.lines("proxy/0.log", &["four"]);
    let again = host.events(0);
    assert_eq!(messages(&again), ["two", "three", "four"]);
    assert_eq!(again.first().map(|event| event.id), told.first().map(|event| event.id));
}

#[test]
fn another_file_in_the_same_inode_is_read_whole() {
    let mut host = Host::new();
    host.lines("cart/0.log", &["one", "two"]);
    assert_eq!(host.read(0).len(), 2);
    host.restart();
    // Truncated and written anew: the inode is the same, the file is not.
    fs::write(host.path("cart/0.log"), "").unwrap();
    host.lines("cart/0.log", &["a", "b", "c", "d", "e"]);
    assert_eq!(host.read(0), ["a", "b", "c", "d", "e"]);
}

#[test]
fn a_kill_repeats_ids_and_skips_nothing() {
    let mut host = Host::new();
    host.lines("cart/0.log", &["one"]);
    let mut told = host.events(0);
    for second in 1..=16 {
        host.lines("cart/0.log", &[&format!("at {second}")]);
        told.extend(host.events(1_000 * second));
    }
    // No orderly end: what was written last is older than what was told.
    host.tails = Tails::new(Host::config(host.dir.path()));
    host.lines("cart/0.log", &["after"]);
    let again = host.events(0);
    assert!(again.len() > 1 && again.len() < told.len(), "{again:?}");
    let known = |event: &&Unbound| told.iter().any(|known| known.id == event.id);
    let repeated = again.iter().filter(known).count();
    assert_eq!((repeated, again.len()), (again.len() - 1, repeated + 1));
    // What was read in the last seconds may not have left the process.
    let again = messages(&again);
    for second in 11..=16 {
        assert!(again.contains(&format!("at {second}")), "{second}: {again:?}");
    }
}

#[test]
fn a_kill_in_the_first_run_of_all_skips_nothing() {
    let mut host = Host::new();
    let config = FilesConfig { from_start: false, ..Host::config(host.dir.path()) };
    host.tails = Tails::new(config.clone());
    host.lines("cart/0.log", &["long ago"]);
    assert_eq!(host.read(0), Vec::<String>::new());
    host.lines("cart/0.log", &["one"]);
    host.lines("proxy/0.log", &["two"]);
    let told = host.events(1_000);
    assert_eq!(messages(&told), ["one", "two"]);
    host.tails = Tails::new(config);
    host.lines("cart/0.log", &["while away"]);
    let again = host.events(0);
    assert_eq!(messages(&again), ["one", "while away", "two"]);
    assert!(told.iter().all(|event| again.iter().any(|known| known.id == event.id)));
}

#[test]
fn positions_that_make_no_sense_are_a_first_run() {
    let mut host = Host::new();
    host.lines("cart/0.log", &["one"]);
    for text in ["", "nonsense\n1 2 3\n", "tapio log positions 1\n1 2\nx y z\n9 9 9 99999 h /x\n"] {
        fs::write(host.dir.path().join("positions"), text).unwrap();
        host.tails = Tails::new(Host::config(host.dir.path()));
        assert_eq!(host.read(0), ["one"], "{text}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn restarts_anywhere_make_no_new_ids_and_lose_none(
        chunks in proptest::collection::vec((prop_oneof![
            Just("2026-01-02T03:04:05Z stdout F INFO a\n"), Just("2026-01-02T03:04:05Z std"),
            Just("out P INFO b"), Just(" c\n"), Just("2026-01-02T03:04:05Z stderr F ERROR d\n"),
            Just("2026-01-02T03:04:05Z stderr F \tat x.y(Z.java:1)\n"), Just("\n"),
        ], any::<bool>()), 0..12),
    ) {
        let mut host = Host::new();
        let mut ids = Vec::new();
        for (chunk, restarts) in &chunks {
            host.write("cart/0.log", chunk);
            ids.extend(host.events(0).into_iter().map(|event| event.id));
            if *restarts {
                host.restart();
            }
        }
        ids.extend(host.events(0).into_iter().map(|event| event.id));
        let now = host.now(0);
        host.tails.forget_positions();
        ids.extend(host.tails.close(now).events.into_iter().map(|event| event.id));
        let mut whole = Host::new();
        fs::create_dir_all(whole.path("cart")).unwrap();
        fs::remove_file(whole.path("cart/0.log")).ok();
        let text: String = chunks.iter().map(|(chunk, _)| *chunk).collect();
        whole.write("cart/0.log", &text);
        let mut count = whole.events(0).len();
        whole.tails.forget_positions();
        let now = whole.now(0);
        count += whole.tails.close(now).events.len();
        // A line between those of a stack trace of the other stream may be told twice, by one id.
        ids.sort();
        ids.dedup();
        // One that no runtime writes there may have the rest of the trace told once more.
        let streams = ["2026-01-02T03:04:05Z stdout ", "2026-01-02T03:04:05Z stderr "];
        let is_sound = |line: &str| streams.iter().any(|stream| line.starts_with(stream));
        prop_assert!(ids.len() >= count, "{} of {count}", ids.len());
        prop_assert!(ids.len() == count || !text.lines().all(is_sound), "{} of {count}", ids.len());
    }
}
