//! Signals that end a process, with who sent them, from `signal:signal_generate`.

use tapio_ebpf_abi::{Kind, Probe, ProcessSignalled};

use crate::{
    kernel::Args,
    ring::{self, Worth},
    settings::{field, setting},
    task,
};

/// The signal was queued (`TRACE_SIGNAL_DELIVERED`), not ignored nor already pending.
const DELIVERED: i32 = 0;
/// `SEND_SIG_PRIV`: the kernel itself sends, and there is no `siginfo`.
const FROM_KERNEL: u64 = 1;
const SI_USER: i32 = 0;
const SI_KERNEL: i32 = 0x80;

hook!(signal_btf, signal_raw => generated);

#[inline(always)]
fn generated(args: Args) {
    let signal = args.int(0) as u32;
    if signal >= 64 || setting!(signals) >> signal & 1 == 0 || args.int(4) != DELIVERED {
        return;
    }
    let info = args.word(1);
    let target = args.word(2);
    let code = match info {
        0 => SI_USER,
        FROM_KERNEL => SI_KERNEL,
        info => field!(info, siginfo_code).unwrap_or(SI_USER),
    };
    let Some(slot) = ring::reserve(Probe::Signal, Worth::Kept) else { return };
    slot.write(
        task::current(Kind::ProcessSignalled),
        ProcessSignalled {
            target_cgroup_id: task::cgroup(target),
            target_memcg_id: task::memcg(target),
            target_pid: field!(target, task_tgid).unwrap_or(0),
            target_tid: field!(target, task_pid).unwrap_or(0),
            signal,
            code,
            target_netns: task::netns(target),
            target_ns_pid: task::in_namespace(target).0,
            target_comm: task::comm(target),
        },
    );
}
