//! Golden bytes: what version 1 wrote once, it writes and reads for good.
//!
//! `golden/v1/NAME.bin` is a message, `NAME.txt` shows what a reader without this crate sees in
//! it. Files are added, never edited: a change that breaks one needs the next version byte.

use std::{fmt::Debug, fs, path::Path};

use tapio_wire::{
    DecodeError, DecodedBatch, EventBatch, decode_audit, decode_batch, decode_dead_letter,
    decode_event, decode_finding, decode_findings, decode_graves, decode_incident_state,
    decode_raw, decode_resolved, decode_root, decode_sign_of_life, decode_story, decode_telling,
    decode_trace_state, decode_waiting, encode_audit, encode_batch, encode_dead_letter,
    encode_event, encode_finding, encode_findings, encode_graves, encode_incident_state,
    encode_raw, encode_resolved, encode_root, encode_sign_of_life, encode_story, encode_telling,
    encode_trace_state, encode_waiting,
};

use crate::{mesh::sample as mesh, sample, tree::Tree};

fn read_all(bytes: &[u8]) -> Result<EventBatch, DecodeError> {
    let DecodedBatch { batch, rejected } = decode_batch(bytes)?;
    assert_eq!(rejected, []);
    Ok(batch)
}

#[test]
fn golden_bytes_stay() {
    check("event", &sample::event(), encode_event, decode_event);
    check("event_least", &sample::least_event(), encode_event, decode_event);
    check("batch", &sample::batch(), encode_batch, read_all);
    check("batch_senses", &sample::senses_batch(), encode_batch, read_all);
    check("batch_learnt", &sample::learnt_batch(), encode_batch, read_all);
    check("raw", &sample::raw(), encode_raw, decode_raw);
    check("finding", &sample::finding(), encode_finding, decode_finding);
    check("story", &sample::story(), encode_story, decode_story);
    check("story_merged", &sample::merged_story(), encode_story, decode_story);
    check("finding_anchored", &sample::anchored_finding(), encode_finding, decode_finding);
    check("story_referring", &sample::referring_story(), encode_story, decode_story);
}

#[test]
fn golden_bytes_of_the_mesh_stay() {
    check("trace_state", &mesh::trace_state(), encode_trace_state, decode_trace_state);
    let incident = mesh::incident_state();
    check("incident_state", &incident, encode_incident_state, decode_incident_state);
    check("resolved", &mesh::resolved(), |all| encode_resolved(all), decode_resolved);
    check("waiting", &mesh::waiting(), encode_waiting, decode_waiting);
    check("root", &mesh::root(), encode_root, decode_root);
    check("root_waiting", &mesh::waiting_root(), encode_root, decode_root);
    check("root_least", &mesh::least_root(), encode_root, decode_root);
    check("findings", &mesh::findings(), encode_findings, decode_findings);
    check("telling", &mesh::telling(), encode_telling, decode_telling);
    check("dead_letter", &mesh::dead_letter(), encode_dead_letter, decode_dead_letter);
    check("audit", &mesh::audit(), encode_audit, decode_audit);
    check("sign_of_life", &mesh::sign_of_life(), encode_sign_of_life, decode_sign_of_life);
    let graves = mesh::graves();
    check_shown("graves", &graves, |all| encode_graves(all), decode_graves, show_graves);
}

pub(crate) fn check<T: Debug + PartialEq>(
    name: &str,
    value: &T,
    encode: impl Fn(&T) -> Vec<u8>,
    decode: impl Fn(&[u8]) -> Result<T, DecodeError>,
) {
    check_shown(name, value, encode, decode, show);
}

fn check_shown<T: Debug + PartialEq>(
    name: &str,
    value: &T,
    encode: impl Fn(&T) -> Vec<u8>,
    decode: impl Fn(&[u8]) -> Result<T, DecodeError>,
    show: fn(&[u8]) -> Vec<u8>,
) {
    let bytes = golden(name, "bin", || encode(value));
    let shown = golden(name, "txt", || show(&bytes));
    assert!(encode(value) == bytes, "{name} is encoded into other bytes");
    assert_eq!(decode(&bytes).as_ref(), Ok(value), "{name}");
    assert!(show(&bytes) == shown, "{name}.txt does not show {name}.bin");
}

/// Reads a golden file. A missing one is written once, for a person to look at.
fn golden(name: &str, extension: &str, make: impl Fn() -> Vec<u8>) -> Vec<u8> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let path = root.join("golden/v1").join(name).with_extension(extension);
    fs::read(&path).unwrap_or_else(|_| {
        fs::write(&path, make()).unwrap();
        panic!("{name}.{extension} was missing and is written now: look at it, then add it");
    })
}

/// Shows the number of graves, and each record with its fields apart.
fn show_graves(message: &[u8]) -> Vec<u8> {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let record = |record: &[u8]| {
        let fields = [0..16, 16..20, 20..21, 21..29, 29..37, 37..45];
        format!("- {}\n", fields.map(|field| hex(&record[field])).join(" "))
    };
    let records: String = message[5..].chunks(45).map(record).collect();
    format!("version 1\ncount: {}\n{records}", hex(&message[1..5])).into_bytes()
}

fn show(message: &[u8]) -> Vec<u8> {
    let mut shown = String::from("version 1");
    Tree::of(message).show(0, &mut shown);
    shown.push('\n');
    shown.into_bytes()
}
