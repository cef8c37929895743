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
mod v1;

pub use envelope::{
    DecodedBatch, EventBatch, MESSAGE_BYTES_MAX, VERSION, decode_batch, decode_event,
    decode_finding, decode_raw, decode_story, encode_batch, encode_event, encode_finding,
    encode_raw, encode_story,
};
pub use error::{DecodeError, Refusals};
pub use json::{
    EventJson, JsonError, LINE_BYTES_MAX, StoryJson, event_schema, event_to_json, parse_event_line,
    story_schema,
};
pub use v1::{ATTRIBUTES_MAX, BATCH_EVENTS_MAX, LIST_ITEMS_MAX, NESTING_MAX, TEXT_BYTES_MAX};
