//! Golden bytes: what version 1 wrote once, it writes and reads for good.
//!
//! `golden/v1/NAME.bin` is a message, `NAME.txt` shows what a reader without this crate sees in
//! it. Files are added, never edited: a change that breaks one needs the next version byte.

use std::{fmt::Debug, fs, path::Path};

use tapio_wire::{
    DecodeError, DecodedBatch, EventBatch, decode_batch, decode_event, decode_finding, decode_raw,
    decode_story, encode_batch, encode_event, encode_finding, encode_raw, encode_story,
};

use crate::{sample, tree::Tree};

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
    check("raw", &sample::raw(), encode_raw, decode_raw);
    check("finding", &sample::finding(), encode_finding, decode_finding);
    check("story", &sample::story(), encode_story, decode_story);
    check("story_merged", &sample::merged_story(), encode_story, decode_story);
}

fn check<T: Debug + PartialEq>(
    name: &str,
    value: &T,
    encode: impl Fn(&T) -> Vec<u8>,
    decode: impl Fn(&[u8]) -> Result<T, DecodeError>,
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

fn show(message: &[u8]) -> Vec<u8> {
    let mut shown = String::from("version 1");
    Tree::of(message).show(0, &mut shown);
    shown.push('\n');
    shown.into_bytes()
}
