//! What is true of one of our own recordings: a file beside it.
//!
//! # Shape
//! Of `shop.jsonl`, `shop.labels.json`: `{"faults": [{"at": …, "until": …, "service": …, "kind": …,
//! "pattern": …}], "fault_free": [[from, until]]}`. Times are RFC 3339; `until` and `pattern` may be
//! left out.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde::Deserialize;
use tapio_model::{Text, Timestamp};

use crate::{Fault, ImportError, Labels};

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Raw {
    faults: Vec<RawFault>,
    fault_free: Vec<(String, String)>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFault {
    at: String,
    until: Option<String>,
    service: String,
    kind: String,
    pattern: Option<String>,
}

/// Returns where the labels of a recording are.
fn beside(recording: &Path) -> PathBuf {
    recording.with_extension("labels.json")
}

/// Reads the labels of a recording.
pub(super) fn read(recording: &Path) -> Result<Labels, ImportError> {
    let path = beside(recording);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) => return Err(ImportError::Read { path, error }),
    };
    parse(&text).map_err(|why| {
        let error = io::Error::new(io::ErrorKind::InvalidData, why);
        ImportError::Read { path, error }
    })
}

fn parse(text: &str) -> Result<Labels, String> {
    let raw: Raw = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let mut faults = raw.faults.into_iter().map(fault).collect::<Result<Vec<_>, _>>()?;
    faults.sort_by(|a, b| (a.at, &a.service).cmp(&(b.at, &b.service)));
    let fault_free = raw.fault_free.iter().map(|(from, until)| period(from, until));
    Ok(Labels { faults, fault_free: fault_free.collect::<Result<_, _>>()? })
}

fn fault(raw: RawFault) -> Result<Fault, String> {
    let RawFault { at, until, service, kind, pattern } = raw;
    if service.is_empty() || kind.is_empty() {
        return Err(format!("the fault at {at} needs a service and a kind"));
    }
    let until = until.map(|until| period(&at, &until)).transpose()?.map(|(_, until)| until);
    Ok(Fault {
        at: time(&at)?,
        until,
        service: service.into(),
        kind: kind.into(),
        pattern: pattern.map(Text::from),
    })
}

fn period(from: &str, until: &str) -> Result<(Timestamp, Timestamp), String> {
    let period = (time(from)?, time(until)?);
    if period.1 < period.0 {
        return Err(format!("{until} is before {from}: write the earlier time first"));
    }
    Ok(period)
}

fn time(text: &str) -> Result<Timestamp, String> {
    let time: jiff::Timestamp = text
        .parse()
        .map_err(|error| format!("time {text:?}: {error}; write it as 2026-11-20T02:47:00Z"))?;
    let nanos = i64::try_from(time.as_nanosecond());
    nanos.map(Timestamp::from_nanos).map_err(|error| format!("time {text:?}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_come_in_order_of_time_and_may_leave_out_what_nobody_knows() {
        let labels = parse(
            r#"{"faults": [
                {"at": "2026-11-20T03:00:00Z", "service": "cart", "kind": "cpu"},
                {"at": "2026-11-20T02:50:00Z", "until": "2026-11-20T03:53:00+01:00",
                 "service": "pay", "kind": "early_return", "pattern": "service_abnormal"}],
               "fault_free": [["2026-11-20T02:00:00Z", "2026-11-20T02:40:00Z"]]}"#,
        )
        .unwrap();
        let [first, second] = labels.faults.as_slice() else { panic!("{labels:?}") };
        assert_eq!((&*first.service, first.pattern.as_deref()), ("pay", Some("service_abnormal")));
        assert_eq!(first.until.map(|until| until.since(first.at).as_secs()), Some(180));
        assert_eq!((&*second.kind, second.until, &second.pattern), ("cpu", None, &None));
        assert_eq!(labels.fault_free.len(), 1);
        assert_eq!(parse("{}"), Ok(Labels::default()));
    }

    #[test]
    fn a_bad_label_says_what_is_wrong() {
        let fault = |fields: &str| format!(r#"{{"faults": [{{{fields}}}]}}"#);
        let at = r#""at": "2026-11-20T03:00:00Z""#;
        for (text, want) in [
            ("{".to_owned(), "EOF"),
            (r#"{"fault": []}"#.to_owned(), "unknown field `fault`"),
            (fault(at), "missing field `service`"),
            (fault(&format!(r#"{at}, "service": "", "kind": "cpu""#)), "needs a service"),
            (fault(r#""at": "noon", "service": "a", "kind": "b""#), "time \"noon\""),
            (
                fault(&format!(
                    r#"{at}, "until": "2026-11-20T02:00:00Z", "service": "a", "kind": "b""#
                )),
                "is before",
            ),
            (
                r#"{"fault_free": [["2026-11-20T03:00:00Z", "2026-11-20T02:00:00Z"]]}"#.to_owned(),
                "is before",
            ),
        ] {
            let why = parse(&text).unwrap_err();
            assert!(why.contains(want), "{text}: {why}");
        }
    }
}
