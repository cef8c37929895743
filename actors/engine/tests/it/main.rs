//! What the engine promises, shown on toy events and toy patterns.

mod changes;
mod incidents;
mod log;
mod regressions;
mod shard;
mod support;
mod swap;
mod weights;
