//! What the benches print, and what they read of their own process.

use std::{fs, time::Duration};

use anyhow::ensure;
use serde::Serialize;
use tapio_model::Ledger;

use crate::out::Out;

/// What became of events, as JSON has it.
#[derive(Debug, Serialize)]
pub(crate) struct Outcomes {
    story: u64,
    open: u64,
    expired: u64,
    duplicate: u64,
    late: u64,
    dead_letter: u64,
    shed: u64,
}

impl From<&Ledger> for Outcomes {
    fn from(ledger: &Ledger) -> Self {
        Self {
            story: ledger.story,
            open: ledger.open,
            expired: ledger.expired,
            duplicate: ledger.duplicate,
            late: ledger.late,
            dead_letter: ledger.dead_letter,
            shed: ledger.shed_total(),
        }
    }
}

/// The accounts of a run, as JSON has them.
#[derive(Debug, Serialize)]
pub(crate) struct Accounts {
    received: u64,
    #[serde(flatten)]
    outcomes: Outcomes,
}

impl Accounts {
    /// Takes the figures of a ledger.
    ///
    /// # Errors
    /// If the seven outcomes do not add up to what came in, or what came in is not `offered`.
    pub(crate) fn balanced(ledger: &Ledger, offered: u64) -> anyhow::Result<Self> {
        ensure!(ledger.balances(), "the ledger does not balance: {ledger:?}");
        ensure!(ledger.received == offered, "{offered} events offered: {ledger:?}");
        Ok(Self { received: ledger.received, outcomes: ledger.into() })
    }
}

/// Prints a record: `name: value` lines for people, an object for programs.
pub(crate) fn print(out: Out, record: &impl Serialize) -> anyhow::Result<()> {
    if !out.is_for_people() {
        return out.record(record);
    }
    let value = serde_json::to_value(record)?;
    for (name, value) in value.as_object().into_iter().flatten() {
        match value.as_object() {
            Some(inner) => {
                let inner: Vec<_> =
                    inner.iter().map(|(name, value)| format!("{name} {value}")).collect();
                out.text(format_args!("{name:<24} {}\n", inner.join("  ")))?;
            }
            None => out.text(format_args!("{name:<24} {value}\n"))?,
        }
    }
    out.text("\n")
}

/// Events a second, to three figures' worth.
pub(crate) fn per_second(events: u64, elapsed: Duration) -> u64 {
    let nanos = elapsed.as_nanos().max(1);
    u64::try_from(u128::from(events) * 1_000_000_000 / nanos).unwrap_or(u64::MAX)
}

/// Memory of this process in bytes: now, and the most there ever was.
///
/// # Source
/// `VmRSS` and `VmHWM` of `/proc/self/status`; zero where there is none.
pub(crate) fn resident_bytes() -> (u64, u64) {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()
    };
    let bytes = |name| field(name).unwrap_or_default() * 1_024;
    (bytes("VmRSS:"), bytes("VmHWM:"))
}
