//! Victims of the out-of-memory killer, from `oom:mark_victim`.
//!
//! The victim is the tracepoint's argument (since 6.9; a pid before): whoever runs is merely who asked
//! for memory. No tracepoint says which limit was reached, so the probe climbs the victim's cgroups to
//! the first whose charge is at its limit.

use tapio_ebpf_abi::{Kind, OomKill, Probe, oom};

use crate::{
    kernel::{Args, Fields, read},
    ring::{self, Worth},
    settings::{field, format_field, load, offsets, setting},
    task,
};

/// Levels of cgroups that are climbed.
const LEVELS_MAX: u32 = 8;
/// No limit, as a number of pages: the kernel has `LONG_MAX` in bytes.
const PAGES_UNLIMITED: u64 = i64::MAX as u64 / 65_536;

hook!(oom_kill_btf, oom_kill_raw => marked);
classic!(oom_kill_classic => marked_classic);

#[inline(always)]
fn marked(args: Args) {
    if setting!(victim_is_task) == 0 {
        let pid = args.int(0) as u32;
        return tell_pid(pid, 0, 0, 0, 0);
    }
    let victim = args.word(0);
    let mut body = EMPTY;
    let mm: u64 = field!(victim, task_mm).unwrap_or(0);
    body.file_kib = rss_kib(mm, 0);
    body.anon_kib = rss_kib(mm, 1);
    body.shmem_kib = rss_kib(mm, 3);
    let signal: u64 = field!(victim, task_signal).unwrap_or(0);
    body.oom_score_adj = i32::from(field!(signal, signal_oom_score_adj).unwrap_or(0_i16));
    find_limit(task::memcg_state(victim), &mut body);
    if let Some(slot) = ring::reserve(Probe::OomKill, Worth::Kept) {
        slot.write(task::of(Kind::OomKill, victim), body);
    }
}

#[inline(always)]
fn marked_classic(fields: Fields) {
    let adjust: i16 = format_field!(fields, oom_score_adj).unwrap_or(0);
    tell_pid(
        format_field!(fields, oom_pid).unwrap_or(0),
        format_field!(fields, oom_anon).unwrap_or(0),
        format_field!(fields, oom_file).unwrap_or(0),
        format_field!(fields, oom_shmem).unwrap_or(0),
        i32::from(adjust),
    );
}

const EMPTY: OomKill = OomKill {
    oom_memcg_id: 0,
    usage_kib: 0,
    limit_kib: 0,
    anon_kib: 0,
    file_kib: 0,
    shmem_kib: 0,
    oom_score_adj: 0,
    constraint: oom::UNKNOWN,
};

/// Tells of a victim of which only the pid is known.
#[inline(always)]
fn tell_pid(pid: u32, anon_kib: u64, file_kib: u64, shmem_kib: u64, oom_score_adj: i32) {
    let Some(slot) = ring::reserve(Probe::OomKill, Worth::Kept) else { return };
    let mut header = task::nobody(Kind::OomKill);
    header.pid = pid;
    header.tid = pid;
    slot.write(header, OomKill { anon_kib, file_kib, shmem_kib, oom_score_adj, ..EMPTY });
}

/// Reads one of the counters of a process's pages.
#[inline(always)]
fn rss_kib(mm: u64, index: u32) -> u64 {
    let counters = load(&offsets().mm_rss_stat);
    let stride = setting!(rss_stride) as u32;
    if counters == tapio_ebpf_abi::UNSET || stride == 0 {
        return 0;
    }
    // Kernels before 6.2 have plain words, which `percpu_counter` as an offset does not apply to.
    let inside = if stride == 8 { 0 } else { load(&offsets().percpu_count) };
    let pages: i64 = read(mm, counters + index * stride + inside).unwrap_or(0);
    kib(pages.max(0) as u64)
}

#[inline(always)]
fn kib(pages: u64) -> u64 {
    pages * (setting!(page_bytes) / 1_024)
}

/// Finds the nearest cgroup at its limit: within a sixteenth, for reclaim goes on meanwhile.
#[inline(always)]
fn find_limit(state: u64, body: &mut OomKill) {
    if state == 0 || load(&offsets().memcg_max) == tapio_ebpf_abi::UNSET {
        return;
    }
    body.constraint = oom::NONE;
    let mut state = state;
    for _ in 0..LEVELS_MAX {
        let usage: u64 = field!(state, memcg_usage).unwrap_or(0);
        let limit: u64 = field!(state, memcg_max).unwrap_or(u64::MAX);
        if limit < PAGES_UNLIMITED && usage >= limit - limit / 16 {
            body.constraint = oom::MEMCG;
            body.usage_kib = kib(usage);
            body.limit_kib = kib(limit);
            body.oom_memcg_id = task::cgroup_id(field!(state, css_cgroup).unwrap_or(0));
            return;
        }
        state = field!(state, css_parent).unwrap_or(0);
        if state == 0 {
            return;
        }
    }
}
