//! What processes have used, as the kernel says.

use std::fs;

use serde::Serialize;
use tokio::time::Instant;

use super::Server;

/// Ticks a second of the times in `/proc`, whatever the kernel's own are.
const TICKS: f64 = 100.0;

/// What a stage used. Where the server is somebody else's its part is not known, and zero.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Usage {
    /// Cores of this process: publisher and nodes.
    process_cores: f64,
    /// Cores of the server.
    server_cores: f64,
    process_us_per_event: f64,
    server_us_per_event: f64,
    server_resident_mib: u64,
}

/// When something began, and what had been used by then.
#[derive(Debug, Clone, Copy)]
pub(super) struct Begun {
    at: Instant,
    process: f64,
    server: f64,
}

impl Usage {
    /// Begins to measure.
    pub(super) fn begin(server: &Server) -> Begun {
        Begun { at: Instant::now(), process: seconds("self"), server: server_seconds(server) }
    }
}

impl Begun {
    /// Returns what was used since, over so many events.
    pub(super) fn end(self, server: &Server, events: u64) -> Usage {
        let elapsed = self.at.elapsed().as_secs_f64().max(f64::EPSILON);
        let process = seconds("self") - self.process;
        let of_server = server_seconds(server) - self.server;
        let events = u32::try_from(events.max(1)).map_or(f64::from(u32::MAX), f64::from);
        Usage {
            process_cores: rounded(process / elapsed),
            server_cores: rounded(of_server / elapsed),
            process_us_per_event: rounded(process * 1e6 / events),
            server_us_per_event: rounded(of_server * 1e6 / events),
            server_resident_mib: server.pid().map_or(0, |pid| resident(pid, "VmRSS:") >> 20),
        }
    }
}

/// Returns a number with two decimals.
pub(in crate::cmd::bench) fn rounded(number: f64) -> f64 {
    (number * 100.0).round() / 100.0
}

/// Returns how many processes wanted a core over the last minute.
pub(in crate::cmd::bench) fn load_average() -> f64 {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().and_then(|first| first.parse().ok()).unwrap_or_default()
}

fn server_seconds(server: &Server) -> f64 {
    server.pid().map_or(0.0, seconds_of)
}

/// Returns the seconds of processor time that a process has used.
pub(in crate::cmd::bench) fn seconds_of(pid: u32) -> f64 {
    seconds(&pid.to_string())
}

/// Returns the seconds of processor time that a process has used.
///
/// # Source
/// proc(5), `/proc/PID/stat`: the 14th and 15th fields, counted behind the name's last parenthesis.
fn seconds(process: &str) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    let rest = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
    let ticks: u32 = rest.split(' ').skip(11).take(2).filter_map(|it| it.parse::<u32>().ok()).sum();
    f64::from(ticks) / TICKS
}

/// Returns the bytes that a line of `/proc/PID/status` says.
pub(in crate::cmd::bench) fn resident(pid: u32, name: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let kib = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    kib.unwrap_or_default() * 1_024
}
