//! A log that is at hand as a whole, as `kubectl logs` prints it.

use tapio_collect::Unbound;
use tapio_model::{Place, Timestamp};

use super::assembly::Assembly;
use crate::{harvest::Harvest, templates::Templates};

/// Bytes of a line that are read, as of a file that is followed; what is longer is left out.
const LINE_BYTES_MAX: usize = 65_536;

/// Understands a whole log: lines, stack traces and templates as of a file that is followed.
///
/// A line without a time of its own bears `read_at`. `identity` tells this log from any other: ids
/// are derived from it, the place of the line in the log, and its text.
#[must_use]
pub fn translate_log(
    log: &[u8],
    identity: &[u8],
    place: &Place,
    read_at: Timestamp,
) -> Vec<Unbound> {
    let mut assembly = Assembly::new(identity.to_vec(), place.clone(), LINE_BYTES_MAX, 0);
    let mut harvest = Harvest::default();
    assembly.feed(log, read_at, &mut harvest);
    assembly.finish(read_at, &mut harvest);
    let mut events = harvest.events;
    Templates::new().note(&mut events);
    events
}

#[cfg(test)]
mod tests {
    use tapio_model::{Attributes, Kind, Source, keys};

    use super::*;

    #[test]
    fn a_log_is_read_as_a_file_is() {
        let log = "2026-01-02T03:04:05Z INFO ready\nTraceback (most recent call last):\n  \
                   File \"a.py\", line 3, in pay\nKeyError: 'sku'\nuser 7 left";
        let place = Place { container: Some("cart".into()), ..Place::default() };
        let events = translate_log(log.as_bytes(), b"cart", &place, Timestamp::MAX);
        let kinds: Vec<_> = events.iter().map(|event| event.kind).collect();
        assert_eq!(kinds, [Kind::Log, Kind::Exception, Kind::Log]);
        let times: Vec<_> = events.iter().map(|event| event.time).collect();
        assert_eq!(times, [Timestamp::from_secs(1_767_323_045), Timestamp::MAX, Timestamp::MAX]);
        for event in &events {
            assert_eq!((event.source, &event.place), (Source::App, &place));
        }
        let said = Attributes::new(events.last().unwrap().attributes.clone());
        assert_eq!(said.text(keys::TEMPLATE), Some("user <*> left"));
        assert_ne!(translate_log(log.as_bytes(), b"other", &place, Timestamp::MAX), events);
    }
}
