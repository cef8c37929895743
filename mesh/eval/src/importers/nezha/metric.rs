//! A table of metrics: the samples of one pod, or of the whole application as its front end sees
//! it.

use std::{
    fs::File,
    path::{Path, PathBuf},
    sync::Arc,
};

use csv::{ByteRecord, Reader};
use tapio_collect::{Unbound, event_id};
use tapio_model::{Event, Kind, Place, Source, Text, Timestamp, Value};

use super::{
    places::Shared,
    table::{Bad, Desk, fields, open, unreadable},
};
use crate::ImportError;

/// Columns that have a standard name, with that name and what a number is to be multiplied by; the
/// others keep the name the table gives them.
///
/// # Source
/// OpenTelemetry Collector, kubeletstats receiver: `documentation.md`.
const STANDARD: [(&str, &str, f64); 7] = [
    ("CpuUsage(m)", "k8s.pod.cpu.usage", 1e-3),
    ("CpuUsageRate(%)", "k8s.pod.cpu_limit_utilization", 1e-2),
    ("MemoryUsage(Mi)", "k8s.pod.memory.usage", 1_048_576.0),
    ("MemoryUsageRate(%)", "k8s.pod.memory_limit_utilization", 1e-2),
    ("NodeCpuUsageRate(%)", "k8s.node.cpu.utilization", 1e-2),
    ("NodeMemoryUsageRate(%)", "k8s.node.memory.utilization", 1e-2),
    ("PodWorkload(Ops)", "tapio.requests.rate", 1.0),
];

/// A column of numbers.
#[derive(Debug)]
struct Column {
    name: Text,
    scale: f64,
}

impl Column {
    fn of(name: &str) -> Self {
        let standard = STANDARD.iter().find(|(known, ..)| *known == name);
        let (name, scale) = standard.map_or((name, 1.0), |(_, name, scale)| (*name, *scale));
        Self { name: name.into(), scale }
    }
}

/// Reads samples row by row.
pub(super) struct Samples {
    path: PathBuf,
    reader: Reader<File>,
    row: ByteRecord,
    columns: Vec<Column>,
}

impl Samples {
    /// Opens a table, and adds the bytes of its header to `bytes`.
    pub(super) fn open(path: &Path, bytes: &mut u64) -> Result<Self, ImportError> {
        let mut reader = open(path)?;
        let header = reader.byte_headers().map_err(|error| unreadable(path, error))?;
        let columns = header.iter().map(|name| Column::of(String::from_utf8_lossy(name).trim()));
        let columns = columns.collect();
        *bytes += reader.position().byte();
        Ok(Self { path: path.to_path_buf(), reader, row: ByteRecord::new(), columns })
    }

    /// Returns the next sample, and adds the bytes read to `bytes`.
    pub(super) fn next(
        &mut self,
        desk: &mut Desk,
        bytes: &mut u64,
    ) -> Result<Option<Arc<Event>>, ImportError> {
        loop {
            let before = self.reader.position().byte();
            let more = self.reader.read_byte_record(&mut self.row);
            *bytes += self.reader.position().byte().saturating_sub(before);
            if !more.map_err(|error| unreadable(&self.path, error))? {
                return Ok(None);
            }
            let read = read(&self.columns, &self.row, &mut desk.shared);
            if let Some(event) = desk.book(&self.path, &self.row, read) {
                return Ok(Some(event));
            }
        }
    }
}

/// Reads `Time,TimeStamp,PodName,…` or `Time,TimeStamp,ServiceName,…`: every further column is a
/// measured number under the name the table gives it.
fn read(columns: &[Column], row: &ByteRecord, shared: &mut Shared) -> Result<Unbound, Bad> {
    let mut head = row.clone();
    head.truncate(3);
    let [_, seconds, subject] = fields(&head)?;
    if row.len() != columns.len() {
        return Err(Bad::new(
            "columns",
            format!("{} columns instead of {}", row.len(), columns.len()),
        ));
    }
    let time = seconds.parse().ok().filter(|seconds| *seconds > 0).map(Timestamp::from_secs);
    let time = time.ok_or_else(|| Bad::new("time", format!("time {seconds:?}")))?;
    let place = match columns.get(2).map(|column| column.name.as_str()) {
        Some("PodName") => shared.pod(subject),
        Some("ServiceName") => Place { service: Some(shared.text(subject)), ..Place::default() },
        Some(_) | None => return Err(Bad::new("columns", "neither PodName nor ServiceName")),
    };
    let id = event_id(&[b"nezha.metric", subject.as_bytes(), row.as_slice()]);
    let mut event = Unbound::new(id, time, Source::Metrics, Kind::Metric).at(place);
    let samples = columns.iter().zip(row).skip(3);
    // A gap stays a gap.
    event.attributes = samples
        .filter_map(|(column, field)| {
            Some((column.name.clone(), Value::Float(number(field)? * column.scale)))
        })
        .collect();
    if event.attributes.is_empty() {
        return Err(Bad::new("empty", "no column holds a number"));
    }
    Ok(event)
}

fn number(field: &[u8]) -> Option<f64> {
    let number: f64 = str::from_utf8(field).ok()?.trim().parse().ok()?;
    number.is_finite().then_some(number)
}
