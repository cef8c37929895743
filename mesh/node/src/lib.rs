//! A correlation node as a library: wires ports to adapters, keeps what was told, serves the
//! local socket and asks it.

mod api;
mod client;
mod compose;
mod direct;
mod http;
mod learner;
mod mesh;
mod paths;
mod request;
mod status;
mod store;
mod tell;

#[cfg(test)]
mod fixture;

pub use api::ServeError;
pub use client::{Client, ClientError, StoryStream, Streamed};
pub use compose::{Node, NodeError, NodeParts};
pub use direct::serve_direct;
pub use http::{Health, HealthSource, HttpError, HttpServer};
pub use learner::Learner;
pub use mesh::{MeshError, MeshNode, MeshParts};
pub use paths::{Paths, default_paths};
pub use request::{
    Answering, AskId, Asking, Coordinator, CoordinatorParts, Effect, Gathered, Input,
    LatencyEstimate, OwnerMap, Plan, Recall, Recalled, RequestDesk, RequestFigures,
    SCATTER_ASKS_MAX, Scatter, SharedAnswering, SharedRecall,
};
pub use status::StatusSource;
pub use store::{Lookup, StoreError, StoreLimits, StoreStats, StoryStore};
