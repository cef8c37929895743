//! What every collector shares: the trait, trace contexts found in text, binding, batching, and
//! the accounts of what was read, passed on and dropped.

mod addresses;
mod binding;
mod collector;
mod content;
mod mask;
mod outlet;
mod pump;
mod schedule;
mod traceparent;
mod unbound;

pub use addresses::Addresses;
pub use binding::{Binder, Home};
pub use collector::{Collector, CollectorError, Stop, Stopper, stop_signal};
pub use content::event_id;
pub use mask::{MaskError, MaskRule, Masks};
pub use outlet::{Account, Accounts, DropReason, Outlet};
pub use pump::{Linger, Pump, PumpLimits, Pumped};
pub use schedule::schedule_of;
pub use traceparent::{TraceParent, find_trace_context, parse_traceparent};
pub use unbound::Unbound;
