//! The journal collector, on journals that systemd's own writer made.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
    sync::Arc,
    time::Duration,
};

use libtest_mimic::{Arguments, Failed, Trial};
use tapio_collect::{Account, Accounts, Collector as _, DropReason, Outlet, Unbound, stop_signal};
use tapio_collect_host::{JournalCollector, JournalConfig};
use tapio_model::{Attributes, Kind, Severity, keys};
use tapio_telemetry::spawn_named;
use tokio::sync::mpsc;

/// A test, given the writer.
type Test = fn(&Path);

/// Where distributions put the writer.
const WRITERS: [&str; 2] =
    ["/lib/systemd/systemd-journal-remote", "/usr/lib/systemd/systemd-journal-remote"];

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let writer = WRITERS.iter().map(PathBuf::from).find(|path| path.exists());
    #[expect(clippy::disallowed_methods, reason = "the test's own switch, read once in main")]
    let is_ci = std::env::var("CI").is_ok_and(|ci| ci == "true");
    let is_missing = writer.is_none();
    let tests: [(&str, Test); 5] = [
        ("reads_a_journal_from_its_start", reads_a_journal_from_its_start),
        ("follows_what_is_appended", follows_what_is_appended),
        ("a_run_goes_on_where_the_last_one_ended", a_run_goes_on_where_the_last_one_ended),
        ("a_damaged_position_is_the_end", a_damaged_position_is_the_end),
        ("a_torn_file_is_counted_and_not_fatal", a_torn_file_is_counted_and_not_fatal),
    ];
    let trial = |(name, test): (&str, Test)| {
        let writer = writer.clone();
        let name = if is_missing {
            format!("{name} (needs systemd-journal-remote)")
        } else {
            name.to_owned()
        };
        Trial::test(name, move || {
            let writer = writer.ok_or_else(|| Failed::from("systemd-journal-remote is missing"))?;
            test(&writer);
            Ok(())
        })
        .with_ignored_flag(is_missing && !is_ci)
    };
    if is_missing && !is_ci {
        let mut err = std::io::stderr();
        drop(writeln!(err, "ignored: apt-get install systemd-journal-remote"));
    }
    libtest_mimic::run(&arguments, tests.into_iter().map(trial).collect()).exit_code()
}

const BOOT: &str = "4a8f6e3c9d2b4f5e8a7c6b5d4e3f2a1b";

/// An entry in the journal's export format.
fn entry(number: u64, fields: &[(&str, &str)]) -> String {
    let usec = 1_767_323_045_000_000 + number * 1_000;
    let mut text = format!(
        "__REALTIME_TIMESTAMP={usec}\n__MONOTONIC_TIMESTAMP={number}000\n_BOOT_ID={BOOT}\n"
    );
    for (name, value) in fields {
        text.push_str(&[*name, "=", *value, "\n"].concat());
    }
    text.push('\n');
    text
}

/// What is ignored comes first: the collector is stopped once it told the rest.
fn story() -> String {
    [
        entry(1, &[("MESSAGE", "eth0 up"), ("PRIORITY", "6"), ("_TRANSPORT", "kernel")]),
        entry(2, &[("MESSAGE", "details"), ("PRIORITY", "7")]),
        entry(
            3,
            &[
                ("MESSAGE", "cart.service: Failed with result 'oom-kill'."),
                ("PRIORITY", "4"),
                ("_PID", "1"),
                ("UNIT", "cart.service"),
                ("UNIT_RESULT", "oom-kill"),
            ],
        ),
        entry(
            4,
            &[
                ("MESSAGE", "dial tcp 10.0.0.1:5432: connect: connection refused"),
                ("PRIORITY", "3"),
                ("_SYSTEMD_UNIT", "web.service"),
            ],
        ),
    ]
    .concat()
}

/// Writes entries with systemd's own writer; to a file that exists they are appended.
fn write(writer: &Path, journal: &Path, entries: &str) {
    let mut child = Command::new(writer)
        .arg("-o")
        .arg(journal)
        .arg("-")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(entries.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
}

/// Runs the collector until it told `events_min` events; `change` happens once it runs.
fn collect(
    config: JournalConfig,
    events_min: usize,
    change: impl FnMut() + Send,
) -> (Vec<Unbound>, Accounts) {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(collecting(config, events_min, change))
}

async fn collecting(
    config: JournalConfig,
    events_min: usize,
    mut change: impl FnMut() + Send,
) -> (Vec<Unbound>, Accounts) {
    let account = Arc::new(Account::default());
    let (sender, mut events) = mpsc::channel(64);
    let (stopper, stop) = stop_signal();
    let outlet = Outlet::new(sender, Arc::clone(&account));
    let collector = Box::new(JournalCollector::new(config));
    let run = spawn_named("journal", collector.run(outlet, stop));
    let mut told = Vec::new();
    // Each change that was made before the collector watched is the past to it: so make another.
    let mut again = tokio::time::interval(Duration::from_millis(300));
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    while told.len() < events_min {
        tokio::select! {
            event = events.recv() => told.push(event.expect("the collector ended early")),
            _now = again.tick() => change(),
            () = tokio::time::sleep_until(deadline) => panic!("told only {told:?}"),
        }
    }
    stopper.stop();
    while let Some(event) = events.recv().await {
        told.push(event);
    }
    run.await.unwrap().unwrap();
    (told, account.snapshot())
}

fn config(directory: &Path) -> JournalConfig {
    JournalConfig {
        directories: vec![directory.into()],
        from_start: true,
        ..JournalConfig::default()
    }
}

fn reads_a_journal_from_its_start(writer: &Path) {
    let dir = tempfile::tempdir().unwrap();
    write(writer, &dir.path().join("host.journal"), &story());
    let (told, accounts) = collect(config(dir.path()), 2, || {});
    let kinds: Vec<_> = told.iter().map(|event| (event.kind, event.severity)).collect();
    assert_eq!(
        kinds,
        [(Kind::UnitFailed, Severity::Error), (Kind::ConnectRefused, Severity::Error)]
    );
    let said = Attributes::new(told[0].attributes.clone());
    assert_eq!(said.text(keys::UNIT), Some("cart.service"));
    assert_eq!(told[0].time.as_millis(), 1_767_323_045_003);
    assert_eq!((accounts.read, accounts.emitted), (4, 2));
    assert_eq!(accounts.dropped(DropReason::Ignored), 2);
    let (again, _) = collect(config(dir.path()), 2, || {});
    let ids = |told: &[Unbound]| told.iter().map(|event| event.id).collect::<Vec<_>>();
    assert_eq!(ids(&again), ids(&told));
}

fn follows_what_is_appended(writer: &Path) {
    let dir = tempfile::tempdir().unwrap();
    let journal = dir.path().join("host.journal");
    write(writer, &journal, &story());
    let config = JournalConfig { from_start: false, ..config(dir.path()) };
    let mut number = 10;
    let (told, _) = collect(config, 2, || {
        number += 1;
        let message = format!("appended {number}");
        write(writer, &journal, &entry(number, &[("MESSAGE", &message), ("PRIORITY", "3")]));
    });
    for event in &told {
        let said = Attributes::new(event.attributes.clone());
        assert!(said.text(keys::MESSAGE).unwrap().starts_with("appended"), "{event:?}");
    }
    assert_ne!(told[0].id, told[1].id);
}

/// An entry that is told, by its number.
fn told_entry(number: u64) -> String {
    entry(number, &[("MESSAGE", &format!("failure {number}")), ("PRIORITY", "3")])
}

fn messages(told: &[Unbound]) -> Vec<String> {
    let said = told.iter().map(|event| Attributes::new(event.attributes.clone()));
    said.map(|said| said.text(keys::MESSAGE).unwrap().to_owned()).collect()
}

fn a_run_goes_on_where_the_last_one_ended(writer: &Path) {
    let dir = tempfile::tempdir().unwrap();
    let journal = dir.path().join("host.journal");
    write(writer, &journal, &story());
    let config = JournalConfig {
        from_start: false,
        position: Some(dir.path().join("position")),
        ..config(dir.path())
    };
    let mut number = 10;
    let (first, _) = collect(config.clone(), 1, || {
        number += 1;
        write(writer, &journal, &told_entry(number));
    });
    // These come while nobody reads, and perhaps some of those above.
    write(writer, &journal, &[told_entry(number + 1), told_entry(number + 2)].concat());
    let told = messages(&first);
    let begin: u64 = told[0].trim_start_matches("failure ").parse().unwrap();
    let all: Vec<_> = (begin..=number + 2).map(|number| format!("failure {number}")).collect();
    let (second, _) = collect(config, all.len() - told.len(), || {});
    assert_eq!([told, messages(&second)].concat(), all);
}

fn a_damaged_position_is_the_end(writer: &Path) {
    let dir = tempfile::tempdir().unwrap();
    let journal = dir.path().join("host.journal");
    write(writer, &journal, &told_entry(1));
    let position = dir.path().join("position");
    fs::write(&position, "tapio journal position 1\nSJ1:zz\n").unwrap();
    let config =
        JournalConfig { from_start: false, position: Some(position), ..config(dir.path()) };
    let mut number = 10;
    let (told, _) = collect(config, 1, || {
        number += 1;
        write(writer, &journal, &told_entry(number));
    });
    assert!(!messages(&told).contains(&"failure 1".to_owned()), "{told:?}");
}

fn a_torn_file_is_counted_and_not_fatal(writer: &Path) {
    let dir = tempfile::tempdir().unwrap();
    let whole = dir.path().join("host.journal");
    write(writer, &whole, &story());
    let bytes = fs::read(&whole).unwrap();
    fs::write(dir.path().join("torn.journal"), &bytes[..100]).unwrap();
    fs::write(dir.path().join("garbage.journal"), [0; 4_096]).unwrap();
    let (told, accounts) = collect(config(dir.path()), 2, || {});
    assert_eq!(told.len(), 2);
    assert_eq!(accounts.dropped(DropReason::Malformed), 2);
}
