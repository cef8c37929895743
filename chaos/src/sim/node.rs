//! Simulated nodes: the keeper and the owners of production on the simulated middle.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use tapio_engine::{IncidentRef, Rules};
use tapio_model::{Entity, IncidentState, ShardId, Text, Timestamp};
use tapio_owner::{
    AskRelated, Elsewhere, Hands, KeeperLimits, KeeperParts, LocalBrain, MeshView, OwnerFigures,
    OwnerLimits, OwnerParts, Running, keep, own,
};
use tapio_shard::{Content, NodeId, PieceKey, ShardCount};
use tapio_telemetry::Telemetry;
use tapio_wire::{decode_incident_state, decode_root};
use tokio::sync::{mpsc, oneshot, watch};

use super::{
    fabric::{Fuse, NodeFabric},
    gate::Gate,
    world::World,
};

/// What all nodes of a world have in common.
#[derive(Debug, Clone)]
pub(super) struct Setting {
    pub(super) world: Arc<World>,
    pub(super) rules: Arc<Rules>,
    pub(super) shards: ShardCount,
    pub(super) owner_limits: OwnerLimits,
}

/// One name of the mesh, through all its boots.
#[derive(Debug)]
pub(super) struct SimNode {
    setting: Setting,
    name: Text,
    boots: u64,
    boot: Option<Boot>,
    /// Figures of all boots.
    pub(super) figures: Vec<Arc<OwnerFigures>>,
}

#[derive(Debug)]
struct Boot {
    gate: Arc<Gate>,
    fabric: Arc<NodeFabric>,
    leave: watch::Sender<bool>,
    view: watch::Receiver<MeshView>,
}

impl SimNode {
    pub(super) fn new(setting: Setting, number: usize) -> Self {
        let name = format!("tapio-{number}").into();
        Self { setting, name, boots: 0, boot: None, figures: Vec::new() }
    }

    /// Starts the node, unless it runs.
    pub(super) fn start(&mut self) {
        if self.boot.as_ref().is_some_and(|boot| !boot.gate.is_dead()) {
            return;
        }
        self.boots += 1;
        let gate = Arc::new(Gate::default());
        let fabric = Arc::new(NodeFabric::new(Arc::clone(&self.setting.world), Arc::clone(&gate)));
        let (leave, leaves) = watch::channel(false);
        let (view, seen) = watch::channel(MeshView::default());
        let figures = Arc::new(OwnerFigures::default());
        self.figures.push(Arc::clone(&figures));
        let parts = KeeperParts {
            fabric: Arc::<NodeFabric>::clone(&fabric),
            me: NodeId { name: self.name.clone(), boot: self.boots },
            capacity: 1,
            version: "simulated".into(),
            shards: self.setting.shards,
            rules: Arc::clone(&self.setting.rules),
            owner_limits: self.setting.owner_limits.clone(),
            limits: KeeperLimits::default(),
            ask: Arc::new(AskRoots { world: Arc::clone(&self.setting.world) }),
            hands: Arc::new(SimHands { gate: Arc::clone(&gate), starts: Mutex::default() }),
            leave: leaves,
            view,
            handoffs: mpsc::channel(1).1,
            figures,
            telemetry: Telemetry::off(),
        };
        let of_keeper = Arc::clone(&gate);
        gate.spawn(async move {
            keep(parts).await;
            // The process ends, and everything in it.
            of_keeper.kill();
        });
        self.boot = Some(Boot { gate, fabric, leave, view: seen });
    }

    /// Says how the mesh looks from here.
    pub(super) fn standing(&self) -> String {
        let Some(boot) = &self.boot else { return "never started".into() };
        let view = boot.view.borrow();
        let held: Vec<_> =
            view.held.iter().map(|(shard, status)| (shard.number(), status.phase)).collect();
        format!(
            "{}#{} dead={} {:?} cut_off={} live={} held={held:?}",
            self.name,
            self.boots,
            boot.gate.is_dead(),
            view.state,
            view.is_cut_off,
            view.live.len(),
        )
    }

    pub(super) fn kill(&self) {
        if let Some(boot) = &self.boot {
            boot.gate.kill();
        }
    }

    pub(super) fn set_fuse(&self, fuse: Option<Fuse>) {
        if let Some(boot) = &self.boot {
            boot.fabric.set_fuse(fuse);
        }
    }

    pub(super) fn pause(&self) {
        if let Some(boot) = &self.boot {
            boot.gate.pause();
        }
    }

    pub(super) fn resume(&self) {
        if let Some(boot) = &self.boot {
            boot.gate.resume();
        }
    }

    pub(super) fn cut_off(&self, is_cut_off: bool) {
        if let Some(boot) = &self.boot {
            boot.gate.cut_off(is_cut_off);
        }
    }

    pub(super) fn leave(&self) {
        if let Some(boot) = &self.boot {
            boot.leave.send_replace(true);
        }
    }
}

/// Runs owners behind the node's gate.
#[derive(Debug)]
struct SimHands {
    gate: Arc<Gate>,
    starts: Mutex<u64>,
}

impl Hands for SimHands {
    fn start(&self, parts: OwnerParts) -> Running {
        *self.starts.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        let (mut tell, ended) = oneshot::channel();
        self.gate.spawn(async move {
            tokio::select! {
                () = tell.closed() => {}
                how = own(parts, LocalBrain::default()) => {
                    // Nobody listens any more if the node is ending.
                    tell.send(how).unwrap_or_default();
                }
            }
        });
        Running { ended }
    }
}

/// Answers questions from the roots as they lie: true some moments ago.
#[derive(Debug)]
struct AskRoots {
    world: Arc<World>,
}

#[async_trait]
impl AskRelated for AskRoots {
    async fn related(&self, from: ShardId, entities: &[Entity], _: Timestamp) -> Vec<Elsewhere> {
        tokio::time::sleep(self.world.delay()).await;
        let roots: Vec<_> = {
            let middle = self.world.middle();
            let others = middle.roots.iter().filter(|(shard, _)| **shard != from);
            others
                .filter_map(|(shard, writes)| Some((*shard, writes.last()?.bytes.clone())))
                .collect()
        };
        let mut found = Vec::new();
        for (shard, bytes) in roots {
            let Ok(root) = decode_root(&bytes) else { continue };
            for (key, content) in &root.pieces {
                let PieceKey::Incident(id) = key else { continue };
                let Some(state) = self.incident(content) else { continue };
                let touches: Vec<_> =
                    entities.iter().filter(|it| state.entities.contains(it)).cloned().collect();
                if !touches.is_empty() {
                    let incident = IncidentRef { id: *id, opened_at: state.opened_at, touches };
                    found.push(Elsewhere { shard, incident });
                }
            }
        }
        found
    }
}

impl AskRoots {
    fn incident(&self, content: &Content) -> Option<IncidentState> {
        let bytes = match content {
            Content::Inline(bytes) => bytes.clone(),
            Content::Chunks { names, .. } => {
                let middle = self.world.middle();
                let chunks: Option<Vec<_>> =
                    names.iter().map(|name| middle.chunks.get(name).cloned()).collect();
                chunks?.concat()
            }
        };
        decode_incident_state(&bytes).ok()
    }
}
