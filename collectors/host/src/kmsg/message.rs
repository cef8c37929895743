//! Messages of the kernel that stand for themselves.

use tapio_collect::Unbound;
use tapio_model::{Class, EventId, Kind, Severity, Source, Timestamp, keys};

use super::record::Record;
use crate::{
    catalogue::{self, Writer},
    place_of_cgroup,
};

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
    let known = catalogue::look_up(Writer::Kernel, &record.message).filter(|_| is_kernel);
    if let Some(known) = known {
        let event = known.fill(event(known.kind), &record.message);
        return Some(place(event.rated(known.severity, known.impact, known.class)));
    }
    if record.priority > PRIORITY_MAX {
        return None;
    }
    let severity = if record.priority < PRIORITY_MAX { Severity::Fatal } else { Severity::Error };
    let impact = if severity == Severity::Fatal { 0.6 } else { 0.3 };
    Some(event(Kind::Log).rated(severity, impact, Class::Other))
}

/// Places an event whose message names a control group.
fn place(event: Unbound) -> Unbound {
    if event.kind != Kind::LimitReached {
        return event;
    }
    let place = event.text(keys::PATH).map(place_of_cgroup);
    event.at(place.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn translate(line: &str) -> Option<Unbound> {
        let record = Record::parse(line.as_bytes())?;
        translate_message(&record, true, EventId::default(), Timestamp::ZERO)
    }

    #[test]
    fn only_the_kernel_is_believed() {
        let record = Record::parse(b"6,1,2,-;EXT4-fs error (device sda1): x").unwrap();
        let told = |is_kernel| {
            translate_message(&record, is_kernel, EventId::default(), Timestamp::ZERO)
                .map(|event| (event.kind, event.severity, event.class))
        };
        let want = (Kind::FilesystemError, Severity::Error, Class::Storage);
        assert_eq!((told(true), told(false)), (Some(want), None));
    }

    #[test]
    fn a_refused_fork_is_placed_where_it_was_refused() {
        let line = "4,1,2,-;cgroup: fork rejected by pids controller in /system.slice/web.service";
        let event = translate(line).unwrap();
        assert_eq!((event.kind, event.place.label()), (Kind::LimitReached, "web.service".into()));
    }

    #[test]
    fn of_the_rest_only_errors_are_told() {
        let severity = |line: &str| translate(line).map(|event| event.severity);
        assert_eq!(severity("3,1,2,-;something broke"), Some(Severity::Error));
        assert_eq!(severity("2,1,2,-;something burns"), Some(Severity::Fatal));
        assert_eq!(severity("4,1,2,-;something is odd"), None);
    }
}
