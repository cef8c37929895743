//! Version 1 of the bytes.
//!
//! The structs here are the wire's, not the model's: renaming a field of the model changes no
//! byte, and every name below is part of the protocol.
//!
//! Ids and payloads are binary, times are nanoseconds since 1970, closed lists are numbers.
//! An event inside a batch is binary too: its own body, so that one that cannot be read can be
//! stepped over. What comes by the ten thousand a second is a record of fixed width.

mod address;
mod attributes;
mod code;
mod event;
mod finding;
mod leaf;
mod message;
mod node;
mod place;
mod record;
mod root;
mod state;
mod story;

pub(crate) use event::{BatchV1, EventV1, RawEventV1};
pub(crate) use finding::FindingV1;
pub(crate) use leaf::{Capped, TextV1};
pub(crate) use message::{AuditV1, DeadLetterV1, FindingsV1, TellingV1};
pub(crate) use node::SignOfLifeV1;
pub(crate) use place::EntityV1;
pub use record::{GRAVES_BYTES_MAX, GRAVES_MAX};
pub(crate) use record::{read_graves, write_graves};
pub(crate) use root::RootV1;
pub(crate) use state::{IncidentStateV1, ResolvedV1, TraceStateV1, WaitingV1};
pub(crate) use story::StoryV1;

/// Events a batch may have.
pub const BATCH_EVENTS_MAX: usize = 10_000;
/// Attributes an event may have.
pub const ATTRIBUTES_MAX: usize = 256;
/// Bytes a text may have: a stack trace of some thousand frames.
pub const TEXT_BYTES_MAX: usize = 256 << 10;
/// Items any other list may have: a story cites events of several full traces.
pub const LIST_ITEMS_MAX: usize = 65_536;
/// Items a list may have in what a shard writes down for itself: an incident has events of many
/// traces.
pub const STATE_ITEMS_MAX: usize = 1 << 20;
/// Levels of nesting that are read; the deepest shape of ours has nine.
pub const NESTING_MAX: usize = 32;
