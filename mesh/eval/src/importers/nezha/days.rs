//! Which files there are, and from when on they matter.

use std::{
    fs::{self, File},
    io::{self, BufRead, BufReader},
    path::{Path, PathBuf},
};

use tapio_model::Timestamp;

use super::log;
use crate::{ImportError, input::READ_BYTES};

/// How deep below the given directory a day is looked for: archive, dataset, `rca_data`, day.
const DEPTH_MAX: u32 = 4;

/// What a table holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Content {
    /// Log lines.
    Logs,
    /// Spans.
    Spans,
    /// Samples of one pod.
    Metrics,
}

/// A file, and the earliest time in it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Table {
    pub(super) from: Timestamp,
    pub(super) content: Content,
    pub(super) path: PathBuf,
    pub(super) bytes: u64,
}

impl Content {
    const ALL: [Self; 3] = [Self::Logs, Self::Spans, Self::Metrics];

    const fn directory(self) -> &'static str {
        match self {
            Self::Logs => "log",
            Self::Spans => "trace",
            Self::Metrics => "metric",
        }
    }

    /// Finds the time in a line without reading it as a row: good enough to order files by. A
    /// line that misleads is caught and counted where events are merged.
    fn time_of(self, line: &[u8]) -> Option<i64> {
        let line = str::from_utf8(line).ok()?;
        let mut fields = line.split(',');
        let (field, unit) = match self {
            Self::Logs => (fields.nth(1), 1),
            Self::Spans => (fields.nth_back(1), 1),
            Self::Metrics => (fields.nth(1), 1_000_000_000),
        };
        let nanos = field?.parse::<i64>().ok()?.checked_mul(unit)?;
        if nanos > 0 {
            return Some(nanos);
        }
        // Go's zero time is negative here and says nothing; the runtime's stamp stands at the end.
        let (_, time) = line.rsplit_once(r#"""time"":"""#)?;
        log::time_inside(time.split('"').next()?).ok().map(Timestamp::as_nanos)
    }
}

/// Finds the days at or below `root`: the faulty ones, unless `root` itself lies in the fault-free
/// part (`construct_data`).
pub(super) fn find_days(root: &Path) -> Result<Vec<PathBuf>, ImportError> {
    find(root, |path| !path.ends_with("construct_data"))
}

/// Finds the days of the fault-free part at or below `root`.
pub(super) fn find_fault_free_days(root: &Path) -> Result<Vec<PathBuf>, ImportError> {
    let days = find(root, |path| !path.ends_with("rca_data"))?;
    let is_fault_free =
        |day: &PathBuf| day.parent().is_some_and(|it| it.ends_with("construct_data"));
    Ok(days.into_iter().filter(is_fault_free).collect())
}

fn find(root: &Path, is_entered: impl Fn(&Path) -> bool) -> Result<Vec<PathBuf>, ImportError> {
    let mut days = Vec::new();
    let read = |path: &Path, error| ImportError::Read { path: path.to_path_buf(), error };
    let mut level = vec![root.to_path_buf()];
    for _ in 0..=DEPTH_MAX {
        let mut below = Vec::new();
        for directory in level {
            if Content::ALL.iter().any(|content| directory.join(content.directory()).is_dir()) {
                days.push(directory);
                continue;
            }
            let inside = directories(&directory).map_err(|error| read(&directory, error))?;
            below.extend(inside.into_iter().filter(|path| is_entered(path)));
        }
        level = below;
    }
    days.sort();
    Ok(days)
}

/// Finds the tables of `days`, in order of the time they begin with.
pub(super) fn find_tables(days: &[PathBuf]) -> Result<Vec<Table>, ImportError> {
    let mut tables = Vec::new();
    for (day, content) in days.iter().flat_map(|day| Content::ALL.map(|content| (day, content))) {
        let directory = day.join(content.directory());
        if !directory.is_dir() {
            continue;
        }
        let paths = entries(&directory)
            .map_err(|error| ImportError::Read { path: directory.clone(), error })?;
        for path in paths.into_iter().filter(|path| path.extension().is_some_and(|e| e == "csv")) {
            let table = describe(&path, content)
                .map_err(|error| ImportError::Read { path: path.clone(), error })?;
            tables.push(table);
        }
    }
    tables.sort();
    Ok(tables)
}

fn describe(path: &Path, content: Content) -> io::Result<Table> {
    let file = File::open(path)?;
    let bytes = file.metadata()?.len();
    let from = earliest(BufReader::with_capacity(READ_BYTES, file), content)?;
    // A file that does not say is read first: nothing of it can then come too late.
    let from = from.map_or(Timestamp::MIN, Timestamp::from_nanos);
    Ok(Table { from, content, path: path.to_path_buf(), bytes })
}

fn earliest(mut reader: impl BufRead, content: Content) -> io::Result<Option<i64>> {
    let mut line = Vec::new();
    let mut earliest = None;
    while reader.read_until(b'\n', &mut line)? > 0 {
        let time = content.time_of(line.trim_ascii_end());
        earliest = earliest.into_iter().chain(time).min();
        line.clear();
        // One pod's samples are in order, and there is a day of them.
        if content == Content::Metrics && earliest.is_some() {
            break;
        }
    }
    Ok(earliest)
}

fn directories(path: &Path) -> io::Result<Vec<PathBuf>> {
    Ok(entries(path)?.into_iter().filter(|path| path.is_dir()).collect())
}

/// Lists a directory by name, so that the order does not depend on the filesystem.
fn entries(path: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(path)?.map(|entry| entry.map(|entry| entry.path()));
    let mut paths = entries.collect::<io::Result<Vec<_>>>()?;
    paths.sort();
    Ok(paths)
}
