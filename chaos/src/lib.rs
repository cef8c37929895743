//! The adversary: faults, schedules and invariants, in simulated and in real worlds.

pub mod fault;
pub mod invariants;
pub mod load;
pub mod plan;
pub mod real;
pub mod record;
pub mod report;
pub mod scenarios;
pub mod sim;
pub mod world;
