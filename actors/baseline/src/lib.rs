//! What is normal, learnt from telemetry that carries no verdict, and what is not.
//!
//! Spans and log lines of explicit traces, and metrics, go in; events of kind
//! [`Anomaly`](tapio_model::Kind::Anomaly) come out. Nothing tells it when something is wrong: each
//! operation's last minute is compared with all it was before, what is unlike is not learnt, and of
//! the unlike spans of a trace only the deepest count. See docs/adr/0015-baseline.md.
//! Rates and levels are compared with the last hour and with the same hour before:
//! docs/adr/0016-rates-and-levels.md.

mod apart;
mod assembly;
mod blame;
mod change;
mod counts;
mod episode;
mod evidence;
mod failure;
mod feature;
mod hearing;
mod latency;
mod level;
mod limits;
mod loss;
mod operation;
mod owners;
mod part;
mod points;
mod rate;
mod series;
mod sign;
mod stall;
mod telling;
mod watch;
mod window;

pub use limits::BaselineLimits;
pub use part::Part;
pub use watch::{BaselineStats, Watch};
