//! The port that events travel through, and its in-memory adapter.

#[cfg(any(test, feature = "contract"))]
pub mod contract;
mod memory;
mod port;

pub use memory::{MemoryBus, MemoryBusLimits, WhenFull};
pub use port::{
    Batch, Bus, BusStats, Delivery, Offset, PublishError, Start, SubscribeError, Subscription,
};
