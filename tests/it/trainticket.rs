//! Does a replay of recordings that nobody here wrote lose nothing and know every repeat?
//!
//! The recordings are not ours to ship. Where they lie beside the workspace they are used.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;
use tapio_tests::{Need, root, run};

use crate::Case;

pub(crate) fn cases() -> Vec<Case> {
    let name = "trainticket::a_replay_knows_exactly_the_repeats";
    vec![Case::with_need(name, recording().map(drop), knows_the_repeats)]
}

/// Returns the directory of the unpacked recordings, unpacking them into the build directory once.
pub(crate) fn recording() -> Result<PathBuf, Need> {
    let archive = root().join("../shared/data/nezha-2023-01-29.tar.zst");
    if !archive.is_file() {
        return Err(Need::Absent("needs the TrainTicket recordings beside the workspace".into()));
    }
    let unpacked = root().join("target/trainticket");
    if unpacked.join(".complete").is_file() {
        return Ok(unpacked);
    }
    unpack(&archive, &unpacked)
        .map_err(|why| Need::NotInstalled(format!("unpacking needs tar and zstd: {why}")))?;
    Ok(unpacked)
}

fn unpack(archive: &Path, into: &Path) -> Result<(), String> {
    std::fs::create_dir_all(into).map_err(|error| error.to_string())?;
    let mut tar = Command::new("tar");
    tar.arg("--zstd").arg("-xf").arg(archive).arg("-C").arg(into);
    let output = tar.output().map_err(|error| error.to_string())?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    std::fs::write(into.join(".complete"), "").map_err(|error| error.to_string())
}

fn knows_the_repeats() -> Result<(), String> {
    let data = recording().map_err(|need| need.to_string())?;
    let home = tempfile::TempDir::new().map_err(|error| error.to_string())?;
    let data = data.to_string_lossy().into_owned();
    let output = run(&home, &["replay", &data, "--format", "nezha", "--no-store", "-o", "json"])?;
    let text = String::from_utf8_lossy(&output.stdout);
    let last = text.lines().last().unwrap_or_default();
    let value: Value = serde_json::from_str(last).map_err(|error| format!("{error}: {last}"))?;
    let figure = |path: &str| value.pointer(&format!("/replayed/{path}")).and_then(Value::as_u64);
    let expected = [
        ("duplicates_by_source/app", 4_080),
        ("duplicates_by_source/otlp", 7_780),
        // One row of one file is torn in two.
        ("rejected", 2),
        ("late", 0),
        ("shed", 0),
        ("dead_letter", 0),
    ];
    for (name, count) in expected {
        if figure(name) != Some(count) {
            return Err(format!("{name} should be {count}: {last}"));
        }
    }
    let outcomes = ["story", "open", "expired", "duplicate"].map(|name| figure(name).unwrap_or(0));
    if Some(outcomes.iter().sum()) != figure("events") {
        return Err(format!("the outcomes do not add up: {last}"));
    }
    Ok(())
}
