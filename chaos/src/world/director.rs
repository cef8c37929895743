//! Plays a plan: begins and ends faults at their times, and watches the nodes meanwhile.

use std::{collections::BTreeMap, time::Duration};

use tapio_model::Text;
use tapio_nats::{Stream, Subjects};
use tokio::{
    sync::watch,
    time::{Interval, MissedTickBehavior, interval, sleep_until},
};
use tracing::info;

use super::{
    RunClock,
    error::WorldError,
    nodes::{Nodes, WallClock},
    servers::Servers,
};
use crate::{
    fault::FaultKind,
    plan::{Edge, Fault, Plan},
    real,
    record::{Crash, DrainSeen, FaultSeen, MemorySample},
};

/// How often the nodes are looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

/// How long a node may take to end after SIGTERM before it is killed.
const DRAIN_PATIENCE: Duration = Duration::from_secs(15);

/// How late things arrive while the middle is slow: later than a commit is due, and now and then
/// later than nodes count as alive.
const SLOW: [Duration; 2] = [Duration::from_millis(20), Duration::from_millis(400)];

/// What was done and seen.
#[derive(Debug, Default)]
pub(super) struct Played {
    pub(super) faults: Vec<FaultSeen>,
    pub(super) drains: Vec<DrainSeen>,
    pub(super) crashes: Vec<Crash>,
    pub(super) memory: Vec<MemorySample>,
    pub(super) skipped: Vec<Text>,
}

/// Plays a plan.
#[derive(Debug)]
pub(super) struct Director<'a> {
    clock: RunClock,
    nodes: &'a mut Nodes,
    servers: &'a mut Servers,
    played: Played,
    /// Faults that last, by their place in the plan: where they are noted, and what they hit.
    lasting: BTreeMap<usize, (usize, Vec<usize>)>,
    look: Interval,
}

impl<'a> Director<'a> {
    pub(super) fn new(clock: RunClock, nodes: &'a mut Nodes, servers: &'a mut Servers) -> Self {
        let mut look = interval(LOOK_INTERVAL);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (played, lasting) = (Played::default(), BTreeMap::new());
        Self { clock, nodes, servers, played, lasting, look }
    }

    /// Plays every edge at its time, then waits until the load is sent.
    pub(super) async fn play(
        &mut self,
        plan: &Plan,
        mut sent: watch::Receiver<bool>,
    ) -> Result<(), WorldError> {
        for edge in plan.edges() {
            let at = self.clock.start + edge.at;
            loop {
                tokio::select! {
                    () = sleep_until(at) => break,
                    _ = self.look.tick() => self.look_at_nodes().await?,
                }
            }
            if edge.is_end { self.end(&edge).await? } else { self.begin(&edge).await? }
        }
        // Whoever sends is bounded: it gives up what is not acknowledged in time.
        let give_up = self.clock.start + plan_end(plan) + crate::world::RUN_MARGIN / 2;
        loop {
            tokio::select! {
                _ = sent.wait_for(|is_done| *is_done) => return Ok(()),
                () = sleep_until(give_up) => return Ok(()),
                _ = self.look.tick() => self.look_at_nodes().await?,
            }
        }
    }

    /// Returns what was done and seen.
    pub(super) async fn finish(mut self) -> Result<Played, WorldError> {
        self.look_at_nodes().await?;
        Ok(self.played)
    }

    async fn look_at_nodes(&mut self) -> Result<(), WorldError> {
        let at = self.clock.elapsed();
        let held = self.nodes.memory();
        self.played.memory.extend(held.map(|(node, bytes)| MemorySample { at, node, bytes }));
        let crashed = self.nodes.revive().await?;
        self.played.crashes.extend(crashed.into_iter().map(|(node, log_tail)| Crash {
            at,
            node,
            log_tail,
        }));
        Ok(())
    }

    async fn begin(&mut self, edge: &Edge) -> Result<(), WorldError> {
        let Fault { kind, target, .. } = edge.fault;
        if let Some(why) = self.lacking(kind) {
            self.played.skipped.push(format!("{}: {why}", kind.name()).into());
            return Ok(());
        }
        let at = self.clock.elapsed();
        let hit = self.hit(kind, target).await;
        let targets = self.names(kind, &hit);
        info!(kind = kind.name(), ?targets, "a fault begins");
        self.lasting.insert(edge.index, (self.played.faults.len(), hit.clone()));
        self.played.faults.push(FaultSeen { at, ended: None, kind, targets });
        let first = hit.first().copied().unwrap_or_default();
        match kind {
            FaultKind::KillNode => self.nodes.kill(first).await?,
            FaultKind::PauseNode => self.nodes.pause(first)?,
            FaultKind::DrainNode => self.drain(first).await?,
            FaultKind::PartitionNode => {
                self.nodes.namespace().map_or(Ok(()), real::Namespace::partition)?;
            }
            FaultKind::SkewClock => {
                let is_ahead = edge.index.is_multiple_of(2);
                let clock = if is_ahead { WallClock::Ahead } else { WallClock::Behind };
                self.nodes.launch(first, clock).await?;
            }
            FaultKind::KillServer | FaultKind::KillLeader => self.servers.kill(first).await?,
            FaultKind::KillAllServers => self.servers.kill_all().await?,
            FaultKind::SlowMiddle => {
                let [min, max] = SLOW;
                let seed = u64::try_from(edge.index).unwrap_or_default();
                self.servers.set(real::Fault::Delay { min, max, seed });
            }
            FaultKind::FailingMiddle => self.servers.set(real::Fault::Reset),
            FaultKind::FullDisk => {
                self.servers.disk().map_or(Ok(0), real::FullDisk::fill)?;
            }
            FaultKind::Burst => {}
        }
        Ok(())
    }

    async fn end(&mut self, edge: &Edge) -> Result<(), WorldError> {
        let Some((noted, hit)) = self.lasting.remove(&edge.index) else { return Ok(()) };
        let first = hit.first().copied().unwrap_or_default();
        match edge.fault.kind {
            FaultKind::KillNode | FaultKind::DrainNode | FaultKind::SkewClock => {
                self.nodes.launch(first, WallClock::Right).await?;
            }
            FaultKind::PauseNode => self.nodes.resume(first)?,
            FaultKind::PartitionNode => {
                self.nodes.namespace().map_or(Ok(()), real::Namespace::heal)?;
            }
            FaultKind::KillServer | FaultKind::KillLeader => self.servers.restart(first).await?,
            FaultKind::KillAllServers => self.servers.restart_all().await?,
            FaultKind::SlowMiddle | FaultKind::FailingMiddle => {
                self.servers.set(real::Fault::None);
            }
            FaultKind::FullDisk => {
                self.servers.disk().map_or(Ok(()), real::FullDisk::free)?;
                // A server that could not write turns its JetStream off until it is started again.
                self.servers.restart_all().await?;
            }
            FaultKind::Burst => {}
        }
        let ended = self.clock.elapsed();
        info!(kind = edge.fault.kind.name(), "a fault ends");
        if let Some(fault) = self.played.faults.get_mut(noted) {
            fault.ended = Some(ended);
        }
        if edge.fault.kind.hits_middle() {
            self.servers.wait_healthy().await;
        }
        Ok(())
    }

    async fn drain(&mut self, index: usize) -> Result<(), WorldError> {
        let (node, at) = (self.nodes.name(index), self.clock.elapsed());
        let status = self.nodes.drain(index, DRAIN_PATIENCE).await?;
        let took = status.map(|_| self.clock.elapsed().saturating_sub(at));
        let is_clean = status.is_some_and(|status| status.success());
        self.played.drains.push(DrainSeen { node, at, took, is_clean });
        Ok(())
    }

    /// Says what this machine lacks for a fault.
    fn lacking(&self, kind: FaultKind) -> Option<&'static str> {
        match kind {
            FaultKind::PartitionNode if self.nodes.namespace().is_none() => {
                Some("needs root and network namespaces")
            }
            FaultKind::FullDisk if self.servers.disk().is_none() => Some("needs root to mount"),
            FaultKind::SlowMiddle | FaultKind::FailingMiddle if !self.servers.is_proxied() => {
                Some("needs proxies before the servers")
            }
            FaultKind::KillNode
            | FaultKind::PauseNode
            | FaultKind::DrainNode
            | FaultKind::PartitionNode
            | FaultKind::SkewClock
            | FaultKind::KillServer
            | FaultKind::KillLeader
            | FaultKind::KillAllServers
            | FaultKind::SlowMiddle
            | FaultKind::FailingMiddle
            | FaultKind::FullDisk
            | FaultKind::Burst => None,
        }
    }

    /// Returns which nodes or servers a fault hits.
    async fn hit(&self, kind: FaultKind, target: usize) -> Vec<usize> {
        let servers = self.servers.count().max(1);
        match kind {
            FaultKind::KillNode
            | FaultKind::PauseNode
            | FaultKind::DrainNode
            | FaultKind::PartitionNode
            | FaultKind::SkewClock => vec![target],
            FaultKind::KillServer => vec![target % servers],
            FaultKind::KillLeader => {
                let stream = Subjects::default().stream(Stream::Events);
                vec![self.servers.leader(&stream).await]
            }
            FaultKind::KillAllServers
            | FaultKind::SlowMiddle
            | FaultKind::FailingMiddle
            | FaultKind::FullDisk => (0..servers).collect(),
            FaultKind::Burst => Vec::new(),
        }
    }

    fn names(&self, kind: FaultKind, hit: &[usize]) -> Vec<Text> {
        let name = |index: &usize| {
            if kind.hits_middle() {
                self.servers.name(*index).into()
            } else {
                self.nodes.name(*index)
            }
        };
        hit.iter().map(name).collect()
    }
}

fn plan_end(plan: &Plan) -> Duration {
    plan.faults.iter().map(Fault::end).max().unwrap_or_default()
}
