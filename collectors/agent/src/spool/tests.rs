mod faults;
mod model;

use tempfile::{TempDir, tempdir};

use super::*;
use crate::sample::{batch, numbers};

fn folder() -> TempDir {
    tempdir().expect("a folder")
}

fn limits(bytes_max: u64, segment_bytes_max: u64) -> SpoolLimits {
    SpoolLimits { bytes_max, segment_bytes_max, sync_each: false, seed: 11 }
}

/// Reads and acknowledges everything of a level.
fn drain(spool: &mut Spool, level: Level) -> Vec<u64> {
    let mut read = Vec::new();
    loop {
        let entries = spool.peek(level, 3).unwrap_or_default();
        if entries.is_empty() {
            return read;
        }
        for entry in &entries {
            read.extend(numbers(&entry.batch.events));
            spool.acknowledge(level, entry, Fate::Taken);
        }
    }
}

#[test]
fn what_is_appended_comes_back_in_order_and_is_then_gone() {
    let folder = folder();
    let mut spool = Spool::open(folder.path(), limits(1 << 20, 2_000)).expect("opened");
    for (number, level) in (0..30).zip(Level::ALL.into_iter().cycle()) {
        spool.append(&batch(level, 3, number * 2..number * 2 + 2)).expect("appended");
    }
    assert!(
        spool.holds(Level::High, ShardId::new(3)) && !spool.holds(Level::High, ShardId::new(4))
    );
    assert!(spool.stats().held_segments > 3, "the files are rolled");
    for (level, first) in [(Level::Critical, 2), (Level::Normal, 0), (Level::High, 1)] {
        let expected: Vec<u64> =
            (0..10).map(|n| n * 3 + first).flat_map(|n| [n * 2, n * 2 + 1]).collect();
        assert_eq!(drain(&mut spool, level), expected);
        assert!(!spool.holds(level, ShardId::new(3)));
    }
    let stats = spool.stats();
    assert!(spool.is_empty());
    assert_eq!((stats.appended_events, stats.acknowledged_events, stats.held_bytes), (60, 60, 0));
    let left = fs::read_dir(folder.path()).expect("a folder").count();
    assert_eq!(left, 2, "the ledger and the lock");
}

#[test]
fn the_lowest_level_is_dropped_first_and_counted_exactly() {
    let folder = folder();
    let one =
        u64::try_from(encode_batch(&batch(Level::Normal, 0, 0..1)).len() + 24).expect("small");
    // Files of four records; room for eight files.
    let mut spool = Spool::open(folder.path(), limits(one * 34, one * 4 + 8)).expect("opened");
    for number in 0..16 {
        spool.append(&batch(Level::Normal, 0, number..number + 1)).expect("appended");
        spool.append(&batch(Level::High, 0, number..number + 1)).expect("appended");
    }
    for number in 100..110 {
        spool.append(&batch(Level::Critical, 0, number..number + 1)).expect("room is made");
    }
    assert_eq!(spool.stats().dropped_events, [8, 0, 0]);
    assert_eq!(drain(&mut spool, Level::Normal), (8..16).collect::<Vec<_>>());
    // The drain made room for eight records.
    for number in 110..140 {
        spool.append(&batch(Level::Critical, 0, number..number + 1)).expect("room is made");
    }
    let stats = spool.stats();
    assert_eq!(stats.dropped_events, [8, 16, 8], "high is gone, and critical's oldest");
    let refused = spool.append(&batch(Level::Normal, 0, 200..205));
    assert!(matches!(refused, Err(SpoolError::Full)), "a lower level displaces nothing");
    assert_eq!(spool.stats().dropped_events, [13, 16, 8]);
    drop(spool);
    let mut spool = Spool::open(folder.path(), limits(one * 34, one * 4)).expect("opened");
    assert_eq!(spool.stats().dropped_events, [13, 16, 8], "the counts are durable");
    assert_eq!(drain(&mut spool, Level::Critical), (108..140).collect::<Vec<_>>());
}

#[test]
fn losses_are_told_once() {
    let folder = folder();
    let mut spool = Spool::open(folder.path(), limits(1 << 20, 4_096)).expect("opened");
    spool.drop_events(Level::High, 7);
    assert_eq!(spool.untold(Level::High), (7, 7));
    spool.told(Level::High, 7);
    spool.drop_events(Level::High, 2);
    let identity = spool.identity();
    drop(spool);
    let limits = SpoolLimits { seed: 99, ..limits(1 << 20, 4_096) };
    let spool = Spool::open(folder.path(), limits).expect("opened");
    assert_eq!(spool.untold(Level::High), (2, 9));
    assert_eq!(spool.identity(), identity, "the spool is still the one it was");
}

#[test]
fn two_processes_do_not_share_a_spool() {
    let folder = folder();
    let first = Spool::open(folder.path(), limits(1 << 20, 4_096)).expect("opened");
    let second = Spool::open(folder.path(), limits(1 << 20, 4_096));
    assert!(matches!(second, Err(SpoolError::InUse(_))));
    drop(first);
    assert!(Spool::open(folder.path(), limits(1 << 20, 4_096)).is_ok());
}

#[test]
fn what_is_read_is_not_dropped_until_it_is_let_go() {
    let folder = folder();
    let one =
        u64::try_from(encode_batch(&batch(Level::Normal, 0, 0..1)).len() + 24).expect("small");
    let mut spool = Spool::open(folder.path(), limits(one * 4 + 8, one * 2 + 4)).expect("opened");
    for number in 0..4 {
        spool.append(&batch(Level::Normal, 0, number..number + 1)).expect("appended");
    }
    let entries = spool.peek(Level::Normal, 8).expect("read");
    assert_eq!(entries.len(), 2, "of one file");
    spool.append(&batch(Level::Normal, 0, 4..5)).expect("the other file makes room");
    assert_eq!(spool.stats().dropped_events, [2, 0, 0]);
    for entry in &entries {
        spool.acknowledge(Level::Normal, entry, Fate::Taken);
    }
    assert_eq!(drain(&mut spool, Level::Normal), [4]);
}
