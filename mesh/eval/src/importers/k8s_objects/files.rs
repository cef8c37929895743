//! Which files there are, and their bytes, within bounds.

use std::{
    fs::{self, File},
    io::{self, BufRead, Read},
    path::{Path, PathBuf},
    sync::Mutex,
};

use crate::Rejected;

/// Bytes of a file that are read at most: `kubectl get pods -A -o json` of a thousand pods is
/// 20 MiB.
const FILE_BYTES_MAX: u64 = 64 << 20;

/// Bytes of a recording that are read at most; in memory they are some ten times as many.
const RECORDING_BYTES_MAX: u64 = 256 << 20;

/// Files of a recording; the rest is left out.
const FILES_MAX: usize = 10_000;

/// How deep below a directory files are looked for.
const DEPTH_MAX: u32 = 8;

/// Bytes of a file by which its format is known.
const HEAD_BYTES: u64 = 4_096;

/// Files of which the head is looked at to tell a format.
const HEADS_MAX: usize = 64;

/// What a recording is made of.
pub(in crate::importers) struct Found {
    sources: Vec<Source>,
}

/// A file, or a stream.
pub(in crate::importers) enum Source {
    /// A file, and its name as people are told it.
    File(PathBuf, String),
    /// A stream, until it is read.
    Stream(Mutex<Option<Box<dyn BufRead + Send>>>),
}

/// How many bytes may still be read.
#[derive(Debug)]
pub(in crate::importers) struct Budget {
    /// Of one file.
    file: u64,
    /// Of all that are left.
    all: u64,
}

impl Default for Budget {
    fn default() -> Self {
        Self { file: FILE_BYTES_MAX, all: RECORDING_BYTES_MAX }
    }
}

/// Finds the files at or below `root` that are `ours`, in order of their names.
pub(in crate::importers) fn find(root: &Path, ours: impl Fn(&Path) -> bool) -> io::Result<Found> {
    find_within(root, DEPTH_MAX, ours)
}

/// Finds the files at `root`, or in it: not those further below.
pub(in crate::importers) fn find_beside(
    root: &Path,
    ours: impl Fn(&Path) -> bool,
) -> io::Result<Found> {
    find_within(root, 1, ours)
}

fn find_within(root: &Path, depth_max: u32, ours: impl Fn(&Path) -> bool) -> io::Result<Found> {
    let mut paths = Vec::new();
    if fs::metadata(root)?.is_dir() {
        let mut level = vec![root.to_path_buf()];
        for _ in 0..depth_max {
            let mut below = Vec::new();
            for directory in level {
                for entry in fs::read_dir(&directory)? {
                    let entry = entry?;
                    // A link may lead anywhere, and round in a circle.
                    let kind = entry.file_type()?;
                    if kind.is_dir() {
                        below.push(entry.path());
                    } else if kind.is_file() && ours(&entry.path()) {
                        paths.push(entry.path());
                    }
                }
            }
            level = below;
        }
    } else if ours(root) {
        paths.push(root.to_path_buf());
    }
    paths.sort();
    paths.truncate(FILES_MAX);
    let name = |path: &Path| {
        let below = path.strip_prefix(root).ok().filter(|below| *below != Path::new(""));
        below.unwrap_or(path).display().to_string()
    };
    let sources = paths.into_iter().map(|path| {
        let name = name(&path);
        Source::File(path, name)
    });
    Ok(Found { sources: sources.collect() })
}

impl Found {
    pub(in crate::importers) fn of_stream(stream: Box<dyn BufRead + Send>) -> Self {
        Self { sources: vec![Source::Stream(Mutex::new(Some(stream)))] }
    }

    pub(in crate::importers) fn sources(&self) -> impl Iterator<Item = &Source> {
        self.sources.iter()
    }

    /// Says whether a file begins as `is_ours` says.
    pub(in crate::importers) fn any_head(&self, is_ours: impl Fn(&[u8]) -> bool) -> bool {
        self.sources.iter().take(HEADS_MAX).any(|source| {
            let Source::File(path, _) = source else { return false };
            let mut head = Vec::new();
            File::open(path)
                .and_then(|file| file.take(HEAD_BYTES).read_to_end(&mut head))
                .is_ok_and(|_| is_ours(&head))
        })
    }
}

impl Source {
    /// Returns its name for people; a stream has none.
    pub(in crate::importers) fn name(&self) -> Option<String> {
        match self {
            Self::File(_, name) => Some(name.clone()),
            Self::Stream(_) => None,
        }
    }

    /// Returns the path of a file.
    pub(in crate::importers) fn path(&self) -> Option<&Path> {
        match self {
            Self::File(path, _) => Some(path),
            Self::Stream(_) => None,
        }
    }

    /// Reads it whole; what is too large is refused.
    pub(in crate::importers) fn read(&self, budget: &mut Budget) -> Result<Vec<u8>, Rejected> {
        let mut bytes = Vec::new();
        let bytes_max = budget.file.min(budget.all);
        let read = match self {
            Self::File(path, _) => {
                File::open(path).and_then(|file| file.take(bytes_max + 1).read_to_end(&mut bytes))
            }
            Self::Stream(stream) => {
                let stream = stream.lock().ok().and_then(|mut stream| stream.take());
                stream.map_or(Ok(0), |stream| stream.take(bytes_max + 1).read_to_end(&mut bytes))
            }
        };
        match read {
            Err(error) => Err(self.reject(0, "unreadable", error.to_string())),
            Ok(read) if to_u64(read) > bytes_max => {
                Err(self.reject(0, "too_large", format!("more than {bytes_max} bytes")))
            }
            Ok(read) => {
                budget.all = budget.all.saturating_sub(to_u64(read));
                Ok(bytes)
            }
        }
    }

    /// Makes the account of something in it that did not become an event.
    pub(in crate::importers) fn reject(
        &self,
        line: usize,
        reason: &'static str,
        why: impl Into<String>,
    ) -> Rejected {
        Rejected { file: self.name(), line: to_u64(line), reason, why: why.into() }
    }
}

pub(in crate::importers) fn to_u64(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_large_is_refused_and_the_next_is_read() {
        let root = tempfile::tempdir().unwrap();
        for (name, bytes) in [("a", 9), ("b", 3), ("c", 4), ("d", 2)] {
            fs::write(root.path().join(name), vec![b'x'; bytes]).unwrap();
        }
        let found = find_beside(root.path(), |_| true).unwrap();
        let mut budget = Budget { file: 8, all: 6 };
        let read = found.sources().map(|source| source.read(&mut budget));
        let read: Vec<_> = read.map(|read| read.map_err(|rejected| rejected.why)).collect();
        let refused = |max: u64| Err(format!("more than {max} bytes"));
        assert_eq!(read, [refused(6), Ok(vec![b'x'; 3]), refused(3), Ok(vec![b'x'; 2])]);
    }

    #[test]
    fn only_files_are_found_and_not_too_deep() {
        let root = tempfile::tempdir().unwrap();
        let deep = root.path().join("1/2/3/4/5/6/7");
        fs::create_dir_all(deep.join("8")).unwrap();
        for folder in [root.path().join("1"), deep.clone(), deep.join("8")] {
            fs::write(folder.join("a"), "x").unwrap();
        }
        let names = |found: Found| found.sources().filter_map(Source::name).collect::<Vec<_>>();
        let below = names(find(root.path(), |_| true).unwrap());
        assert_eq!(below, ["1/2/3/4/5/6/7/a", "1/a"]);
        assert_eq!(names(find_beside(&deep, |_| true).unwrap()), ["a"]);
        assert!(find(&root.path().join("gone"), |_| true).is_err());
    }
}
