//! One record a window for what is alike; the rest is counted.

use aya_ebpf::{macros::map, maps::LruHashMap};
use tapio_ebpf_abi::{Counter, Probe};

use crate::{
    kernel::{add, now},
    ring::count,
    settings::setting,
};

const LIMITS_MAX: u32 = 8_192;

#[repr(C)]
#[derive(Clone, Copy)]
struct Key {
    probe: u32,
    who: u32,
    what: u32,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct Window {
    since_ns: u64,
    held: u64,
}

#[map]
static LIMITS: LruHashMap<Key, Window> = LruHashMap::with_max_entries(LIMITS_MAX, 0);

/// Says how many observations a record may now stand for, `None` when it is too soon for one.
///
/// Two processors that find a window over at once both tell, and both may tell of what was held: the
/// counter of the limited is exact, the count in a record is not.
#[inline(always)]
pub(crate) fn pass(probe: Probe, who: u32, what: u32) -> Option<u32> {
    let window_ns = setting!(window_ns);
    if window_ns == 0 {
        return Some(1);
    }
    let key = Key { probe: probe as u32, who, what };
    let now = now();
    let Some(window) = LIMITS.get_ptr_mut(key) else {
        // A table that takes no more entries does not silence a probe.
        let _full = LIMITS.insert(key, Window { since_ns: now, held: 0 }, 0);
        return Some(1);
    };
    // SAFETY: the map's value is there until the program ends.
    let window = unsafe { &mut *window };
    if now - window.since_ns < window_ns {
        add(&raw mut window.held, 1);
        count(probe, Counter::Limited);
        return None;
    }
    window.since_ns = now;
    let told = window.held;
    add(&raw mut window.held, told.wrapping_neg());
    Some(1 + told as u32)
}
