//! What a span or a log record says, as events.
//!
//! Pure: the same record gives the same events, with the same ids.

mod attributes;
mod log;
mod origin;
mod span;

pub(crate) use log::translate_log;
pub(crate) use origin::Origin;
pub(crate) use span::translate_span;

/// Number of attribute values that were cut to the limit.
const TRUNCATED: &str = "tapio.otlp.truncated";
/// Number of attributes that were left out, here or by the sender.
const DROPPED: &str = "tapio.otlp.dropped_attributes";
