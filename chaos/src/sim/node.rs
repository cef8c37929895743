//! Simulated nodes: the keeper and the owners of production on the simulated middle.

use std::sync::Arc;

use tapio_engine::Rules;
use tapio_model::{ShardId, Text};
use tapio_owner::{KeeperLimits, KeeperParts, MeshView, OwnerFigures, OwnerLimits, keep};
use tapio_shard::{NodeId, ShardCount};
use tapio_telemetry::Telemetry;
use tokio::sync::{mpsc, watch};
use tracing::debug;

use super::{
    ask::AskRoots,
    fabric::NodeFabric,
    gate::{Fuse, Gate},
    hands::SimHands,
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
    leave: watch::Sender<bool>,
    handoffs: mpsc::Sender<ShardId>,
    view: watch::Receiver<MeshView>,
}

impl SimNode {
    pub(super) fn new(setting: Setting, number: usize) -> Self {
        let name = format!("tapio-{number}").into();
        Self { setting, name, boots: 0, boot: None, figures: Vec::new() }
    }

    /// Starts the node, unless it runs.
    pub(super) fn start(&mut self) {
        if !self.is_dead() {
            return;
        }
        self.boots += 1;
        debug!(name = %self.name, boot = self.boots, at = ?self.setting.world.age(), "starts");
        let world = &self.setting.world;
        let gate = Arc::new(Gate::new(Arc::clone(world)));
        let (leave, leaves) = watch::channel(false);
        let (handoffs, handed) = mpsc::channel(1);
        let (view, seen) = watch::channel(MeshView::default());
        let figures = Arc::new(OwnerFigures::default());
        self.figures.push(Arc::clone(&figures));
        let parts = KeeperParts {
            fabric: Arc::new(NodeFabric { world: Arc::clone(world), gate: Arc::clone(&gate) }),
            me: NodeId { name: self.name.clone(), boot: self.boots },
            capacity: 1,
            version: "simulated".into(),
            shards: self.setting.shards,
            rules: Arc::clone(&self.setting.rules),
            owner_limits: self.setting.owner_limits.clone(),
            limits: KeeperLimits::default(),
            ask: Arc::new(AskRoots { world: Arc::clone(world) }),
            hands: Arc::new(SimHands { world: Arc::clone(world), gate: Arc::clone(&gate) }),
            leave: leaves,
            view,
            handoffs: handed,
            figures,
            telemetry: Telemetry::off(),
        };
        let of_keeper = Arc::clone(&gate);
        gate.spawn(async move {
            keep(parts).await;
            // The process ends, and everything in it.
            of_keeper.kill();
        });
        self.boot = Some(Boot { gate, leave, handoffs, view: seen });
    }

    pub(super) fn is_dead(&self) -> bool {
        self.boot.as_ref().is_none_or(|boot| boot.gate.is_dead())
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
        self.with_gate(Gate::kill);
    }

    pub(super) fn set_fuse(&self, fuse: Fuse) {
        self.with_gate(|gate| gate.set_fuse(fuse));
    }

    pub(super) fn pause(&self) {
        self.with_gate(Gate::pause);
    }

    pub(super) fn resume(&self) {
        self.with_gate(Gate::resume);
    }

    pub(super) fn cut_off(&self, is_cut_off: bool) {
        self.with_gate(|gate| gate.cut_off(is_cut_off));
    }

    fn with_gate(&self, act: impl FnOnce(&Gate)) {
        if let Some(boot) = &self.boot {
            act(&boot.gate);
        }
    }

    /// Tells the node to hand everything over and end.
    pub(super) fn leave(&self) {
        if let Some(boot) = &self.boot {
            boot.leave.send_replace(true);
        }
    }

    /// Tells the node to let a shard go once.
    pub(super) fn hand_off(&self, shard: ShardId) {
        if let Some(boot) = &self.boot {
            // One at a time is enough.
            boot.handoffs.try_send(shard).unwrap_or_default();
        }
    }
}
