//! The port that events travel through, and its in-memory adapter.

mod port;

pub use port::{
    Batch, Bus, BusStats, Delivery, Offset, PublishError, Start, SubscribeError, Subscription,
};
