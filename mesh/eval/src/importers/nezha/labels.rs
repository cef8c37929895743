//! What is true of a recording: which faults were injected, and where there was none.

use std::{collections::BTreeMap, fs, io, path::PathBuf, time::Duration};

use jiff::{civil, tz::TimeZone};
use serde::Deserialize;
use tapio_model::Timestamp;

use super::days::{Content, Table};
use crate::{Fault, ImportError, Labels, importers::service_of_pod};

/// How long the fault-free part is, from its earliest line.
const FAULT_FREE: Duration = Duration::from_secs(60);

/// An entry of `DAY-fault_list.json`. Its `inject_timestamp` is hours off in many rows.
#[derive(Debug, Deserialize)]
struct Injected {
    inject_time: String,
    inject_pod: String,
    inject_type: String,
}

/// Reads the labels of `days`.
pub(super) fn read(days: &[PathBuf], fault_free: &[Table]) -> Result<Labels, ImportError> {
    let mut faults = Vec::new();
    for day in days {
        let name = day.file_name().unwrap_or_default().to_string_lossy();
        let path = day.join(format!("{name}-fault_list.json"));
        let read = |error| ImportError::Read { path: path.clone(), error };
        let text = fs::read_to_string(&path).map_err(read)?;
        let broken = |error: String| read(io::Error::new(io::ErrorKind::InvalidData, error));
        let hours: BTreeMap<String, Vec<Injected>> =
            serde_json::from_str(&text).map_err(|error| broken(error.to_string()))?;
        for injected in hours.into_values().flatten() {
            faults.push(fault(&injected).map_err(broken)?);
        }
    }
    faults.sort_by(|a, b| (a.at, &a.service).cmp(&(b.at, &b.service)));
    let spans = fault_free.iter().filter(|table| table.content != Content::Metrics);
    let fault_free = spans.map(|table| (table.from, table.from.after(FAULT_FREE))).collect();
    Ok(Labels { faults, fault_free })
}

/// Reads one; its time is UTC.
fn fault(injected: &Injected) -> Result<Fault, String> {
    let time = civil::DateTime::strptime("%Y-%m-%d %H:%M:%S", &injected.inject_time)
        .and_then(|time| time.to_zoned(TimeZone::UTC))
        .map_err(|error| format!("inject_time {:?}: {error}", injected.inject_time))?;
    Ok(Fault {
        at: Timestamp::from_secs(time.timestamp().as_second()),
        until: None,
        service: service_of_pod(&injected.inject_pod).into(),
        kind: injected.inject_type.as_str().into(),
        pattern: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_has_its_service_and_its_time_in_utc() {
        let injected = |time: &str| Injected {
            inject_time: time.to_owned(),
            inject_pod: "ts-route-service-b6c59fb57-zv8dt".to_owned(),
            inject_type: "exception".to_owned(),
        };
        let fault_at = fault(&injected("2023-01-29 11:04:05")).unwrap();
        assert_eq!((&*fault_at.service, &*fault_at.kind), ("ts-route-service", "exception"));
        assert_eq!(fault_at.at, Timestamp::from_secs(1_674_990_245));
        assert!(fault(&injected("eleven")).is_err());
    }
}
