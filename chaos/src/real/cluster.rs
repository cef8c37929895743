//! Servers that form one JetStream cluster.

use std::time::Duration;

use rustix::process::Signal;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::real::monitor::{MetaCluster, behind};
use crate::real::port::PortLease;
use crate::real::server::{RouteLease, is_taken};
use crate::real::{NatsServer, NatsServerOptions, RealError, monitor};

/// How often the servers are asked while something is waited for; they have no event for it.
const ASK_INTERVAL: Duration = Duration::from_millis(50);

/// How long a new cluster may take to elect its leader; an election takes up to 9 s.
const ELECTION_PATIENCE: Duration = Duration::from_secs(40);

/// How often a start is tried again on other ports.
const START_TRIES_MAX: u32 = 4;

/// Several nats-servers on this machine, each with its own ports and its own store.
///
/// # Invariant
/// Server `i` is named `n{i}`, also over restarts.
#[derive(Debug)]
pub struct NatsCluster {
    servers: Vec<NatsServer>,
}

impl NatsCluster {
    /// Starts `count` servers and waits until they have a leader and all follow it.
    ///
    /// # Errors
    /// See [`NatsServer::start`]; [`RealError::Unhealthy`] when they find no leader.
    pub async fn start(count: usize, options: NatsServerOptions) -> Result<Self, RealError> {
        let mut tries = 0;
        let cluster = loop {
            tries += 1;
            match Self::launch(count, &options).await {
                Ok(cluster) => break cluster,
                Err(error) if tries < START_TRIES_MAX && is_taken(&error) => {}
                Err(error) => return Err(error),
            }
        };
        cluster.wait_healthy(ELECTION_PATIENCE).await?;
        Ok(cluster)
    }

    async fn launch(count: usize, options: &NatsServerOptions) -> Result<Self, RealError> {
        let leases: Result<Vec<_>, _> = (0..count).map(|_| PortLease::take()).collect();
        let leases = leases.map_err(RealError::io("take ports"))?;
        let all_ports: Vec<_> = leases.iter().map(PortLease::port).collect();
        let mut servers = Vec::with_capacity(count);
        for (index, own) in leases.into_iter().enumerate() {
            let routes = RouteLease { own, all_ports: all_ports.clone() };
            let name = format!("n{index}");
            let mut server = NatsServer::prepare(&name, options.clone(), Some(routes)).await?;
            server.launch().await?;
            servers.push(server);
        }
        Ok(Self { servers })
    }

    /// Where clients connect to, by server.
    #[must_use]
    pub fn urls(&self) -> Vec<String> {
        self.servers.iter().map(NatsServer::url).collect()
    }

    /// The servers, in order.
    #[must_use]
    pub fn servers(&self) -> &[NatsServer] {
        &self.servers
    }

    /// One server, to pause or terminate it.
    ///
    /// # Errors
    /// [`RealError::NotRunning`] when there is none with this index.
    pub fn server_mut(&mut self, index: usize) -> Result<&mut NatsServer, RealError> {
        let missing = || RealError::NotRunning { name: format!("n{index}") };
        self.servers.get_mut(index).ok_or_else(missing)
    }

    /// Kills one server (SIGKILL).
    ///
    /// # Errors
    /// See [`NatsServer::kill`].
    pub async fn kill(&mut self, index: usize) -> Result<(), RealError> {
        self.server_mut(index)?.kill().await
    }

    /// Starts one server again on its ports and its store.
    ///
    /// # Errors
    /// See [`NatsServer::restart`].
    pub async fn restart(&mut self, index: usize) -> Result<(), RealError> {
        self.server_mut(index)?.restart().await
    }

    /// Kills every server, all before the first is awaited.
    ///
    /// # Errors
    /// See [`NatsServer::kill`].
    pub async fn kill_all(&mut self) -> Result<(), RealError> {
        for server in self.servers.iter_mut().filter(|server| server.pid().is_some()) {
            server.signal(Signal::KILL)?;
        }
        for server in &mut self.servers {
            server.kill().await?;
        }
        Ok(())
    }

    /// Starts every server again; [`Self::wait_healthy`] tells when they have a leader.
    ///
    /// # Errors
    /// See [`NatsServer::restart`].
    pub async fn restart_all(&mut self) -> Result<(), RealError> {
        for server in &mut self.servers {
            server.restart().await?;
        }
        Ok(())
    }

    /// Returns the server that leads `stream`, by its own word; none during an election.
    pub async fn stream_leader(&self, stream: &str) -> Option<usize> {
        for (index, server) in self.servers.iter().enumerate() {
            if server.pid().is_none() {
                continue;
            }
            let Ok(status) = monitor::jetstream(server.monitor_addr()).await else { continue };
            if status.stream_leader(stream) == Some(server.name()) {
                return Some(index);
            }
        }
        None
    }

    /// Returns the server that leads the cluster's placement group, by its own word.
    pub async fn meta_leader(&self) -> Option<usize> {
        for (index, server) in self.servers.iter().enumerate() {
            if server.pid().is_none() {
                continue;
            }
            let Ok(status) = monitor::jetstream(server.monitor_addr()).await else { continue };
            if status.meta_cluster.and_then(|meta| meta.leader).as_deref() == Some(server.name()) {
                return Some(index);
            }
        }
        None
    }

    /// Waits until one server leads, every other follows it, every stream has its leader and is
    /// current, and all say that they are well.
    ///
    /// # Errors
    /// [`RealError::Unhealthy`] with what was wrong last.
    pub async fn wait_healthy(&self, patience: Duration) -> Result<(), RealError> {
        let deadline = Instant::now() + patience;
        let mut ticks = interval(ASK_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            match self.ailment().await {
                None => return Ok(()),
                Some(reason) if Instant::now() >= deadline => {
                    return Err(RealError::Unhealthy { patience, reason });
                }
                Some(_) => {}
            }
        }
    }

    /// Returns what is wrong with the cluster, if anything is.
    async fn ailment(&self) -> Option<String> {
        let mut meta = None;
        for server in &self.servers {
            let name = server.name();
            if server.pid().is_none() {
                return Some(format!("{name} does not run"));
            }
            if let Err(error) = server.health().await {
                return Some(format!("{name}: {error}"));
            }
            let status = match monitor::jetstream(server.monitor_addr()).await {
                Ok(status) => status,
                Err(error) => return Some(format!("{name}: {error}")),
            };
            if let Some(reason) = status.stream_ailment(name) {
                return Some(reason);
            }
            let leads = |group: &MetaCluster| group.leader.as_deref() == Some(name);
            meta = status.meta_cluster.filter(leads).or(meta);
        }
        let Some(meta) = meta else { return Some("no leader".to_owned()) };
        if meta.replicas.len() + 1 < self.servers.len() {
            return Some(format!("the leader has {} followers", meta.replicas.len()));
        }
        behind(&meta.replicas).map(|replica| format!("{replica} is not current"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn worlds_can_be_moved_to_another_thread_while_they_work() {
        fn is_send<T: Send>(_: impl FnOnce(&'static mut NatsCluster) -> T) {}
        is_send(|_| NatsCluster::start(3, NatsServerOptions::default()));
        is_send(|_| NatsServer::start(NatsServerOptions::default()));
        is_send(NatsCluster::restart_all);
        is_send(|cluster| cluster.wait_healthy(Duration::ZERO));
        is_send(|cluster| cluster.stream_leader("S"));
    }
}
