//! Reads journal files as they grow.

use std::{
    fs::{self, File},
    io::Read as _,
    path::{Path, PathBuf},
    time::Duration,
};

use sdjournal::{EntryRef, Journal, JournalConfig as ReaderConfig, LiveJournal, SdJournalError};
use tapio_collect::{CollectorError, DropReason, Outlet, Stop};
use tracing::{debug, warn};

use super::{
    JournalConfig,
    position::Position,
    translate::{Entry, Translator},
    units::LoopLimits,
};
use crate::{aged::AgedFile, harvest::Harvest};

/// Errors in a row after which the journal is given up: a disk that does not read.
const ERRORS_MAX: u32 = 16;

/// Follows the journal until `stop`.
pub(super) fn follow(
    config: &JournalConfig,
    outlet: &Outlet,
    stop: &Stop,
) -> Result<(), CollectorError> {
    let directories: Vec<_> =
        config.directories.iter().filter(|directory| directory.is_dir()).cloned().collect();
    count_torn(&directories).pass_on_blocking(outlet)?;
    let limits =
        LoopLimits { restarts_min: config.loop_restarts_min.max(2), within: config.loop_within };
    let translator = Translator::new(config.skip_kernel, limits);
    let position = Position::load(config.position.as_deref().map(AgedFile::new));
    let mut reading = Reading { translator, outlet, stop, position };
    let mut is_backlog = config.from_start;
    let mut errors = 0;
    while !stop.is_stopped() {
        let journal = match open(&directories, config.interval) {
            Ok(journal) => journal,
            Err(error) if errors == 0 => return Err(absent(config, &error)),
            Err(error) => return Err(broken(&error)),
        };
        // A live journal begins where the files ended when they were opened: backlog first, then
        // what is new, and nothing between is lost or doubled.
        let mut live = journal.live().map_err(|error| broken(&error))?;
        let error = (|| {
            if is_backlog || reading.position.last().is_some() {
                reading.backlog(&journal)?;
            } else {
                reading.position.begin_at_end(&journal)?;
            }
            is_backlog = false;
            reading.pump(&mut live)
        })();
        match error {
            Ok(()) => break,
            Err(Trouble::Outlet(error)) => return Err(error),
            Err(Trouble::Journal(error)) => {
                errors += 1;
                // What is unreadable stays behind: the journal is opened anew, after the last entry
                // that was read.
                warn!(%error, errors, "the journal has unreadable entries");
                let mut harvest = Harvest::default();
                harvest.lose(DropReason::Malformed, 1);
                harvest.pass_on_blocking(outlet)?;
                if errors >= ERRORS_MAX {
                    return Err(broken(&error));
                }
            }
        }
    }
    reading.flush()?;
    reading.position.keep_now();
    Ok(())
}

/// The state that outlives a reopened journal.
struct Reading<'a> {
    translator: Translator,
    outlet: &'a Outlet,
    stop: &'a Stop,
    position: Position,
}

enum Trouble {
    Outlet(CollectorError),
    Journal(SdJournalError),
}

impl From<CollectorError> for Trouble {
    fn from(error: CollectorError) -> Self {
        Self::Outlet(error)
    }
}

impl From<SdJournalError> for Trouble {
    fn from(error: SdJournalError) -> Self {
        Self::Journal(error)
    }
}

fn open(directories: &[PathBuf], interval: Duration) -> Result<Journal, SdJournalError> {
    let config = ReaderConfig { poll_interval: interval, ..ReaderConfig::default() };
    if directories.is_empty() {
        return Err(SdJournalError::NotFound);
    }
    Journal::open_dirs_with_config(directories, config)
}

impl Reading<'_> {
    /// Reads what the files hold beyond the last entry that was read.
    fn backlog(&mut self, journal: &Journal) -> Result<(), Trouble> {
        let mut query = journal.query();
        if let Some(last) = self.position.last() {
            query.after_cursor(last.clone());
        }
        for entry in query.iter()? {
            match entry {
                Ok(entry) => self.take(&entry)?,
                Err(error) => {
                    debug!(%error, "an entry of the journal is unreadable");
                    let mut harvest = Harvest::default();
                    harvest.lose(DropReason::Malformed, 1);
                    harvest.pass_on_blocking(self.outlet)?;
                }
            }
            if self.stop.is_stopped() {
                break;
            }
        }
        Ok(())
    }

    /// Reads what is appended.
    fn pump(&mut self, live: &mut LiveJournal) -> Result<(), Trouble> {
        let filter = live.filter();
        let entries = live.subscribe(filter)?;
        while !self.stop.is_stopped() {
            let delivered = live.poll_once()?;
            while let Ok(entry) = entries.try_recv() {
                self.take(entry?.as_ref())?;
            }
            if delivered == 0 {
                self.flush()?;
                self.position.keep();
            }
        }
        Ok(())
    }

    fn take(&mut self, entry: &EntryRef) -> Result<(), CollectorError> {
        let cursor = entry.cursor().ok();
        let entry = Entry {
            boot_id: entry.boot_id(),
            seqnum: entry.seqnum(),
            realtime_usec: entry.realtime_usec(),
            monotonic_usec: entry.monotonic_usec(),
            fields: entry.iter_fields().collect(),
        };
        let mut harvest = Harvest::default();
        self.translator.observe(&entry, &mut harvest);
        harvest.pass_on_blocking(self.outlet)?;
        self.position.pass(cursor);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), CollectorError> {
        let mut harvest = Harvest::default();
        self.translator.flush(&mut harvest);
        harvest.pass_on_blocking(self.outlet)
    }
}

/// Counts files that are no journal, or were cut before their header's end: the reader passes over
/// them in silence.
fn count_torn(directories: &[PathBuf]) -> Harvest {
    let mut harvest = Harvest::default();
    for directory in directories {
        let machines = entries(directory).filter(|path| path.is_dir());
        let files = std::iter::once(directory.clone()).chain(machines);
        for file in files.flat_map(|directory| entries(&directory).collect::<Vec<_>>()) {
            let is_journal = file.extension().is_some_and(|extension| extension == "journal");
            if is_journal && file.is_file() && !has_header(&file) {
                debug!(path = %file.display(), "not a journal file, or torn");
                harvest.lose(DropReason::Malformed, 1);
            }
        }
    }
    harvest
}

fn entries(directory: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path())
}

/// Looks for the signature and the shortest header.
///
/// # Source
/// <https://systemd.io/JOURNAL_FILE_FORMAT/#header>
fn has_header(path: &Path) -> bool {
    const HEADER_BYTES: u64 = 208;
    let mut signature = [0; 8];
    let is_signed = File::open(path).and_then(|mut file| file.read_exact(&mut signature)).is_ok()
        && &signature == b"LPKSHHRH";
    is_signed && fs::metadata(path).is_ok_and(|metadata| metadata.len() >= HEADER_BYTES)
}

fn absent(config: &JournalConfig, error: &SdJournalError) -> CollectorError {
    let names: Vec<_> = config.directories.iter().map(|path| path.display().to_string()).collect();
    let cure = if matches!(error, SdJournalError::PermissionDenied { .. }) {
        "run as root or as a member of the group systemd-journal"
    } else {
        "run on a host with systemd-journald, mount its /var/log/journal, or switch this collector off"
    };
    CollectorError::Absent {
        source_name: format!("systemd journal in {}", names.join(", ")),
        why: error.to_string(),
        cure: cure.into(),
    }
}

fn broken(error: &SdJournalError) -> CollectorError {
    CollectorError::Broken { source_name: "systemd journal".into(), why: error.to_string() }
}
