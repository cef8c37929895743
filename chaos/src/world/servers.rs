//! The servers of a run: one, or a cluster; with proxies before them, on a disk that can be filled.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use tracing::warn;

use crate::{
    plan::{Setup, Wish},
    real::{Fault, FullDisk, NatsCluster, NatsServer, NatsServerOptions, Proxy, RealError},
};

/// Bytes of the disk that can be filled: room for a run, soon full.
const DISK_BYTES: u64 = 256 << 20;

/// How long servers may take until all is well after they came back.
const HEALTH_PATIENCE: Duration = Duration::from_secs(40);

#[derive(Debug)]
enum Group {
    One(Box<NatsServer>),
    Many(NatsCluster),
}

/// The servers of a run.
#[derive(Debug)]
pub(super) struct Servers {
    group: Group,
    proxies: Vec<Proxy>,
    /// Declared last, so that the servers end before their disk goes.
    disk: Option<FullDisk>,
}

impl Servers {
    pub(super) async fn start(setup: &Setup) -> Result<Self, RealError> {
        let disk = match setup.small_disk {
            Wish::Never => None,
            Wish::IfThere => FullDisk::mount(DISK_BYTES).ok(),
            Wish::Must => Some(FullDisk::mount(DISK_BYTES)?),
        };
        let host = if setup.namespace == Wish::Never {
            Ipv4Addr::LOCALHOST
        } else {
            Ipv4Addr::UNSPECIFIED
        };
        let options = NatsServerOptions {
            host: IpAddr::V4(host),
            store_dir: disk.as_ref().map(|disk| disk.path().join("store")),
            no_advertise: true,
            ..NatsServerOptions::default()
        };
        let group = if setup.servers == 1 {
            Group::One(Box::new(NatsServer::start(options).await?))
        } else {
            Group::Many(NatsCluster::start(setup.servers, options).await?)
        };
        let mut servers = Self { group, proxies: Vec::new(), disk };
        if setup.is_proxied {
            for addr in servers.addrs() {
                servers.proxies.push(Proxy::start(addr).await?);
            }
        }
        Ok(servers)
    }

    fn all(&self) -> &[NatsServer] {
        match &self.group {
            Group::One(server) => std::slice::from_ref(&**server),
            Group::Many(cluster) => cluster.servers(),
        }
    }

    fn addrs(&self) -> Vec<SocketAddr> {
        self.all().iter().map(NatsServer::addr).collect()
    }

    /// Returns how many there are.
    pub(super) fn count(&self) -> usize {
        self.all().len()
    }

    /// Returns a server's name.
    pub(super) fn name(&self, index: usize) -> String {
        self.all().get(index).map_or_else(|| format!("n{index}"), |it| it.name().to_owned())
    }

    /// Returns the servers' logs, by name.
    pub(super) fn logs(&self) -> impl Iterator<Item = (String, PathBuf)> {
        self.all().iter().map(|server| (server.name().to_owned(), server.log_path()))
    }

    /// Returns where the suite connects to: past all proxies.
    pub(super) fn urls(&self) -> Vec<String> {
        self.all().iter().map(NatsServer::url).collect()
    }

    /// Returns where nodes connect to.
    pub(super) fn node_urls(&self) -> Vec<String> {
        if self.proxies.is_empty() {
            return self.urls();
        }
        self.proxies.iter().map(Proxy::url).collect()
    }

    /// Returns where a node connects to that reaches this machine as `host`.
    pub(super) fn urls_at(&self, host: Ipv4Addr) -> Vec<String> {
        self.all().iter().map(|server| server.url_at(IpAddr::V4(host))).collect()
    }

    /// Sets what all proxies do.
    pub(super) fn set(&self, fault: Fault) {
        self.proxies.iter().for_each(|proxy| proxy.set(fault));
    }

    /// Says whether there are proxies.
    pub(super) const fn is_proxied(&self) -> bool {
        !self.proxies.is_empty()
    }

    /// Returns the disk that can be filled, if there is one.
    pub(super) const fn disk(&self) -> Option<&FullDisk> {
        self.disk.as_ref()
    }

    /// Returns the server that leads a stream; the first one while nobody knows.
    pub(super) async fn leader(&self, stream: &str) -> usize {
        match &self.group {
            Group::One(_) => 0,
            Group::Many(cluster) => cluster.stream_leader(stream).await.unwrap_or_default(),
        }
    }

    pub(super) async fn kill(&mut self, index: usize) -> Result<(), RealError> {
        match &mut self.group {
            Group::One(server) => server.kill().await,
            Group::Many(cluster) => cluster.kill(index).await,
        }
    }

    pub(super) async fn restart(&mut self, index: usize) -> Result<(), RealError> {
        match &mut self.group {
            Group::One(server) => server.restart().await,
            Group::Many(cluster) => cluster.restart(index).await,
        }
    }

    pub(super) async fn kill_all(&mut self) -> Result<(), RealError> {
        match &mut self.group {
            Group::One(server) => server.kill().await,
            Group::Many(cluster) => cluster.kill_all().await,
        }
    }

    pub(super) async fn restart_all(&mut self) -> Result<(), RealError> {
        match &mut self.group {
            Group::One(server) => server.restart().await,
            Group::Many(cluster) => cluster.restart_all().await,
        }
    }

    /// Waits until the servers are well. One that is not is told in the log, and the run shows it.
    pub(super) async fn wait_healthy(&self) {
        if let Group::Many(cluster) = &self.group
            && let Err(why) = cluster.wait_healthy(HEALTH_PATIENCE).await
        {
            warn!(%why, "the servers are not well yet");
        }
    }
}
