//! The senses of a host: kernel log, cgroup counters, use of processor and memory, systemd
//! journal and log files.
//!
//! Each collector is a thin reader and a pure translation; [`host_collectors`] lists them.

mod aged;
mod catalogue;
mod cgroup;
mod config;
mod files;
mod harvest;
mod journal;
mod kmsg;
mod lines;
mod log_line;
mod place;
mod templates;
mod usage;

pub use cgroup::{CgroupCollector, CgroupConfig};
pub use config::{HostConfig, host_collectors};
pub use files::{FilesCollector, FilesConfig, translate_log};
pub use journal::{JournalCollector, JournalConfig};
pub use kmsg::{KmsgCollector, KmsgConfig};
pub use log_line::{LogLine, Peer, translate_line};
pub use place::{place_of_cgroup, place_of_log_file};
pub use usage::{UsageCollector, UsageConfig};
