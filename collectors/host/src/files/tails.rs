//! Finds files, and follows each through rotation.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Component, Path, PathBuf},
    time::Duration,
};

use tapio_collect::DropReason;
use tapio_model::Timestamp;
use tokio::time::Instant;
use tracing::warn;

use super::{
    FilesConfig,
    positions::{Positions, Record},
    tail::{Start, Tail, identity},
};
use crate::{harvest::Harvest, templates::Templates};

/// How long a file that was renamed or removed is still read: its writer may hold it open until
/// it is told of the rotation.
const LEAVE_IDLE: Duration = Duration::from_secs(5);

/// Files that are on their way out.
const LEAVING_MAX: usize = 256;

/// The files that are followed.
#[derive(Debug)]
pub(super) struct Tails {
    config: FilesConfig,
    files: BTreeMap<PathBuf, Tail>,
    /// Renamed or removed, and still open.
    leaving: Vec<Tail>,
    paths: Vec<PathBuf>,
    discovered: Option<Instant>,
    positions: Option<Positions>,
    templates: Templates,
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
        let positions = config.positions.as_ref().map(|path| Positions::load(path));
        Self {
            config,
            files: BTreeMap::new(),
            leaving: Vec::new(),
            paths: Vec::new(),
            discovered: None,
            positions,
            templates: Templates::new(),
            has_passed: false,
            is_cut: false,
        }
    }

    /// Looks for files, reads what they got, and lets go of those that went.
    ///
    /// What the pass before brought must have been passed on: its positions are remembered now.
    pub(super) fn pass(&mut self, now: Moment) -> Pass {
        let mut pass = Pass::default();
        self.remember(now);
        self.discover(now, &mut pass.harvest);
        let mut before = std::mem::take(&mut self.files);
        let paths = std::mem::take(&mut self.paths);
        let mut sizes = Vec::with_capacity(paths.len());
        for path in &paths {
            let Some(metadata) = fs::metadata(path).ok().filter(fs::Metadata::is_file) else {
                continue;
            };
            let tail = match before.remove(path) {
                Some(mut tail) if tail.identity() == identity(&metadata) => {
                    tail.notice_truncation(&metadata, &self.config, now, &mut pass.harvest);
                    Some(tail)
                }
                Some(rotated) => {
                    self.leave(rotated, now, &mut pass.harvest);
                    Tail::open(path, &self.config, Start::Beginning, now)
                }
                None => {
                    let start = self.start(&metadata, path);
                    Tail::open(path, &self.config, start, now)
                }
            };
            if let Some(tail) = tail {
                self.files.insert(path.clone(), tail);
                sizes.push((path, metadata.len()));
            }
        }
        if !self.has_passed {
            self.begin(&paths, now, &mut pass.harvest);
        }
        for (path, size) in sizes {
            let Some(tail) = self.files.get_mut(path) else { continue };
            if size > tail.offset() {
                pass.has_more |= tail.read(now, &mut pass.harvest);
            }
            tail.settle(&self.config, now, &mut pass.harvest);
        }
        self.paths = paths;
        for gone in before.into_values() {
            self.leave(gone, now, &mut pass.harvest);
        }
        self.read_leaving(now, &mut pass.harvest);
        self.templates.note(&mut pass.harvest.events);
        self.has_passed = true;
        pass
    }

    /// Tells what is held; or, if positions are kept, leaves it to the next run, which reads it
    /// again and whole.
    pub(super) fn close(&mut self, now: Moment) -> Harvest {
        let records = self.records();
        let mut harvest = Harvest::default();
        for tail in self.files.values_mut().chain(&mut self.leaving) {
            tail.finish(now, &mut harvest);
        }
        let Some(positions) = &mut self.positions else {
            self.templates.note(&mut harvest.events);
            return harvest;
        };
        positions.save_now(&records);
        harvest.defer();
        harvest
    }

    /// Says whether no file is open.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.files.is_empty() && self.leaving.is_empty()
    }

    #[cfg(test)]
    pub(super) fn forget_positions(&mut self) {
        self.positions = None;
    }

    fn remember(&mut self, now: Moment) {
        if self.positions.as_ref().is_some_and(|positions| positions.is_due(now.timer)) {
            let records = self.records();
            if let Some(positions) = &mut self.positions {
                positions.save(&records, now.timer);
            }
        }
    }

    fn were_kept(&self) -> bool {
        self.positions.as_ref().is_some_and(Positions::were_kept)
    }

    fn records(&mut self) -> Vec<Record> {
        if self.positions.is_none() {
            return Vec::new();
        }
        self.files.values_mut().chain(&mut self.leaving).map(Tail::record).collect()
    }

    /// Says where to begin a file that was not followed before. Files of the first pass have a
    /// past; what appears later, or appeared while nobody was here, is read whole.
    fn start(&mut self, metadata: &fs::Metadata, path: &Path) -> Start {
        let positions = self.positions.as_mut();
        if let Some(offset) = positions.and_then(|positions| positions.take(metadata, path)) {
            return Start::At(offset);
        }
        if self.has_passed || self.were_kept() || self.config.from_start {
            Start::Beginning
        } else {
            Start::End
        }
    }

    /// Does what only the first pass does, once its files are open: what is renamed from now on is
    /// read all the same. Whatever was renamed before is read now: the rest of files that the last
    /// run knew, and the whole of those that also came while nobody was here.
    fn begin(&mut self, paths: &[PathBuf], now: Moment, harvest: &mut Harvest) {
        let is_first_of_all = !self.were_kept();
        let records = self.records();
        let Some(positions) = &mut self.positions else { return };
        if is_first_of_all {
            // Killed before it keeps any, the next run would take itself for the first, and begin
            // at the end of what this one began to read.
            positions.save_now(&records);
            return;
        }
        let known = positions.take_renamed().into_iter();
        let mut renamed: Vec<_> = known
            .map(|(record, renamed)| (record.path, renamed, Start::At(record.offset)))
            .collect();
        let open: BTreeSet<_> = self.files.values().map(Tail::identity).collect();
        for path in paths {
            let unknown = positions.renamed_unknown(path, &open).into_iter();
            renamed.extend(unknown.map(|renamed| (path.clone(), renamed, Start::Beginning)));
        }
        for (path, renamed, start) in renamed {
            if let Some(tail) = Tail::open_renamed(&renamed, &path, &self.config, start, now) {
                self.leave(tail, now, harvest);
            }
        }
    }

    fn leave(&mut self, mut tail: Tail, now: Moment, harvest: &mut Harvest) {
        tail.drain(now, harvest);
        self.leaving.push(tail);
        if self.leaving.len() > LEAVING_MAX {
            drop(self.leaving.remove(0));
        }
    }

    fn read_leaving(&mut self, now: Moment, harvest: &mut Harvest) {
        for tail in &mut self.leaving {
            tail.drain(now, harvest);
        }
        self.leaving.retain(|tail| tail.silence(now) < LEAVE_IDLE);
    }

    fn discover(&mut self, now: Moment, harvest: &mut Harvest) {
        let is_due = self.discovered.is_none_or(|last| {
            now.timer.saturating_duration_since(last) >= self.config.discover_interval
        });
        if !is_due {
            return;
        }
        self.discovered = Some(now.timer);
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
        self.paths = paths;
    }
}

/// Returns the part of a path before its first `*`: what must be there to wait for the rest.
pub(super) fn home(pattern: &Path) -> PathBuf {
    let is_plain = |part: &Component<'_>| !part.as_os_str().to_string_lossy().contains('*');
    let plain: PathBuf = pattern.components().take_while(is_plain).collect();
    if plain == pattern { plain.parent().map(Path::to_path_buf).unwrap_or_default() } else { plain }
}

/// Lists the files that a path means: itself, or its matches, where each component may hold one
/// `*`.
fn matches(pattern: &Path) -> Vec<PathBuf> {
    let mut found = vec![PathBuf::new()];
    for part in pattern.components() {
        let name = part.as_os_str().to_str().unwrap_or_default();
        let Some((prefix, suffix)) = name.split_once('*') else {
            found.iter_mut().for_each(|path| path.push(part));
            continue;
        };
        let is_match = |name: &std::ffi::OsStr| {
            let rest = name.to_str().and_then(|name| name.strip_prefix(prefix));
            rest.is_some_and(|rest| rest.ends_with(suffix))
        };
        let entries = found.iter().flat_map(|path| {
            let here = if path.as_os_str().is_empty() { Path::new(".") } else { path };
            fs::read_dir(here).into_iter().flatten().flatten()
        });
        found = entries
            .filter(|entry| is_match(&entry.file_name()))
            .map(|entry| entry.path())
            .collect();
    }
    found
}
