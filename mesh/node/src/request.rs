//! Request and reply between nodes: `correlation.request`.
//!
//! The node that takes a request coordinates it: one request per owner, early finish, a copy from
//! the root for owners that are slow or gone, and at the deadline an answer that names what it does
//! not know. [`Scatter`] decides, [`Coordinator`] asks, [`RequestDesk`] answers bytes with bytes.

mod coordinator;
mod desk;
mod gather;
mod latency;
mod owners;
mod port;
mod scatter;

#[cfg(test)]
mod fixture;

pub use coordinator::{Coordinator, CoordinatorParts};
pub use desk::{RequestDesk, RequestFigures};
pub use latency::LatencyEstimate;
pub use owners::OwnerMap;
pub use port::{Answering, Recall, Recalled, SharedAnswering, SharedRecall};
pub use scatter::{AskId, Asking, Effect, Gathered, Input, Plan, SCATTER_ASKS_MAX, Scatter};
