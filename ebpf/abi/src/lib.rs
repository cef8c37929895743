//! The records that probes in the kernel and their reader share.
//!
//! Both sides compile this crate, so a layout cannot differ between them: every record is `repr(C)`,
//! has no padding (the derives refuse it) and its size is asserted. Numbers are in the machine's own
//! byte order, for a record never leaves the machine; addresses and ports of a packet are noted where
//! they are.
#![no_std]
#![expect(
    missing_debug_implementations,
    reason = "zerocopy's derives make unnamed types beside the records; every named one has Debug"
)]

mod body;
mod dns;
mod offsets;
mod probe;
mod record;
mod settings;
mod syscalls;

pub use crate::body::{
    BlockIo, COMM_BYTES, CpuDelay, Dns, OomKill, PATH_BYTES, ProcessExit, ProcessSignalled,
    ProcessStarted, ReclaimStall, Socket, SyscallFailed, TcpReset, TcpRetransmit, TcpState, block,
    exit, oom, reset, tcp,
};
pub use crate::dns::{DNS_NAME_BYTES, DnsKey, DnsQuery};
pub use crate::offsets::{Formats, Offsets, UNSET};
pub use crate::probe::{COUNTERS_MAX, Counter, Hook, Probe, counter_slot, maps};
pub use crate::record::{Body, Entry, Header, Kind, ReadError, Record};
pub use crate::settings::Settings;
pub use crate::syscalls::{ERRNO_COUNT, SYSCALL_WORDS, SyscallSet, watched};
