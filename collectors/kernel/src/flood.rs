//! How much the ring buffer can take: a probe that is flooded on purpose.

use std::{
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

/// Records of one look: a reader that is slower than the flood must see the end of its time.
const LOOK_RECORDS_MAX: usize = 65_536;

/// How a flood is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FloodConfig {
    /// Bytes of the ring buffer.
    pub ring_bytes: u32,
    /// Threads that fail on purpose, as fast as they can.
    pub threads: usize,
    /// How long.
    pub duration: Duration,
    /// Pause between two looks of the reader.
    pub pause: Duration,
}

impl Default for FloodConfig {
    fn default() -> Self {
        Self {
            ring_bytes: 16 << 20,
            threads: 2,
            duration: Duration::from_secs(5),
            pause: Duration::from_millis(1),
        }
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

/// Floods the probe of failed system calls, without its rate limit, and reads what arrives.
///
/// # Errors
/// [`LoadError`] if the probe does not run here.
pub fn flood(flood: FloodConfig) -> Result<FloodReport, LoadError> {
    let thresholds = Thresholds { window: Duration::ZERO, ..Thresholds::default() };
    let config = KernelConfig {
        probes: vec![Probe::SyscallErrno],
        ring_bytes: flood.ring_bytes,
        skips_itself: false,
        thresholds,
        ..KernelConfig::default()
    };
    // Sampling would hide what this is to show.
    let loaded = load(&config, probe_tier(), |settings| settings.pressure_bytes = 0)?;
    let Loaded { mut ebpf, report } = loaded;
    watch(&mut ebpf, &[(ESRCH, SyscallSet::ALL)])?;
    let mut ring = Ring::take(&mut ebpf)?;
    let (mut received, mut malformed) = (0_u64, 0_u64);
    let over = AtomicBool::new(false);
    let begin = KernelNanos::now();
    let made = thread::scope(|scope| {
        let fail = || fail_until(&over);
        let threads: Vec<_> = (0..flood.threads).map(|_| scope.spawn(fail)).collect();
        let mut read = |ring: &mut Ring| {
            ring.drain(LOOK_RECORDS_MAX, |bytes| match Record::read(bytes) {
                Ok(_record) => received += 1,
                Err(_not_ours) => malformed += 1,
            })
        };
        while KernelNanos::now().since(begin) < flood.duration {
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

fn fail_until(over: &AtomicBool) -> u64 {
    let mut made = 0;
    while !over.load(Relaxed) {
        for _ in 0..64 {
            made += u64::from(getpgid(Pid::from_raw(NOBODY)).is_err());
        }
    }
    made
}
