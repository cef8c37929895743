//! Writes the labelled recordings that Tapio's scores are watched on:
//! `cargo run -p tapio-eval --example make_shop -- DIR [TAKE]`, then `tapio eval DIR/*.jsonl`.
//!
//! Nobody's cluster was recorded: a plan says what goes wrong when, and a fixed seed decides the
//! rest, so that every run writes the same bytes. Scores are watched on take 0; another take has
//! another seed, and its faults are on other services. They are some tens of megabytes, and
//! therefore written when they are needed rather than kept.

mod cast;
mod plan;
#[path = "../make_demo/script.rs"]
mod script;
mod traffic;

use std::{
    fs::{self, File},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
};

use self::plan::{MINUTE_US, Plan};

/// 2026-11-20T02:47:00Z, when the script begins, in seconds of its day.
const BEGIN_S: i64 = (2 * 60 + 47) * 60;

/// Writes the recordings with their labels into a directory, and returns where they are.
///
/// # Errors
/// What the file system says.
pub(crate) fn write(directory: &Path) -> io::Result<Vec<PathBuf>> {
    write_take(directory, 0)
}

fn write_take(directory: &Path, take: u8) -> io::Result<Vec<PathBuf>> {
    fs::create_dir_all(directory)?;
    let plans =
        [("shop_faults", Plan::of_faults(take)), ("shop_quiet", Plan::of_a_quiet_hour(take))];
    let written = plans.into_iter().map(|(name, plan)| {
        let path = directory.join(name).with_extension("jsonl");
        fs::write(path.with_extension("labels.json"), labels(&plan)?)?;
        record(&plan, &path)?;
        Ok(path)
    });
    written.collect()
}

fn record(plan: &Plan, path: &Path) -> io::Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    let header = serde_json::json!({
        "tapio_recording": 1,
        "title": plan.title,
        "recorded": "invented: mesh/eval/examples/make_shop, fixed seed",
    });
    serde_json::to_writer(&mut file, &header)?;
    file.write_all(b"\n")?;
    for event in traffic::play(plan).by_arrival() {
        serde_json::to_writer(&mut file, &event)?;
        file.write_all(b"\n")?;
    }
    file.flush()
}

fn labels(plan: &Plan) -> io::Result<Vec<u8>> {
    let time = |us: i64| {
        let second = BEGIN_S + us / 1_000_000;
        let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
        format!("2026-11-20T{hour:02}:{minute:02}:{second:02}Z")
    };
    let faults = plan.faults.iter().map(|fault| {
        serde_json::json!({
            "at": time(fault.from_us),
            "until": time(fault.to_us),
            "service": fault.service,
            "kind": fault.kind.name(),
            "pattern": "service_abnormal",
        })
    });
    let faults: Vec<_> = faults.collect();
    let whole = (time(0), time(plan.minutes * MINUTE_US));
    let fault_free = if faults.is_empty() { vec![whole] } else { Vec::new() };
    let labels = serde_json::json!({ "faults": faults, "fault_free": fault_free });
    Ok(serde_json::to_vec_pretty(&labels)?)
}

fn main() -> io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let directory = arguments.next().map_or_else(|| PathBuf::from("."), PathBuf::from);
    match arguments.next().map(|take| take.parse().map_err(io::Error::other)) {
        Some(take) => write_take(&directory, take?).map(drop),
        None => write(&directory).map(drop),
    }
}
