//! Records in a segment: written whole, found again whatever happened to their neighbours.
//!
//! # Layout
//! Offset 0, 4 bytes: magic. Offset 4, u32: bytes of the payload. Offset 8, u16: its events. Offset
//! 10, u16: its shard. Offset 12, u32: check of the twelve bytes before. Offset 16, u64: check of the payload. Offset
//! 24: the payload, an encoded batch. Little-endian; the checks are XXH3 seeded with the segment's
//! salt, so that no text inside a payload can pass for a record.

use tapio_model::ShardId;
use xxhash_rust::xxh3::xxh3_64_with_seed;

const MAGIC: [u8; 4] = *b"TSP1";

/// Bytes before a payload.
pub(super) const HEADER_BYTES: usize = 24;

/// What a header says of its payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Label {
    /// Its events.
    pub(super) events: u16,
    /// Their shard.
    pub(super) shard: ShardId,
}

/// Makes a record of a payload.
pub(super) fn seal(payload: &[u8], label: Label, salt: u64) -> Vec<u8> {
    let mut record = Vec::with_capacity(HEADER_BYTES + payload.len());
    record.extend_from_slice(&MAGIC);
    record.extend_from_slice(&u32::try_from(payload.len()).unwrap_or(u32::MAX).to_le_bytes());
    record.extend_from_slice(&label.events.to_le_bytes());
    record.extend_from_slice(&label.shard.number().to_le_bytes());
    let check = check_of_header(&record, salt);
    record.extend_from_slice(&check.to_le_bytes());
    record.extend_from_slice(&xxh3_64_with_seed(payload, salt).to_le_bytes());
    record.extend_from_slice(payload);
    record
}

/// What stands at a place of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found<'a> {
    /// A whole record.
    Record {
        /// The payload.
        payload: &'a [u8],
        /// What its header says.
        label: Label,
    },
    /// A record that cannot be read; what its header says, if that can.
    Damaged(Option<Label>),
    /// The beginning of a record whose end is not there.
    Torn(Option<Label>),
}

/// Walks through the records of a segment.
#[derive(Debug)]
pub(super) struct Scan<'a> {
    bytes: &'a [u8],
    salt: u64,
    at: usize,
}

impl<'a> Scan<'a> {
    pub(super) fn new(bytes: &'a [u8], salt: u64) -> Self {
        Self { bytes, salt, at: 0 }
    }

    /// Returns how far it has come.
    pub(super) const fn at(&self) -> usize {
        self.at
    }
}

impl<'a> Iterator for Scan<'a> {
    type Item = Found<'a>;

    fn next(&mut self) -> Option<Found<'a>> {
        let rest = self.bytes.get(self.at..).filter(|rest| !rest.is_empty())?;
        let Some(header) = Header::read(rest, self.salt) else {
            let is_torn = rest.len() < HEADER_BYTES && begins_alike(rest);
            let next = (1..rest.len()).find(|from| {
                rest.get(*from..).is_some_and(|at| Header::read(at, self.salt).is_some())
            });
            self.at += next.unwrap_or(rest.len());
            return Some(if is_torn { Found::Torn(None) } else { Found::Damaged(None) });
        };
        let Some(payload) = rest.get(HEADER_BYTES..).and_then(|rest| rest.get(..header.bytes))
        else {
            self.at = self.bytes.len();
            return Some(Found::Torn(Some(header.label)));
        };
        self.at += HEADER_BYTES + header.bytes;
        if xxh3_64_with_seed(payload, self.salt) == header.check {
            Some(Found::Record { payload, label: header.label })
        } else {
            Some(Found::Damaged(Some(header.label)))
        }
    }
}

struct Header {
    bytes: usize,
    label: Label,
    check: u64,
}

impl Header {
    fn read(bytes: &[u8], salt: u64) -> Option<Self> {
        let (magic, rest) = bytes.split_first_chunk::<4>()?;
        if *magic != MAGIC {
            return None;
        }
        let (length, rest) = rest.split_first_chunk::<4>()?;
        let (events, rest) = rest.split_first_chunk::<2>()?;
        let (shard, rest) = rest.split_first_chunk::<2>()?;
        let (check, rest) = rest.split_first_chunk::<4>()?;
        if check_of_header(bytes.get(..12)?, salt) != u32::from_le_bytes(*check) {
            return None;
        }
        Some(Self {
            bytes: usize::try_from(u32::from_le_bytes(*length)).ok()?,
            label: Label {
                events: u16::from_le_bytes(*events),
                shard: ShardId::new(u16::from_le_bytes(*shard)),
            },
            check: u64::from_le_bytes(*rest.first_chunk::<8>()?),
        })
    }
}

fn check_of_header(header: &[u8], salt: u64) -> u32 {
    let [a, b, c, d, ..] = xxh3_64_with_seed(header, salt).to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}

fn begins_alike(rest: &[u8]) -> bool {
    rest.iter().zip(MAGIC).all(|(is, should_be)| *is == should_be)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SALT: u64 = 7;

    fn label(events: u16) -> Label {
        Label { events, shard: ShardId::new(events) }
    }

    fn segment() -> Vec<u8> {
        [(b"one".as_slice(), 1), (b"two", 2), (b"three", 3)]
            .iter()
            .flat_map(|(payload, events)| seal(payload, label(*events), SALT))
            .collect()
    }

    #[test]
    fn a_flipped_bit_costs_its_own_record_only() {
        let clean = segment();
        let all: Vec<_> = Scan::new(&clean, SALT).collect();
        assert_eq!(all.len(), 3);
        let ends = [27, 54, clean.len()];
        for bit in 0..clean.len() * 8 {
            let mut bytes = clean.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let hit = ends.iter().position(|end| bit / 8 < *end).expect("in a record");
            let found: Vec<_> = Scan::new(&bytes, SALT).collect();
            for (index, record) in all.iter().enumerate() {
                assert_eq!(found.contains(record), index != hit, "bit {bit}, record {index}");
            }
        }
    }

    #[test]
    fn a_cut_costs_only_what_is_behind_it() {
        let clean = segment();
        for cut in 0..clean.len() {
            let whole = [27, 54].iter().filter(|end| **end <= cut).count();
            let found: Vec<_> = Scan::new(&clean[..cut], SALT).collect();
            let records = found.iter().filter(|one| matches!(one, Found::Record { .. })).count();
            assert_eq!(records, whole, "cut at {cut}");
            let clean_cut = cut == 0 || cut == 27 || cut == 54;
            assert_eq!(matches!(found.last(), Some(Found::Torn(_))), !clean_cut, "cut at {cut}");
        }
    }

    #[test]
    fn a_record_inside_a_payload_is_no_record() {
        let inner = seal(b"forged", label(1), SALT + 1);
        let mut bytes = seal(&inner, label(1), SALT);
        bytes[5] ^= 1;
        assert!(Scan::new(&bytes, SALT).all(|found| !matches!(found, Found::Record { .. })));
    }
}
