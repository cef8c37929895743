//! The envelope: one version byte, then a body.
//!
//! # Layout
//! Offset 0, one byte: the version, 1. Offset 1, to the end: one `MessagePack` map with named
//! fields. Fields that the reader does not know are skipped, optional fields that are missing take
//! their default; anything after the map is an error. A change that an old reader cannot skip gets
//! the next version byte.

mod mesh;

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tapio_model::{Event, Finding, Level, RawEvent, ShardId, Story, Timestamp};

use crate::{
    DecodeError,
    v1::{BatchV1, EventV1, FindingV1, NESTING_MAX, RawEventV1, StoryV1},
};

pub use self::mesh::{
    AUDIT_BYTES_MAX, DEAD_LETTER_BYTES_MAX, FINDINGS_BYTES_MAX, INCIDENT_STATE_BYTES_MAX,
    RESOLVED_BYTES_MAX, ROOT_BYTES_MAX, SIGN_OF_LIFE_BYTES_MAX, TELLING_BYTES_MAX,
    TRACE_STATE_BYTES_MAX, WAITING_BYTES_MAX, decode_audit, decode_dead_letter, decode_findings,
    decode_graves, decode_incident_state, decode_resolved, decode_root, decode_sign_of_life,
    decode_telling, decode_trace_state, decode_waiting, encode_audit, encode_dead_letter,
    encode_findings, encode_graves, encode_incident_state, encode_resolved, encode_root,
    encode_sign_of_life, encode_telling, encode_trace_state, encode_waiting,
};

/// The version that this build writes, and the only one it reads.
pub const VERSION: u8 = 1;

/// Bytes a message may have, its version included.
///
/// # Source
/// Brokers are set up for messages of this size (NATS warns above 8 MiB).
pub const MESSAGE_BYTES_MAX: usize = 8 << 20;

/// Events that travel together: one shard, one level.
#[derive(Debug, Clone, PartialEq)]
pub struct EventBatch {
    /// The shard all events belong to.
    pub shard: ShardId,
    /// The level of all events.
    pub level: Level,
    /// When the batch was handed over.
    pub time: Timestamp,
    /// The events.
    pub events: Vec<Arc<Event>>,
}

/// A batch as it was received: what could be read, and what could not.
#[derive(Debug, Clone, PartialEq)]
pub struct DecodedBatch {
    /// The events that could be read, in their order; equal places are shared.
    pub batch: EventBatch,
    /// Index in the sender's batch and reason of each event that could not.
    pub rejected: Vec<(usize, DecodeError)>,
}

/// Encodes a batch.
///
/// Limits are the reader's: a batch beyond them is encoded, and refused at the other end.
#[must_use]
pub fn encode_batch(batch: &EventBatch) -> Vec<u8> {
    seal(&BatchV1::from(batch))
}

/// Decodes a batch. An event that cannot be read does not cost its neighbours.
///
/// # Errors
/// [`DecodeError`] if the batch itself cannot be read.
pub fn decode_batch(bytes: &[u8]) -> Result<DecodedBatch, DecodeError> {
    open::<BatchV1<'_>>(bytes)?.try_into()
}

/// Encodes an event.
#[must_use]
pub fn encode_event(event: &Event) -> Vec<u8> {
    seal(&EventV1::from(event))
}

/// Decodes an event.
///
/// # Errors
/// [`DecodeError`].
pub fn decode_event(bytes: &[u8]) -> Result<Event, DecodeError> {
    open::<EventV1>(bytes)?.try_into()
}

/// Encodes what a collector read.
#[must_use]
pub fn encode_raw(raw: &RawEvent) -> Vec<u8> {
    seal(&RawEventV1::from(raw))
}

/// Decodes what a collector read.
///
/// # Errors
/// [`DecodeError`].
pub fn decode_raw(bytes: &[u8]) -> Result<RawEvent, DecodeError> {
    open::<RawEventV1<'_>>(bytes)?.try_into()
}

/// Encodes a finding.
#[must_use]
pub fn encode_finding(finding: &Finding) -> Vec<u8> {
    seal(&FindingV1::from(finding))
}

/// Decodes a finding.
///
/// # Errors
/// [`DecodeError`]; a finding that breaks its invariant is malformed.
pub fn decode_finding(bytes: &[u8]) -> Result<Finding, DecodeError> {
    open::<FindingV1>(bytes)?.try_into()
}

/// Encodes a story.
#[must_use]
pub fn encode_story(story: &Story) -> Vec<u8> {
    seal(&StoryV1::from(story))
}

/// Decodes a story.
///
/// # Errors
/// [`DecodeError`]; a story with a sentence that cites nothing is malformed.
pub fn decode_story(bytes: &[u8]) -> Result<Story, DecodeError> {
    open::<StoryV1>(bytes)?.try_into()
}

/// Makes a message of a body.
pub(crate) fn seal(body: &impl Serialize) -> Vec<u8> {
    let mut bytes = vec![VERSION];
    write_body(body, &mut bytes);
    bytes
}

/// Reads the body of a message.
pub(crate) fn open<'de, T: Deserialize<'de>>(bytes: &'de [u8]) -> Result<T, DecodeError> {
    read_body(body_of(bytes, MESSAGE_BYTES_MAX)?)
}

/// Returns what is behind the version of a message of at most `bytes_max`.
fn body_of(bytes: &[u8], bytes_max: usize) -> Result<&[u8], DecodeError> {
    if bytes.len() > bytes_max {
        return Err(DecodeError::TooLarge { bytes: bytes.len(), bytes_max });
    }
    match bytes.split_first() {
        None => Err(DecodeError::Empty),
        Some((&VERSION, body)) => Ok(body),
        Some((&found, _)) => Err(DecodeError::UnknownVersion { found, known: VERSION }),
    }
}

/// Appends a body.
pub(crate) fn write_body(body: &impl Serialize, bytes: &mut Vec<u8>) {
    let mut serializer = rmp_serde::Serializer::new(bytes).with_struct_map();
    #[expect(
        clippy::expect_used,
        reason = "memory takes every write, and no sequence here has an unknown length"
    )]
    body.serialize(&mut serializer).expect("a body is written to memory");
}

/// Reads a body, to its end.
pub(crate) fn read_body<'de, T: Deserialize<'de>>(body: &'de [u8]) -> Result<T, DecodeError> {
    let mut deserializer = rmp_serde::Deserializer::from_read_ref(body);
    deserializer.set_max_depth(NESTING_MAX);
    let value = T::deserialize(&mut deserializer)?;
    // The deserializer does not say how far it came. Asked for one more `nil`, it misses a marker
    // only at the end: whatever else follows is read as one, and is too much.
    match <()>::deserialize(&mut deserializer) {
        Err(rmp_serde::decode::Error::InvalidMarkerRead(_)) => Ok(value),
        Ok(_) | Err(_) => Err(DecodeError::malformed("bytes after the end of the message")),
    }
}
