//! The real world: nats-servers, nodes as processes, and what harms them.
//!
//! Also the harness of every test that wants a real server. What the machine cannot offer is a
//! [`NeedError`], so that a suite counts it as skipped. Everything that is started is killed when
//! dropped, and, where `setpriv` exists, by the kernel if this process is killed.

mod binary;
mod cluster;
mod error;
mod full_disk;
mod lease;
mod monitor;
mod need;
mod netns;
mod node;
mod options;
pub(crate) mod port;
mod process;
mod proxy;
mod server;

pub use binary::NatsBinary;
pub use cluster::NatsCluster;
pub use error::RealError;
pub use full_disk::FullDisk;
pub use monitor::http_get;
pub use need::{Need, NeedError};
pub use netns::{Cut, Namespace};
pub use node::{NodeCommand, NodeProcess};
pub use options::{NatsServerOptions, SyncInterval};
pub use process::parent_death_signal;
pub use proxy::{Direction, Fault, Proxy, ProxyCounts};
pub use server::NatsServer;
