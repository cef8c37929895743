//! From journal entries to events.

use tapio_collect::{DropReason, Unbound, event_id};
use tapio_model::{Class, Kind, Place, Severity, Source, Timestamp, keys};

use crate::{
    harvest::Harvest,
    kmsg::{Assembler, Record},
    place_of_cgroup, translate_line,
};

/// systemd's id of "Failed with result …".
///
/// # Source
/// `SD_MESSAGE_UNIT_FAILURE_RESULT` in systemd's `src/systemd/sd-messages.h`.
const UNIT_FAILURE_RESULT: &[u8] = b"d9b373ed55a64feb8242e02dbe79a49c";

/// An entry of the journal.
#[derive(Debug, Clone)]
pub(super) struct Entry<'a> {
    pub(super) boot_id: [u8; 16],
    pub(super) seqnum: u64,
    pub(super) realtime_usec: u64,
    pub(super) monotonic_usec: u64,
    pub(super) fields: Vec<(&'a str, &'a [u8])>,
}

impl<'a> Entry<'a> {
    fn get(&self, name: &str) -> Option<&'a [u8]> {
        self.fields.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
    }

    fn text(&self, name: &str) -> Option<&'a str> {
        self.get(name).and_then(|value| std::str::from_utf8(value).ok())
    }

    /// Returns when the service wrote it, which is before the journal received it.
    fn time(&self) -> Timestamp {
        let sent =
            self.text("_SOURCE_REALTIME_TIMESTAMP").and_then(|usec| usec.parse::<u64>().ok());
        let usec = sent.unwrap_or(self.realtime_usec).min(self.realtime_usec);
        Timestamp::from_nanos(i64::try_from(usec.saturating_mul(1_000)).unwrap_or(i64::MAX))
    }

    /// Returns where the entry's writer runs.
    fn place(&self) -> Place {
        let unit = self.text("_SYSTEMD_UNIT");
        let mut place = match (self.text("_SYSTEMD_CGROUP"), unit) {
            (Some(cgroup), _) => place_of_cgroup(cgroup),
            (None, Some(unit)) => place_of_unit(unit),
            (None, None) => Place::default(),
        };
        // What Docker's journald driver adds.
        if let Some(id) = self.text("CONTAINER_ID_FULL") {
            place.container_id = Some(id.into());
            place.workload = None;
            place.container = self.text("CONTAINER_NAME").map(Into::into);
        }
        if place.workload.is_none() && place.container_id.is_none() {
            place.service = self.text("SYSLOG_IDENTIFIER").map(Into::into);
        }
        place
    }
}

/// Places a unit by its name: a container's scope names the container. The name is no path, and
/// so no cgroup.
fn place_of_unit(unit: &str) -> Place {
    Place { cgroup: None, ..place_of_cgroup(&format!("/{unit}")) }
}

/// Translates entries; the kernel's through the kernel log's assembler, unless they are left out.
#[derive(Debug)]
pub(super) struct Translator {
    kernel: Option<([u8; 16], Assembler)>,
    skip_kernel: bool,
}

impl Translator {
    pub(super) fn new(skip_kernel: bool) -> Self {
        Self { kernel: None, skip_kernel }
    }

    /// Takes an entry.
    pub(super) fn observe(&mut self, entry: &Entry<'_>, harvest: &mut Harvest) {
        let is_kernel = entry.get("_TRANSPORT") == Some(b"kernel");
        if is_kernel && !self.skip_kernel {
            self.kernel(entry, harvest);
            return;
        }
        harvest.read += 1;
        match translate(entry).filter(|_| !is_kernel) {
            Some(event) => harvest.emit(event, 1),
            None => harvest.drop_records(DropReason::Ignored, 1),
        }
    }

    /// Tells what is held of the kernel's messages.
    pub(super) fn flush(&mut self, harvest: &mut Harvest) {
        if let Some((_, assembler)) = &mut self.kernel {
            assembler.flush(harvest);
        }
    }

    fn kernel(&mut self, entry: &Entry<'_>, harvest: &mut Harvest) {
        if self.kernel.as_ref().is_some_and(|(boot_id, _)| *boot_id != entry.boot_id) {
            self.flush(harvest);
            self.kernel = None;
        }
        let (_, assembler) = self.kernel.get_or_insert_with(|| {
            let scope = [&b"journal"[..], &entry.boot_id].concat();
            (entry.boot_id, Assembler::new(&scope))
        });
        let facility = entry.text("SYSLOG_FACILITY").and_then(|facility| facility.parse().ok());
        let record = Record {
            priority: priority(entry).unwrap_or(6),
            facility: facility.unwrap_or_default(),
            seq: entry.seqnum,
            usec: entry.monotonic_usec,
            message: String::from_utf8_lossy(entry.get("MESSAGE").unwrap_or_default()).into_owned(),
        };
        assembler.observe(&record, entry.time(), harvest);
    }
}

/// Translates an entry; `None` if it is of no interest.
fn translate(entry: &Entry<'_>) -> Option<Unbound> {
    // The journal's cursor without the file's part: a copied or rotated file repeats ids.
    let id = event_id(&[
        b"journal",
        &entry.boot_id,
        &entry.seqnum.to_le_bytes(),
        &entry.monotonic_usec.to_le_bytes(),
        &entry.realtime_usec.to_le_bytes(),
    ]);
    let message = entry.get("MESSAGE")?;
    if let Some((unit, result)) = unit_failure(entry) {
        let class = if result == "oom-kill" { Class::Memory } else { Class::Lifecycle };
        let event = Unbound::new(id, entry.time(), Source::Journal, Kind::UnitFailed)
            .at(place_of_unit(unit))
            .rated(Severity::Error, 0.75, class)
            .with(keys::UNIT, unit)
            .with(keys::UNIT_RESULT, result)
            .message(String::from_utf8_lossy(message).as_ref());
        return Some(event);
    }
    let mut line = translate_line(message);
    let by_priority = priority(entry).map(severity);
    // A captured stream has one priority for all its lines: there the text knows better.
    let is_stream = entry.get("_TRANSPORT") == Some(b"stdout");
    line.severity =
        if is_stream { line.severity.or(by_priority) } else { by_priority.or(line.severity) };
    if line.severity.is_some_and(|severity| severity < Severity::Info) {
        return None;
    }
    // What the text alone would have told as trouble is calm if the journal says so.
    let kind = if line.severity < Some(Severity::Warn) { Kind::Log } else { line.kind };
    line.kind = kind;
    line.time = Some(entry.time());
    let pid = entry.text("_PID").and_then(|pid| pid.parse::<i64>().ok());
    let event = line
        .into_event_at(id, entry.time(), Source::Journal, entry.place())
        .with_some(keys::UNIT, entry.text("_SYSTEMD_UNIT"))
        .with_some(keys::PROCESS_PID, pid)
        .with_some(keys::PROCESS_NAME, entry.text("_COMM"));
    Some(event)
}

/// Reads the unit and the result of `x.service: Failed with result 'oom-kill'.`; only systemd
/// itself is believed, as anybody may write any message.
fn unit_failure<'a>(entry: &Entry<'a>) -> Option<(&'a str, &'a str)> {
    let is_systemd = entry.get("_PID") == Some(b"1") || entry.get("_COMM") == Some(b"systemd");
    if !is_systemd {
        return None;
    }
    let said = entry.text("MESSAGE").and_then(|message| {
        let (unit, rest) = message.split_once(": Failed with result '")?;
        Some((unit, rest.split_once('\'')?.0))
    });
    let is_failure = entry.get("MESSAGE_ID") == Some(UNIT_FAILURE_RESULT) || said.is_some();
    let unit =
        entry.text("UNIT").or_else(|| entry.text("USER_UNIT")).or(said.map(|(unit, _)| unit));
    let result = entry.text("UNIT_RESULT").or(said.map(|(_, result)| result));
    unit.zip(result).filter(|_| is_failure)
}

fn priority(entry: &Entry<'_>) -> Option<u8> {
    entry.text("PRIORITY")?.parse().ok()
}

const fn severity(priority: u8) -> Severity {
    match priority {
        0..=2 => Severity::Fatal,
        3 => Severity::Error,
        4 => Severity::Warn,
        5 | 6 => Severity::Info,
        _ => Severity::Debug,
    }
}

#[cfg(test)]
mod tests {
    use tapio_model::Attributes;

    use super::*;

    const BOOT: [u8; 16] = [7; 16];

    fn entry<'a>(fields: &[(&'a str, &'a str)]) -> Entry<'a> {
        Entry {
            boot_id: BOOT,
            seqnum: 4,
            realtime_usec: 2_000_000,
            monotonic_usec: 10,
            fields: fields.iter().map(|(name, value)| (*name, value.as_bytes())).collect(),
        }
    }

    fn told(fields: &[(&str, &str)]) -> Option<(Kind, Severity, String)> {
        let event = translate(&entry(fields))?;
        Some((event.kind, event.severity, event.place.label()))
    }

    #[test]
    fn a_failed_unit_is_told_with_its_result() {
        let message = ("MESSAGE", "cart.service: Failed with result 'oom-kill'.");
        let said = (Kind::UnitFailed, Severity::Error, "cart.service".to_owned());
        assert_eq!(told(&[message, ("_PID", "1")]), Some(said.clone()));
        let fields = [
            message,
            ("_PID", "1"),
            ("PRIORITY", "4"),
            ("UNIT", "cart.service"),
            ("UNIT_RESULT", "oom-kill"),
            ("MESSAGE_ID", "d9b373ed55a64feb8242e02dbe79a49c"),
        ];
        assert_eq!(told(&fields), Some(said));
        let event = translate(&entry(&fields)).unwrap();
        assert_eq!(event.class, Class::Memory);
        let said = Attributes::new(event.attributes);
        assert_eq!(said.text(keys::UNIT_RESULT), Some("oom-kill"));
    }

    #[test]
    fn nobody_else_fails_a_unit() {
        let message = ("MESSAGE", "cart.service: Failed with result 'oom-kill'.");
        let said = told(&[message, ("_PID", "99"), ("PRIORITY", "3")]);
        assert_eq!(said.map(|(kind, ..)| kind), Some(Kind::Log));
    }

    #[test]
    fn a_containers_scope_is_its_container() {
        let id = "0123456789abcdef".repeat(4);
        let message = format!("docker-{id}.scope: Failed with result 'oom-kill'.");
        let event = translate(&entry(&[("MESSAGE", &message), ("_PID", "1")])).unwrap();
        assert_eq!(event.place.container_id.as_deref(), Some(id.as_str()));
    }

    #[test]
    fn the_priority_decides_but_for_captured_streams() {
        let severity = |message, priority, transport| {
            let fields = [("MESSAGE", message), ("PRIORITY", priority), ("_TRANSPORT", transport)];
            told(&fields).map(|(_, severity, _)| severity)
        };
        assert_eq!(severity("ERROR x", "6", "journal"), Some(Severity::Info));
        assert_eq!(severity("ERROR x", "6", "stdout"), Some(Severity::Error));
        assert_eq!(severity("x", "3", "syslog"), Some(Severity::Error));
        assert_eq!(severity("x", "7", "journal"), None);
    }

    #[test]
    fn phrases_are_told_when_the_priority_is_not_calm() {
        let message = "dial tcp 10.0.0.1:5432: connect: connection refused";
        let kind =
            |priority| told(&[("MESSAGE", message), ("PRIORITY", priority)]).map(|told| told.0);
        assert_eq!(kind("3"), Some(Kind::ConnectRefused));
        assert_eq!(kind("6"), Some(Kind::Log));
    }

    #[test]
    fn a_service_is_placed_by_its_cgroup() {
        let fields = [
            ("MESSAGE", "x"),
            ("_SYSTEMD_CGROUP", "/system.slice/cart.service"),
            ("_SYSTEMD_UNIT", "cart.service"),
        ];
        assert_eq!(told(&fields).map(|told| told.2).as_deref(), Some("cart.service"));
        let fields = [("MESSAGE", "x"), ("SYSLOG_IDENTIFIER", "cron")];
        assert_eq!(told(&fields).map(|told| told.2).as_deref(), Some("cron"));
    }

    #[test]
    fn the_kernel_is_left_to_others_or_joined_as_theirs() {
        let kill = "Out of memory: Killed process 7 (db) total-vm:9kB, anon-rss:8kB";
        let fields = [("MESSAGE", kill), ("_TRANSPORT", "kernel"), ("PRIORITY", "3")];
        for (skip_kernel, kinds) in [(true, vec![]), (false, vec![Kind::OomKill])] {
            let mut harvest = Harvest::default();
            Translator::new(skip_kernel).observe(&entry(&fields), &mut harvest);
            let got: Vec<_> = harvest.events.iter().map(|event| event.kind).collect();
            assert_eq!(got, kinds);
            assert!(harvest.is_balanced());
        }
    }

    #[test]
    fn a_time_after_its_receipt_is_not_believed() {
        let time =
            |usec| translate(&entry(&[("MESSAGE", "x"), ("_SOURCE_REALTIME_TIMESTAMP", usec)]));
        let time = |usec| time(usec).map(|event| event.time);
        assert_eq!(time("1500000"), Some(Timestamp::from_millis(1_500)));
        assert_eq!(time("9500000"), Some(Timestamp::from_secs(2)));
        assert_eq!(time("soon"), Some(Timestamp::from_secs(2)));
    }
}
