//! Are the stories as right as they were?
//!
//! `docs/scores.json` keeps the worst that each figure may be. The shop's recordings are written
//! for the test, those of real faults were recorded once (`tests/recordings`); those of others are
//! used where they lie beside the workspace.

use std::{fs, path::Path};

use serde_json::Value;
use tapio_tests::{root, run};
use tempfile::TempDir;

use crate::{Case, trainticket};

#[expect(dead_code, reason = "the example's `main` is not called here")]
#[path = "../../mesh/eval/examples/make_shop/main.rs"]
mod make_shop;

pub(crate) fn cases() -> Vec<Case> {
    let name = "scores::trainticket_is_told_as_well_as_it_was";
    vec![
        Case::new("scores::a_drop_names_the_figure", drop_is_named),
        Case::new("scores::the_shop_is_told_as_well_as_it_was", shop),
        Case::new("scores::real_faults_are_told_as_well_as_they_were", real_faults),
        Case::with_need(name, trainticket::recording().map(drop), others),
    ]
}

fn shop() -> Result<(), String> {
    let home = TempDir::new().map_err(|error| error.to_string())?;
    let written = make_shop::write(&home.path().join("shop")).map_err(|error| error.to_string())?;
    let paths: Vec<_> = written.iter().map(|path| path.to_string_lossy().into_owned()).collect();
    gate("shop", &scores(&home, &paths)?)
}

fn real_faults() -> Result<(), String> {
    let home = TempDir::new().map_err(|error| error.to_string())?;
    let directory = root().join("tests/recordings/cluster");
    let listed = fs::read_dir(&directory).map_err(|error| format!("{directory:?}: {error}"))?;
    let paths = listed.filter_map(|entry| Some(entry.ok()?.path()));
    let recordings = paths.filter(|path| path.extension().is_some_and(|it| it == "jsonl"));
    let mut paths: Vec<_> = recordings.map(|path| path.to_string_lossy().into_owned()).collect();
    paths.sort();
    gate("cluster", &scores(&home, &paths)?)
}

fn others() -> Result<(), String> {
    let home = TempDir::new().map_err(|error| error.to_string())?;
    let path = trainticket::recording().map_err(|need| need.to_string())?;
    gate("trainticket", &scores(&home, &[path.to_string_lossy().into_owned()])?)
}

fn scores(home: &TempDir, paths: &[String]) -> Result<Value, String> {
    let mut arguments = vec!["eval", "-o", "json"];
    arguments.extend(paths.iter().map(String::as_str));
    let output = run(home, &arguments)?;
    let said = || String::from_utf8_lossy(&output.stderr).into_owned();
    serde_json::from_slice(&output.stdout).map_err(|error| format!("{error}: {}", said()))
}

fn gate(set: &str, scores: &Value) -> Result<(), String> {
    let kept = fs::read_to_string(root().join("docs/scores.json"));
    let kept = kept.map_err(|error| format!("docs/scores.json: {error}"))?;
    let kept: Value = serde_json::from_str(&kept).map_err(|error| error.to_string())?;
    let bounds = kept.get(set).ok_or_else(|| format!("docs/scores.json lacks {set}"))?;
    let worse = worse(bounds, scores);
    if worse.is_empty() {
        return Ok(());
    }
    let cases = cases_told_wrong(scores);
    let (page, worse) = (Path::new("docs/scores.json").display(), worse.join("\n  "));
    Err(format!("{set} is told worse than {page} allows:\n  {worse}\n{cases}"))
}

/// Says whether a figure is within its bound.
type Holds = fn(f64, f64) -> bool;

/// Returns what is worse than allowed. `bounds` has `at_least` and `at_most`, each with figures by
/// their path in the scores.
fn worse(bounds: &Value, scores: &Value) -> Vec<String> {
    let checks: [(&str, Holds); 2] =
        [("at_least", |is, bound| is >= bound), ("at_most", |is, bound| is <= bound)];
    let mut worse = Vec::new();
    for (side, holds) in checks {
        for (figure, bound) in bounds.get(side).and_then(Value::as_object).into_iter().flatten() {
            let is = scores.pointer(&format!("/{figure}")).and_then(Value::as_f64);
            // Of a sum of floating point numbers the last digits are nobody's.
            let rounded = |number: f64| (number * 1e6).round();
            let is_held = is
                .zip(bound.as_f64())
                .is_some_and(|(is, bound)| holds(rounded(is), rounded(bound)));
            if !is_held {
                let (is, side) =
                    (is.map_or("missing".to_owned(), |is| is.to_string()), side.replace('_', " "));
                worse.push(format!("{figure} is {is}, and should be {side} {bound}"));
            }
        }
    }
    worse
}

fn cases_told_wrong(scores: &Value) -> String {
    let cases = scores.get("cases").and_then(Value::as_array).into_iter().flatten();
    let wrong = cases.filter(|case| case.get("rank").and_then(Value::as_u64) != Some(1));
    wrong.map(|case| format!("not first: {case}\n")).collect()
}

fn drop_is_named() -> Result<(), String> {
    let bounds = serde_json::json!({
        "at_least": { "as_at_1": 0.9, "as_at_3": 0.9, "faults": 8 },
        "at_most": { "ece": 0.1, "false_stories/fault_free/stories": 0 },
    });
    let scores = serde_json::json!({
        "as_at_1": 0.8, "as_at_3": 0.9, "ece": 0.2,
        "false_stories": { "fault_free": { "stories": 0 } },
    });
    let want = [
        "as_at_1 is 0.8, and should be at least 0.9",
        "faults is missing, and should be at least 8",
        "ece is 0.2, and should be at most 0.1",
    ];
    let worse = worse(&bounds, &scores);
    if worse == want { Ok(()) } else { Err(format!("{worse:#?}")) }
}
