//! Threads that stall while the kernel reclaims memory for them, from `vmscan:mm_vmscan_*_reclaim_*`.

use aya_ebpf::{helpers, macros::map, maps::LruHashMap};
use tapio_ebpf_abi::{Kind, Probe, ReclaimStall};

use crate::{
    kernel::{Args, now},
    limit,
    ring::{self, Worth},
    settings::setting,
    task,
};

const THREADS_MAX: u32 = 4_096;

/// By thread: since when it reclaims.
#[map]
static RECLAIMS: LruHashMap<u32, u64> = LruHashMap::with_max_entries(THREADS_MAX, 0);

hook!(reclaim_begin_btf, reclaim_begin_raw => begun);
hook!(reclaim_end_btf, reclaim_end_raw => ended);
hook!(reclaim_memcg_begin_btf, reclaim_memcg_begin_raw => begun);
hook!(reclaim_memcg_end_btf, reclaim_memcg_end_raw => ended_memcg);

#[inline(always)]
fn begun(_args: Args) {
    // A full table forgets the oldest: its stall is not told.
    let _full = RECLAIMS.insert(helpers::bpf_get_current_pid_tgid() as u32, now(), 0);
}

#[inline(always)]
fn ended(args: Args) {
    tell(args, false);
}

#[inline(always)]
fn ended_memcg(args: Args) {
    tell(args, true);
}

#[inline(always)]
fn tell(args: Args, is_memcg: bool) {
    let ids = helpers::bpf_get_current_pid_tgid();
    let thread = ids as u32;
    let Some(since) = RECLAIMS.get_ptr(thread) else { return };
    // SAFETY: the map's value is there until the program ends.
    let duration_ns = now() - unsafe { *since };
    // It was there a moment ago; nobody else removes it.
    let _absent = RECLAIMS.remove(thread);
    if duration_ns < setting!(reclaim_ns_min) || task::is_left_out(task::current_task()) {
        return;
    }
    let Some(count) = limit::pass(Probe::Reclaim, (ids >> 32) as u32, 0) else { return };
    let Some(slot) = ring::reserve(Probe::Reclaim, Worth::Sampled) else { return };
    slot.write(
        task::current(Kind::ReclaimStall),
        ReclaimStall {
            duration_ns,
            reclaimed_pages: args.word(0),
            is_memcg: u32::from(is_memcg),
            count,
        },
    );
}
