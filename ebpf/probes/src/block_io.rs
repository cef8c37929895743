//! Requests of block devices that fail or take long, from `block:block_rq_complete`.
//!
//! The request itself carries when it started, so one hook does for two.

use tapio_ebpf_abi::{BlockIo, Kind, Probe};

use crate::{
    kernel::{Args, now},
    limit,
    ring::{self, Worth},
    settings::{field, setting},
    task,
};

/// The low byte of a request's flags is its operation.
const OPERATION: u32 = 0xff;
/// From here on operations are a driver's own (`REQ_OP_DRV_IN`): an error is an answer to it.
const OPERATION_DRIVER: u32 = 32;

hook!(block_io_btf, block_io_raw => completed);

#[inline(always)]
fn completed(args: Args) {
    let request = args.word(0);
    let status = args.int(1);
    let op = field!(request, rq_cmd_flags).unwrap_or(0_u32) & OPERATION;
    let started: u64 = field!(request, rq_start_time).unwrap_or(0);
    let latency_ns = if started == 0 { 0 } else { now() - started };
    let is_failed = status != 0 && op < OPERATION_DRIVER;
    if !is_failed && latency_ns < setting!(block_ns_min) {
        return;
    }
    let queue: u64 = field!(request, rq_queue).unwrap_or(0);
    let disk: u64 = field!(queue, queue_disk).unwrap_or(0);
    let major: u32 = field!(disk, disk_major).unwrap_or(0);
    let minor: u32 = field!(disk, disk_minor).unwrap_or(0);
    let Some(_held) = limit::pass(Probe::BlockIo, major << 20 | minor, status as u32) else {
        return;
    };
    let worth = if is_failed { Worth::Kept } else { Worth::Sampled };
    let Some(slot) = ring::reserve(Probe::BlockIo, worth) else { return };
    let mut header = task::nobody(Kind::BlockIo);
    if setting!(memcg_v1) == 0 {
        header.cgroup_id = cgroup(request);
    }
    slot.write(
        header,
        BlockIo {
            latency_ns,
            sector: field!(request, rq_sector).unwrap_or(0),
            major,
            minor,
            bytes: args.int(2) as u32,
            status,
            op,
            reserved: 0,
        },
    );
}

/// Returns the cgroup that the request is charged to; completion runs in anybody's thread.
#[inline(always)]
fn cgroup(request: u64) -> u64 {
    let bio: u64 = field!(request, rq_bio).unwrap_or(0);
    let group: u64 = field!(bio, bio_blkg).unwrap_or(0);
    let blkcg: u64 = field!(group, blkg_blkcg).unwrap_or(0);
    task::cgroup_id(field!(blkcg, blkcg_css_cgroup).unwrap_or(0))
}
