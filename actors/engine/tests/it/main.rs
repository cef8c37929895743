//! What the engine promises, shown on toy events and toy patterns.

mod incidents;
mod shard;
mod support;
