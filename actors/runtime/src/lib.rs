//! Supervised actix shells around the engine: the only crate that knows actix.
//!
//! A shard actor keeps the register of its traces, each trace has an actor of its own on the same
//! arbiter, and incident actors join what they find: one for a node that is alone, one a shard for
//! a node among several. The engine decides; the shells carry.

mod desk;
mod feed;
mod incident;
mod owned;
mod registry;
mod related;
mod shard;
mod stats;
mod system;
mod threads;
mod trace;

pub use feed::TimeSource;
pub use owned::{ActorBrain, Hosted, MeshActors, ShardReader, Stopped, Unread};
pub use registry::TracesOf;
pub use related::OpenIncidents;
pub use stats::ShardStats;
pub use system::{ActorSystem, StartError, SystemParts};
