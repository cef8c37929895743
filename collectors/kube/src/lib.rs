//! The sense of the cluster: what the Kubernetes API says.
//!
//! [`KubeCollector`] watches one resource a task ([`Resource::ALL`]) and never goes blind silently:
//! each watch knows when it last heard from the server, and says so when that is long ago. The
//! decisions (when to list, to resume, to wait, to lead) are pure and apart from the requests.
//! What an object's change means is said by pure translations.
//!
//! No other crate knows of the Kubernetes client.

mod cache;
mod client;
mod collector;
mod config;
mod course;
mod known;
mod lead;
mod positions;
mod rbac;
mod resource;
mod snapshot;
mod staleness;
mod status;
mod translate;
mod trim;
mod trouble;
mod version;
mod watch;

pub use cache::WatchCache;
pub use client::{ConnectError, connect};
pub use collector::KubeCollector;
pub use config::{KubeConfig, LeadConfig, Learn, LearnAddress, Timing};
pub use course::WatchState;
pub use lead::LeadState;
pub use positions::{FilePositions, Marks, MemoryPositions, Positions};
pub use rbac::{Rule, check_rbac, rbac_rules};
pub use resource::Resource;
pub use snapshot::{News, ObjectError, Snapshot};
pub use status::{KubeStatus, ResourceStatus, StatusBoard};
