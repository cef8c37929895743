//! The JSON that people, recordings and the HTTP interface use.
//!
//! Names instead of numbers, times as RFC 3339, unknown fields skipped. A shape here changes only
//! together with its schema in `mesh/wire/schema`.

mod error;
mod event;
mod place;
mod story;
mod time;

pub use error::JsonError;
pub use event::{EventJson, LINE_BYTES_MAX, event_schema, event_to_json, parse_event_line};
pub use story::{
    CitationJson, EntityJson, HypothesisJson, LinkJson, RuledOutJson, StoryJson, story_schema,
};
pub(crate) use time::time_from_value;
pub use time::time_to_text;
