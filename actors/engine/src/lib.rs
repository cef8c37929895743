//! What one trace and one incident think.
//!
//! Pure state machines: events and time go in, effects come out. Nothing here reads a clock,
//! opens a socket or knows a pattern by name.

mod candidate;
mod directory;
mod incident;
mod limits;
mod narrate;
mod pattern;
mod ring;
mod rules;
mod shard;
mod timers;
mod trace;
mod view;
mod weigh;
mod weight;

pub use directory::{Admission, Directory};
pub use incident::{
    Handed, IncidentRef, Incidents, IncidentsCut, IncidentsRestored, Joined, Question,
};
pub use limits::Limits;
pub use pattern::{Doubt, Draft, Pattern, Patterns, Spec};
pub use ring::{Ring, Told};
pub use rules::Rules;
pub use shard::{Cut, Live, Output, Restored, Shard};
pub use timers::Timers;
pub use trace::{Effects, Found, Trace};
pub use view::View;
pub use weight::{Points, Weight};
