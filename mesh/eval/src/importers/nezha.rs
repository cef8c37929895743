//! The TrainTicket recordings of Nezha: logs, spans and metrics as tables.
//!
//! # Shape
//! A day is a directory with `log`, `trace` and `metric`. A file of logs or spans holds about a
//! minute and is not sorted; it is read whole when its time comes, so that what is in memory is
//! the files that overlap. A file of metrics holds one pod's day, sorted, and is read row by row.
//! What says where the fault is (`*-fault_list.json`, `root_cause_ts.json`) is never opened.
//!
//! # Source
//! <https://github.com/IntelligentDDS/Nezha>, `rca_data` and `construct_data`.

mod days;
mod log;
mod merge;
mod metric;
mod places;
mod span;
mod table;

use std::{path::Path, sync::Arc};

use tapio_collect::Binder;

use self::merge::Merge;
use crate::{ImportError, Importer, Input, Recording};

/// The importer.
#[derive(Debug)]
pub(super) struct Format;

impl Importer for Format {
    fn name(&self) -> &'static str {
        "nezha"
    }

    fn aliases(&self) -> &'static [&'static str] {
        &["trainticket"]
    }

    fn about(&self) -> &'static str {
        "TrainTicket recordings of Nezha: a directory with rca_data/DAY/{log,trace,metric}"
    }

    fn detects(&self, path: &Path) -> bool {
        path.is_dir() && days::find_days(path).is_ok_and(|days| !days.is_empty())
    }

    fn open(&self, input: Input, binder: Arc<Binder>) -> Result<Box<dyn Recording>, ImportError> {
        let wants = "a directory with rca_data/DAY/{log,trace,metric}";
        let refuse = |found| ImportError::Input { format: "nezha", wants, found };
        let path = match input {
            Input::Stream(_) => return Err(refuse("a stream".to_owned())),
            Input::Path(path) => path,
        };
        let days = days::find_days(&path)?;
        if days.is_empty() {
            return Err(refuse(path.display().to_string()));
        }
        let tables = days::find_tables(&days)?;
        Ok(Box::new(Merge::new(tables, binder)))
    }
}

#[cfg(test)]
mod tests;
