//! Reads the kernel's memory.

use core::intrinsics::AtomicOrdering;

use aya_ebpf::{EbpfContext as _, helpers, programs};
use tapio_ebpf_abi::UNSET;

/// Arguments of a tracepoint as the kernel passes them, one a word.
#[derive(Clone, Copy)]
pub(crate) struct Args(*const u64);

impl Args {
    #[inline(always)]
    pub(crate) fn of(ctx: &impl aya_ebpf::EbpfContext) -> Self {
        Self(ctx.as_ptr().cast())
    }

    /// Returns an argument; the verifier refuses one that the tracepoint does not have.
    #[inline(always)]
    pub(crate) fn word(self, index: usize) -> u64 {
        // SAFETY: the context is an array of words, and the verifier checks the index.
        let word = unsafe { self.0.add(index) };
        // SAFETY: as above.
        unsafe { core::ptr::read_volatile(word) }
    }

    /// Returns an argument that is an `int`.
    #[inline(always)]
    pub(crate) fn int(self, index: usize) -> i32 {
        self.word(index) as i32
    }
}

/// Fields of a classic tracepoint.
#[derive(Clone, Copy)]
pub(crate) struct Fields(u64);

impl Fields {
    #[inline(always)]
    pub(crate) fn of(ctx: &programs::TracePointContext) -> Self {
        Self(ctx.as_ptr() as u64)
    }

    /// Returns the field at an offset, `None` when the offset is not known.
    #[inline(always)]
    pub(crate) fn get<T: Copy>(self, offset: u32) -> Option<T> {
        read(self.0, offset)
    }
}

/// Reads a value at an offset from an address.
#[inline(always)]
pub(crate) fn read<T: Copy>(base: u64, offset: u32) -> Option<T> {
    if base == 0 || offset == UNSET {
        return None;
    }
    at(base + u64::from(offset))
}

/// Reads a value at an address.
#[inline(always)]
pub(crate) fn at<T: Copy>(address: u64) -> Option<T> {
    // SAFETY: the helper checks the address, and every `T` here is made of integers.
    unsafe { helpers::bpf_probe_read_kernel(address as *const T) }.ok()
}

/// Copies a string that ends with a zero; returns its bytes, the zero included.
#[inline(always)]
pub(crate) fn string<const N: usize>(address: u64, into: &mut [u8; N]) -> u32 {
    // SAFETY: the helper writes at most `N` bytes and checks the address.
    let copied = unsafe {
        helpers::generated::bpf_probe_read_kernel_str(
            into.as_mut_ptr().cast(),
            N as u32,
            address as *const core::ffi::c_void,
        )
    };
    if copied < 0 { 0 } else { copied as u32 }
}

/// Returns the time of `CLOCK_MONOTONIC` in nanoseconds.
#[inline(always)]
pub(crate) fn now() -> u64 {
    // SAFETY: the helper has no argument.
    unsafe { helpers::generated::bpf_ktime_get_ns() }
}

/// Returns this processor's number.
#[inline(always)]
pub(crate) fn cpu() -> u32 {
    // SAFETY: the helper has no argument.
    unsafe { helpers::generated::bpf_get_smp_processor_id() }
}

/// Adds to a counter that an interrupt or another processor may add to at the same time.
///
/// The target has this one atomic instruction and no compare-and-swap, so `core` gives `AtomicU64` no
/// `fetch_add` here.
#[inline(always)]
pub(crate) fn add(counter: *mut u64, more: u64) {
    // SAFETY: callers pass a field of a map's value, which is aligned and outlives the program.
    unsafe {
        core::intrinsics::atomic_xadd::<u64, u64, { AtomicOrdering::Relaxed }>(counter, more)
    };
}
