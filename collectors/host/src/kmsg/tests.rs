//! The reader, over files that pose as the kernel log.

use std::{fs, io::Write as _};

use tapio_collect::{Account, Unbound, stop_signal};
use tapio_model::{Kind, Timestamp};
use tapio_telemetry::{SystemClock, spawn_named};
use tokio::sync::mpsc;

use super::*;

const KILL: &str = "3,9,10,-;Out of memory: Killed process 1 (a) total-vm:1kB, anon-rss:1kB\n";

fn collector(log: &str, from_start: bool) -> (tempfile::TempDir, KmsgCollector) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("kmsg");
    fs::write(&path, log).unwrap();
    let config = KmsgConfig { path, from_start, ..KmsgConfig::default() };
    (dir, KmsgCollector::new(config, Arc::new(SystemClock)))
}

fn outlet() -> (Outlet, Arc<Account>, mpsc::Receiver<Unbound>) {
    let account = Arc::new(Account::default());
    let (events, seen) = mpsc::channel(64);
    (Outlet::new(events, Arc::clone(&account)), account, seen)
}

#[tokio::test]
async fn counts_what_was_overwritten_by_the_exact_number() {
    let log = format!("6,1,2,-;one\n SUBSYSTEM=block\n6,5,2,-;five\nnonsense\n{KILL}");
    let (_dir, collector) = collector(&log, true);
    let (outlet, account, mut seen) = outlet();
    let (stopper, stop) = stop_signal();
    let run = spawn_named("kmsg", Box::new(collector).run(outlet, stop));
    assert_eq!(seen.recv().await.unwrap().kind, Kind::OomKill);
    stopper.stop();
    run.await.unwrap().unwrap();
    let accounts = account.snapshot();
    assert_eq!(accounts.dropped(DropReason::Overrun), 6);
    assert_eq!(accounts.dropped(DropReason::Malformed), 1);
    assert_eq!(accounts.dropped(DropReason::Ignored), 2);
    assert_eq!((accounts.read, accounts.emitted), (10, 1));
}

#[tokio::test]
async fn begins_with_the_next_record() {
    let (_dir, collector) = collector(&KILL.replace(",9,", ",8,"), false);
    let path = collector.config.path.clone();
    let (outlet, account, mut seen) = outlet();
    let (_stopper, stop) = stop_signal();
    let mut run = Box::pin(Box::new(collector).run(outlet, stop));
    // Polled once the file is open and read to its end.
    assert!(timeout(IDLE, &mut run).await.is_err());
    let mut file = OpenOptions::new().append(true).open(path).unwrap();
    file.write_all(KILL.as_bytes()).unwrap();
    tokio::select! {
        event = seen.recv() => assert_eq!(event.unwrap().kind, Kind::OomKill),
        ended = &mut run => panic!("{ended:?}"),
    }
    assert_eq!(account.snapshot().read, 1);
}

#[tokio::test]
async fn a_fifo_is_polled() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("kmsg");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &path,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
        0,
    )
    .unwrap();
    let config = KmsgConfig { path: path.clone(), ..KmsgConfig::default() };
    let collector = Box::new(KmsgCollector::new(config, Arc::new(SystemClock)));
    let (outlet, _account, mut seen) = outlet();
    let (_stopper, stop) = stop_signal();
    let mut run = Box::pin(collector.run(outlet, stop));
    assert!(timeout(IDLE, &mut run).await.is_err());
    let mut file = OpenOptions::new().read(true).write(true).open(path).unwrap();
    let (first, rest) = KILL.split_at(20);
    file.write_all(first.as_bytes()).unwrap();
    file.write_all(rest.as_bytes()).unwrap();
    tokio::select! {
        event = seen.recv() => {
            let event = event.unwrap();
            assert_eq!(event.kind, Kind::OomKill);
            assert!(event.time > Timestamp::ZERO);
        }
        ended = &mut run => panic!("{ended:?}"),
    }
}

#[tokio::test]
async fn says_what_would_bring_it() {
    let config = KmsgConfig { path: "/nowhere/kmsg".into(), ..KmsgConfig::default() };
    let (outlet, _account, _seen) = outlet();
    let (_stopper, stop) = stop_signal();
    let collector = Box::new(KmsgCollector::new(config, Arc::new(SystemClock)));
    let error = collector.run(outlet, stop).await.unwrap_err();
    assert!(error.to_string().contains("/nowhere/kmsg is not here"), "{error}");
}
