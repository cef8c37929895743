//! From journal entries to events.

use tapio_collect::{DropReason, Unbound, event_id};
use tapio_model::{EventId, Place, Severity, Source, Timestamp, keys};

use super::units::{LoopLimits, Told, Units};
use crate::{
    harvest::Harvest,
    kmsg::{Assembler, Record},
    place_of_cgroup,
    templates::Templates,
    translate_line,
};

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
    pub(super) fn get(&self, name: &str) -> Option<&'a [u8]> {
        self.fields.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
    }

    pub(super) fn text(&self, name: &str) -> Option<&'a str> {
        self.get(name).and_then(|value| std::str::from_utf8(value).ok())
    }

    /// Returns when the service wrote it, which is before the journal received it.
    pub(super) fn time(&self) -> Timestamp {
        let sent =
            self.text("_SOURCE_REALTIME_TIMESTAMP").and_then(|usec| usec.parse::<u64>().ok());
        let usec = sent.unwrap_or(self.realtime_usec).min(self.realtime_usec);
        Timestamp::from_nanos(i64::try_from(usec.saturating_mul(1_000)).unwrap_or(i64::MAX))
    }

    /// Derives the id: the journal's cursor without the file's part, so that a copied or rotated
    /// file repeats ids.
    fn id(&self) -> EventId {
        event_id(&[
            b"journal",
            &self.boot_id,
            &self.seqnum.to_le_bytes(),
            &self.monotonic_usec.to_le_bytes(),
            &self.realtime_usec.to_le_bytes(),
        ])
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
pub(super) fn place_of_unit(unit: &str) -> Place {
    Place { cgroup: None, ..place_of_cgroup(&format!("/{unit}")) }
}

/// Translates entries; the kernel's through the kernel log's assembler, unless they are left out.
#[derive(Debug)]
pub(super) struct Translator {
    kernel: Option<([u8; 16], Assembler)>,
    skip_kernel: bool,
    units: Units,
    templates: Templates,
}

impl Translator {
    pub(super) fn new(skip_kernel: bool, limits: LoopLimits) -> Self {
        let (units, templates) = (Units::new(limits), Templates::new());
        Self { kernel: None, skip_kernel, units, templates }
    }

    /// Takes an entry.
    pub(super) fn observe(&mut self, entry: &Entry<'_>, harvest: &mut Harvest) {
        let is_kernel = entry.get("_TRANSPORT") == Some(b"kernel");
        if is_kernel && !self.skip_kernel {
            self.kernel(entry, harvest);
            return;
        }
        harvest.read += 1;
        let id = entry.id();
        let told = if is_kernel { Told::Nothing } else { self.units.observe(entry, id) };
        let event = match told {
            Told::NoUnit => translate(entry, id),
            Told::Event(event) => Some(*event),
            Told::Nothing => None,
        };
        match event {
            Some(mut event) => {
                self.templates.note(std::slice::from_mut(&mut event));
                harvest.emit(event, 1);
            }
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
fn translate(entry: &Entry<'_>, id: EventId) -> Option<Unbound> {
    let message = entry.get("MESSAGE")?;
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
    if line.severity < Some(Severity::Warn) {
        line.calm_down();
    }
    line.time = Some(entry.time());
    let pid = entry.text("_PID").and_then(|pid| pid.parse::<i64>().ok());
    let event = line
        .into_event_at(id, entry.time(), Source::Journal, entry.place())
        .with_some(keys::UNIT, entry.text("_SYSTEMD_UNIT"))
        .with_some(keys::PROCESS_PID, pid)
        .with_some(keys::PROCESS_NAME, entry.text("_COMM"));
    Some(event)
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
    use std::time::Duration;

    use tapio_model::{Attributes, Class, Kind};

    use super::*;

    const LIMITS: LoopLimits = LoopLimits { restarts_min: 3, within: Duration::from_secs(60) };

    fn translate(entry: &Entry<'_>) -> Option<Unbound> {
        let mut harvest = Harvest::default();
        Translator::new(true, LIMITS).observe(entry, &mut harvest);
        harvest.events.pop()
    }

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
    fn the_kubelets_words_are_told_of_the_pod_or_the_node_they_are_about() {
        let told = |message, priority, transport| {
            let fields = [
                ("MESSAGE", message),
                ("PRIORITY", priority),
                ("_TRANSPORT", transport),
                ("_SYSTEMD_UNIT", "kubelet.service"),
            ];
            told(&fields)
        };
        let evicted = r#"I0102 15:04:05.000000       1 eviction_manager.go:627] "Eviction manager: pod is evicted successfully" pod="shop/cart-7d9f""#;
        let want = (Kind::PodEvicted, Severity::Error, "shop/cart-7d9f".to_owned());
        assert_eq!(told(evicted, "6", "stdout"), Some(want));
        let pleg = r#"E0102 15:04:05.000000       1 kubelet.go:2385] "Skipping pod synchronization" err="PLEG is not healthy: pleg was last seen active 3m5s ago; threshold is 3m0s""#;
        let want = (Kind::NodeCondition, Severity::Error, "kubelet.service".to_owned());
        assert_eq!(told(pleg, "6", "stdout"), Some(want));
        let clock = "System clock time unset or jumped backwards, restored from recorded timestamp";
        let said = told(clock, "6", "journal").map(|told| told.1);
        assert_eq!(said, Some(Severity::Warn));
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
            Translator::new(skip_kernel, LIMITS).observe(&entry(&fields), &mut harvest);
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
