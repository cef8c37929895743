//! Messages of the kernel that stand for themselves.

use tapio_collect::Unbound;
use tapio_model::{Class, EventId, Kind, Severity, Source, Timestamp, keys};

use super::record::Record;
use crate::place_of_cgroup;

/// Above this priority (`err`) a message nobody knows is of no interest.
const PRIORITY_MAX: u8 = 3;

/// Translates a message; `None` if it is of no interest.
pub(super) fn translate_message(
    record: &Record,
    is_kernel: bool,
    id: EventId,
    time: Timestamp,
) -> Option<Unbound> {
    let event =
        |kind| Unbound::new(id, time, Source::Kernel, kind).message(record.message.as_str());
    if let Some(known) = Known::read(&record.message).filter(|_| is_kernel) {
        return Some(known.fill(event(known.kind), &record.message));
    }
    if record.priority > PRIORITY_MAX {
        return None;
    }
    let severity = if record.priority < PRIORITY_MAX { Severity::Fatal } else { Severity::Error };
    let impact = if severity == Severity::Fatal { 0.6 } else { 0.3 };
    Some(event(Kind::Log).rated(severity, impact, Class::Other))
}

/// A message we know: what its text holds, and what it means.
struct Known {
    /// All of these are in the text.
    texts: &'static [&'static str],
    kind: Kind,
    impact: f32,
    class: Class,
}

const KNOWN: [Known; 20] = {
    use Kind::{ConntrackFull, FilesystemError, FilesystemReadOnly, IoError, Log, TaskHung};
    const fn known(texts: &'static [&'static str], kind: Kind, impact: f32, class: Class) -> Known {
        Known { texts, kind, impact, class }
    }
    [
        known(&["Remounting filesystem read-only"], FilesystemReadOnly, 0.85, Class::Storage),
        known(&["BTRFS", "forced readonly"], FilesystemReadOnly, 0.85, Class::Storage),
        known(&["EXT4-fs error"], FilesystemError, 0.75, Class::Storage),
        known(&["EXT4-fs", "critical error"], FilesystemError, 0.75, Class::Storage),
        known(&["XFS (", "Internal error"], FilesystemError, 0.75, Class::Storage),
        known(&["XFS (", "orruption"], FilesystemError, 0.75, Class::Storage),
        known(&["XFS (", "shut"], FilesystemError, 0.85, Class::Storage),
        known(&["BTRFS error"], FilesystemError, 0.75, Class::Storage),
        known(&["BTRFS critical"], FilesystemError, 0.75, Class::Storage),
        known(&["Buffer I/O error on dev"], IoError, 0.75, Class::Storage),
        known(&["I/O error, dev "], IoError, 0.75, Class::Storage),
        known(&["nf_conntrack", "table full, dropping packet"], ConntrackFull, 0.8, Class::Network),
        known(&["blocked for more than", "seconds"], TaskHung, 0.7, Class::Other),
        known(&["soft lockup"], TaskHung, 0.8, Class::Cpu),
        known(&["hard LOCKUP"], TaskHung, 0.9, Class::Cpu),
        known(&["rcu", "self-detected stall"], TaskHung, 0.8, Class::Cpu),
        known(&["rcu", "detected stalls on CPUs"], TaskHung, 0.8, Class::Cpu),
        known(&["rcu", "detected expedited stalls"], TaskHung, 0.8, Class::Cpu),
        known(&["fork rejected by pids controller in "], Log, 0.6, Class::Lifecycle),
        known(&["neighbour", "table overflow"], Log, 0.6, Class::Network),
    ]
};

impl Known {
    fn read(message: &str) -> Option<&'static Self> {
        KNOWN.iter().find(|known| known.texts.iter().all(|text| message.contains(text)))
    }

    fn fill(&self, event: Unbound, message: &str) -> Unbound {
        let event = event.rated(Severity::Error, self.impact, self.class);
        if let Some((_, path)) = message.split_once("fork rejected by pids controller in ") {
            return event
                .at(place_of_cgroup(path.trim_end()))
                .with(keys::RESOURCE, "pids")
                .with(keys::ERROR_TYPE, "EAGAIN");
        }
        if self.kind == Kind::TaskHung {
            let task = hung_task(message);
            return event
                .with_some(keys::PROCESS_NAME, task.map(|(name, _)| name))
                .with_some(keys::PROCESS_PID, task.map(|(_, pid)| pid));
        }
        event.with_some(keys::DEVICE, device(message))
    }
}

/// Reads the device out of `dev sda,`, `on device dm-0`, `(device sda1): ` and `XFS (sda1): `.
fn device(message: &str) -> Option<&str> {
    let rest = [" dev ", " on device ", "(device ", " ("]
        .into_iter()
        .find_map(|marker| message.split_once(marker).map(|(_, rest)| rest))?;
    rest.split([',', ')', ' ', ':']).next().filter(|device| !device.is_empty())
}

/// Reads the task out of `task name:pid blocked` and `[name:pid]`.
fn hung_task(message: &str) -> Option<(&str, i64)> {
    let task = message
        .split_once("task ")
        .and_then(|(_, rest)| rest.split_once(" blocked"))
        .map(|(task, _)| task)
        .or_else(|| message.rsplit_once('[').map(|(_, rest)| rest.trim_end_matches(']')))?;
    let (name, pid) = task.rsplit_once(':')?;
    Some((name, pid.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use tapio_model::Attributes;

    use super::*;

    fn translate(line: &str) -> Option<Unbound> {
        let record = Record::parse(line.as_bytes())?;
        translate_message(&record, true, EventId::default(), Timestamp::ZERO)
    }

    #[test]
    fn knows_what_breaks_below_an_application() {
        let messages = [
            (
                "EXT4-fs error (device sda1): ext4_find_entry:1455: inode #2: comm ls: reading directory lblock 0",
                Kind::FilesystemError,
                Some("sda1"),
            ),
            (
                "EXT4-fs (sda1): Remounting filesystem read-only",
                Kind::FilesystemReadOnly,
                Some("sda1"),
            ),
            (
                "XFS (dm-0): Internal error XFS_WANT_CORRUPTED_GOTO at line 1635",
                Kind::FilesystemError,
                Some("dm-0"),
            ),
            (
                "BTRFS error (device vdb state EA): bdev /dev/vdb errs: wr 1",
                Kind::FilesystemError,
                Some("vdb"),
            ),
            (
                "Buffer I/O error on dev dm-1, logical block 12, lost async page write",
                Kind::IoError,
                Some("dm-1"),
            ),
            (
                "blk_update_request: I/O error, dev sda, sector 42 op 0x0:(READ)",
                Kind::IoError,
                Some("sda"),
            ),
            ("I/O error, dev nvme0n1, sector 7 op 0x1:(WRITE)", Kind::IoError, Some("nvme0n1")),
            ("nf_conntrack: nf_conntrack: table full, dropping packet", Kind::ConntrackFull, None),
            ("INFO: task kworker/0:1:123 blocked for more than 120 seconds.", Kind::TaskHung, None),
            (
                "watchdog: BUG: soft lockup - CPU#1 stuck for 22s! [stress:1234]",
                Kind::TaskHung,
                None,
            ),
            ("rcu: INFO: rcu_sched self-detected stall on CPU", Kind::TaskHung, None),
        ];
        for (message, kind, device) in messages {
            let event = translate(&format!("6,1,2,-;{message}")).expect(message);
            let said = Attributes::new(event.attributes);
            assert_eq!((event.kind, event.severity), (kind, Severity::Error), "{message}");
            assert_eq!(said.text(keys::MESSAGE), Some(message));
            if kind != Kind::ConntrackFull {
                assert_eq!(said.text(keys::DEVICE), device, "{message}");
            }
        }
    }

    #[test]
    fn names_the_task_that_hangs() {
        for (message, name, pid) in [
            ("INFO: task kworker/0:1:123 blocked for more than 120 seconds.", "kworker/0:1", 123),
            ("watchdog: BUG: soft lockup - CPU#1 stuck for 22s! [stress:1234]", "stress", 1_234),
        ] {
            let said =
                Attributes::new(translate(&format!("0,1,2,-;{message}")).unwrap().attributes);
            assert_eq!(said.text(keys::PROCESS_NAME), Some(name));
            assert_eq!(said.int(keys::PROCESS_PID), Some(pid));
        }
    }

    #[test]
    fn a_refused_fork_is_placed_where_it_was_refused() {
        let line = "4,1,2,-;cgroup: fork rejected by pids controller in /system.slice/web.service";
        let event = translate(line).unwrap();
        assert_eq!((event.kind, event.place.label()), (Kind::Log, "web.service".into()));
    }

    #[test]
    fn of_the_rest_only_errors_are_told() {
        let severity = |line: &str| translate(line).map(|event| event.severity);
        assert_eq!(severity("3,1,2,-;something broke"), Some(Severity::Error));
        assert_eq!(severity("2,1,2,-;something burns"), Some(Severity::Fatal));
        assert_eq!(severity("4,1,2,-;something is odd"), None);
    }
}
