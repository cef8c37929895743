//! A correlation node as a library: wires ports to adapters, keeps what was told, serves the
//! local socket and asks it.

mod api;
mod client;
mod compose;
mod paths;
mod status;
mod store;
mod tell;

#[cfg(test)]
mod fixture;

pub use api::ServeError;
pub use client::{Client, ClientError, StoryStream, Streamed};
pub use compose::{Node, NodeError, NodeParts};
pub use paths::{Paths, default_paths};
pub use status::StatusSource;
pub use store::{Lookup, StoreError, StoreLimits, StoreStats, StoryStore};
