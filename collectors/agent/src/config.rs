//! The agent's configuration.
//!
//! | section | a change takes effect |
//! |---|---|
//! | `output` | at once: the output is made and switched to; one that cannot be made leaves the old |
//! | `collectors` | at once: what they concern is stopped and started |
//! | `log_level` | at once |
//! | `cluster`, `node`, `pod`, `shards`, `spool`, `masks` | at the next start; until then the file is refused |

mod variables;

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use serde::Deserialize;
use tapio_collect::{Home, MaskError, MaskRule, Masks};
use tapio_config::{Fault, Validate, Variable};
use tapio_shard::ShardCount;

use crate::{SpoolLimits, SwitchLimits};

/// The smallest spool: smaller ones hold less than a second of a busy node.
const SPOOL_BYTES_MIN: u64 = 1 << 20;

/// What an agent is told.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AgentConfig {
    /// The cluster's name; `CLUSTER_NAME`.
    pub cluster: Option<String>,
    /// The node's name; `NODE_NAME`.
    pub node: Option<String>,
    /// The agent's own pod; `POD_NAME`.
    pub pod: Option<String>,
    /// Shards of the mesh's streams.
    pub shards: u16,
    /// What is logged: a level or directives; `LOG_LEVEL`.
    pub log_level: String,
    /// Where events go.
    pub output: OutputConfig,
    /// What bridges an output that does not answer.
    pub spool: SpoolConfig,
    /// What is collected.
    pub collectors: CollectorsConfig,
    /// What is masked before it leaves the host.
    pub masks: MasksConfig,
}

impl Default for AgentConfig {
    fn default() -> Self {
        Self {
            cluster: None,
            node: None,
            pod: None,
            shards: ShardCount::DEFAULT.get(),
            log_level: "info".to_owned(),
            output: OutputConfig::default(),
            spool: SpoolConfig::default(),
            collectors: CollectorsConfig::default(),
            masks: MasksConfig::default(),
        }
    }
}

/// Where events go.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OutputConfig {
    /// Which of the two; `TAPIO_OUTPUT`.
    pub mode: OutputMode,
    /// Over NATS.
    pub nats: NatsOutput,
    /// To a node.
    pub direct: DirectOutput,
}

/// How events travel to the mesh.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OutputMode {
    /// Published to JetStream.
    #[default]
    Nats,
    /// Sent to a node, which publishes them.
    Direct,
}

impl OutputMode {
    /// Returns the name used in the file and in output.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Nats => "nats",
            Self::Direct => "direct",
        }
    }
}

/// NATS. Credentials come from the `NATS_*` variables alone, so that no file holds a secret.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NatsOutput {
    /// Servers of one cluster, with commas between; `NATS_URL`.
    pub url: String,
    /// What replaces `tapio` in subjects; `NATS_SUBJECT_PREFIX`.
    pub subject_prefix: String,
}

impl Default for NatsOutput {
    fn default() -> Self {
        Self { url: "nats://127.0.0.1:4222".to_owned(), subject_prefix: "tapio".to_owned() }
    }
}

/// A node of the mesh.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DirectOutput {
    /// Its address, `http://` or `https://`, several with commas between; `TAPIO_DIRECT_URL`.
    pub url: String,
}

/// Nodes, and how they are spoken to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nodes {
    /// Their addresses as `host:port`; tried in turn.
    pub addresses: Vec<String>,
    /// Whether over TLS.
    pub is_tls: bool,
}

impl DirectOutput {
    /// Returns the nodes that the address names; none if one of them is no address, or some are
    /// to be spoken to over TLS and some are not.
    #[must_use]
    pub fn nodes(&self) -> Option<Nodes> {
        let parts = || self.url.split(',').map(str::trim);
        let is_tls = parts().next()?.starts_with("https://");
        let scheme = if is_tls { "https://" } else { "http://" };
        let address = |part: &str| {
            let host = part.strip_prefix(scheme)?.trim_end_matches('/');
            let (name, port) = host.rsplit_once(':')?;
            let is_good = !name.is_empty() && !name.contains('/') && port.parse::<u16>().is_ok();
            is_good.then(|| host.to_owned())
        };
        let addresses = parts().map(address).collect::<Option<Vec<_>>>()?;
        Some(Nodes { addresses, is_tls })
    }
}

impl Default for DirectOutput {
    fn default() -> Self {
        Self { url: "http://127.0.0.1:4320".to_owned() }
    }
}

/// The spool.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SpoolConfig {
    /// Its folder; none for no spool; `TAPIO_SPOOL_PATH`.
    pub path: Option<PathBuf>,
    /// Bytes it holds at most; `TAPIO_SPOOL_BYTES_MAX`.
    pub bytes_max: u64,
    /// Whether every batch is durable against power loss before it is acknowledged.
    pub sync_each: bool,
}

impl Default for SpoolConfig {
    fn default() -> Self {
        // A minute of 10,000 events a second.
        Self { path: None, bytes_max: 256 << 20, sync_each: false }
    }
}

/// What is collected.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CollectorsConfig {
    /// Kernel probes.
    pub kernel: Enabled,
    /// The Kubernetes API.
    pub kubernetes: Enabled,
    /// The host's own records.
    pub host: HostConfig,
    /// An OTLP receiver.
    pub otlp: OtlpConfig,
}

/// A collector that is on or off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Enabled {
    /// Whether it runs.
    pub enabled: bool,
}

impl Default for Enabled {
    fn default() -> Self {
        Self { enabled: true }
    }
}

/// The host's own records.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HostConfig {
    /// The kernel's log.
    pub kmsg: Enabled,
    /// The systemd journal.
    pub journal: Enabled,
    /// Counters of control groups.
    pub cgroup: Enabled,
    /// Samples of what pods, containers and the node use.
    pub usage: Enabled,
    /// Logs of pods.
    pub pod_logs: Enabled,
    /// Further log files: paths, in which `*` stands for a part of a name.
    pub files: Vec<String>,
}

/// The OTLP receiver.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OtlpConfig {
    /// Where gRPC is taken; none for nowhere.
    pub grpc: Option<SocketAddr>,
    /// Where HTTP is taken; none for nowhere.
    pub http: Option<SocketAddr>,
}

/// What is masked before it leaves the host: mail addresses, tokens, keys and passwords always.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MasksConfig {
    /// IP addresses too: off, because they say which connection failed.
    pub ips: bool,
    /// Further rules.
    pub rules: Vec<MaskRuleConfig>,
}

/// A rule of one's own.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MaskRuleConfig {
    /// What its count is called.
    pub name: String,
    /// What to replace: a regular expression.
    pub pattern: String,
    /// What to put there, as it is.
    pub replacement: String,
}

impl AgentConfig {
    /// Returns what the agent knows of its home.
    #[must_use]
    pub fn home(&self) -> Home {
        let text = |name: &Option<String>| name.as_deref().map(Into::into);
        Home { cluster: text(&self.cluster), node: text(&self.node) }
    }

    /// Returns what is masked.
    ///
    /// # Errors
    /// [`MaskError`] if a rule of one's own is no rule.
    pub fn masks(&self) -> Result<Masks, MaskError> {
        let rule = |MaskRuleConfig { name, pattern, replacement }: MaskRuleConfig| MaskRule {
            name,
            pattern,
            replacement,
        };
        let rules: Vec<_> = self.masks.rules.iter().cloned().map(rule).collect();
        Masks::new(self.masks.ips, &rules)
    }

    /// Returns the spool's limits; `seed` tells this run from others.
    #[must_use]
    pub fn spool_limits(&self, seed: u64) -> SpoolLimits {
        let SpoolConfig { bytes_max, sync_each, .. } = self.spool;
        SpoolLimits { sync_each, ..SpoolLimits::of(bytes_max, seed) }
    }

    /// Returns the switch's limits.
    #[must_use]
    pub fn switch_limits(&self) -> SwitchLimits {
        SwitchLimits { patience: Duration::from_secs(2), ..SwitchLimits::default() }
    }
}

impl Validate for AgentConfig {
    const VARIABLES: &'static [Variable<Self>] = variables::ALL;

    fn validate(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        let mut check = |is_good: bool, field: &'static str, what: String, cure: &str| {
            if !is_good {
                faults.push(Fault::new(field, what, cure));
            }
        };
        let named =
            |name: &Option<String>| name.as_ref().is_none_or(|name| !name.trim().is_empty());
        check(named(&self.cluster), "cluster", "is blank".to_owned(), "name it, or leave it out");
        check(named(&self.node), "node", "is blank".to_owned(), "name it, or leave it out");
        check(
            self.shards > 0,
            "shards",
            "is 0".to_owned(),
            "write the mesh's number, 16 by default",
        );
        let nats = &self.output.nats;
        let servers = nats.url.split(',').map(str::trim);
        let is_nats = |url: &str| {
            ["nats://", "tls://", "ws://", "wss://"].iter().any(|scheme| url.starts_with(scheme))
                || (!url.is_empty() && !url.contains("://"))
        };
        check(
            servers.clone().all(is_nats),
            "output.nats.url",
            format!("`{}` names a server that is not NATS", hide_secret(&nats.url)),
            "write nats://HOST:4222, several with commas between",
        );
        let prefix = &nats.subject_prefix;
        let is_token = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_');
        check(
            !prefix.is_empty() && prefix.chars().all(is_token),
            "output.nats.subject_prefix",
            format!("`{prefix}` is no part of a subject"),
            "use letters, digits, `-` and `_`",
        );
        let direct = &self.output.direct;
        check(
            direct.nodes().is_some(),
            "output.direct.url",
            format!("`{}` is no address of a node", hide_secret(&direct.url)),
            "write http://HOST:4320",
        );
        check(
            self.spool.bytes_max >= SPOOL_BYTES_MIN,
            "spool.bytes_max",
            format!("{} bytes hold nothing worth having", self.spool.bytes_max),
            "write 1048576 or more, or leave spool.path out for no spool",
        );
        check(
            !self.log_level.trim().is_empty(),
            "log_level",
            "is blank".to_owned(),
            "write error, warn, info, debug or trace",
        );
        if let Err(why) = self.masks() {
            let cure = "write a regular expression without look-around";
            faults.push(Fault::new("masks.rules", why.to_string(), cure));
        }
        faults
    }

    fn needs_restart(&self, next: &Self) -> Vec<&'static str> {
        let fields = [
            ("cluster", self.cluster != next.cluster),
            ("node", self.node != next.node),
            ("pod", self.pod != next.pod),
            ("shards", self.shards != next.shards),
            ("spool.path", self.spool.path != next.spool.path),
            ("spool.bytes_max", self.spool.bytes_max != next.spool.bytes_max),
            ("spool.sync_each", self.spool.sync_each != next.spool.sync_each),
            ("masks", self.masks != next.masks),
        ];
        fields.into_iter().filter(|(_, differs)| *differs).map(|(field, _)| field).collect()
    }
}

/// Returns a URL as a log may show it: without what stands before an `@`.
fn hide_secret(url: &str) -> String {
    let without = |one: &str| one.rsplit('@').next().unwrap_or_default().to_owned();
    url.split(',').map(without).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests;
