//! What the disk and the power may do to the files.

use std::collections::BTreeSet;

use super::*;

fn files(folder: &TempDir, suffix: &str) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(folder.path())
        .expect("a folder")
        .filter_map(|file| Some(file.ok()?.path()))
        .filter(|path| path.to_string_lossy().ends_with(suffix))
        .collect();
    files.sort();
    files
}

fn filled() -> TempDir {
    let folder = folder();
    let mut spool = Spool::open(folder.path(), limits(1 << 20, 1 << 19)).expect("opened");
    for number in 0..4 {
        spool.append(&batch(Level::Normal, 0, number * 2..number * 2 + 2)).expect("appended");
    }
    folder
}

#[test]
fn a_kill_at_any_byte_of_an_append_loses_nothing_that_was_acknowledged() {
    let filled = filled();
    let [path] = files(&filled, ".segment").try_into().expect("one file");
    let clean = fs::read(&path).expect("bytes");
    let ends: Vec<usize> = (1..=4).map(|record| record * clean.len() / 4).collect();
    for cut in 0..clean.len() {
        fs::write(&path, &clean[..cut]).expect("written");
        let mut spool = Spool::open(filled.path(), limits(1 << 20, 1 << 19)).expect("opened");
        let whole = u64::try_from(ends.iter().filter(|end| **end <= cut).count()).expect("few");
        let torn = u64::from(!ends.contains(&cut) && cut > 0);
        let stats = spool.stats();
        assert_eq!((stats.torn_records, stats.damaged_records), (torn, 0), "cut at {cut}");
        // What comes after the kill stands behind what came before it.
        spool.append(&batch(Level::Normal, 0, 50..51)).expect("appended");
        let entries = spool.peek(Level::Normal, 9).expect("read");
        let read: Vec<u64> =
            entries.iter().flat_map(|entry| numbers(&entry.batch.events)).collect();
        let expected: Vec<u64> = if whole == 0 { vec![50] } else { (0..whole * 2).collect() };
        assert_eq!(read, expected, "cut at {cut}");
        drop(spool);
        for more in files(&filled, ".segment").into_iter().filter(|more| *more != path) {
            fs::remove_file(more).expect("gone");
        }
        fs::remove_file(filled.path().join("ledger")).expect("gone");
    }
}

#[test]
fn a_flipped_bit_loses_its_record_and_is_counted() {
    let filled = filled();
    let [path] = files(&filled, ".segment").try_into().expect("one file");
    let clean = fs::read(&path).expect("bytes");
    let ledger = fs::read(filled.path().join("ledger")).expect("bytes");
    for byte in 0..clean.len() {
        let mut flipped = clean.clone();
        flipped[byte] ^= 0x10;
        fs::write(&path, &flipped).expect("written");
        fs::write(filled.path().join("ledger"), &ledger).expect("written");
        let mut spool = Spool::open(filled.path(), limits(1 << 20, 1 << 19)).expect("opened");
        let record = u64::try_from(byte * 4 / clean.len()).expect("few");
        let expected: Vec<u64> = (0..8).filter(|number| number / 2 != record).collect();
        assert_eq!(drain(&mut spool, Level::Normal), expected, "byte {byte}");
        let stats = spool.stats();
        // A header that cannot be read does not say how many events were behind it, nor whether
        // they are torn or damaged where it is the last.
        let is_header = byte % (clean.len() / 4) < 16;
        let lost = if is_header { 0 } else { 2 };
        assert_eq!(stats.damaged_events, [lost, 0, 0], "byte {byte}");
        assert_eq!(stats.damaged_records, 1, "byte {byte}");
        assert!(spool.is_empty());
    }
}

#[test]
fn a_ledger_that_is_gone_costs_duplicates_not_events() {
    let filled = filled();
    let mut spool = Spool::open(filled.path(), limits(1 << 20, 1 << 19)).expect("opened");
    let entries = spool.peek(Level::Normal, 2).expect("read");
    entries.iter().for_each(|entry| spool.acknowledge(Level::Normal, entry, Fate::Taken));
    drop(spool);
    fs::write(filled.path().join("ledger"), b"not a ledger").expect("written");
    let mut spool = Spool::open(filled.path(), limits(1 << 20, 1 << 19)).expect("opened");
    assert_eq!(drain(&mut spool, Level::Normal), (0..8).collect::<Vec<_>>());
}

#[test]
fn a_file_that_is_taken_away_is_counted() {
    let folder = folder();
    let mut spool = Spool::open(folder.path(), limits(1 << 20, 600)).expect("opened");
    for number in 0..12 {
        spool.append(&batch(Level::Normal, 0, number..number + 1)).expect("appended");
    }
    let first = files(&folder, ".segment").swap_remove(0);
    fs::remove_file(first).expect("gone");
    let read: BTreeSet<u64> = drain(&mut spool, Level::Normal).into_iter().collect();
    let lost = spool.stats().damaged_events[0];
    assert!(lost > 0 && lost + u64::try_from(read.len()).expect("few") == 12, "{lost} {read:?}");
}

#[test]
fn a_disk_that_is_full_is_counted_and_drops_the_lowest_first() {
    // A device that takes nothing: every write to it is refused with ENOSPC.
    let folder = folder();
    let full = |level: &str, number: u64| {
        let name = format!("{level}-{number:016x}-{:016x}.segment", 11);
        std::os::unix::fs::symlink("/dev/full", folder.path().join(name)).expect("a link");
    };
    let mut spool = Spool::open(folder.path(), limits(1 << 20, 1)).expect("opened");
    spool.append(&batch(Level::Normal, 0, 0..3)).expect("appended");
    full("high", 1);
    spool.append(&batch(Level::High, 0, 10..12)).expect("normal events make room");
    let stats = spool.stats();
    assert_eq!((stats.disk_failures, stats.dropped_events), (1, [3, 0, 0]));
    (3..9).for_each(|number| full("high", number));
    let refused = spool.append(&batch(Level::High, 0, 20..22));
    assert!(matches!(refused, Err(SpoolError::Disk { .. })), "{refused:?}");
    let stats = spool.stats();
    assert_eq!(
        (stats.appended_events, stats.held_events, stats.dropped_events),
        (5, [0; 3], [3, 2, 0])
    );
    assert!(spool.is_empty(), "the caller has its events still");
    (5..9).for_each(|number| {
        let name = format!("high-{number:016x}-{:016x}.segment", 11);
        fs::remove_file(folder.path().join(name)).expect("room again");
    });
    spool.append(&batch(Level::High, 0, 20..22)).expect("appended");
    assert_eq!(drain(&mut spool, Level::High), [20, 21]);
}
