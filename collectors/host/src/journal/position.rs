//! How far the journal was read, kept for the next run.

use sdjournal::{Cursor, Journal, SdJournalError};
use tokio::time::Instant;
use tracing::warn;

use crate::aged::AgedFile;

/// The first line of the file: its format.
const HEADER: &str = "tapio journal position 1";

/// How far the journal was read.
pub(super) struct Position {
    file: Option<AgedFile>,
    last: Option<Cursor>,
}

impl Position {
    /// Takes up what the last run left. Where nothing is kept, this is the first run.
    pub(super) fn load(file: Option<AgedFile>) -> Self {
        let last = file.as_ref().and_then(|file| parse(&file.load()));
        Self { file, last }
    }

    /// Returns the last entry that was read.
    pub(super) const fn last(&self) -> Option<&Cursor> {
        self.last.as_ref()
    }

    /// Begins after what the journal holds now. That is written at once: what comes between now
    /// and the first entry that is read is not to be skipped by the next run.
    pub(super) fn begin_at_end(&mut self, journal: &Journal) -> Result<(), SdJournalError> {
        let Some(file) = &self.file else { return Ok(()) };
        let mut query = journal.query();
        query.seek_tail().limit(1);
        if let Some(entry) = query.iter()?.next() {
            let cursor = entry?.cursor()?;
            file.write(&render(&cursor));
            self.last = Some(cursor);
        }
        Ok(())
    }

    /// Notes that an entry was read.
    pub(super) fn pass(&mut self, cursor: Option<Cursor>) {
        self.last = cursor.or_else(|| self.last.take());
        self.keep();
    }

    /// Keeps the position if it is time, and lets those come of age that were kept.
    pub(super) fn keep(&mut self) {
        let now = Instant::now();
        if let Some(file) = self.file.as_mut().filter(|file| file.is_due(now)) {
            file.keep(self.last.as_ref().map(render), now);
        }
    }

    /// Writes the position at once: everything before it has been passed on.
    pub(super) fn keep_now(&self) {
        if let (Some(file), Some(last)) = (&self.file, &self.last) {
            file.write(&render(last));
        }
    }
}

fn render(cursor: &Cursor) -> String {
    format!("{HEADER}\n{cursor}\n")
}

fn parse(text: &str) -> Option<Cursor> {
    if text.is_empty() {
        return None;
    }
    let body = text.strip_prefix(HEADER).and_then(|rest| rest.strip_prefix('\n'));
    let cursor = body.and_then(|cursor| Cursor::parse(cursor.trim_end()).ok());
    if cursor.is_none() {
        warn!("the position in the journal is damaged: reading goes on at the journal's end");
    }
    cursor
}
