//! The probes by name: their programs, where each attaches, their counters and the maps.

/// Names of maps and globals in the object.
pub mod maps {
    /// Ring buffer that every probe writes to.
    pub const EVENTS: &str = "EVENTS";
    /// Per-CPU array of `u64`, by [`super::counter_slot`].
    pub const COUNTERS: &str = "COUNTERS";
    /// Array by errno of `[u64; 8]`, a [`crate::SyscallSet`]: whose failures are told.
    pub const ERRNO_SYSCALLS: &str = "ERRNO_SYSCALLS";
    /// LRU hash of [`crate::DnsKey`] to [`crate::DnsQuery`]: questions without an answer.
    pub const DNS: &str = "DNS";
    /// Hash of `u64` to `u32`: cgroups by id (v2) or inode number (v1), for
    /// [`crate::Settings::cgroup_filter`]; the value is not looked at.
    pub const CGROUPS: &str = "CGROUPS";
    /// LRU hash of the rate limits.
    pub const LIMITS: &str = "LIMITS";
    /// LRU hash of connections and who made them.
    pub const SOCKETS: &str = "SOCKETS";
    /// LRU hash of threads and how long they had waited for a processor.
    pub const RUN_DELAYS: &str = "RUN_DELAYS";
    /// LRU hash of threads in reclaim.
    pub const RECLAIMS: &str = "RECLAIMS";

    /// Global with [`crate::Settings::words`].
    pub const SETTINGS: &str = "SETTINGS";
    /// Global with [`crate::Offsets::words`].
    pub const OFFSETS: &str = "OFFSETS";
    /// Global with [`crate::Formats::words`].
    pub const FORMATS: &str = "FORMATS";
}

/// One place in the kernel that a probe attaches to, and the program for each way of attaching.
///
/// The better way first: `tp_btf`, `raw_tp`, then the classic tracepoint where there is a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hook {
    /// Category of the tracepoint (`sched`).
    pub category: &'static str,
    /// Its name (`sched_process_exit`).
    pub event: &'static str,
    /// Program to attach as `tp_btf`.
    pub tp_btf: &'static str,
    /// Program to attach as `raw_tp`.
    pub raw_tp: &'static str,
    /// Program to attach as a classic tracepoint.
    pub tracepoint: Option<&'static str>,
}

macro_rules! probes {
    ($(
        $(#[doc = $doc:literal])+
        $name:ident = $number:literal, $slug:literal:
        $($category:literal / $event:literal => $btf:literal, $raw:literal $(, $classic:literal)?;)+
    )+) => {
        /// A probe: one file in the kernel's half, its twin in the reader's.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        #[repr(u32)]
        pub enum Probe {
            $($(#[doc = $doc])+ $name = $number,)+
        }

        impl Probe {
            /// Every probe, in the order of their numbers.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// Returns the name of the probe's file.
            #[must_use]
            pub const fn slug(self) -> &'static str {
                match self { $(Self::$name => $slug,)+ }
            }

            /// Returns where the probe attaches; it needs all of them to tell everything.
            #[must_use]
            pub const fn hooks(self) -> &'static [Hook] {
                match self {
                    $(Self::$name => &[$(Hook {
                        category: $category,
                        event: $event,
                        tp_btf: $btf,
                        raw_tp: $raw,
                        tracepoint: probes!(@classic $($classic)?),
                    },)+],)+
                }
            }
        }
    };
    (@classic) => { None };
    (@classic $classic:literal) => { Some($classic) };
}

probes! {
    /// Victims of the out-of-memory killer.
    OomKill = 0, "oom_kill":
        "oom" / "mark_victim" => "oom_kill_btf", "oom_kill_raw", "oom_kill_classic";
    /// Processes that begin a program.
    ProcessExec = 1, "process_exec":
        "sched" / "sched_process_exec" => "process_exec_btf", "process_exec_raw";
    /// Processes that end.
    ProcessExit = 2, "process_exit":
        "sched" / "sched_process_exit" => "process_exit_btf", "process_exit_raw", "process_exit_classic";
    /// Signals that end a process.
    Signal = 3, "signal":
        "signal" / "signal_generate" => "signal_btf", "signal_raw";
    /// Segments that are sent again.
    TcpRetransmit = 4, "tcp_retransmit":
        "tcp" / "tcp_retransmit_skb" =>
            "tcp_retransmit_btf", "tcp_retransmit_raw", "tcp_retransmit_classic";
    /// Connections that are reset.
    TcpReset = 5, "tcp_reset":
        "tcp" / "tcp_send_reset" => "tcp_reset_sent_btf", "tcp_reset_sent_raw";
        "tcp" / "tcp_receive_reset" => "tcp_reset_received_btf", "tcp_reset_received_raw";
    /// Connections that are made, fail, or change their state.
    TcpState = 6, "tcp_state":
        "sock" / "inet_sock_set_state" => "tcp_state_btf", "tcp_state_raw", "tcp_state_classic";
    /// System calls that fail.
    SyscallErrno = 7, "syscall_errno":
        "raw_syscalls" / "sys_exit" =>
            "syscall_errno_btf", "syscall_errno_raw", "syscall_errno_classic";
    /// Requests of block devices that fail or take long.
    BlockIo = 8, "block_io":
        "block" / "block_rq_complete" => "block_io_btf", "block_io_raw";
    /// Threads that wait for a processor.
    RunQueue = 9, "run_queue":
        "sched" / "sched_switch" => "run_queue_btf", "run_queue_raw";
    /// Threads that stall in reclaim.
    Reclaim = 10, "reclaim":
        "vmscan" / "mm_vmscan_direct_reclaim_begin" => "reclaim_begin_btf", "reclaim_begin_raw";
        "vmscan" / "mm_vmscan_direct_reclaim_end" => "reclaim_end_btf", "reclaim_end_raw";
        "vmscan" / "mm_vmscan_memcg_reclaim_begin" =>
            "reclaim_memcg_begin_btf", "reclaim_memcg_begin_raw";
        "vmscan" / "mm_vmscan_memcg_reclaim_end" =>
            "reclaim_memcg_end_btf", "reclaim_memcg_end_raw";
    /// Questions to name servers.
    Dns = 11, "dns":
        "net" / "net_dev_queue" => "dns_sent_btf", "dns_sent_raw";
        "net" / "netif_receive_skb" => "dns_received_btf", "dns_received_raw";
}

/// What became of an observation that passed the filters: each is counted once, exactly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u32)]
pub enum Counter {
    /// It is in the ring buffer.
    Written = 0,
    /// The ring buffer had no room.
    Refused = 1,
    /// Sampled away under pressure.
    Sampled = 2,
    /// Held back by the rate limit; a later record's `count` says so too.
    Limited = 3,
}

impl Counter {
    /// Every counter of a probe, in the order of their numbers.
    pub const ALL: &'static [Self] = &[Self::Written, Self::Refused, Self::Sampled, Self::Limited];
}

/// Entries of the map [`maps::COUNTERS`]: room for four more probes.
pub const COUNTERS_MAX: u32 = 64;

/// Returns the index of a probe's counter in the map [`maps::COUNTERS`].
#[must_use]
pub const fn counter_slot(probe: Probe, counter: Counter) -> u32 {
    probe as u32 * 4 + counter as u32
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn counters_have_a_slot_each_and_fit_the_map() {
        let slots: BTreeSet<u32> = Probe::ALL
            .iter()
            .flat_map(|probe| Counter::ALL.iter().map(|counter| counter_slot(*probe, *counter)))
            .collect();
        assert_eq!(slots.len(), Probe::ALL.len() * Counter::ALL.len());
        assert!(slots.last() < Some(&COUNTERS_MAX));
    }

    #[test]
    fn programs_have_a_name_each() {
        let hooks = || Probe::ALL.iter().flat_map(|probe| probe.hooks());
        let names: BTreeSet<&str> = hooks()
            .flat_map(|hook| [Some(hook.tp_btf), Some(hook.raw_tp), hook.tracepoint])
            .flatten()
            .collect();
        let classic = hooks().filter(|hook| hook.tracepoint.is_some()).count();
        assert_eq!(names.len(), hooks().count() * 2 + classic);
    }
}
