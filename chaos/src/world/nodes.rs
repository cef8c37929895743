//! The nodes of a run: processes, each with its own state.

use std::{
    ffi::OsString,
    io::{BufRead as _, BufReader},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    process::ExitStatus,
    time::Duration,
};

use tapio_model::Text;
use tapio_shard::ShardCount;
use tokio::time::{Instant, sleep};
use tracing::warn;

use super::{RunOptions, error::WorldError, servers::Servers};
use crate::{
    plan::{Setup, Wish},
    real::{Namespace, NodeCommand, NodeProcess, RealError, http_get, port::PortLease},
    record::Alarm,
};

/// How long a mesh may take until every node owns its share.
const READY_PATIENCE: Duration = Duration::from_secs(60);

/// How often a node is asked whether it is ready.
const ASK_INTERVAL: Duration = Duration::from_millis(100);

/// What every node is told. One that is started while all servers are down waits for them. An
/// incident stays open for longer than the 15 s that the mesh may take to be back: a node's own
/// default is four times as long.
// What a node learns is no part of what is lost or told twice.
const NODE_FLAGS: [&str; 12] = [
    "--no-baseline",
    "--window",
    "2s",
    "--quiet",
    "16s",
    "--audit",
    "--capacity=1",
    "--arbiters=1",
    "--nats-wait",
    "180s",
    "--log-level=info",
    "--log-json",
];

/// What a node's log says when it found other bytes where it was to publish.
const ALARM: &str = "two owners have told different things";

/// Seconds by which the clock of a node is wrong that is to have a wrong one.
const SKEW_S: i64 = 3_600;

/// What a node's wall clock shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WallClock {
    /// The time.
    Right,
    /// An hour too much.
    Ahead,
    /// An hour too little.
    Behind,
}

#[derive(Debug)]
struct Node {
    process: NodeProcess,
    http: SocketAddr,
    _port: PortLease,
    nats: String,
    should_run: bool,
}

/// The nodes of a run.
#[derive(Debug)]
pub(super) struct Nodes {
    nodes: Vec<Node>,
    program: PathBuf,
    replicas: usize,
    is_unfenced: bool,
    /// Declared last, so that the node inside ends before it goes.
    namespace: Option<Namespace>,
}

impl Nodes {
    /// Starts the nodes, all before the first is awaited.
    pub(super) async fn start(
        options: &RunOptions,
        setup: &Setup,
        servers: &mut Servers,
    ) -> Result<Self, RealError> {
        let namespace = match setup.namespace {
            Wish::Never => None,
            Wish::IfThere => Namespace::create().ok(),
            Wish::Must => Some(Namespace::create()?),
        };
        let mut nodes = Self {
            nodes: Vec::new(),
            program: options.program.clone(),
            replicas: servers.count(),
            is_unfenced: setup.is_unfenced,
            namespace,
        };
        for index in 0..options.nodes {
            let node = nodes.prepare(index, servers)?;
            nodes.nodes.push(node);
            nodes.launch(index, WallClock::Right).await?;
        }
        Ok(nodes)
    }

    fn prepare(&self, index: usize, servers: &Servers) -> Result<Node, RealError> {
        let port = PortLease::take().map_err(RealError::io("take a port"))?;
        let process = NodeProcess::prepare(&format!("tapio-{index}"))?;
        let namespace = self.namespace.as_ref().filter(|_| index == 0);
        let (process, host, urls) = match namespace {
            None => (process, Ipv4Addr::LOCALHOST, servers.node_urls()),
            Some(space) => {
                let urls = servers.urls_at(space.host_addr());
                (process.inside(space), space.inner_addr(), urls)
            }
        };
        let http = SocketAddr::new(IpAddr::V4(host), port.port());
        Ok(Node { process, http, _port: port, nats: urls.join(","), should_run: false })
    }

    /// Starts a node, killing it first if it runs.
    pub(super) async fn launch(&mut self, index: usize, clock: WallClock) -> Result<(), RealError> {
        let (program, replicas) = (self.program.clone(), self.replicas);
        let is_unfenced = self.is_unfenced;
        let Some(node) = self.nodes.get_mut(index) else { return Ok(()) };
        let mut args: Vec<OsString> = ["node", "--nats", &node.nats, "--name", node.process.name()]
            .map(OsString::from)
            .into();
        args.extend(["--data".into(), node.process.state_dir().into_os_string()]);
        let (http, shards) = (node.http.to_string(), ShardCount::DEFAULT.get().to_string());
        let replicas = replicas.to_string();
        let words = ["--http", &http, "--shards", &shards, "--replicas", &replicas];
        args.extend(words.map(OsString::from));
        args.extend(NODE_FLAGS.map(OsString::from));
        if is_unfenced {
            args.push("--unfenced".into());
        }
        let offset = match clock {
            WallClock::Right => 0,
            WallClock::Ahead => SKEW_S,
            WallClock::Behind => -SKEW_S,
        };
        if offset != 0 {
            args.push(format!("--clock-offset={offset}").into());
        }
        let command = NodeCommand { program, args, env: Vec::new() };
        node.should_run = true;
        node.process.start(&command).await
    }

    /// Waits until every node owns its share.
    pub(super) async fn wait_ready(&self) -> Result<(), WorldError> {
        let deadline = Instant::now() + READY_PATIENCE;
        for node in &self.nodes {
            loop {
                let why = match http_get(node.http, "/readyz").await {
                    Ok((200, _body)) => break,
                    Ok((status, body)) => format!("{status} {}", String::from_utf8_lossy(&body)),
                    Err(error) => error.to_string(),
                };
                if Instant::now() >= deadline {
                    return Err(WorldError::NotReady {
                        node: node.process.name().to_owned(),
                        patience: READY_PATIENCE,
                        why,
                        log_tail: node.process.stderr_tail(),
                    });
                }
                sleep(ASK_INTERVAL).await;
            }
        }
        Ok(())
    }

    pub(super) fn name(&self, index: usize) -> Text {
        self.nodes.get(index).map_or_else(Text::default, |node| node.process.name().into())
    }

    pub(super) const fn namespace(&self) -> Option<&Namespace> {
        self.namespace.as_ref()
    }

    pub(super) async fn kill(&mut self, index: usize) -> Result<(), RealError> {
        let Some(node) = self.nodes.get_mut(index) else { return Ok(()) };
        node.should_run = false;
        node.process.kill().await
    }

    pub(super) fn pause(&mut self, index: usize) -> Result<(), RealError> {
        self.nodes.get_mut(index).map_or(Ok(()), |node| node.process.pause())
    }

    pub(super) fn resume(&mut self, index: usize) -> Result<(), RealError> {
        self.nodes.get_mut(index).map_or(Ok(()), |node| node.process.resume())
    }

    /// Tells a node to end and waits for it; kills it if it does not. `None` if it did not.
    pub(super) async fn drain(
        &mut self,
        index: usize,
        patience: Duration,
    ) -> Result<Option<ExitStatus>, RealError> {
        let Some(node) = self.nodes.get_mut(index) else { return Ok(None) };
        node.should_run = false;
        match node.process.terminate(patience).await {
            Ok(status) => Ok(Some(status)),
            Err(RealError::StillRuns { .. }) => {
                node.process.kill().await?;
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Starts nodes again that ended by themselves, as a cluster would; returns them with the end of
    /// their logs.
    pub(super) async fn revive(&mut self) -> Result<Vec<(Text, String)>, RealError> {
        let mut crashed = Vec::new();
        for index in 0..self.nodes.len() {
            let Some(node) = self.nodes.get_mut(index) else { continue };
            if node.should_run && !node.process.is_running() {
                let tail = node.process.stderr_tail();
                warn!(node = node.process.name(), tail, "ended by itself");
                crashed.push((node.process.name().into(), tail));
                self.launch(index, WallClock::Right).await?;
            }
        }
        Ok(crashed)
    }

    /// Returns the memory of each node that runs.
    pub(super) fn memory(&self) -> impl Iterator<Item = (Text, u64)> {
        let held = self.nodes.iter().map(|node| (node.process.name(), node.process.rss_bytes()));
        held.filter_map(|(name, bytes)| Some((name.into(), bytes?)))
    }

    /// Returns the nodes' logs, by name.
    pub(super) fn logs(&self) -> impl Iterator<Item = (String, PathBuf)> {
        let logs = self.nodes.iter().map(|node| &node.process);
        logs.map(|process| (process.name().to_owned(), process.stderr_path()))
    }

    /// Returns what the logs of the nodes say of alarms.
    pub(super) fn alarms(&self, at: Duration) -> Vec<Alarm> {
        let counted = self.nodes.iter().filter_map(|node| {
            let log = std::fs::File::open(node.process.stderr_path()).ok()?;
            let lines = BufReader::new(log).lines().map_while(Result::ok);
            let count = lines.filter(|line| line.contains(ALARM)).count();
            let count = u64::try_from(count).unwrap_or(u64::MAX);
            Some(Alarm { at, node: node.process.name().into(), count })
        });
        counted.filter(|alarm| alarm.count > 0).collect()
    }
}
