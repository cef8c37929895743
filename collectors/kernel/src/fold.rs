//! Failed system calls that are alike become one event with their count.
//!
//! The kernel's half limits what one process may say. A container that starts processes by the
//! thousand, or a limit that is switched off, still writes hundreds of thousands of records a second;
//! whoever reads the story needs one, and how often.

use std::{collections::BTreeMap, time::Duration};

use tapio_ebpf_abi::{COMM_BYTES, Header, SyscallFailed};
use tapio_model::EventId;

use crate::time::KernelNanos;

/// How long a crowd is gathered. Nothing waits that comes alone.
const GATHER: Duration = Duration::from_millis(20);

/// Kinds of failures that are gathered at most.
const FOLDS_MAX: usize = 4_096;

/// What makes two failures alike: everything but when, on which processor and in which thread or
/// process of the group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Likeness {
    cgroup_id: u64,
    memcg_id: u64,
    netns: u32,
    comm: [u8; COMM_BYTES],
    nr: u32,
    errno: u32,
    sampled: u32,
}

/// The first of some failures that are alike, with how many there were.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fold {
    pub(crate) id: EventId,
    pub(crate) header: Header,
    /// Its count is that of all.
    pub(crate) failed: SyscallFailed,
    /// Records that it stands for.
    pub(crate) records: u64,
}

/// Failures that were read and are not told yet.
#[derive(Debug, Default)]
pub(crate) struct Folds {
    alike: BTreeMap<Likeness, Fold>,
    since: KernelNanos,
}

impl Folds {
    /// Takes a failure in; `id` is asked for if it is the first of its kind.
    pub(crate) fn add(
        &mut self,
        header: &Header,
        failed: &SyscallFailed,
        id: impl FnOnce() -> EventId,
    ) {
        let likeness = Likeness {
            cgroup_id: header.cgroup_id,
            memcg_id: header.memcg_id,
            netns: header.netns,
            comm: header.comm,
            nr: failed.nr,
            errno: failed.errno,
            sampled: header.sampled,
        };
        let first = || Fold {
            id: id(),
            header: *header,
            failed: SyscallFailed { count: 0, ..*failed },
            records: 0,
        };
        let fold = self.alike.entry(likeness).or_insert_with(first);
        fold.failed.count = fold.failed.count.saturating_add(failed.count.max(1));
        fold.records += 1;
    }

    /// Returns what is to be told now: everything, unless more of a crowd is about to come.
    pub(crate) fn take(&mut self, is_crowd: bool, now: KernelNanos) -> Vec<Fold> {
        let may_wait = now.since(self.since) < GATHER && self.alike.len() < FOLDS_MAX;
        if is_crowd && may_wait {
            return Vec::new();
        }
        self.since = now;
        std::mem::take(&mut self.alike).into_values().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probes::fixture::header;

    const FAILED: SyscallFailed = SyscallFailed { nr: 1, errno: 28, count: 1, reserved: 0 };

    fn id(number: u64) -> EventId {
        tapio_collect::event_id(&[&number.to_le_bytes()])
    }

    #[test]
    fn processes_of_a_group_that_fail_alike_are_one_event() {
        let mut folds = Folds::default();
        for pid in 1..=3 {
            folds.add(&Header { pid, tid: pid, ..header() }, &FAILED, || id(pid.into()));
        }
        folds.add(&header(), &SyscallFailed { count: 7, ..FAILED }, || id(9));
        let [fold] = folds.take(false, KernelNanos(1))[..] else { panic!("one") };
        assert_eq!((fold.id, fold.header.pid, fold.records), (id(1), 1, 4), "the first speaks");
        assert_eq!(fold.failed.count, 10, "for all");
        assert!(folds.take(false, KernelNanos(1)).is_empty(), "once");
    }

    #[test]
    fn whatever_says_something_else_is_an_event_of_its_own() {
        let mut comm = header().comm;
        comm[0] = b'P';
        let differ = [
            (header(), FAILED),
            (Header { memcg_id: 99, ..header() }, FAILED),
            (Header { cgroup_id: 99, ..header() }, FAILED),
            (Header { netns: 99, ..header() }, FAILED),
            (Header { sampled: 16, ..header() }, FAILED),
            (Header { comm, ..header() }, FAILED),
            (header(), SyscallFailed { nr: 2, ..FAILED }),
            (header(), SyscallFailed { errno: 5, ..FAILED }),
        ];
        let mut folds = Folds::default();
        for (header, failed) in &differ {
            folds.add(header, failed, || id(0));
        }
        assert_eq!(folds.take(false, KernelNanos(1)).len(), differ.len());
    }

    #[test]
    fn a_crowd_waits_a_moment_and_nothing_else_does() {
        let at = |millis: u64| KernelNanos(millis * 1_000_000);
        let mut folds = Folds::default();
        let mut told = |is_crowd, now| {
            folds.add(&header(), &FAILED, || id(0));
            folds.take(is_crowd, now).first().map(|fold| fold.records)
        };
        assert_eq!(told(false, at(100)), Some(1));
        assert_eq!(told(true, at(105)), None);
        assert_eq!(told(true, at(119)), None);
        assert_eq!(told(true, at(120)), Some(3), "it is over");
        assert_eq!(told(true, at(121)), None);
        assert_eq!(told(false, at(122)), Some(2), "the crowd is gone");
    }

    #[test]
    fn what_is_gathered_is_bounded() {
        let mut folds = Folds::default();
        for memcg_id in 1..=FOLDS_MAX as u64 {
            assert!(folds.take(true, KernelNanos(1)).is_empty());
            folds.add(&Header { memcg_id, ..header() }, &FAILED, || id(0));
        }
        assert_eq!(folds.take(true, KernelNanos(1)).len(), FOLDS_MAX);
    }
}
