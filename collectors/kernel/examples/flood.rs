//! Floods a probe and prints what arrived: `flood [seconds] [ring MiB] [threads]`.

use std::{
    io::{self, Write as _},
    process::ExitCode,
    time::Duration,
};

use tapio_collect_kernel::{FloodConfig, flood};

fn main() -> io::Result<ExitCode> {
    let mut numbers = std::env::args().skip(1).map(|argument| argument.parse::<u32>().ok());
    let mut next = || numbers.next().flatten();
    let standard = FloodConfig::default();
    let config = FloodConfig {
        duration: next().map_or(standard.duration, |secs| Duration::from_secs(secs.into())),
        ring_bytes: next().map_or(standard.ring_bytes, |mib| mib.saturating_mul(1 << 20)),
        threads: next().and_then(|it| usize::try_from(it).ok()).unwrap_or(standard.threads),
        ..standard
    };
    let mut out = io::stdout().lock();
    let report = match flood(config) {
        Ok(report) => report,
        Err(error) => {
            writeln!(io::stderr(), "{error}")?;
            return Ok(ExitCode::from(69));
        }
    };
    writeln!(out, "{}", report.probes)?;
    writeln!(
        out,
        "made {} received {} ({}/s) refused {} malformed {} in {:.1} s; counters {}",
        report.made,
        report.received,
        report.received_per_second(),
        report.counts.refused,
        report.malformed,
        report.elapsed.as_secs_f64(),
        if report.is_exact() { "exact" } else { "do not add up" },
    )?;
    Ok(if report.is_exact() { ExitCode::SUCCESS } else { ExitCode::from(70) })
}
