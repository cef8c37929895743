//! What a part of the real world needs, and why it is not there.

use std::fmt;

/// One thing the machine must offer before a part of the suite can run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Need {
    /// A nats-server of 2.10 or later.
    NatsServer,
    /// The right to change the machine: namespaces, mounts.
    Root,
    /// Network namespaces and the `ip` command.
    NetworkNamespace,
    /// Mounting a tmpfs.
    Mount,
    /// Children that the kernel kills with their parent, by `setpriv` of util-linux.
    ParentDeathSignal,
}

impl Need {
    /// Every need, in the order of reports.
    pub const ALL: [Self; 5] = [
        Self::NatsServer,
        Self::Root,
        Self::NetworkNamespace,
        Self::Mount,
        Self::ParentDeathSignal,
    ];

    /// The name in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::NatsServer => "nats-server",
            Self::Root => "root",
            Self::NetworkNamespace => "network-namespace",
            Self::Mount => "mount",
            Self::ParentDeathSignal => "parent-death-signal",
        }
    }
}

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A need that this machine does not meet; a suite counts it as a skip, never as a pass.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("needs {need}: {reason}")]
pub struct NeedError {
    /// What is missing.
    pub need: Need,
    /// Why, and where possible what cures it.
    pub reason: String,
}

impl NeedError {
    pub(crate) fn new(need: Need, reason: impl Into<String>) -> Self {
        Self { need, reason: reason.into() }
    }
}
