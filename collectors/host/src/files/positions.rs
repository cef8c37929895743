//! Where reading ended, kept for the next run.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsStr,
    fs::{self, File, Metadata},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    str::FromStr,
    time::{Duration, SystemTime},
};

use tapio_collect::event_id;
use tokio::time::Instant;

use super::tail::identity;
use crate::aged::{AgedFile, HELD_MAX};

/// The first line of the file: its format.
const HEADER: &str = "tapio log positions 1";

/// How much longer than [`HELD_MAX`] a file may have gone unnoticed before positions were written.
const UNNOTICED_MAX: Duration = Duration::from_secs(4);

/// Bytes at the beginning of a file that tell it from another with its inode: inodes are used
/// again as soon as a file is gone.
const HEAD_BYTES: usize = 256;

/// Files that are remembered, so that a foreign file cannot take the memory.
const RECORDS_MAX: usize = 16_384;

/// How a file begins.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Head {
    bytes: usize,
    hash: String,
}

/// Where a file is read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) dev: u64,
    pub(super) ino: u64,
    pub(super) offset: u64,
    pub(super) head: Head,
    pub(super) path: PathBuf,
}

/// The positions of the last run, and of this one.
#[derive(Debug)]
pub(super) struct Positions {
    file: AgedFile,
    /// What the last run left, until it is taken.
    left: BTreeMap<(u64, u64), Record>,
    /// All files that it knew.
    known: BTreeSet<(u64, u64)>,
    /// Since when there may be files that it did not know; none if there was no run.
    unknown_since: Option<SystemTime>,
    were_kept: bool,
    has_begun: bool,
}

impl Positions {
    /// Reads what the last run left. Without it, or if it cannot be read, this is the first run.
    pub(super) fn load(path: &Path) -> Self {
        let file = AgedFile::new(path);
        let text = file.load();
        let mut lines = text.lines();
        let were_kept = lines.next() == Some(HEADER);
        let records = lines.filter(|_| were_kept).filter_map(|line| line.parse().ok());
        let left: BTreeMap<_, _> = records
            .take(RECORDS_MAX)
            .map(|record: Record| ((record.dev, record.ino), record))
            .collect();
        let known = left.keys().copied().collect();
        let written = fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
        let unknown_since = written
            .filter(|_| were_kept)
            .and_then(|written| written.checked_sub(HELD_MAX + UNNOTICED_MAX));
        Self { file, left, known, unknown_since, were_kept, has_begun: false }
    }

    /// Says whether there was a run before.
    pub(super) const fn were_kept(&self) -> bool {
        self.were_kept
    }

    /// Takes the offset of a file that the last run knew, if it is still that file.
    pub(super) fn take(&mut self, metadata: &Metadata, path: &Path) -> Option<u64> {
        let record = self.left.remove(&identity(metadata))?;
        (record.path == path && record.fits(path)).then_some(record.offset)
    }

    /// Takes the files that have another name now, with that name. It stands beside the old one
    /// and begins with it: `0.log.20260102-030405`.
    pub(super) fn take_renamed(&mut self) -> Vec<(Record, PathBuf)> {
        let is_there = |record: &Record| {
            fs::metadata(&record.path)
                .is_ok_and(|metadata| identity(&metadata) == (record.dev, record.ino))
        };
        let (here, moved): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.left).into_values().partition(is_there);
        self.left = here.into_iter().map(|it| ((it.dev, it.ino), it)).collect();
        moved
            .into_iter()
            .filter_map(|record| {
                let renamed = record.find_renamed()?;
                Some((record, renamed))
            })
            .collect()
    }

    /// Returns what the file of a path was renamed to that came and was rotated before the last run
    /// kept a position of it, or while nobody was here; the oldest first. Those that are `open`
    /// are read already.
    pub(super) fn renamed_unknown(&self, path: &Path, open: &BTreeSet<(u64, u64)>) -> Vec<PathBuf> {
        let Some(since) = self.unknown_since else { return Vec::new() };
        let is_unknown = |renamed: &PathBuf| {
            fs::metadata(renamed).is_ok_and(|metadata| {
                let (is_young, id) = (
                    metadata.modified().is_ok_and(|modified| modified >= since),
                    identity(&metadata),
                );
                let is_new = !self.known.contains(&id) && !open.contains(&id);
                is_young && is_new && metadata.is_file()
            })
        };
        let mut renamed: Vec<_> = names_after(path).filter(is_unknown).collect();
        renamed.sort();
        renamed
    }

    /// Says whether it is time to keep positions again.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.file.is_due(now)
    }

    /// Keeps positions, and writes the youngest of those that are old enough.
    pub(super) fn save(&mut self, records: &[Record], now: Instant) {
        // The very first call, before any file was opened, would forget the last run.
        let text = self.has_begun.then(|| render(records));
        self.has_begun = true;
        self.file.keep(text, now);
    }

    /// Writes positions at once: everything before them has been passed on, or is not to be told.
    pub(super) fn save_now(&mut self, records: &[Record]) {
        self.file.write(&render(records));
    }
}

fn render(records: &[Record]) -> String {
    let lines = records.iter().filter_map(|record| {
        let Record { dev, ino, offset, head: Head { bytes, hash }, path } = record;
        // A file that is still empty has nothing to be skipped.
        let path = path.to_str().filter(|path| *bytes > 0 && !path.contains('\n'))?;
        Some(format!("{dev} {ino} {offset} {bytes} {hash} {path}\n"))
    });
    std::iter::once(format!("{HEADER}\n")).chain(lines).collect()
}

impl FromStr for Record {
    type Err = ();

    fn from_str(line: &str) -> Result<Self, ()> {
        let mut parts = line.splitn(6, ' ');
        let mut number = || parts.next().and_then(|part| part.parse::<u64>().ok()).ok_or(());
        let (dev, ino, offset) = (number()?, number()?, number()?);
        let bytes = usize::try_from(number()?).ok().filter(|bytes| *bytes <= HEAD_BYTES);
        let hash = parts.next().ok_or(())?.to_owned();
        let path = parts.next().ok_or(())?.into();
        Ok(Self { dev, ino, offset, head: Head { bytes: bytes.ok_or(())?, hash }, path })
    }
}

impl Record {
    /// Says whether a file is the one that was read: it begins alike, and is long enough.
    fn fits(&self, path: &Path) -> bool {
        let Ok(file) = File::open(path) else { return false };
        let is_long_enough = file.metadata().is_ok_and(|metadata| metadata.len() >= self.offset);
        is_long_enough && Head::read(&file, self.head.bytes).as_ref() == Some(&self.head)
    }

    fn find_renamed(&self) -> Option<PathBuf> {
        names_after(&self.path).find(|path| {
            let metadata = fs::metadata(path);
            metadata.is_ok_and(|metadata| identity(&metadata) == (self.dev, self.ino))
                && self.fits(path)
        })
    }
}

/// Lists the files beside a path whose names begin with its name: what it may be called by now.
fn names_after(path: &Path) -> impl Iterator<Item = PathBuf> {
    let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default().to_owned();
    let entries = path.parent().and_then(|folder| fs::read_dir(folder).ok());
    let entries = entries.into_iter().flatten().flatten();
    let is_after = move |other: &str| {
        !name.is_empty() && other.starts_with(&name) && other != name && !other.ends_with(".gz")
    };
    entries
        .filter(move |entry| entry.file_name().to_str().is_some_and(&is_after))
        .map(|entry| entry.path())
}

impl Head {
    /// Reads what is not known yet of the beginning.
    pub(super) fn complete(&mut self, file: &File) {
        if self.bytes < HEAD_BYTES
            && let Some(head) = Self::read(file, HEAD_BYTES)
        {
            *self = head;
        }
    }

    fn read(file: &File, bytes: usize) -> Option<Self> {
        let mut buffer = vec![0; bytes.min(HEAD_BYTES)];
        let read = file.read_at(&mut buffer, 0).ok()?;
        let hash = event_id(&[buffer.get(..read)?]).to_string();
        Some(Self { bytes: read, hash })
    }
}
