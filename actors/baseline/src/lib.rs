//! What is normal, learnt from telemetry that carries no verdict, and what is not.
//!
//! Spans and log lines of explicit traces, and metrics, go in; events of kind
//! [`Anomaly`](tapio_model::Kind::Anomaly) come out. Nothing tells it when something is wrong: each
//! operation's last minute is compared with all it was before, what is unlike is not learnt, and of
//! the unlike spans of a trace only the deepest count. See docs/adr/0015-baseline.md.

mod assembly;
mod blame;
mod change;
mod counts;
mod episode;
mod evidence;
mod feature;
mod hearing;
mod latency;
mod limits;
mod operation;
mod part;
mod series;
mod watch;
mod window;

pub use limits::BaselineLimits;
pub use part::Part;
pub use watch::{BaselineStats, Watch};
