//! The simulated world: the same shard, engine, commit and outbox code as in production, over a
//! middle and a clock of our own, where every run follows from its seed.

mod fabric;
mod gate;
mod node;
mod run;
mod world;

pub use run::{SimOptions, SimOutcome, run};
pub use world::{Weather, World};
