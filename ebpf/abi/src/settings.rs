//! What the reader decides before the probes are loaded.

use zerocopy::{FromBytes, IntoBytes};

/// Thresholds and rates: the global [`crate::maps::SETTINGS`], all of it 64-bit words.
///
/// The loader overrides the global with [`Settings::words`]; what it does not override are zeros.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes)]
#[repr(C)]
pub struct Settings {
    /// Process whose own doings are not told (the reader's), 0 for none.
    pub own_tgid: u64,
    /// 1 when the memory controller is on the v1 hierarchy: `memcg_id` is filled.
    pub memcg_v1: u64,
    /// Value of `memory_cgrp_id` in `enum cgroup_subsys_id`; only with BTF.
    pub memory_subsys: u64,
    /// Bytes from one counter of `mm_struct.rss_stat` to the next: the size of `percpu_counter`, or 8.
    pub rss_stride: u64,
    /// 1 when the argument of `mark_victim` is a `task_struct` (since 6.9), 0 when it is a pid.
    pub victim_is_task: u64,
    /// Bytes of a page.
    pub page_bytes: u64,
    /// Data in the ring buffer from which the noisy probes are sampled, in bytes; 0 for never.
    pub pressure_bytes: u64,
    /// Under pressure one of so many is kept.
    pub sample_one_of: u64,
    /// Data in the ring buffer from which its reader is woken, in bytes; 0 leaves it to the kernel.
    pub wakeup_bytes: u64,
    /// Window of every rate limit, in nanoseconds; 0 for no limit.
    pub window_ns: u64,
    /// A connection that took as long is told, in nanoseconds.
    pub connect_ns_min: u64,
    /// A request of a block device that took as long is told, in nanoseconds.
    pub block_ns_min: u64,
    /// A thread that was ready for as long and did not run is told, in nanoseconds.
    pub cpu_delay_ns_min: u64,
    /// A stall in reclaim that took as long is told, in nanoseconds.
    pub reclaim_ns_min: u64,
    /// An answer to a name's question that took as long is told, in nanoseconds.
    pub dns_ns_min: u64,
    /// Signals that are told: bit `n` for signal `n`, bit 0 is not used.
    pub signals: u64,
    /// 1 to tell of every process that ended, 0 only of errors, signals and first processes.
    pub every_exit: u64,
    /// 1 to tell of every change of a connection's state.
    pub every_state: u64,
    /// [`Settings::CGROUPS_ALL`], [`Settings::CGROUPS_BUT_LISTED`] or [`Settings::CGROUPS_LISTED`]:
    /// of whom system calls, starts, ends and waits are told.
    pub cgroup_filter: u64,
}

impl Settings {
    /// What probes do unless told otherwise.
    pub const DEFAULT: Self = Self {
        own_tgid: 0,
        memcg_v1: 0,
        memory_subsys: u64::MAX,
        rss_stride: 0,
        victim_is_task: 0,
        page_bytes: 4_096,
        pressure_bytes: 0,
        sample_one_of: 16,
        wakeup_bytes: 0,
        window_ns: 1_000_000_000,
        connect_ns_min: 1_000_000_000,
        block_ns_min: 500_000_000,
        cpu_delay_ns_min: 100_000_000,
        reclaim_ns_min: 50_000_000,
        dns_ns_min: 1_000_000_000,
        signals: Self::FATAL_SIGNALS,
        every_exit: 0,
        every_state: 0,
        cgroup_filter: Self::CGROUPS_ALL,
    };

    /// The map of cgroups is not looked at.
    pub const CGROUPS_ALL: u64 = 0;
    /// Cgroups in the map are left out.
    pub const CGROUPS_BUT_LISTED: u64 = 1;
    /// Only cgroups in the map are told of.
    pub const CGROUPS_LISTED: u64 = 2;

    /// QUIT, ILL, TRAP, ABRT, BUS, FPE, KILL, SEGV, TERM, XCPU, XFSZ, SYS.
    pub const FATAL_SIGNALS: u64 = 1 << 3
        | 1 << 4
        | 1 << 5
        | 1 << 6
        | 1 << 7
        | 1 << 8
        | 1 << 9
        | 1 << 11
        | 1 << 15
        | 1 << 24
        | 1 << 25
        | 1 << 31;

    /// How many words the global has.
    pub const WORDS: usize = 19;

    /// Returns the words that the global is overridden with.
    #[must_use]
    pub fn words(&self) -> [u64; Self::WORDS] {
        zerocopy::transmute!(*self)
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self::DEFAULT
    }
}

const _: () = assert!(size_of::<Settings>() == Settings::WORDS * 8);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_the_fields_in_their_order() {
        let words = Settings { own_tgid: 41, cgroup_filter: 2, ..Settings::DEFAULT }.words();
        assert_eq!((words[0], words[5], words[Settings::WORDS - 1]), (41, 4_096, 2));
    }

    #[test]
    fn ordinary_signals_do_not_end_a_process() {
        for (signal, is_fatal) in
            [(9, true), (11, true), (15, true), (1, false), (17, false), (13, false)]
        {
            assert_eq!(Settings::FATAL_SIGNALS >> signal & 1 == 1, is_fatal, "{signal}");
        }
    }
}
