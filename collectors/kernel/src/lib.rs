//! The sense inside the kernel: loads the probes, reads what they see.

mod btf;
mod collector;
mod config;
mod flood;
mod fold;
mod identity;
mod layout;
mod loader;
mod peer;
mod probes;
mod report;
mod ring;
mod senses;
mod syscalls;
mod tier;
mod time;
mod words;

pub use btf::{BTF_PATH, Btf, BtfError};
pub use collector::{KernelCollector, try_probes};
pub use config::{KernelConfig, Thresholds};
pub use flood::{FloodConfig, FloodPace, FloodReport, flood, flood_config, flood_full_device};
pub use identity::PlaceOfCgroup;
pub use loader::LoadError;
pub use report::{ProbeReport, ProbeState, Refusal};
pub use ring::Counts;
pub use tapio_ebpf_abi::Probe;
pub use tier::{Facts, Hindrance, Rights, Tier, TierReport, Types, probe_tier};
