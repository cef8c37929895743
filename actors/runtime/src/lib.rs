//! Supervised actix shells around the engine: the only crate that knows actix.
//!
//! A shard actor keeps the register of its traces, each trace has an actor of its own on the same
//! arbiter, and one incident actor joins what they find. The engine decides; the shells carry.

mod desk;
mod feed;
mod incident;
mod registry;
mod related;
mod shard;
mod system;
mod trace;

pub use feed::TimeSource;
pub use registry::ShardStats;
pub use related::{OpenIncidents, Related};
pub use system::{ActorSystem, StartError, SystemParts};
