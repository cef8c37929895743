use std::{collections::BTreeMap, fs, path::PathBuf, process::Command};

use ahash::AHashSet;
use tapio_collect::Home;
use tapio_model::{Binding, Event, Kind, Rule, Severity, Source, keys};

use super::*;
use crate::ImportAccount;

type Read = (Vec<Arc<Event>>, ImportAccount);

fn read(path: &Path) -> Result<Read, ImportError> {
    let binder = Arc::new(Binder::new(Home::default()));
    let mut recording = Format.open(Input::Path(path.to_path_buf()), binder)?;
    let mut events = Vec::new();
    while recording.next_chunk(&mut events)? {}
    let progress = recording.progress();
    assert_eq!(Some(progress.bytes_read), progress.bytes_total);
    Ok((events, recording.account().clone()))
}

const TRACE: &str = "49a51828322183eb20bfe4ace3060000";
const SPAN: &str = "083e5d40259e7999";
const POD: &str = "ts-travel-service-64469b5b48-25zj6";

/// A row of logs; times are seconds, and 0 is Go's zero time.
fn log(seconds: i64, level: &str, text: &str) -> String {
    let nanos = if seconds == 0 { -6_795_364_578_871_345_152 } else { seconds * 1_000_000_000 };
    let json = serde_json::json!({
        "log": format!("16:48:42.424 {level}  t.s.Travel#532 TraceID: {TRACE} SpanID: {SPAN} {text}\n"),
        "stream": "stdout",
        "time": "1970-01-01T00:00:07Z",
    });
    let quoted = json.to_string().replace('"', "\"\"");
    format!("T,{nanos},33.33.33.116,{POD},server,{TRACE},{SPAN},\"{quoted}\"\n")
}

fn span(parent: &str, from: i64, to: i64) -> String {
    format!("{TRACE},{SPAN},{parent},{POD},\"GET /a,b\",{from}000000000,{to}000000000,1000\n")
}

fn metric(seconds: i64, cpu: &str) -> String {
    format!("2023-01-29 08:41:09 +0000 UTC,{seconds},{POD},{cpu},16.5\n")
}

const LOGS: &str = "Timestamp,TimeUnixNano,Node,PodName,Container,TraceID,SpanID,Log\n";
const SPANS: &str =
    "TraceID,SpanID,ParentID,PodName,OperationName,StartTimeUnixNano,EndTimeUnixNano,Duration\n";
const METRICS: &str = "Time,TimeStamp,PodName,CpuUsage(m),MemoryUsage(Mi)\n";

fn write(day: &Path, tables: &[(&str, String)]) -> std::io::Result<()> {
    for (name, text) in tables {
        let path = day.join(name);
        fs::create_dir_all(path.parent().unwrap_or(day))?;
        fs::write(path, text)?;
    }
    Ok(())
}

#[test]
fn merges_what_overlaps_in_order_of_time() {
    let root = tempfile::tempdir().unwrap();
    let day = root.path().join("nezha/rca_data/2023-01-29");
    let text = "nested exception is java.lang.IllegalStateException: No \"instances\"";
    write(
        &day,
        &[
            (
                "log/08_43_log.csv",
                format!("{LOGS}{}{}", log(5, "INFO", "[late]"), log(2, "WARN", "[early]")),
            ),
            (
                "log/08_44_log.csv",
                format!("{LOGS}{}{}", log(0, "ERROR", text), log(9, "INFO", "[last]")),
            ),
            ("trace/08_43_trace.csv", format!("{SPANS}{}{}", span("root", 2, 8), span(SPAN, 1, 3))),
            ("metric/a_metric.csv", format!("{METRICS}{}{}", metric(1, "2.5"), metric(6, ""))),
            ("2023-01-29-fault_list.json", "labels".to_owned()),
        ],
    )
    .unwrap();
    let (events, account) = read(root.path()).unwrap();
    let seconds: Vec<_> =
        events.iter().map(|event| event.time.as_nanos() / 1_000_000_000).collect();
    assert_eq!(seconds, [1, 2, 3, 5, 6, 7, 8, 9]);
    assert_eq!((account.events, account.rejected_total(), account.out_of_order), (8, 0, 0));

    let [sample, early, inner, _, gap, thrown, outer, _] = events.as_slice() else { panic!() };
    assert_eq!((sample.source, sample.kind), (Source::Metrics, Kind::Metric));
    assert_eq!(sample.trace.binding, Binding::Inferred(Rule::Service));
    assert_eq!((sample.attributes.len(), gap.attributes.len()), (2, 1));

    assert_eq!((early.severity, early.message()), (Severity::Warn, "[early]"));
    assert_eq!(
        (early.trace.binding, early.trace.trace_id.to_string()),
        (Binding::Explicit, TRACE.into())
    );
    let place = &early.place;
    assert_eq!(place.service.as_deref(), Some("ts-travel-service"));
    assert_eq!((place.pod.as_deref(), place.node.as_deref()), (Some(POD), Some("33.33.33.116")));
    assert_eq!(early.attributes.text(keys::LOGGER), Some("t.s.Travel#532"));

    assert_eq!((thrown.kind, thrown.severity), (Kind::Exception, Severity::Error));
    assert_eq!(thrown.message(), text);
    assert_eq!(thrown.attributes.text(keys::ERROR_TYPE), Some("java.lang.IllegalStateException"));

    assert_eq!(inner.trace.parent_span_id.map(|id| id.to_string()).as_deref(), Some(SPAN));
    assert_eq!(
        (outer.trace.parent_span_id, outer.attributes.int(keys::DURATION)),
        (None, Some(6_000_000_000))
    );
    assert_eq!(outer.attributes.text(keys::SPAN_NAME), Some("GET /a,b"));
}

#[test]
fn bad_rows_are_counted_with_file_and_line() {
    let root = tempfile::tempdir().unwrap();
    let torn = log(1, "INFO", "torn").replace("}\"\n", "}ulate\",more\n");
    let spans =
        [span("root", 5, 4), span("nobody", 1, 2), span("root", 1, 2).replace("49a5", "49x5")];
    write(
        root.path(),
        &[
            ("log/08_43_log.csv", format!("{LOGS}{torn}{}", log(1, "INFO", "fine"))),
            ("trace/08_43_trace.csv", format!("{SPANS}{}", spans.concat())),
            (
                "metric/a_metric.csv",
                format!("{METRICS}{}{}", metric(-1, "1"), metric(1, "x").replace("16.5", "")),
            ),
        ],
    )
    .unwrap();
    let (events, account) = read(root.path()).unwrap();
    assert_eq!((events.len(), account.rows), (1, 7));
    assert!(account.balances());
    let want = [("columns", 1), ("empty", 1), ("id", 2), ("time", 2)];
    assert_eq!(account.rejected, BTreeMap::from(want));
    let torn = account.examples.iter().find(|example| example.reason == "columns").unwrap();
    assert!(torn.file.as_deref().is_some_and(|file| file.ends_with("08_43_log.csv")));
    assert_eq!(torn.line, 2);
}

#[test]
fn the_fault_free_part_is_read_only_when_asked_for() {
    let root = tempfile::tempdir().unwrap();
    for (part, seconds) in [("rca_data", 1), ("construct_data", 2)] {
        let table = ("log/08_50_log.csv", format!("{LOGS}{}", log(seconds, "INFO", part)));
        write(&root.path().join(part).join("2023-01-29"), &[table]).unwrap();
    }
    for (below, want) in [
        ("", "rca_data"),
        ("rca_data", "rca_data"),
        ("construct_data", "construct_data"),
        ("construct_data/2023-01-29", "construct_data"),
    ] {
        let path = root.path().join(below);
        assert!(Format.detects(&path), "{below}");
        let (events, _) = read(&path).unwrap();
        assert_eq!(
            events.iter().map(|event| event.message()).collect::<Vec<_>>(),
            [want],
            "{below}"
        );
    }
    assert!(!Format.detects(&root.path().join("rca_data/2023-01-29/log")));
}

/// Finds the recording beside the workspace: unpacked, or an archive that is unpacked for a while.
fn published() -> Result<(PathBuf, Option<tempfile::TempDir>), String> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
    let unpacked = beside.join("nezha");
    if unpacked.is_dir() {
        return Ok((unpacked, None));
    }
    let archive = beside.join("nezha-2023-01-29.tar.zst");
    if !archive.is_file() {
        return Err("no TrainTicket recording beside the workspace".to_owned());
    }
    let root = tempfile::tempdir().map_err(|error| error.to_string())?;
    let unpacking = Command::new("tar")
        .arg("--zstd")
        .arg("-xf")
        .arg(archive)
        .arg("-C")
        .arg(root.path())
        .status();
    match unpacking {
        Ok(status) if status.success() => Ok((root.path().to_path_buf(), Some(root))),
        Ok(status) => Err(format!("tar --zstd: {status}")),
        Err(error) => Err(format!("tar: {error}")),
    }
}

#[test]
fn the_published_day_comes_out_whole() {
    let (path, _unpacked) = match published() {
        Ok(published) => published,
        Err(why) => {
            println!("skipped: {why}");
            return;
        }
    };
    let (events, account) = read(&path).unwrap();
    assert!(account.balances());
    assert_eq!(account.out_of_order, 0);
    assert!(events.is_sorted_by_key(|event| event.time));
    assert!(account.buffered_events_peak < 50_000, "{}", account.buffered_events_peak);
    // One row was torn by the recorder: its halves are two rows of which none can be read.
    assert_eq!(account.rejected_total(), 2);
    let mut ids = AHashSet::new();
    let mut copies = BTreeMap::<_, (u64, u64)>::new();
    for event in &events {
        let (seen, surplus) = copies.entry(event.source).or_default();
        *seen += 1;
        *surplus += u64::from(!ids.insert(event.id));
    }
    assert_eq!(copies.get(&Source::App), Some(&(172_722 - 2, 4_080)));
    assert_eq!(copies.get(&Source::Otlp), Some(&(328_848, 7_780)));
    assert_eq!(copies.get(&Source::Metrics).map(|(_, surplus)| *surplus), Some(0));
}
