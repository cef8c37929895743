//! A directory of rules, kept current.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use xxhash_rust::xxh3::xxh3_64;

use crate::{
    Library, Limits, RuleError,
    library::files,
    source::{Source, unreadable},
};

/// A directory of rules, and what was last good in it.
///
/// Whoever owns it calls [`Reload::look`] now and then, on a thread that may wait for a disk. A look
/// at files whose stamps are the same reads none of them. A file that is being written is not read
/// either: new files count once two looks in a row agree on their stamps. They are then validated
/// whole: one bad file keeps the old set, all of it.
#[derive(Debug)]
pub struct Reload {
    directory: PathBuf,
    library: Arc<Library>,
    /// The files at the last look, good or bad; nothing if they could not be looked at.
    seen: Option<Seen>,
    /// What the files said when they were last judged, good or bad.
    judged: Option<Hashes>,
    /// What the files of the library in force said.
    taken: Hashes,
    errors: Vec<RuleError>,
}

/// What files said, as a hash.
type Hashes = BTreeMap<PathBuf, u64>;

/// Files that were looked at.
#[derive(Debug)]
struct Seen {
    stamps: BTreeMap<PathBuf, Stamp>,
    is_judged: bool,
}

/// What tells without reading that a file may have changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    bytes: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

/// What a look found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Nothing new.
    None,
    /// The files changed and are good: a new library is in force. The files by name.
    Taken {
        /// Files that were not there.
        added: Vec<PathBuf>,
        /// Files that say something else.
        changed: Vec<PathBuf>,
        /// Files that are gone.
        removed: Vec<PathBuf>,
    },
    /// The files changed and are not good: the old library stays in force. Told once;
    /// [`Reload::errors`] keeps it until the files change again.
    Refused(Vec<RuleError>),
}

impl Reload {
    /// Loads a directory for the first time.
    ///
    /// # Errors
    /// Everything that is wrong: there is no old set to keep.
    pub fn open(directory: &Path) -> Result<Self, Vec<RuleError>> {
        let mut reload = Self {
            directory: directory.to_owned(),
            library: Arc::default(),
            seen: None,
            judged: None,
            taken: BTreeMap::new(),
            errors: Vec::new(),
        };
        // There is nothing yet that a half-written file could replace.
        for _ in 0..2 {
            if let Change::Refused(errors) = reload.look() {
                return Err(errors);
            }
        }
        Ok(reload)
    }

    /// Returns the library in force.
    #[must_use]
    pub fn library(&self) -> Arc<Library> {
        Arc::clone(&self.library)
    }

    /// Returns why the files as they are now are not in force; nothing if they are.
    #[must_use]
    pub fn errors(&self) -> &[RuleError] {
        &self.errors
    }

    /// Looks at the directory again.
    ///
    /// What cannot be looked at counts as refused: a volume that is gone for a moment takes no rule
    /// away.
    pub fn look(&mut self) -> Change {
        let before = self.seen.take();
        let stamps = match stamps(&self.directory) {
            Ok(stamps) => stamps,
            Err(errors) => return self.lose(errors),
        };
        let Some(before) = before.filter(|seen| seen.stamps == stamps) else {
            self.seen = Some(Seen { stamps, is_judged: false });
            return Change::None;
        };
        self.seen = Some(Seen { stamps, is_judged: true });
        if before.is_judged { Change::None } else { self.judge(&before.stamps) }
    }

    /// Reads and validates files.
    fn judge(&mut self, paths: &BTreeMap<PathBuf, Stamp>) -> Change {
        let mut sources = Vec::with_capacity(paths.len());
        // One too many says so; more need not be read for it.
        for path in paths.keys().take(Limits::RULES_MAX + 1) {
            match Source::read(path) {
                Ok(source) => sources.push(source),
                Err(error) => return self.lose(vec![error]),
            }
        }
        let hash = |source: &Source| (source.path.clone(), xxh3_64(&source.bytes));
        let hashes: Hashes = sources.iter().map(hash).collect();
        if self.judged.as_ref() == Some(&hashes) {
            return Change::None;
        }
        self.judged = Some(hashes.clone());
        match Library::of(&sources) {
            Ok(library) => self.adopt(library, hashes),
            Err(errors) => self.refuse(errors),
        }
    }

    /// Notes that the files could not be looked at: whatever they say next is judged anew.
    fn lose(&mut self, errors: Vec<RuleError>) -> Change {
        (self.seen, self.judged) = (None, None);
        self.refuse(errors)
    }

    fn adopt(&mut self, library: Library, hashes: Hashes) -> Change {
        let only_in = |these: &Hashes, those: &Hashes| {
            these.keys().filter(|path| !those.contains_key(*path)).cloned().collect::<Vec<_>>()
        };
        let old = &self.taken;
        let (added, removed) = (only_in(&hashes, old), only_in(old, &hashes));
        let is_changed =
            |(path, hash): &(&PathBuf, &u64)| old.get(*path).is_some_and(|known| known != *hash);
        let changed = hashes.iter().filter(is_changed).map(|(path, _)| path.clone());
        let changed: Vec<PathBuf> = changed.collect();
        self.errors.clear();
        // Back to what is in force, after something bad: nothing to swap, and its counters stay.
        if added.is_empty() && removed.is_empty() && changed.is_empty() {
            return Change::None;
        }
        self.taken = hashes;
        self.library = Arc::new(library);
        Change::Taken { added, changed, removed }
    }

    fn refuse(&mut self, errors: Vec<RuleError>) -> Change {
        if errors == self.errors {
            return Change::None;
        }
        self.errors = errors.clone();
        Change::Refused(errors)
    }
}

fn stamps(directory: &Path) -> Result<BTreeMap<PathBuf, Stamp>, Vec<RuleError>> {
    let mut stamps = BTreeMap::new();
    for path in files(directory)? {
        let metadata = fs::metadata(&path).map_err(|why| vec![unreadable(&path, &why)])?;
        let stamp = Stamp {
            device: metadata.dev(),
            inode: metadata.ino(),
            bytes: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        };
        stamps.insert(path, stamp);
    }
    Ok(stamps)
}

#[cfg(test)]
mod tests;
