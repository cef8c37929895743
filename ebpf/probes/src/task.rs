//! Who a record is about: threads, their cgroups and namespaces.

use aya_ebpf::{helpers, macros::map, maps::HashMap};
use tapio_ebpf_abi::{Header, Kind, Settings};

use crate::{
    kernel::{at, cpu, now, read},
    settings::{field, load, offsets, setting},
};

/// Bytes of a `struct upid`: a number, and a pointer after its padding.
const UPID_BYTES: u64 = 16;

const CGROUPS_MAX: u32 = 4_096;

/// Cgroups that the filter lists; the value is not looked at.
#[map]
static CGROUPS: HashMap<u64, u32> = HashMap::with_max_entries(CGROUPS_MAX, 0);

/// Makes a header about nobody.
#[inline(always)]
pub(crate) fn nobody(kind: Kind) -> Header {
    Header {
        kind: kind as u16,
        size: kind.size() as u16,
        cpu: cpu(),
        time_ns: now(),
        cgroup_id: 0,
        memcg_id: 0,
        netns: 0,
        pid: 0,
        tid: 0,
        sampled: 1,
        comm: [0; 16],
    }
}

/// Makes a header about the thread that runs.
#[inline(always)]
pub(crate) fn current(kind: Kind) -> Header {
    let task = current_task();
    let ids = helpers::bpf_get_current_pid_tgid();
    let mut header = nobody(kind);
    header.pid = (ids >> 32) as u32;
    header.tid = ids as u32;
    header.comm = helpers::bpf_get_current_comm().unwrap_or_default();
    // SAFETY: the helper has no argument.
    header.cgroup_id = unsafe { helpers::generated::bpf_get_current_cgroup_id() };
    header.memcg_id = memcg(task);
    header.netns = netns(task);
    header
}

/// Makes a header about a thread.
#[inline(always)]
pub(crate) fn of(kind: Kind, task: u64) -> Header {
    let mut header = nobody(kind);
    header.pid = field!(task, task_tgid).unwrap_or(0);
    header.tid = field!(task, task_pid).unwrap_or(0);
    header.comm = comm(task);
    header.cgroup_id = cgroup(task);
    header.memcg_id = memcg(task);
    header.netns = netns(task);
    header
}

/// Returns the address of the thread that runs.
#[inline(always)]
pub(crate) fn current_task() -> u64 {
    // SAFETY: the helper has no argument.
    unsafe { helpers::generated::bpf_get_current_task() }
}

/// Says whether the thread that runs is the reader's own.
#[inline(always)]
pub(crate) fn is_own() -> bool {
    let own = setting!(own_tgid);
    own != 0 && helpers::bpf_get_current_pid_tgid() >> 32 == own
}

/// Says whether the filter by cgroup leaves a thread out.
#[inline(always)]
pub(crate) fn is_left_out(task: u64) -> bool {
    let filter = setting!(cgroup_filter);
    if filter == Settings::CGROUPS_ALL {
        return false;
    }
    let id = if setting!(memcg_v1) == 0 { cgroup(task) } else { memcg(task) };
    let is_listed = CGROUPS.get_ptr(id).is_some();
    is_listed == (filter == Settings::CGROUPS_BUT_LISTED)
}

#[inline(always)]
pub(crate) fn comm(task: u64) -> [u8; 16] {
    field!(task, task_comm).unwrap_or_default()
}

/// Returns a thread's cgroup of the v2 hierarchy.
#[inline(always)]
pub(crate) fn cgroup(task: u64) -> u64 {
    let set = field!(task, task_cgroups).unwrap_or(0);
    cgroup_id(field!(set, css_set_dfl_cgrp).unwrap_or(0))
}

/// Returns a thread's memory cgroup, 0 when that is of the v2 hierarchy.
#[inline(always)]
pub(crate) fn memcg(task: u64) -> u64 {
    if setting!(memcg_v1) == 0 {
        return 0;
    }
    cgroup_id(field!(memcg_state(task), css_cgroup).unwrap_or(0))
}

/// Returns the address of a thread's memory cgroup's state: of its `mem_cgroup`, which begins with it.
#[inline(always)]
pub(crate) fn memcg_state(task: u64) -> u64 {
    let subsys = setting!(memory_subsys);
    let states = load(&offsets().css_set_subsys);
    if subsys > 64 || states == tapio_ebpf_abi::UNSET {
        return 0;
    }
    let set: u64 = field!(task, task_cgroups).unwrap_or(0);
    read(set, states + (subsys as u32) * 8).unwrap_or(0)
}

#[inline(always)]
pub(crate) fn cgroup_id(cgroup: u64) -> u64 {
    let node = field!(cgroup, cgroup_kn).unwrap_or(0);
    field!(node, kernfs_id).unwrap_or(0)
}

#[inline(always)]
pub(crate) fn netns(task: u64) -> u32 {
    let proxy = field!(task, task_nsproxy).unwrap_or(0);
    net_inum(field!(proxy, nsproxy_net).unwrap_or(0))
}

#[inline(always)]
pub(crate) fn net_inum(net: u64) -> u32 {
    field!(net, net_inum).unwrap_or(0)
}

/// Returns the process id of a thread's parent.
#[inline(always)]
pub(crate) fn parent(task: u64) -> u32 {
    let parent = field!(task, task_real_parent).unwrap_or(0);
    field!(parent, task_tgid).unwrap_or(0)
}

/// Returns a thread's id in its own pid namespace, and the namespace.
#[inline(always)]
pub(crate) fn in_namespace(task: u64) -> (u32, u32) {
    let pid: u64 = field!(task, task_thread_pid).unwrap_or(0);
    let level: u32 = field!(pid, pid_level).unwrap_or(0);
    let numbers = load(&offsets().pid_numbers);
    if pid == 0 || numbers == tapio_ebpf_abi::UNSET {
        return (0, 0);
    }
    let upid = pid + u64::from(numbers) + u64::from(level) * UPID_BYTES;
    let space: u64 = field!(upid, upid_ns).unwrap_or(0);
    let nr = load(&offsets().upid_nr);
    (at(upid + u64::from(nr)).unwrap_or(0), field!(space, pidns_inum).unwrap_or(0))
}
