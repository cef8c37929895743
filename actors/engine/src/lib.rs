//! What one trace and one incident think.
//!
//! Pure state machines: events and time go in, effects come out. Nothing here reads a clock,
//! opens a socket or knows a pattern by name.

mod pattern;
mod view;

pub use pattern::{Doubt, Draft, Pattern, Patterns, Spec};
pub use view::View;
