//! Where reading ended, kept for the next run.

use std::{
    collections::BTreeMap,
    fs::{self, File, Metadata},
    io,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use tapio_collect::event_id;
use tokio::time::Instant;
use tracing::warn;

use super::tail::identity;

/// The first line of the file: its format.
const HEADER: &str = "tapio log positions 1";

/// How often positions are kept. What is written is one interval old: by then the events before
/// it have left the process, so that a kill repeats some (with their ids) and skips none.
const INTERVAL: Duration = Duration::from_secs(2);

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
    path: PathBuf,
    /// What the last run left, until it is taken.
    left: BTreeMap<(u64, u64), Record>,
    were_kept: bool,
    /// Written when the next come.
    pending: Option<String>,
    kept: Option<Instant>,
}

impl Positions {
    /// Reads what the last run left. Without it, or if it cannot be read, this is the first run.
    pub(super) fn load(path: &Path) -> Self {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) => {
                if error.kind() != io::ErrorKind::NotFound {
                    warn!(path = %path.display(), %error, "cannot read the positions of log files");
                }
                String::new()
            }
        };
        let mut lines = text.lines();
        let were_kept = lines.next() == Some(HEADER);
        let records = lines.filter(|_| were_kept).filter_map(|line| line.parse().ok());
        let left = records
            .take(RECORDS_MAX)
            .map(|record: Record| ((record.dev, record.ino), record))
            .collect();
        Self { path: path.into(), left, were_kept, pending: None, kept: None }
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

    /// Says whether it is time to keep positions again.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.kept.is_none_or(|kept| now.saturating_duration_since(kept) >= INTERVAL)
    }

    /// Keeps positions, and writes those that were kept before.
    pub(super) fn save(&mut self, records: &[Record], now: Instant) {
        // The very first call, before any file was opened, would forget the last run.
        if self.kept.is_some() {
            let text = render(records);
            let before = self.pending.replace(text);
            if let Some(before) = before.filter(|before| Some(before) != self.pending.as_ref()) {
                self.write(&before);
            }
        }
        self.kept = Some(now);
    }

    /// Writes positions at once: everything before them has been passed on.
    pub(super) fn save_now(&mut self, records: &[Record]) {
        self.write(&render(records));
    }

    /// Replaces the file as a whole: a crash leaves the old one or the new one.
    fn write(&self, text: &str) {
        let next = self.path.with_extension("next");
        let written = fs::write(&next, text).and_then(|()| fs::rename(&next, &self.path));
        if let Err(error) = written {
            warn!(path = %self.path.display(), %error, "cannot keep the positions of log files");
        }
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
        let name = self.path.file_name()?.to_str()?;
        let entries = fs::read_dir(self.path.parent()?).ok()?.flatten();
        let renamed = entries.filter(|entry| {
            entry.file_name().to_str().is_some_and(|other| {
                other.starts_with(name) && other != name && !other.ends_with(".gz")
            })
        });
        renamed.map(|entry| entry.path()).find(|path| {
            let metadata = fs::metadata(path);
            metadata.is_ok_and(|metadata| identity(&metadata) == (self.dev, self.ino))
                && self.fits(path)
        })
    }
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
