//! The probes that run inside the kernel: one file a probe, its twin in the collector.
//!
//! A probe decides here what is worth telling: whatever leaves the kernel has passed a filter and a
//! rate limit, or is counted where it did not. Every field of the kernel's own structures is read at
//! an offset that user space looked up, so one object serves every kernel.
#![no_std]
#![no_main]
#![feature(core_intrinsics)]
#![expect(internal_features, reason = "the one atomic instruction of the target: see kernel::add")]

mod kernel;
mod limit;
mod ring;
mod settings;
mod sock;
mod task;

/// Makes the programs of a hook: the same body by either way of attaching.
macro_rules! hook {
    ($btf:ident, $raw:ident => $body:path) => {
        #[aya_ebpf::macros::btf_tracepoint]
        fn $btf(ctx: aya_ebpf::programs::BtfTracePointContext) -> i32 {
            $body($crate::kernel::Args::of(&ctx));
            0
        }

        #[aya_ebpf::macros::raw_tracepoint]
        fn $raw(ctx: aya_ebpf::programs::RawTracePointContext) -> i32 {
            $body($crate::kernel::Args::of(&ctx));
            0
        }
    };
}

/// Makes the program of a classic tracepoint.
macro_rules! classic {
    ($name:ident => $body:path) => {
        #[aya_ebpf::macros::tracepoint]
        fn $name(ctx: aya_ebpf::programs::TracePointContext) -> u32 {
            $body($crate::kernel::Fields::of(&ctx));
            0
        }
    };
}

macro_rules! probes {
    ($($slug:ident)+) => { $(mod $slug;)+ };
}

probes! {
    oom_kill
    process_exec
    process_exit
    signal
    tcp_retransmit
    tcp_reset
    tcp_state
    syscall_errno
    block_io
    run_queue
    reclaim
    dns
}

/// Helpers that read the kernel's memory ask for a licence that the kernel takes for free.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
