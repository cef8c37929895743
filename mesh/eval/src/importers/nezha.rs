//! The TrainTicket recordings of Nezha: logs, spans and metrics as tables.
//!
//! # Shape
//! A day is a directory with `log`, `trace` and `metric`. A file of logs or spans holds about a
//! minute and is not sorted; it is read whole when its time comes, so that what is in memory is
//! the files that overlap. A file of metrics holds one pod's day, sorted, and is read row by row.
//! What says where the fault is (`*-fault_list.json`) is opened for the judge alone, and
//! `root_cause_ts.json` never.
//!
//! # Source
//! <https://github.com/IntelligentDDS/Nezha>, `rca_data` and `construct_data`.

mod days;
mod labels;
mod log;
mod merge;
mod metric;
mod places;
mod span;
mod table;

use std::{path::Path, sync::Arc};

use tapio_collect::Binder;

use self::merge::Merge;
use crate::{ImportError, Importer, Input, Labels, Recording};

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

    fn open_labelled(
        &self,
        path: &Path,
        binder: Arc<Binder>,
    ) -> Result<(Box<dyn Recording>, Labels), ImportError> {
        let (days, free) = (days::find_days(path)?, days::find_fault_free_days(path)?);
        if days.is_empty() {
            let wants = "a directory with rca_data/DAY/{log,trace,metric} and DAY-fault_list.json";
            return Err(ImportError::Input {
                format: "nezha",
                wants,
                found: path.display().to_string(),
            });
        }
        // The fault-free minute lies between two faults of the day, and is streamed in its place.
        let free_tables = days::find_tables(&free)?;
        let labels = labels::read(&days, &free_tables)?;
        let mut tables = days::find_tables(&days)?;
        tables.extend(free_tables);
        tables.sort();
        Ok((Box::new(Merge::new(tables, binder)), labels))
    }
}

#[cfg(test)]
mod tests;
