//! Follows files through rotation.

use std::{
    collections::BTreeMap,
    fs::{self, File, Metadata},
    io::{Read as _, Seek as _, SeekFrom},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use tapio_collect::DropReason;
use tapio_model::Timestamp;
use tokio::time::Instant;
use tracing::{debug, warn};

use super::{FilesConfig, assembly::Assembly};
use crate::{harvest::Harvest, place_of_log_file};

/// Bytes of one read.
const READ_BYTES: usize = 65_536;

/// Bytes of one file that one pass reads, so that a long file does not hold up the others.
const PASS_BYTES: u64 = 262_144;

/// The files that are followed.
#[derive(Debug)]
pub(super) struct Tails {
    config: FilesConfig,
    files: BTreeMap<PathBuf, Tail>,
    has_passed: bool,
    is_cut: bool,
}

/// What one pass brought.
#[derive(Debug, Default)]
pub(super) struct Pass {
    pub(super) harvest: Harvest,
    /// Whether some file has more to read at once.
    pub(super) has_more: bool,
}

/// The moment of a pass, on both clocks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    pub(super) wall: Timestamp,
    pub(super) timer: Instant,
}

impl Tails {
    pub(super) fn new(config: FilesConfig) -> Self {
        Self { config, files: BTreeMap::new(), has_passed: false, is_cut: false }
    }

    /// Looks for files, reads what they got, and lets go of those that went.
    pub(super) fn pass(&mut self, now: Moment) -> Pass {
        let mut pass = Pass::default();
        let mut before = std::mem::take(&mut self.files);
        let paths = self.discover(&mut pass.harvest);
        for path in paths {
            let Ok(metadata) = fs::metadata(&path) else { continue };
            if !metadata.is_file() {
                continue;
            }
            // Files of the first pass have a past; what appears later is read whole.
            let from_start = self.has_passed || self.config.from_start;
            let known = before.remove(&path);
            let tail = match known {
                Some(mut tail) if tail.identity == identity(&metadata) => {
                    tail.notice_truncation(&metadata, &self.config, now, &mut pass.harvest);
                    Some(tail)
                }
                Some(mut rotated) => {
                    rotated.drain(now, &mut pass.harvest);
                    Tail::open(&path, &self.config, true, now)
                }
                None => Tail::open(&path, &self.config, from_start, now),
            };
            if let Some(mut tail) = tail {
                pass.has_more |= tail.read(now, &mut pass.harvest);
                tail.settle(&self.config, now, &mut pass.harvest);
                self.files.insert(path, tail);
            }
        }
        for mut gone in before.into_values() {
            gone.drain(now, &mut pass.harvest);
        }
        self.has_passed = true;
        pass
    }

    /// Tells what is held.
    pub(super) fn close(&mut self, now: Moment) -> Harvest {
        let mut harvest = Harvest::default();
        for tail in self.files.values_mut() {
            tail.assembly.finish(now.wall, &mut harvest);
        }
        harvest
    }

    fn discover(&mut self, harvest: &mut Harvest) -> Vec<PathBuf> {
        let mut paths: Vec<_> = self.config.paths.iter().flat_map(|path| matches(path)).collect();
        paths.sort();
        paths.dedup();
        let is_cut = paths.len() > self.config.files_max;
        if is_cut && !self.is_cut {
            warn!(files = paths.len(), "more log files than the limit: the rest is not read");
            harvest.lose(DropReason::TooLarge, 1);
        }
        self.is_cut = is_cut;
        paths.truncate(self.config.files_max);
        paths
    }
}

/// Lists the files that a path means: itself, or, with `*` in its last component, its matches.
fn matches(pattern: &Path) -> Vec<PathBuf> {
    let name = pattern.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let Some((prefix, suffix)) = name.split_once('*') else { return vec![pattern.to_path_buf()] };
    let directory = pattern.parent().unwrap_or(Path::new("/"));
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries
        .filter(|entry| {
            entry.file_name().to_str().is_some_and(|name| {
                name.strip_prefix(prefix).is_some_and(|rest| rest.ends_with(suffix))
            })
        })
        .map(|entry| entry.path())
        .collect()
}

fn identity(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

/// One open file.
#[derive(Debug)]
struct Tail {
    file: File,
    identity: (u64, u64),
    path: PathBuf,
    offset: u64,
    assembly: Assembly,
    last_data: Instant,
    has_settled: bool,
}

impl Tail {
    fn open(path: &Path, config: &FilesConfig, from_start: bool, now: Moment) -> Option<Self> {
        let opened = File::open(path).and_then(|mut file| {
            let metadata = file.metadata()?;
            let offset = if from_start { 0 } else { file.seek(SeekFrom::End(0))? };
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
            last_data: now.timer,
            has_settled: true,
        })
    }

    /// Begins again if the file became shorter than what was read of it.
    fn notice_truncation(
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
            self.assembly = assembly(&self.path, config, self.identity, 0);
        }
    }

    /// Reads what the file got, up to a limit; says whether there is more.
    fn read(&mut self, now: Moment, harvest: &mut Harvest) -> bool {
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

    /// Reads the rest of a file that got no successor's bytes any more, and closes it.
    fn drain(&mut self, now: Moment, harvest: &mut Harvest) {
        while self.read(now, harvest) {}
        self.assembly.finish(now.wall, harvest);
    }

    fn settle(&mut self, config: &FilesConfig, now: Moment, harvest: &mut Harvest) {
        let silent = now.timer.saturating_duration_since(self.last_data);
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
