//! A small file that says how far something was read, written when that is old enough to be true.

use std::{
    collections::VecDeque,
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::time::Instant;
use tracing::warn;

/// How often a position is kept.
const INTERVAL: Duration = Duration::from_secs(2);

/// How old a position is when it is written: by then the events before it have left the process,
/// so that a kill repeats some (with their ids) and skips none. An output that does not answer
/// holds events for two seconds before the spool takes them, and once more when it is switched
/// meanwhile.
pub(crate) const HELD_MAX: Duration = Duration::from_secs(6);

/// A file whose content is always some seconds old.
#[derive(Debug)]
pub(crate) struct AgedFile {
    path: PathBuf,
    /// Written when they are old enough, the oldest first.
    pending: VecDeque<(Instant, String)>,
    written: Option<String>,
    kept: Option<Instant>,
}

impl AgedFile {
    pub(crate) fn new(path: &Path) -> Self {
        Self { path: path.into(), pending: VecDeque::new(), written: None, kept: None }
    }

    /// Reads what the last run left; nothing if there was none, or if it cannot be read.
    pub(crate) fn load(&self) -> String {
        fs::read_to_string(&self.path).unwrap_or_else(|error| {
            if error.kind() != io::ErrorKind::NotFound {
                warn!(path = %self.path.display(), %error, "cannot read how far was read");
            }
            String::new()
        })
    }

    /// Says whether it is time to keep a position again.
    pub(crate) fn is_due(&self, now: Instant) -> bool {
        self.kept.is_none_or(|kept| now.saturating_duration_since(kept) >= INTERVAL)
    }

    /// Keeps a position, and writes the youngest of those that are old enough.
    pub(crate) fn keep(&mut self, text: Option<String>, now: Instant) {
        self.pending.extend(text.map(|text| (now, text)));
        self.kept = Some(now);
        let is_old = |at: &Instant| now.saturating_duration_since(*at) >= HELD_MAX;
        let old = self.pending.iter().take_while(|(at, _)| is_old(at)).count();
        let youngest = self.pending.drain(..old).next_back();
        if let Some((_, text)) = youngest.filter(|(_, text)| self.written.as_ref() != Some(text)) {
            self.write(&text);
            self.written = Some(text);
        }
    }

    /// Replaces the file as a whole: a crash leaves the old one or the new one.
    pub(crate) fn write(&self, text: &str) {
        let next = self.path.with_extension("next");
        let written = fs::write(&next, text).and_then(|()| fs::rename(&next, &self.path));
        if let Err(error) = written {
            warn!(path = %self.path.display(), %error, "cannot keep how far was read");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_old_enough_to_be_true() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.position");
        let mut file = AgedFile::new(&path);
        let begin = Instant::now();
        for (after, text, want) in [(0, "a", ""), (2, "b", ""), (6, "c", "a"), (9, "d", "b")] {
            let now = begin + Duration::from_secs(after);
            assert!(file.is_due(now));
            file.keep(Some(text.to_owned()), now);
            assert_eq!(AgedFile::new(&path).load(), want, "after {after} s");
        }
        assert!(!file.is_due(begin + Duration::from_secs(10)));
        file.write("end");
        assert_eq!(file.load(), "end");
    }
}
