//! Bytes from outside: they decode, or they are refused; they never panic, and what was decoded is
//! sent again in bytes that decode to the same.
//!
//! Each target runs a second in `cargo test`. For longer, in milliseconds a target:
//! `BOLERO_RANDOM_TEST_TIME_MS=60000 cargo test -p tapio-wire --test fuzz_decode -- --nocapture`.
//! A failure prints its seed; `BOLERO_RANDOM_SEED` repeats it.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "what was decoded once must decode again, and indices are taken modulo the length"
)]

use std::sync::atomic::{AtomicU64, Ordering};

use bolero::check;
use tapio_wire::{
    DecodeError, decode_audit, decode_batch, decode_dead_letter, decode_event, decode_finding,
    decode_findings, decode_graves, decode_incident_state, decode_raw, decode_resolved,
    decode_root, decode_sign_of_life, decode_story, decode_telling, decode_trace_state,
    decode_waiting, encode_audit, encode_batch, encode_dead_letter, encode_event, encode_finding,
    encode_findings, encode_graves, encode_incident_state, encode_raw, encode_resolved,
    encode_root, encode_sign_of_life, encode_story, encode_telling, encode_trace_state,
    encode_waiting, parse_event_line,
};

/// Messages that decode: random bytes alone hardly come past the name of the first field.
const SEEDS: [&[u8]; 23] = [
    include_bytes!("../golden/v1/event.bin"),
    include_bytes!("../golden/v1/event_least.bin"),
    include_bytes!("../golden/v1/batch.bin"),
    include_bytes!("../golden/v1/raw.bin"),
    include_bytes!("../golden/v1/finding.bin"),
    include_bytes!("../golden/v1/story.bin"),
    include_bytes!("../golden/v1/story_merged.bin"),
    include_bytes!("../golden/v1/finding_anchored.bin"),
    include_bytes!("../golden/v1/story_referring.bin"),
    include_bytes!("../golden/v1/trace_state.bin"),
    include_bytes!("../golden/v1/incident_state.bin"),
    include_bytes!("../golden/v1/resolved.bin"),
    include_bytes!("../golden/v1/root.bin"),
    include_bytes!("../golden/v1/root_least.bin"),
    include_bytes!("../golden/v1/findings.bin"),
    include_bytes!("../golden/v1/telling.bin"),
    include_bytes!("../golden/v1/dead_letter.bin"),
    include_bytes!("../golden/v1/audit.bin"),
    include_bytes!("../golden/v1/sign_of_life.bin"),
    include_bytes!("../golden/v1/graves.bin"),
    include_bytes!("../golden/v1/waiting.bin"),
    include_bytes!("../golden/v1/root_waiting.bin"),
    br#"{"id":"6f6f6d206b696c6c20617420726f6f74","time":"2026-11-21T04:00:00.123456789Z",
        "source":"kernel","kind":"oom_kill","trace":{"trace_id":"7472616365206f6620636172742d3764",
        "span_id":"7370616e2d303031","binding":"inferred(workload)"},"place":{"node":"n1",
        "workload":{"kind":"Deployment","name":"cart"}},"severity":"fatal","impact":0.9,
        "class":"memory","attributes":{"a":-9223372036854775808,"b":0.1,"c":true,"d":"x\ud83d\udc80"}}"#,
];

/// Markers of `MessagePack` that announce more than follows, and neighbours of limits.
const TELLING: [u8; 16] = [
    0x00, 0x7f, 0x80, 0x8f, 0x90, 0xa0, 0xc0, 0xc1, 0xc4, 0xc6, 0xcf, 0xd3, 0xdb, 0xdd, 0xdf, 0xff,
];

#[test]
fn random_bytes_are_read_or_refused() {
    let tally = Tally::default();
    check!().for_each(|bytes| {
        tally.count(read(bytes));
        tally.count(read(&[&[1], bytes].concat()));
    });
    println!("random bytes: {tally:?}");
    assert!(tally.refused.into_inner() > 0);
}

#[test]
fn mutated_messages_are_read_or_refused() {
    let tally = Tally::default();
    check!().with_type::<(u8, Vec<Mutation>)>().for_each(|(seed, mutations)| {
        let mut bytes = SEEDS[usize::from(*seed) % SEEDS.len()].to_vec();
        for mutation in mutations.iter().take(usize::from(*seed >> 6)) {
            mutate(&mut bytes, *mutation);
        }
        tally.count(read(&bytes));
    });
    println!("mutated messages: {tally:?}");
    // Mutations that always, or never, leave a message readable would test one half only.
    assert!(tally.read.into_inner() > 0 && tally.refused.into_inner() > 0);
}

/// How many inputs some function read, and how many all refused.
#[derive(Debug, Default)]
struct Tally {
    read: AtomicU64,
    refused: AtomicU64,
}

impl Tally {
    fn count(&self, is_read: bool) {
        let count = if is_read { &self.read } else { &self.refused };
        count.fetch_add(1, Ordering::Relaxed);
    }
}

/// What to do, where, and with which byte.
type Mutation = (u8, u16, u8);

fn mutate(bytes: &mut Vec<u8>, (action, at, byte): Mutation) {
    let at = usize::from(at) % (bytes.len() + 1);
    let end = bytes.len().min(at + usize::from(byte));
    match action % 8 {
        0 => bytes.truncate(at),
        1 => bytes.insert(at, byte),
        2 => drop(bytes.drain(at..end)),
        3 => bytes.extend_from_within(at..end),
        4 => {
            let donor = SEEDS[usize::from(byte) % SEEDS.len()];
            let from = at % donor.len();
            bytes.splice(at..end, donor[from..].iter().copied().take(64)).for_each(drop);
        }
        5 => bytes.iter_mut().skip(at).take(1).for_each(|old| *old ^= 1 << (byte % 8)),
        6 => bytes.iter_mut().skip(at).take(1).for_each(|old| *old = byte),
        _ => {
            let telling = TELLING[usize::from(byte) % TELLING.len()];
            bytes.iter_mut().skip(at).take(1).for_each(|old| *old = telling);
        }
    }
}

/// Reads the bytes as one form of message. What was read is sent in bytes that read the same: bytes
/// are compared, not values, for an attribute may be not-a-number.
fn reads<T>(
    bytes: &[u8],
    decode: impl Fn(&[u8]) -> Result<T, DecodeError>,
    encode: impl Fn(&T) -> Vec<u8>,
) -> bool {
    let Ok(value) = decode(bytes) else { return false };
    let sent = encode(&value);
    assert_eq!(encode(&decode(&sent).unwrap()), sent);
    true
}

fn is_one_of_ours(bytes: &[u8]) -> bool {
    [
        reads(bytes, decode_event, encode_event),
        reads(bytes, decode_raw, encode_raw),
        reads(bytes, decode_finding, encode_finding),
        reads(bytes, decode_story, encode_story),
        reads(bytes, decode_trace_state, encode_trace_state),
        reads(bytes, decode_graves, |graves| encode_graves(graves)),
        reads(bytes, decode_incident_state, encode_incident_state),
        reads(bytes, decode_resolved, |resolved| encode_resolved(resolved)),
        reads(bytes, decode_waiting, encode_waiting),
        reads(bytes, decode_root, encode_root),
        reads(bytes, decode_findings, encode_findings),
        reads(bytes, decode_telling, encode_telling),
        reads(bytes, decode_dead_letter, encode_dead_letter),
        reads(bytes, decode_audit, encode_audit),
        reads(bytes, decode_sign_of_life, encode_sign_of_life),
    ]
    .contains(&true)
}

/// Reads the bytes as everything there is, and says whether they were something.
fn read(bytes: &[u8]) -> bool {
    let mut is_read = is_one_of_ours(bytes);
    if let Ok(decoded) = decode_batch(bytes) {
        is_read = true;
        let sent = encode_batch(&decoded.batch);
        let again = decode_batch(&sent).unwrap();
        assert_eq!(again.rejected, []);
        assert_eq!(encode_batch(&again.batch), sent);
    }
    if let Ok(event) = parse_event_line(bytes) {
        is_read = true;
        let line = serde_json::to_vec(&event).unwrap();
        assert_eq!(parse_event_line(&line), Ok(event));
    }
    is_read
}
