//! How much the ring buffer can take: a probe that is flooded on purpose.

use std::{
    fs::File,
    io::{self, Write as _},
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
    time::Duration,
};

use rustix::process::{Pid, getpgid};
use tapio_ebpf_abi::{Probe, Record, SyscallSet};

use crate::{
    config::{KernelConfig, Thresholds},
    loader::{LoadError, Loaded, load, watch},
    report::ProbeReport,
    ring::{Counts, Ring},
    tier::probe_tier,
    time::{KernelNanos, rest},
};

/// A process id that nobody has: beyond the kernel's largest.
const NOBODY: i32 = i32::MAX;

/// `ESRCH`: how asking for such a process fails.
const ESRCH: u32 = 3;

/// A device that has no room, ever: writing to it fails with `ENOSPC`.
const FULL: &str = "/dev/full";

/// Calls between two looks at the clock: some 30 µs of them.
const CALLS: u64 = 64;

/// The shortest and the longest rest of a thread that is ahead of its rate.
const REST_MIN: Duration = Duration::from_micros(500);
const REST_MAX: Duration = Duration::from_millis(20);

/// Records of one look: a reader that is slower than the flood must see the end of its time.
const LOOK_RECORDS_MAX: usize = 65_536;

/// How a flood is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FloodConfig {
    /// Bytes of the ring buffer.
    pub ring_bytes: u32,
    /// Threads that fail on purpose, as fast as they can.
    pub threads: usize,
    /// How long, unless `pace` ends before.
    pub duration: Duration,
    /// Pause between two looks of the reader.
    pub pause: Duration,
    /// How many calls, and how fast.
    pub pace: FloodPace,
}

/// How many calls of a flood are made, and how fast.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FloodPace {
    /// Calls of all threads; as many as there is time for without it.
    pub calls: Option<u64>,
    /// Calls of all threads each second; as fast as they can without it.
    pub rate: Option<u64>,
}

impl Default for FloodConfig {
    fn default() -> Self {
        Self {
            ring_bytes: 16 << 20,
            threads: 2,
            duration: Duration::from_secs(5),
            pause: Duration::from_millis(1),
            pace: FloodPace::default(),
        }
    }
}

impl FloodPace {
    /// Returns one thread's part of it.
    fn share(self, threads: usize) -> Self {
        let threads = u64::try_from(threads).unwrap_or(u64::MAX).max(1);
        Self {
            calls: self.calls.map(|calls| calls.div_ceil(threads)),
            rate: self.rate.map(|rate| (rate / threads).max(1)),
        }
    }

    /// Calls until all calls are made or it is over; returns how many were made and failed as they
    /// should.
    fn run(self, over: &AtomicBool, mut fails: impl FnMut() -> bool) -> u64 {
        let calls = self.calls.unwrap_or(u64::MAX);
        let begin = KernelNanos::now();
        let (mut made, mut failed) = (0, 0);
        while made < calls && !over.load(Relaxed) {
            let chunk = CALLS.min(calls - made);
            failed += (0..chunk).filter(|_| fails()).count() as u64;
            made += chunk;
            // A thread that was held up makes up for it: the rate is what is offered, not what is left.
            while let Some(ahead) = self.ahead(made, begin).filter(|_| !over.load(Relaxed)) {
                rest(ahead.clamp(REST_MIN, REST_MAX));
            }
        }
        failed
    }

    /// Returns how long it takes until so many calls are due.
    fn ahead(self, made: u64, begin: KernelNanos) -> Option<Duration> {
        let due = u128::from(made) * 1_000_000_000 / u128::from(self.rate?);
        let due = Duration::from_nanos(u64::try_from(due).unwrap_or(u64::MAX));
        due.checked_sub(KernelNanos::now().since(begin)).filter(|ahead| !ahead.is_zero())
    }
}

/// What a flood showed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FloodReport {
    /// System calls that failed on purpose.
    pub made: u64,
    /// Records that were read and understood.
    pub received: u64,
    /// Records that made no sense.
    pub malformed: u64,
    /// What the probe itself counted.
    pub counts: Counts,
    /// From the first to the last.
    pub elapsed: Duration,
    /// Which probes ran.
    pub probes: ProbeReport,
}

impl FloodReport {
    /// Returns records received each second.
    #[must_use]
    pub fn received_per_second(&self) -> u64 {
        let millis = u64::try_from(self.elapsed.as_millis()).unwrap_or(u64::MAX).max(1);
        self.received.saturating_mul(1_000) / millis
    }

    /// Says whether the probe's counters explain every record.
    #[must_use]
    pub const fn is_exact(&self) -> bool {
        self.received == self.counts.written && self.malformed == 0
    }
}

/// Returns how a flood is watched: by the probe of failed system calls alone, without its rate limit.
#[must_use]
pub fn flood_config(ring_bytes: u32) -> KernelConfig {
    KernelConfig {
        probes: vec![Probe::SyscallErrno],
        ring_bytes,
        skips_itself: false,
        thresholds: Thresholds { window: Duration::ZERO, ..Thresholds::default() },
        ..KernelConfig::default()
    }
}

/// Writes to a device that is full: each call fails with `ENOSPC`, which a collector tells as an
/// event. Returns how many did.
///
/// Each thread has a name of its own, `flood-0` and so on: what they say is not alike.
///
/// # Shape
/// Blocks until all calls are made, or `over`.
/// # Errors
/// If there is no such device, or no thread for it.
pub fn flood_full_device(threads: usize, pace: FloodPace, over: &AtomicBool) -> io::Result<u64> {
    let full = File::options().write(true).open(FULL)?;
    let pace = pace.share(threads);
    thread::scope(|scope| {
        let fail = || pace.run(over, || (&full).write(b"x").is_err());
        let start = |number| {
            thread::Builder::new().name(format!("flood-{number}")).spawn_scoped(scope, fail)
        };
        let floods = (0..threads).map(start).collect::<Result<Vec<_>, _>>()?;
        Ok(floods.into_iter().map(|flood| flood.join().unwrap_or_default()).sum())
    })
}

/// Floods the probe of failed system calls, without its rate limit, and reads what arrives.
///
/// # Errors
/// [`LoadError`] if the probe does not run here.
pub fn flood(flood: FloodConfig) -> Result<FloodReport, LoadError> {
    let config = flood_config(flood.ring_bytes);
    // Sampling would hide what this is to show.
    let loaded = load(&config, probe_tier(), |settings| settings.pressure_bytes = 0)?;
    let Loaded { mut ebpf, report } = loaded;
    watch(&mut ebpf, &[(ESRCH, SyscallSet::ALL)])?;
    let mut ring = Ring::take(&mut ebpf)?;
    let (mut received, mut malformed) = (0_u64, 0_u64);
    let over = AtomicBool::new(false);
    let pace = flood.pace.share(flood.threads);
    let begin = KernelNanos::now();
    let made = thread::scope(|scope| {
        let fail = || pace.run(&over, || getpgid(Pid::from_raw(NOBODY)).is_err());
        let threads: Vec<_> = (0..flood.threads).map(|_| scope.spawn(fail)).collect();
        let mut read = |ring: &mut Ring| {
            ring.drain(LOOK_RECORDS_MAX, |bytes| match Record::read(bytes) {
                Ok(_record) => received += 1,
                Err(_not_ours) => malformed += 1,
            })
        };
        let is_due = || KernelNanos::now().since(begin) >= flood.duration;
        while !is_due() && !threads.iter().all(thread::ScopedJoinHandle::is_finished) {
            if read(&mut ring) < LOOK_RECORDS_MAX {
                rest(flood.pause);
            }
        }
        over.store(true, Relaxed);
        let made = threads.into_iter().map(|thread| thread.join().unwrap_or_default()).sum();
        // Other processes may still fail alike: they are counted as long as the probe is there.
        drop(ebpf);
        while read(&mut ring) > 0 {}
        made
    });
    let elapsed = KernelNanos::now().since(begin);
    let counts = ring.counts(Probe::SyscallErrno);
    let name = tapio_ebpf_abi::maps::COUNTERS;
    let counts = counts.map_err(|source| LoadError::Map { name, source: Some(source) })?;
    Ok(FloodReport { made, received, malformed, counts, elapsed, probes: report })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_call_to_a_full_device_fails() {
        let pace = FloodPace { calls: Some(1_000), rate: None };
        assert_eq!(flood_full_device(3, pace, &AtomicBool::new(false)).unwrap(), 1_002);
        assert_eq!(flood_full_device(3, pace, &AtomicBool::new(true)).unwrap(), 0, "it is over");
    }

    #[test]
    fn threads_share_calls_and_rate() {
        let pace = FloodPace { calls: Some(10), rate: Some(9) };
        assert_eq!(pace.share(4), FloodPace { calls: Some(3), rate: Some(2) });
        assert_eq!(pace.share(100).rate, Some(1), "never none");
        assert_eq!(FloodPace::default().share(4), FloodPace::default());
    }

    #[test]
    fn a_thread_is_ahead_until_its_calls_are_due() {
        let pace = FloodPace { calls: None, rate: Some(1) };
        let now = KernelNanos::now();
        assert!(pace.ahead(3_600, now).is_some_and(|ahead| ahead > Duration::from_secs(1_800)));
        assert_eq!(pace.ahead(0, now), None);
        assert_eq!(FloodPace::default().ahead(3_600, now), None);
    }
}
