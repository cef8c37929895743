//! The ports: what events travel through, and what a mesh keeps its state in; with the in-memory bus.

#[cfg(any(test, feature = "contract"))]
pub mod contract;
mod fabric;
mod memory;
mod port;
mod request;
mod tapped;

pub use fabric::{
    Beat, BeatReader, Fabric, FabricError, LogEntry, LogReader, Parcel, Receipt, Revision,
    SharedFabric, SwapError, Versioned,
};
pub use memory::{MemoryBus, MemoryBusLimits, WhenFull};
pub use port::{
    Batch, Bus, BusStats, Delivery, Offset, PublishError, Start, SubscribeError, Subscription,
};
pub use request::{Ask, AskError, Serve, Served, SharedAsk, SharedServe};
pub use tapio_model::{Address, ChunkName};
pub use tapped::Tapped;
