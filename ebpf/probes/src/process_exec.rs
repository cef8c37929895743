//! Processes that begin a program, from `sched:sched_process_exec`.

use tapio_ebpf_abi::{Kind, PATH_BYTES, Probe, ProcessStarted};

use crate::{
    kernel::{Args, string},
    ring::{self, Worth},
    settings::field,
    task,
};

hook!(process_exec_btf, process_exec_raw => began);

#[inline(always)]
fn began(args: Args) {
    let task = args.word(0);
    if task::is_left_out(task) {
        return;
    }
    let bprm = args.word(2);
    let Some(slot) = ring::reserve(Probe::ProcessExec, Worth::Sampled) else { return };
    let (ns_pid, pidns) = task::in_namespace(task);
    let mut filename = [0; PATH_BYTES];
    let path: u64 = field!(bprm, bprm_filename).unwrap_or(0);
    let filename_len = string(path, &mut filename).saturating_sub(1);
    slot.write(
        task::current(Kind::ProcessStarted),
        ProcessStarted {
            ppid: task::parent(task),
            ns_pid,
            pidns,
            filename_len,
            filename,
            reserved: 0,
        },
    );
}
