//! Bodies of the records: what happened, by [`crate::Kind`].

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::dns::DNS_NAME_BYTES;

/// Bytes of a task's name, ended by a zero unless full.
pub const COMM_BYTES: usize = 16;
/// Bytes of a program's path that are kept.
pub const PATH_BYTES: usize = 128;

/// Body of [`crate::Kind::OomKill`].
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct OomKill {
    /// Cgroup that was at its limit, as an inode number of its hierarchy; 0 when none was.
    pub oom_memcg_id: u64,
    /// Memory charged to that cgroup, in KiB.
    pub usage_kib: u64,
    /// Its limit, in KiB.
    pub limit_kib: u64,
    /// Anonymous memory of the victim, in KiB.
    pub anon_kib: u64,
    /// File pages of the victim, in KiB.
    pub file_kib: u64,
    /// Shared memory of the victim, in KiB.
    pub shmem_kib: u64,
    /// `oom_score_adj` of the victim.
    pub oom_score_adj: i32,
    /// One of [`oom`]: inferred from the limits, for no tracepoint carries it.
    pub constraint: u32,
}

/// What want of memory an [`OomKill`] was about.
pub mod oom {
    /// Not known.
    pub const UNKNOWN: u32 = 0;
    /// No cgroup of the victim was at its limit: the machine ran out.
    pub const NONE: u32 = 1;
    /// A memory cgroup was at its limit.
    pub const MEMCG: u32 = 2;
}

/// Body of [`crate::Kind::ProcessStarted`].
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct ProcessStarted {
    /// Parent process.
    pub ppid: u32,
    /// Process id in its own pid namespace; 1 is a container's first process.
    pub ns_pid: u32,
    /// Pid namespace's inode number.
    pub pidns: u32,
    /// Bytes of the path before it was cut, at most [`PATH_BYTES`].
    pub filename_len: u32,
    /// Path of the program.
    pub filename: [u8; PATH_BYTES],
    /// Not used; zero.
    pub reserved: u64,
}

/// Body of [`crate::Kind::ProcessExit`].
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct ProcessExit {
    /// Code as `wait` has it: see [`exit::code`] and [`exit::signal`].
    pub raw_code: u32,
    /// Parent process.
    pub ppid: u32,
    /// Process id in its own pid namespace.
    pub ns_pid: u32,
    /// Pid namespace's inode number.
    pub pidns: u32,
    /// How long the process lived, in nanoseconds.
    pub lived_ns: u64,
    /// 1 when the process was the first of its pid namespace: a container's end.
    pub is_init: u32,
    /// Not used; zero.
    pub reserved: u32,
}

/// Reads an exit code as `wait` has it.
pub mod exit {
    /// Returns the code that the process returned.
    #[must_use]
    pub const fn code(raw: u32) -> u8 {
        raw.to_le_bytes()[1]
    }

    /// Returns the signal that ended the process, 0 for none.
    #[must_use]
    pub const fn signal(raw: u32) -> u8 {
        raw.to_le_bytes()[0] & 0x7f
    }
}

/// Body of [`crate::Kind::ProcessSignalled`].
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct ProcessSignalled {
    /// Cgroup (v2) of the target.
    pub target_cgroup_id: u64,
    /// Memory cgroup (v1) of the target.
    pub target_memcg_id: u64,
    /// Process that was sent the signal.
    pub target_pid: u32,
    /// Thread that was.
    pub target_tid: u32,
    /// The signal.
    pub signal: u32,
    /// `si_code`: above 0 the kernel's own, 0 and below a process's (`SI_USER`, `SI_TKILL`, ...).
    pub code: i32,
    /// Network namespace of the target.
    pub target_netns: u32,
    /// Process id of the target in its own pid namespace.
    pub target_ns_pid: u32,
    /// Name of the thread that was sent the signal.
    pub target_comm: [u8; COMM_BYTES],
}

/// Two ends of a connection as the kernel of this machine has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Socket {
    /// This end's address; the first four bytes for IPv4. In the order of the network.
    pub local: [u8; 16],
    /// The other end's.
    pub remote: [u8; 16],
    /// This end's port, as a number.
    pub local_port: u16,
    /// The other end's port, as a number.
    pub remote_port: u16,
    /// `AF_INET` (2) or `AF_INET6` (10).
    pub family: u16,
    /// State of the connection, see [`tcp`].
    pub state: u16,
}

const _: () = assert!(size_of::<Socket>() == 40);

/// States of a connection, of the kernel's `enum`.
pub mod tcp {
    /// Data flows.
    pub const ESTABLISHED: u16 = 1;
    /// A SYN was sent.
    pub const SYN_SENT: u16 = 2;
    /// A SYN was received.
    pub const SYN_RECV: u16 = 3;
    /// Over.
    pub const CLOSE: u16 = 7;
    /// Waits for connections.
    pub const LISTEN: u16 = 10;
    /// A SYN was received, and has no full socket yet.
    pub const NEW_SYN_RECV: u16 = 12;
}

/// Body of [`crate::Kind::TcpRetransmit`].
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct TcpRetransmit {
    /// The connection.
    pub socket: Socket,
    /// 1 when it was a SYN: nothing answered the first.
    pub is_syn: u32,
    /// Segments of this process (or namespace) sent again that this record stands for.
    pub count: u32,
    /// `icsk_retransmits`: tries in a row without an answer, 0 when unknown.
    pub tries: u32,
    /// Not used; zero.
    pub reserved: u32,
}

/// Body of [`crate::Kind::TcpReset`].
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct TcpReset {
    /// The connection; `state` is [`tcp::CLOSE`] when a segment met no socket.
    pub socket: Socket,
    /// [`reset::SENT`] or [`reset::RECEIVED`].
    pub direction: u32,
    /// 1 when no socket was there: nobody listens on the local port.
    pub is_orphan: u32,
    /// Resets of this process (or namespace) that this record stands for.
    pub count: u32,
    /// Not used; zero.
    pub reserved: u32,
}

/// Directions of a [`TcpReset`].
pub mod reset {
    /// This end sent it.
    pub const SENT: u32 = 1;
    /// The other end did.
    pub const RECEIVED: u32 = 2;
}

/// Body of [`crate::Kind::TcpState`].
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct TcpState {
    /// The connection; `state` is the new state.
    pub socket: Socket,
    /// From SYN to this change, in nanoseconds; 0 when the SYN was not seen.
    pub latency_ns: u64,
    /// The state before.
    pub old: u32,
    /// The state now.
    pub new: u32,
    /// `sk_err`: `ECONNREFUSED` (111), `ETIMEDOUT` (110), `ECONNRESET` (104); 0 when the process gave up.
    pub error: u32,
    /// Not used; zero.
    pub reserved: u32,
}

/// Body of [`crate::Kind::SyscallFailed`].
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct SyscallFailed {
    /// Number of the system call on this machine.
    pub nr: u32,
    /// Why, as a positive number.
    pub errno: u32,
    /// Failures of this process with this errno since its last record, this one included.
    pub count: u32,
    /// Not used; zero.
    pub reserved: u32,
}

/// Body of [`crate::Kind::BlockIo`].
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct BlockIo {
    /// From the request to its completion, in nanoseconds; 0 when unknown.
    pub latency_ns: u64,
    /// First sector.
    pub sector: u64,
    /// Major number of the device.
    pub major: u32,
    /// Minor number.
    pub minor: u32,
    /// Bytes that this completion was about.
    pub bytes: u32,
    /// Status as the kernel has it: see [`block::errno`].
    pub status: i32,
    /// Operation: [`block::READ`], [`block::WRITE`], ...
    pub op: u32,
    /// Not used; zero.
    pub reserved: u32,
}

/// Operations and errors of a block device.
pub mod block {
    /// A read.
    pub const READ: u32 = 0;
    /// A write.
    pub const WRITE: u32 = 1;
    /// A flush of the device's cache.
    pub const FLUSH: u32 = 2;
    /// Blocks that are no longer needed.
    pub const DISCARD: u32 = 3;

    /// Returns the errno of a `blk_status_t`, or of the negative errno that kernels before 5.16 have.
    #[must_use]
    pub const fn errno(status: i32) -> u32 {
        match status {
            0 => 0,
            1 => 95,  // NOTSUPP: EOPNOTSUPP
            2 => 110, // TIMEOUT: ETIMEDOUT
            3 => 28,  // NOSPC: ENOSPC
            4 => 67,  // TRANSPORT: ENOLINK
            5 => 121, // TARGET: EREMOTEIO
            6 => 52,  // RESV_CONFLICT: EBADE
            7 => 61,  // MEDIUM: ENODATA
            8 => 84,  // PROTECTION: EILSEQ
            9 => 12,  // RESOURCE: ENOMEM
            12 => 11, // AGAIN: EAGAIN
            negative if negative < 0 => negative.unsigned_abs(),
            _ => 5, // IOERR and what came later: EIO
        }
    }
}

/// Body of [`crate::Kind::CpuDelay`].
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct CpuDelay {
    /// How long the thread was ready and did not run, in nanoseconds.
    pub delay_ns: u64,
    /// Such delays of the process that this record stands for.
    pub count: u32,
    /// Not used; zero.
    pub reserved: u32,
}

/// Body of [`crate::Kind::ReclaimStall`].
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct ReclaimStall {
    /// How long it took, in nanoseconds.
    pub duration_ns: u64,
    /// Pages that it won.
    pub reclaimed_pages: u64,
    /// 1 when a cgroup was at its limit, 0 when the machine was short.
    pub is_memcg: u32,
    /// Such stalls of the process that this record stands for.
    pub count: u32,
}

/// Body of [`crate::Kind::Dns`]: an answer with an error or after a long time.
///
/// A question that nobody answers never becomes a record: the reader finds it in the map of questions.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Dns {
    /// From the question to the answer, in nanoseconds.
    pub latency_ns: u64,
    /// Address that was asked; the first four bytes for IPv4. In the order of the network.
    pub server: [u8; 16],
    /// `AF_INET` (2) or `AF_INET6` (10).
    pub family: u16,
    /// Type of the question: 1 A, 28 AAAA, 33 SRV.
    pub qtype: u16,
    /// Answer: 0 fine, 2 SERVFAIL, 3 NXDOMAIN, 5 REFUSED.
    pub rcode: u16,
    /// Bytes of the name that were kept.
    pub name_len: u16,
    /// Times that the question was sent.
    pub tries: u32,
    /// Port of this end, as a number.
    pub local_port: u16,
    /// Id of the question.
    pub id: u16,
    /// The name as on the wire: labels, each after its length.
    pub name: [u8; DNS_NAME_BYTES],
    /// Not used; zero.
    pub reserved: u64,
}
