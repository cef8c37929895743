//! One open file.

use std::{
    fs::{File, Metadata},
    io::{Read as _, Seek as _, SeekFrom},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::time::Instant;
use tracing::debug;

use super::{
    FilesConfig,
    assembly::Assembly,
    positions::{Head, Record},
    tails::Moment,
};
use crate::{harvest::Harvest, place_of_log_file};

/// Bytes of one read.
const READ_BYTES: usize = 65_536;

/// Bytes of one file that one pass reads, so that a long file does not hold up the others.
const PASS_BYTES: u64 = 262_144;

/// Where to begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Start {
    Beginning,
    End,
    At(u64),
}

/// Returns what tells a file from any other while it exists.
pub(super) fn identity(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

/// One open file.
#[derive(Debug)]
pub(super) struct Tail {
    file: File,
    identity: (u64, u64),
    /// By which it was found first.
    path: PathBuf,
    offset: u64,
    assembly: Assembly,
    head: Head,
    last_data: Instant,
    has_settled: bool,
}

impl Tail {
    pub(super) fn open(
        path: &Path,
        config: &FilesConfig,
        start: Start,
        now: Moment,
    ) -> Option<Self> {
        Self::open_renamed(path, path, config, start, now)
    }

    /// Opens a file under the name it has now, as the one it was under the name it had.
    pub(super) fn open_renamed(
        now_at: &Path,
        path: &Path,
        config: &FilesConfig,
        start: Start,
        now: Moment,
    ) -> Option<Self> {
        let opened = File::open(now_at).and_then(|mut file| {
            let metadata = file.metadata()?;
            let offset = file.seek(match start {
                Start::Beginning => SeekFrom::Start(0),
                Start::End => SeekFrom::End(0),
                Start::At(offset) => SeekFrom::Start(offset),
            })?;
            Ok((file, identity(&metadata), offset))
        });
        let (file, identity, offset) = opened
            .inspect_err(|error| debug!(path = %path.display(), %error, "cannot open a log file"))
            .ok()?;
        let assembly = assembly(path, config, identity, offset);
        let path = path.to_path_buf();
        Some(Self {
            file,
            identity,
            path,
            offset,
            assembly,
            head: Head::default(),
            last_data: now.timer,
            has_settled: true,
        })
    }

    pub(super) const fn identity(&self) -> (u64, u64) {
        self.identity
    }

    pub(super) const fn offset(&self) -> u64 {
        self.offset
    }

    /// Returns how long nothing came.
    pub(super) fn silence(&self, now: Moment) -> Duration {
        now.timer.saturating_duration_since(self.last_data)
    }

    /// Returns where the next run must begin, so that nothing is lost that was not told yet.
    pub(super) fn record(&mut self) -> Record {
        self.head.complete(&self.file);
        let (dev, ino) = self.identity;
        let offset = self.assembly.position();
        Record { dev, ino, offset, head: self.head.clone(), path: self.path.clone() }
    }

    /// Begins again if the file became shorter than what was read of it.
    ///
    /// A copy-truncate that is refilled past that point between two passes is not noticed: what was
    /// written before then is lost, as it is to any reader.
    pub(super) fn notice_truncation(
        &mut self,
        metadata: &Metadata,
        config: &FilesConfig,
        now: Moment,
        harvest: &mut Harvest,
    ) {
        if metadata.len() >= self.offset {
            return;
        }
        self.assembly.finish(now.wall, harvest);
        if self.file.seek(SeekFrom::Start(0)).is_ok() {
            self.offset = 0;
            self.head = Head::default();
            self.assembly = assembly(&self.path, config, self.identity, 0);
        }
    }

    /// Reads what the file got, up to a limit; says whether there is more.
    pub(super) fn read(&mut self, now: Moment, harvest: &mut Harvest) -> bool {
        let mut buffer = vec![0; READ_BYTES];
        let mut budget = PASS_BYTES;
        loop {
            let read = match self.file.read(&mut buffer) {
                Ok(0) => return false,
                Ok(read) => read,
                Err(error) => {
                    debug!(path = %self.path.display(), %error, "cannot read a log file");
                    return false;
                }
            };
            let chunk = buffer.get(..read).unwrap_or_default();
            self.assembly.feed(chunk, now.wall, harvest);
            let bytes = u64::try_from(read).unwrap_or(u64::MAX);
            self.offset = self.offset.saturating_add(bytes);
            (self.last_data, self.has_settled) = (now.timer, false);
            budget = budget.saturating_sub(bytes);
            if budget == 0 {
                return true;
            }
        }
    }

    /// Reads what is left of a file that has a successor, or no name any more.
    pub(super) fn drain(&mut self, now: Moment, harvest: &mut Harvest) {
        let has_more = self.file.metadata().is_ok_and(|metadata| metadata.len() > self.offset);
        if has_more {
            while self.read(now, harvest) {}
        }
        self.finish(now, harvest);
    }

    /// Tells what is held.
    pub(super) fn finish(&mut self, now: Moment, harvest: &mut Harvest) {
        self.assembly.finish(now.wall, harvest);
    }

    pub(super) fn settle(&mut self, config: &FilesConfig, now: Moment, harvest: &mut Harvest) {
        let silent = self.silence(now);
        if silent >= config.trace_idle && self.assembly.is_waiting() {
            self.assembly.settle(now.wall, harvest);
        }
        if silent >= config.line_idle && !self.has_settled {
            self.assembly.finish(now.wall, harvest);
            self.has_settled = true;
        }
    }
}

fn assembly(path: &Path, config: &FilesConfig, (dev, ino): (u64, u64), offset: u64) -> Assembly {
    let name = path.as_os_str().as_encoded_bytes();
    let identity = [name, &dev.to_le_bytes(), &ino.to_le_bytes()].concat();
    let place = place_of_log_file(path, config.service.as_ref());
    Assembly::new(identity, place, config.line_bytes_max, offset)
}
