//! Reads the ring buffer, and the counters of what never reached it.

use aya::{
    Ebpf,
    maps::{HashMap, MapData, MapError, PerCpuArray, RingBuf},
};
use tapio_ebpf_abi::{Counter, DnsQuery, Probe, counter_slot, maps};

use crate::{loader::LoadError, time::KernelNanos};

/// Questions without an answer that are taken out at once; the rest waits for the next look.
const UNANSWERED_MAX: usize = 1_024;

/// Bytes of a key and a value of the map of questions.
type Key = [u8; 8];
type Value = [u8; 224];

/// What became of a probe's observations since it was loaded.
///
/// # Invariant
/// Exact: each observation that passed the probe's filters is in one of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// In the ring buffer.
    pub written: u64,
    /// The ring buffer had no room.
    pub refused: u64,
    /// Sampled away under pressure.
    pub sampled: u64,
    /// Held back by the rate limit; a later record's count speaks for them.
    pub limited: u64,
}

/// The maps that the probes write and this side reads.
pub(crate) struct Ring {
    events: RingBuf<MapData>,
    counters: PerCpuArray<MapData, u64>,
    questions: HashMap<MapData, Key, Value>,
}

impl Ring {
    /// Takes the maps out of a loaded object.
    pub(crate) fn take(ebpf: &mut Ebpf) -> Result<Self, LoadError> {
        let mut map =
            |name: &'static str| ebpf.take_map(name).ok_or(LoadError::Map { name, source: None });
        let of = |name: &'static str| move |source| LoadError::Map { name, source: Some(source) };
        Ok(Self {
            events: RingBuf::try_from(map(maps::EVENTS)?).map_err(of(maps::EVENTS))?,
            counters: PerCpuArray::try_from(map(maps::COUNTERS)?).map_err(of(maps::COUNTERS))?,
            questions: HashMap::try_from(map(maps::DNS)?).map_err(of(maps::DNS))?,
        })
    }

    /// Hands up to `records_max` records on; returns how many there were.
    pub(crate) fn drain(&mut self, records_max: usize, mut take: impl FnMut(&[u8])) -> usize {
        let mut taken = 0;
        while taken < records_max {
            let Some(record) = self.events.next() else { break };
            take(&record);
            taken += 1;
        }
        taken
    }

    /// Returns what became of a probe's observations.
    pub(crate) fn counts(&self, probe: Probe) -> Result<Counts, MapError> {
        let sum = |counter| {
            let values = self.counters.get(&counter_slot(probe, counter), 0)?;
            Ok::<_, MapError>(values.iter().sum::<u64>())
        };
        Ok(Counts {
            written: sum(Counter::Written)?,
            refused: sum(Counter::Refused)?,
            sampled: sum(Counter::Sampled)?,
            limited: sum(Counter::Limited)?,
        })
    }

    /// Takes out the questions that were asked before `before` and not answered.
    pub(crate) fn unanswered(&mut self, before: KernelNanos) -> Vec<Value> {
        let is_old = |key: Result<Key, MapError>| {
            let key = key.ok()?;
            // It may have been answered, and its place given away, since its key was read.
            let value = self.questions.get(&key, 0).ok()?;
            let asked = KernelNanos(DnsQuery::read(&value).header.time_ns);
            (asked < before).then_some((key, value))
        };
        let old: Vec<_> = self.questions.keys().filter_map(is_old).take(UNANSWERED_MAX).collect();
        let remove = |(key, value): (Key, Value)| self.questions.remove(&key).ok().map(|()| value);
        old.into_iter().filter_map(remove).collect()
    }
}

impl std::fmt::Debug for Ring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ring").finish_non_exhaustive()
    }
}
