//! The nouns of Tapio, and nothing else.
//!
//! Collectors produce a [`RawEvent`], binding turns it into an [`Event`], a trace actor finds
//! [`Finding`]s in its events, an incident tells a [`Story`].
//!
//! This crate has no dependency: renaming a field here cannot change bytes on the wire, and bad
//! bytes cannot make a model value, because only `tapio-wire` maps between the two.

mod address;
mod attribute;
mod entity;
mod event;
mod evidence;
mod finding;
mod id;
mod kind;
mod message;
mod outcome;
mod place;
mod raw;
mod request;
mod state;
mod story;
mod text;
mod time;

pub use address::{Address, ChunkName};
pub use attribute::{Attributes, Value, keys};
pub use entity::Entity;
pub use event::{Binding, Class, Event, Impact, Level, Rule, Severity, Source, TraceContext};
pub use evidence::{Evidence, EvidenceClass, Role};
pub use finding::{
    Confidence, Finding, FindingId, Hypothesis, Incarnation, RuledOut, Slug, Verdict,
};
pub use id::{EventId, ParseIdError, ShardId, SpanId, StoryId, TraceId};
pub use kind::Kind;
pub use message::{Audit, DeadLetter, DeadReason, Findings, Sent, Telling};
pub use outcome::{Ledger, Outcome, ShedReason};
pub use place::{Place, Workload};
pub use raw::RawEvent;
pub use request::{
    Answer, Coverage, Epoch, Handoff, Item, Op, Owned, Owner, Part, Refusal, RefusalReason, Reply,
    Request, ShardAnswer, TraceReport,
};
pub use state::{
    Ending, Grave, IncidentState, Mark, ResolvedState, TraceMemory, TraceState, WaitingState,
};
pub use story::{Link, Sentence, State, Story};
pub use text::Text;
pub use time::{Clock, Timestamp};
