//! The agent: a set of collectors, a spool, and a way to the mesh.
//!
//! [`Agent`] runs the collectors it is given, through one pump, into a [`SwitchBus`]; that publishes
//! to the output in use, or to the [`Spool`] while the output does not answer. Which collectors and
//! outputs there are is the caller's business: this crate knows their ports only.
//!
//! # What is kept
//! | what happens | with a spool | without |
//! |---|---|---|
//! | the output refuses or does not answer | spooled, sent in order when it is back | events wait in memory, then in the sources; past the limit the lowest level is shed, counted |
//! | the output is switched | what is on its way goes to the new one, with its ids: twice at worst, never lost | the same |
//! | the spool is full | whole files of the lowest level go first, the oldest first; counted and told | |
//! | the disk is full | the spool's own lower levels make room; then events wait in memory, then the lowest level is shed, counted and told | |
//! | the process is killed | what was acknowledged to the pump is on disk or with the output; what the pump held (at most 16,384 events) is read again by collectors whose sources remember | what the pump held is read again likewise |
//! | the power fails | as above, less what was spooled in the last second; nothing less with `sync_each` | as above |
//! | a file of the spool is damaged | the damaged record is lost, its neighbours are not; its events are counted and told, unless a start finds even the record's header unreadable: then nobody knows how many they were, the record alone is counted, and nothing is told | |
//! | an output will never take a batch | the batch is lost; counted and told | the pump counts it |
//! | a collector breaks or panics | it is made again after a pause that doubles | the same |
//! | a change of configuration is bad | the old one stays, and the reason is shown | the same |
//!
//! Nothing is acknowledged to the pump before the output or the spool has it. Events keep their ids
//! through all of this, so that whoever receives them twice can tell.
//!
//! # What is told
//! Losses of the spool become an event of kind `object_event` with the reason
//! [`SPOOL_DROPPED`], the count, and the level as the object's name, as grave as what was lost, so
//! that a story can say what it does not know. The count is of events that are known to be lost:
//! what stood in records whose header cannot be read is not in it, but in
//! [`SpoolStats::damaged_records`].

mod agent;
mod config;
mod loss;
mod sample;
mod spool;
mod switch;

pub use agent::{
    Agent, AgentParts, AgentStatus, CollectorSpec, CollectorState, CollectorStatus, MakeCollector,
    MakeOutput, MakingOutput, OutputError, SetLogLevel,
};
pub use config::{
    AgentConfig, CollectorsConfig, DirectOutput, Enabled, HostConfig, MaskRuleConfig, MasksConfig,
    NatsOutput, Nodes, OtlpConfig, OutputConfig, OutputMode, SpoolConfig,
};
pub use loss::{SPOOL_DROPPED, loss_teller};
pub use spool::{Entry, Fate, Position, Spool, SpoolError, SpoolLimits, SpoolStats};
pub use switch::{Loss, SwitchBus, SwitchLimits, SwitchStats, Teller};
