//! Shards of a node among several: each is thought for by actors, and kept by an owner that follows
//! its log, cuts it and commits it.
//!
//! A shard's two actors, the actors of its traces and its owner's loop share one arbiter.

mod brain;
mod hosted;
mod incident;
mod mesh;
mod reader;
mod shard;

pub use self::{
    brain::ActorBrain,
    hosted::{Hosted, Stopped},
    mesh::MeshActors,
    reader::{ShardReader, Unread},
};
