//! The ring buffer, and the count of what did not get in.

use aya_ebpf::{
    helpers,
    macros::map,
    maps::{PerCpuArray, RingBuf, ring_buf::RingBufEntry},
};
use tapio_ebpf_abi::{COUNTERS_MAX, Counter, Entry, Header, Probe, counter_slot};

use crate::{kernel::add, settings::setting};

/// Bytes of the ring buffer unless user space sizes it.
const RING_BYTES: u32 = 16 << 20;

const AVAILABLE_DATA: u64 = 0;
const NO_WAKEUP: u64 = 1;
const FORCE_WAKEUP: u64 = 2;

#[map]
static EVENTS: RingBuf = RingBuf::with_byte_size(RING_BYTES, 0);
#[map]
static COUNTERS: PerCpuArray<u64> = PerCpuArray::with_max_entries(COUNTERS_MAX, 0);

/// Whether a probe may be sampled when the reader cannot keep up.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Worth {
    /// One of many alike.
    Sampled,
    /// Each one counts.
    Kept,
}

/// Room for one record.
pub(crate) struct Slot<B: 'static> {
    entry: RingBufEntry<Entry<B>>,
    probe: Probe,
    sampled: u32,
    flags: u64,
}

/// Counts one of a probe's observations.
#[inline(always)]
pub(crate) fn count(probe: Probe, counter: Counter) {
    if let Some(slot) = COUNTERS.get_ptr_mut(counter_slot(probe, counter)) {
        add(slot, 1);
    }
}

/// Makes room for a record, or counts why there is none.
#[inline(always)]
pub(crate) fn reserve<B: 'static>(probe: Probe, worth: Worth) -> Option<Slot<B>> {
    let pressure = setting!(pressure_bytes);
    let wakeup = setting!(wakeup_bytes);
    let held = if pressure == 0 && wakeup == 0 { 0 } else { EVENTS.query(AVAILABLE_DATA) };

    let mut sampled = 1;
    if worth == Worth::Sampled && pressure != 0 && held >= pressure {
        sampled = setting!(sample_one_of) as u32;
        if sampled > 1 && random() % sampled != 0 {
            count(probe, Counter::Sampled);
            return None;
        }
    }
    let Some(entry) = EVENTS.reserve::<Entry<B>>(0) else {
        count(probe, Counter::Refused);
        return None;
    };
    // Woken once, when the mark is crossed: below it the reader's own clock is soon enough.
    let crosses = held < wakeup && held + size_of::<Entry<B>>() as u64 >= wakeup;
    let flags = match (wakeup, crosses) {
        (0, _) => 0,
        (_, true) => FORCE_WAKEUP,
        (_, false) => NO_WAKEUP,
    };
    Some(Slot { entry, probe, sampled, flags })
}

impl<B: 'static> Slot<B> {
    /// Writes the record and gives it to the reader.
    #[inline(always)]
    pub(crate) fn write(mut self, mut header: Header, body: B) {
        header.sampled = self.sampled;
        self.entry.write(Entry { header, body });
        self.entry.submit(self.flags);
        count(self.probe, Counter::Written);
    }
}

#[inline(always)]
fn random() -> u32 {
    // SAFETY: the helper has no argument.
    unsafe { helpers::generated::bpf_get_prandom_u32() }
}
