//! System calls that fail, from `raw_syscalls:sys_exit`: chosen by errno and system call.

use aya_ebpf::{helpers, macros::map, maps::Array};
use tapio_ebpf_abi::{ERRNO_COUNT, Kind, Probe, SYSCALL_WORDS, SyscallFailed};

use crate::{
    kernel::{Args, Fields},
    limit,
    ring::{self, Worth},
    settings::{field, format_field},
    task,
};

/// By errno: the system calls whose failure is told. Empty until user space fills it.
#[map]
static ERRNO_SYSCALLS: Array<[u64; SYSCALL_WORDS]> = Array::with_max_entries(ERRNO_COUNT, 0);

hook!(syscall_errno_btf, syscall_errno_raw => returned);
classic!(syscall_errno_classic => returned_classic);

#[inline(always)]
fn returned(args: Args) {
    if let Some(errno) = errno(args.word(1) as i64) {
        let nr: u64 = field!(args.word(0), regs_syscall).unwrap_or(u64::MAX);
        tell(nr as u32, errno);
    }
}

#[inline(always)]
fn returned_classic(fields: Fields) {
    let ret: i64 = format_field!(fields, syscall_ret).unwrap_or(0);
    if let Some(errno) = errno(ret) {
        let nr: u64 = format_field!(fields, syscall_id).unwrap_or(u64::MAX);
        tell(nr as u32, errno);
    }
}

/// Returns the errno of a result: this is all that a call which did not fail costs.
#[inline(always)]
fn errno(result: i64) -> Option<u32> {
    (result < 0 && result > -i64::from(ERRNO_COUNT)).then(|| result.unsigned_abs() as u32)
}

#[inline(always)]
fn tell(nr: u32, errno: u32) {
    let Some(calls) = ERRNO_SYSCALLS.get(errno) else { return };
    // An unknown number counts as the last of the set: told where every call is.
    let bit = nr.min(511);
    let word = calls[(bit / 64) as usize & (SYSCALL_WORDS - 1)];
    if word >> (bit % 64) & 1 == 0 || task::is_own() || task::is_left_out(task::current_task()) {
        return;
    }
    let pid = (helpers::bpf_get_current_pid_tgid() >> 32) as u32;
    let Some(count) = limit::pass(Probe::SyscallErrno, pid, errno) else { return };
    let Some(slot) = ring::reserve(Probe::SyscallErrno, Worth::Sampled) else { return };
    slot.write(task::current(Kind::SyscallFailed), SyscallFailed { nr, errno, count, reserved: 0 });
}
