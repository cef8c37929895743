//! The simulated world: the same shard, engine, commit and outbox code as in production, over a
//! middle and a clock of our own, where every run follows from its seed.
//!
//! A run draws from its seed how many nodes and shards there are, what is sent, and what goes wrong.
//! It is judged by the same [invariants](crate::invariants) as a run in the real world, and by the
//! books of the roots, which only a simulated world can read in full.

mod ask;
mod books;
mod disturb;
mod fabric;
mod gate;
mod hands;
mod judge;
mod node;
mod options;
mod poison;
mod publish;
mod reader;
mod run;
mod step;
mod sweep;
mod trouble;
mod weather;
mod world;

pub use options::SimOptions;
pub use run::{SimOutcome, run};
pub use step::{Coverage, Deaths, Moment, Step};
pub use sweep::{SeenInRun, SweepOptions, SweepReport, sweep};
pub use trouble::Trouble;
