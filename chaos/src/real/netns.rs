//! A network namespace that can be cut off.

use std::fs::File;
use std::net::Ipv4Addr;
use std::process::{Command, Stdio};

use rustix::process::geteuid;

use crate::real::{Need, NeedError, RealError, lease};

/// How many namespaces this machine can have at once; each takes a /30 of 10.203.0.0/20.
const NAMESPACES_MAX: u16 = 1024;

/// A hardware address that nobody has: frames to it reach the other side and are dropped there.
const NOBODY: &str = "02:00:00:00:00:99";

/// A network namespace, tied to the rest of the machine by one virtual cable; removed when dropped.
///
/// What runs inside reaches this machine at [`Self::host_addr`]; servers must listen there or on
/// every address (`NatsServerOptions::host`).
#[derive(Debug)]
pub struct Namespace {
    index: u16,
    _lock: File,
}

/// Whose packets get lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// Those of both sides.
    Both,
    /// Those from the namespace to the machine.
    Outbound,
    /// Those from the machine into the namespace.
    Inbound,
}

impl Namespace {
    /// Makes a namespace with its cable and addresses.
    ///
    /// # Errors
    /// [`NeedError`] when this user may not, or the machine cannot.
    pub fn create() -> Result<Self, NeedError> {
        if !geteuid().is_root() {
            return Err(NeedError::new(Need::Root, "a network namespace is made by root only"));
        }
        let need = |reason: String| NeedError::new(Need::NetworkNamespace, reason);
        for index in 0..NAMESPACES_MAX {
            let taken = lease::try_take("namespaces", &index.to_string());
            let Some(lock) = taken.map_err(|error| need(error.to_string()))? else { continue };
            let namespace = Self { index, _lock: lock };
            // A killed run may have left its own: the lock says that nobody uses it any more.
            namespace.remove();
            namespace.build().map_err(need)?;
            return Ok(namespace);
        }
        Err(need(format!("all {NAMESPACES_MAX} are taken")))
    }

    /// The address of the machine, as seen from inside.
    #[must_use]
    pub fn host_addr(&self) -> Ipv4Addr {
        self.address(1)
    }

    /// The address of what runs inside, as seen from the machine.
    #[must_use]
    pub fn inner_addr(&self) -> Ipv4Addr {
        self.address(2)
    }

    /// The words that run a command inside when put before it.
    #[must_use]
    pub fn command_prefix(&self) -> Vec<String> {
        ["ip".into(), "netns".into(), "exec".into(), self.name()].to_vec()
    }

    /// Loses every packet from now on, silently, as a broken switch does; connections stay open.
    ///
    /// # Errors
    /// [`RealError::Io`] when `ip` refuses.
    pub fn partition(&self) -> Result<(), RealError> {
        self.cut(Cut::Both)
    }

    /// Loses the packets of one side, or of both, until [`Self::heal`].
    ///
    /// Not by taking the link down: that withdraws routes, and the sides would learn at once that
    /// the network is unreachable, which is what a partition does not tell.
    ///
    /// # Errors
    /// [`RealError::Io`] when `ip` refuses.
    pub fn cut(&self, cut: Cut) -> Result<(), RealError> {
        let (host, inner) = (self.host_addr(), self.inner_addr());
        let inbound =
            format!("neigh replace {inner} lladdr {NOBODY} dev {} nud permanent", self.host_end());
        let name = self.name();
        let outbound = format!(
            "-n {name} neigh replace {host} lladdr {NOBODY} dev {} nud permanent",
            self.inner_end()
        );
        match cut {
            Cut::Both => ip(&inbound).and_then(|()| ip(&outbound)),
            Cut::Outbound => ip(&outbound),
            Cut::Inbound => ip(&inbound),
        }
        .map_err(|reason| RealError::io("cut a namespace off")(std::io::Error::other(reason)))
    }

    /// Lets packets pass again, in both directions.
    ///
    /// # Errors
    /// [`RealError::Io`] when `ip` refuses.
    pub fn heal(&self) -> Result<(), RealError> {
        let (name, host, inner) = (self.name(), self.host_addr(), self.inner_addr());
        // Both flushes succeed on a side that was not cut; addresses are then asked for anew.
        ip(&format!("neigh flush to {inner} dev {} nud permanent", self.host_end()))
            .and_then(|()| {
                let inner_end = self.inner_end();
                ip(&format!("-n {name} neigh flush to {host} dev {inner_end} nud permanent"))
            })
            .map_err(|reason| RealError::io("heal a namespace")(std::io::Error::other(reason)))
    }

    fn build(&self) -> Result<(), String> {
        let (name, host_end, inner_end) = (self.name(), self.host_end(), self.inner_end());
        let (host, inner) = (self.host_addr(), self.inner_addr());
        ip(&format!("netns add {name}"))?;
        ip(&format!("link add {host_end} type veth peer name {inner_end} netns {name}"))?;
        ip(&format!("addr add {host}/30 dev {host_end}"))?;
        ip(&format!("link set {host_end} up"))?;
        ip(&format!("-n {name} addr add {inner}/30 dev {inner_end}"))?;
        ip(&format!("-n {name} link set {inner_end} up"))?;
        ip(&format!("-n {name} link set lo up"))
    }

    /// Removes what there is; what is not there is no error.
    fn remove(&self) {
        // The cable first: a namespace lives on, invisibly, while a process inside does.
        for words in [format!("link del {}", self.host_end()), format!("netns del {}", self.name())]
        {
            if let Err(reason) = ip(&words) {
                tracing::debug!(reason, "nothing to remove");
            }
        }
    }

    fn name(&self) -> String {
        format!("tapio-chaos-{}", self.index)
    }

    fn host_end(&self) -> String {
        format!("tapioh{}", self.index)
    }

    fn inner_end(&self) -> String {
        format!("tapion{}", self.index)
    }

    fn address(&self, last: u8) -> Ipv4Addr {
        let [high, low] = (self.index * 4).to_be_bytes();
        Ipv4Addr::new(10, 203, high, low + last)
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        self.remove();
    }
}

/// Runs `ip` with these words.
fn ip(words: &str) -> Result<(), String> {
    let output = Command::new("ip")
        .args(words.split(' '))
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("cannot run ip (of iproute2): {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("ip {words}: {}", String::from_utf8_lossy(&output.stderr).trim()))
}
