//! Does `tapio up` say what it sees and what it cannot, and go on?

use std::{
    fs::{self, OpenOptions},
    io::Write as _,
};

use tapio_model::Clock as _;
use tapio_telemetry::SystemClock;
use tapio_tests::{Need, Tapio, text};
use tapio_wire::json::time_to_text;
use tempfile::TempDir;

use super::{
    witnesses,
    world::{PATIENCE, tier},
};
use crate::Case;

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::with_need("kernel::root_is_told_which_probes_run", witnesses(), root),
        Case::with_need("kernel::an_ordinary_user_is_told_what_is_not_seen", gift(), ordinary),
    ]
}

/// Says whether we can be somebody else.
fn gift() -> Result<(), Need> {
    if rustix::process::geteuid().is_root() {
        return Ok(());
    }
    Err(Need::Absent("needs root to become an ordinary user".into()))
}

fn root() -> Result<(), String> {
    let home = TempDir::new().map_err(|error| error.to_string())?;
    let tier = tier(&home)?;
    let tapio = Tapio::up(&["--no-journal", "--no-otlp", "--no-kubernetes"])?;
    let said = tapio.notice("kernel tier", PATIENCE)?;
    for part in [tier.as_str(), "oom_kill", "process_exit", "tcp_state", "syscall_errno", "dns"] {
        if !said.contains(part) {
            return Err(format!("does not name {part}: {said}"));
        }
    }
    tapio.stop().map(drop)
}

/// What the application of an ordinary user writes.
fn line() -> String {
    let now = time_to_text(SystemClock.now());
    format!("{now} ERROR cannot write the journal: No space left on device\n")
}

fn ordinary() -> Result<(), String> {
    let home = TempDir::new().map_err(|error| error.to_string())?;
    let log = home.path().join("orders.log");
    fs::write(&log, "").map_err(|error| error.to_string())?;
    let path = log.to_string_lossy().into_owned();
    let tapio = Tapio::up_as_nobody(home, &["--no-journal", "--no-otlp", "--log", &path])?;
    for missing in
        ["tapio: kubernetes: the Kubernetes API", "watching", "tapio: kernel: kernel probes"]
    {
        tapio.notice(missing, PATIENCE)?;
    }
    let mut file = OpenOptions::new().append(true).open(&log).map_err(|error| error.to_string())?;
    for _ in 0..3 {
        file.write_all(line().as_bytes()).map_err(|error| error.to_string())?;
    }
    tapio.line(PATIENCE, |story| text(story, "pattern") == "disk_full")?;
    tapio.stop().map(drop)
}
