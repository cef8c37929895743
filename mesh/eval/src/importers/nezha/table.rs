//! Rows of a table.

use std::{fs::File, path::Path, sync::Arc};

use csv::{ByteRecord, Reader, ReaderBuilder};
use tapio_collect::{Binder, Unbound};
use tapio_model::Event;

use super::places::Shared;
use crate::{ImportAccount, ImportError, Rejected, input::READ_BYTES};

/// What all tables are read with.
#[derive(Debug)]
pub(super) struct Desk {
    pub(super) binder: Arc<Binder>,
    pub(super) shared: Shared,
    pub(super) account: ImportAccount,
}

/// Why a row is not an event.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Bad {
    pub(super) reason: &'static str,
    pub(super) why: String,
}

impl Bad {
    pub(super) fn new(reason: &'static str, why: impl Into<String>) -> Self {
        Self { reason, why: why.into() }
    }
}

impl Desk {
    pub(super) fn new(binder: Arc<Binder>) -> Self {
        Self { binder, shared: Shared::new(), account: ImportAccount::default() }
    }

    /// Books a row: binds what was read of it, or counts why nothing was.
    pub(super) fn book(
        &mut self,
        path: &Path,
        row: &ByteRecord,
        read: Result<Unbound, Bad>,
    ) -> Option<Arc<Event>> {
        match read {
            Ok(unbound) => {
                self.account.accept();
                Some(Arc::new(self.binder.bind(unbound)))
            }
            Err(Bad { reason, why }) => {
                let line = row.position().map_or(0, csv::Position::line);
                let file = Some(path.display().to_string());
                self.account.reject(Rejected { file, line, reason, why });
                None
            }
        }
    }
}

/// Opens a table; its first row is the header.
pub(super) fn open(path: &Path) -> Result<Reader<File>, ImportError> {
    let file = File::open(path).map_err(|error| unreadable(path, error))?;
    // Rows of another length are refused one by one, not together with the rest of the file.
    Ok(ReaderBuilder::new().flexible(true).buffer_capacity(READ_BYTES).from_reader(file))
}

pub(super) fn unreadable(path: &Path, error: impl Into<std::io::Error>) -> ImportError {
    ImportError::Read { path: path.to_path_buf(), error: error.into() }
}

/// Returns the fields of a row that must have `N`.
pub(super) fn fields<const N: usize>(row: &ByteRecord) -> Result<[&str; N], Bad> {
    if row.len() != N {
        return Err(Bad::new("columns", format!("{} columns instead of {N}", row.len())));
    }
    let mut fields = [""; N];
    for (field, bytes) in fields.iter_mut().zip(row) {
        *field = str::from_utf8(bytes).map_err(|error| Bad::new("text", error.to_string()))?;
    }
    Ok(fields)
}

/// Reads an id of the model.
pub(super) fn id<T: std::str::FromStr>(what: &'static str, text: &str) -> Result<T, Bad> {
    text.parse().ok().ok_or_else(|| Bad::new("id", format!("{what} {text:?}")))
}

/// Reads nanoseconds since 1970.
pub(super) fn nanos(text: &str) -> Result<i64, Bad> {
    text.parse().ok().ok_or_else(|| Bad::new("time", format!("time {text:?}")))
}
