//! What the owner of a shard does: claim, load, read the log again, take in, commit, let go.
//!
//! Everything that decides is pure or behind a port: the durable middle is a
//! [`Fabric`](tapio_bus::Fabric), what thinks is a [`Brain`]. The same code runs over JetStream with
//! actors, and in the chaos suite's simulated world with virtual time and faults.

mod ask;
mod brain;
mod commit;
mod draft;
#[cfg(test)]
mod fixture;
mod incidents;
mod intake_watch;
mod keeper;
mod limits;
mod load;
mod local;
mod owner;
mod trails;
mod trim;

pub use ask::{AskNobody, AskRelated};
pub use brain::{Brain, BrainCut, BrainGone};
pub use commit::Dropped;
pub use incidents::{Elsewhere, IncidentCut, IncidentShard, Related};
pub use intake_watch::{IntakeWatch, TakenIn};
pub use keeper::{Hands, KeeperLimits, KeeperParts, MeshView, Running, ShardOwner, keep};
pub use limits::{Count, OwnerFigures, OwnerLimits, Sabotage};
pub use local::LocalBrain;
pub use owner::{Ended, Order, OwnerParts, OwnerStatus, Phase, own};
