//! Event ids from source content.

use tapio_model::EventId;
use xxhash_rust::xxh3::Xxh3;

/// Derives an event's id from what makes it unique at its source: uid and resource version,
/// cursor, file and offset. Reading a source twice gives the same ids.
///
/// # Shape
/// XXH3-128 over the parts, each behind its length, so that moving a byte from one part to the
/// next changes the id.
#[must_use]
pub fn event_id(parts: &[&[u8]]) -> EventId {
    let mut hash = Xxh3::new();
    for part in parts {
        // Sixty-four bits on every machine: ids must not depend on who read the source.
        hash.update(&(part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    EventId::from_bytes(hash.digest128().to_be_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_do_not_run_into_each_other() {
        assert_ne!(event_id(&[b"ab", b"c"]), event_id(&[b"a", b"bc"]));
        assert_eq!(event_id(&[b"ab", b"c"]), event_id(&[b"ab", b"c"]));
    }
}
