//! The bytes, and the JSON that people and recordings use.
//!
//! This is the only crate that maps between bytes and the model. A message between nodes is one
//! version byte and a `MessagePack` body ([`encode_batch`] and its siblings); what people, files and
//! the HTTP interface see is JSON ([`json`]).
//!
//! Bytes from outside never panic and never make half a value: they decode, or they are refused
//! with a reason that can be counted.

mod envelope;
mod error;
pub mod json;
mod known;
mod request;
mod v1;

pub use envelope::{
    AUDIT_BYTES_MAX, DEAD_LETTER_BYTES_MAX, DecodedBatch, EventBatch, FINDINGS_BYTES_MAX,
    INCIDENT_STATE_BYTES_MAX, MESSAGE_BYTES_MAX, RESOLVED_BYTES_MAX, ROOT_BYTES_MAX,
    SIGN_OF_LIFE_BYTES_MAX, TELLING_BYTES_MAX, TRACE_STATE_BYTES_MAX, VERSION, WAITING_BYTES_MAX,
    decode_audit, decode_batch, decode_dead_letter, decode_event, decode_finding, decode_findings,
    decode_graves, decode_incident_state, decode_raw, decode_resolved, decode_root,
    decode_sign_of_life, decode_story, decode_telling, decode_trace_state, decode_waiting,
    encode_audit, encode_batch, encode_dead_letter, encode_event, encode_finding, encode_findings,
    encode_graves, encode_incident_state, encode_raw, encode_resolved, encode_root,
    encode_sign_of_life, encode_story, encode_telling, encode_trace_state, encode_waiting,
};
pub use error::{DecodeError, Refusals};
pub use json::{
    EventJson, JsonError, LINE_BYTES_MAX, StoryJson, event_schema, event_to_json, parse_event_line,
    story_schema,
};
pub use request::{
    FindingJson, Form, RELATED_ENTITIES_MAX, REQUEST_BYTES_MAX, decode_reply, decode_request,
    encode_reply, encode_reply_within, encode_request, trim_results,
};
pub use v1::{
    ATTRIBUTES_MAX, BATCH_EVENTS_MAX, GRAVES_BYTES_MAX, GRAVES_MAX, LIST_ITEMS_MAX, NESTING_MAX,
    STATE_ITEMS_MAX, TEXT_BYTES_MAX,
};
