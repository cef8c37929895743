//! Threads that wait for a processor, from `sched:sched_switch`.
//!
//! The scheduler adds up each thread's delay itself (`sched_info.run_delay`); how much it grew since
//! the thread was last seen is the delay before the turn that now ends. So one hook does for three.

use aya_ebpf::{macros::map, maps::LruHashMap};
use tapio_ebpf_abi::{CpuDelay, Kind, Probe};

use crate::{
    kernel::Args,
    limit,
    ring::{self, Worth},
    settings::{field, setting},
    task,
};

const THREADS_MAX: u32 = 16_384;

/// By thread: its delay so far, in nanoseconds.
#[map]
static RUN_DELAYS: LruHashMap<u32, u64> = LruHashMap::with_max_entries(THREADS_MAX, 0);

hook!(run_queue_btf, run_queue_raw => switched);

#[inline(always)]
fn switched(args: Args) {
    let task = args.word(1);
    let thread: u32 = field!(task, task_pid).unwrap_or(0);
    if thread == 0 {
        return;
    }
    let Some(total_ns) = field!(task, task_run_delay) else { return };
    let Some(seen) = RUN_DELAYS.get_ptr_mut(thread) else {
        // A full table forgets who was quiet longest, and this one is new.
        let _full = RUN_DELAYS.insert(thread, total_ns, 0);
        return;
    };
    // SAFETY: the map's value is there until the program ends.
    let before_ns = unsafe { *seen };
    // SAFETY: as above; one thread is on one processor at a time.
    unsafe { *seen = total_ns };
    // A thread id that is used again begins anew, below what was seen.
    let delay_ns = total_ns.saturating_sub(before_ns);
    if delay_ns < setting!(cpu_delay_ns_min) {
        return;
    }
    let pid: u32 = field!(task, task_tgid).unwrap_or(0);
    if u64::from(pid) == setting!(own_tgid) || task::is_left_out(task) {
        return;
    }
    let Some(count) = limit::pass(Probe::RunQueue, pid, 0) else { return };
    let Some(slot) = ring::reserve(Probe::RunQueue, Worth::Sampled) else { return };
    slot.write(task::of(Kind::CpuDelay, task), CpuDelay { delay_ns, count, reserved: 0 });
}
