//! Processes that end, from `sched:sched_process_exit`: once, when the last thread goes.

use tapio_ebpf_abi::{Kind, Probe, ProcessExit, exit};

use crate::{
    kernel::{Args, Fields, now},
    ring::{self, Worth},
    settings::{field, setting},
    task,
};

hook!(process_exit_btf, process_exit_raw => ended);
classic!(process_exit_classic => ended_classic);

#[inline(always)]
fn ended(_args: Args) {
    tell();
}

#[inline(always)]
fn ended_classic(_fields: Fields) {
    tell();
}

/// Tells of the thread that runs: it is the one that ends.
#[inline(always)]
fn tell() {
    let task = task::current_task();
    let signal: u64 = field!(task, task_signal).unwrap_or(0);
    let living: u32 = field!(signal, signal_live).unwrap_or(0);
    if living != 0 {
        return;
    }
    let raw_code: u32 = field!(task, task_exit_code).unwrap_or(0);
    let (ns_pid, pidns) = task::in_namespace(task);
    let is_init = ns_pid == 1;
    if raw_code == 0 && !is_init && setting!(every_exit) == 0 || task::is_left_out(task) {
        return;
    }
    let is_signalled = exit::signal(raw_code) != 0;
    let worth = if is_signalled || is_init { Worth::Kept } else { Worth::Sampled };
    let Some(slot) = ring::reserve(Probe::ProcessExit, worth) else { return };
    let started: u64 = field!(task, task_start_time).unwrap_or(0);
    let lived_ns = if started == 0 { 0 } else { now() - started };
    slot.write(
        task::current(Kind::ProcessExit),
        ProcessExit {
            raw_code,
            ppid: task::parent(task),
            ns_pid,
            pidns,
            lived_ns,
            is_init: u32::from(is_init),
            reserved: 0,
        },
    );
}
