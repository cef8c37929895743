//! Does a running `tapio up` keep up with the rules of its users?

use std::{
    fs::{self, OpenOptions},
    io::{self, Write as _},
    time::Duration,
};

use serde_json::Value;
use tapio_tests::{Tapio, run, text};
use tempfile::TempDir;

use crate::Case;

/// How long anything may take: a machine under load is slow, not wrong.
const PATIENCE: Duration = Duration::from_secs(30);

/// What no built-in pattern tells of.
const RULE: &str = r#"
slug: orders_behind
title: Orders fall behind
what: The queue of orders is not worked off.
evidence: Two errors that say how far behind it is.
root: The first of them.
not_this: container_oom (the consumer was killed).
first_look: the log of the consumer
class: log_template
match: [{ name: behind, kind: log, when: 'message.contains("orders behind")', at_least: 2 }]
tell: { title: Orders fall behind, because: "the queue is not worked off: {message}", advise: [add consumers] }
scenes:
- { name: it falls behind, truth: cause, story: 0s a/b Log }
- { name: it was killed, truth: container_oom, story: 0s a/b Log }
- { name: it catches up, truth: healthy, story: 0s a/b Log }
"#;

pub(crate) fn cases() -> Vec<Case> {
    vec![Case::new("rules::a_running_up_takes_a_new_rule_over_and_no_bad_one", reload)]
}

fn said(error: impl std::fmt::Display) -> String {
    error.to_string()
}

fn reload() -> Result<(), String> {
    let home = TempDir::new().map_err(said)?;
    let (rules, log) = (home.path().join("rules"), home.path().join("orders.log"));
    fs::create_dir(&rules).and_then(|()| fs::write(&log, "")).map_err(said)?;
    let [directory, path] = [&rules, &log].map(|path| path.to_string_lossy().into_owned());
    let senses = [
        "--no-kmsg",
        "--no-journal",
        "--no-cgroup",
        "--no-usage",
        "--no-probes",
        "--no-kubernetes",
    ];
    let others = ["--no-otlp", "--window", "2s", "--log-level", "info"];
    let own = ["--log", &path, "--rules", &directory];
    let tapio = Tapio::up(&[&senses[..], &others, &own].concat())?;
    tapio.notice("watching", PATIENCE)?;

    fs::write(rules.join("orders.yaml"), RULE).map_err(said)?;
    tapio.notice("new rules are in force", PATIENCE)?;
    fall_behind(&log).map_err(said)?;
    tapio.line(PATIENCE, |story| text(story, "pattern") == "orders_behind")?;

    fs::write(rules.join("bad.yaml"), "slug: bad").map_err(said)?;
    let refusal = tapio.notice("the rules stay as they were", PATIENCE)?;
    let status = run(&tapio.home, &["status", "-o", "json"])?;
    let status: Value = serde_json::from_slice(&status.stdout).map_err(said)?;
    let rules = status.pointer("/collectors/rules").cloned().unwrap_or_default();
    let in_force = rules.get("failures").and_then(Value::as_object).map(serde_json::Map::len);
    let refused = rules.get("refused").and_then(Value::as_array).map(Vec::len);
    if !refusal.contains("bad.yaml") || in_force != Some(1) || refused.is_none_or(|it| it == 0) {
        return Err(format!("{refusal}\n{status}"));
    }
    tapio.stop().map(drop)
}

/// Writes what an application would.
fn fall_behind(log: &std::path::Path) -> io::Result<()> {
    let mut file = OpenOptions::new().append(true).open(log)?;
    for behind in [12_000, 14_000, 17_000] {
        writeln!(file, "ERROR {behind} orders behind")?;
    }
    Ok(())
}
