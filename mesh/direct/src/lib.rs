//! Envelopes over gRPC, from an agent to a node, acknowledged once they are kept.
//!
//! One stream a client: `tapio.direct.v1.Direct/Publish`. The client sends numbered envelopes, the
//! server answers each with what became of it, and grants how many may be unanswered at a time.

mod backoff;
mod bus;
mod config;
mod error;
mod protocol;
mod server;
mod sink;

#[cfg(test)]
mod tests;

pub use bus::{DirectBus, DirectFigures};
pub use config::{DirectConfig, DirectTls, ServeConfig, ServeTls};
pub use error::DirectError;
pub use server::{DirectServer, ServeFigures};
pub use sink::{BusSink, Sink};
