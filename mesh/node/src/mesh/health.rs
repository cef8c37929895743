//! Whether a node of the mesh lives and is ready.

use tapio_owner::{MeshView, Phase};
use tapio_shard::{NodeState, ShardCount};
use tokio::sync::watch;

use crate::{Health, HealthSource};

/// Health as the keeper's view has it.
#[derive(Debug)]
pub(super) struct MeshHealth {
    pub(super) view: watch::Receiver<MeshView>,
    pub(super) shards: ShardCount,
}

impl HealthSource for MeshHealth {
    fn live(&self) -> Health {
        let is_over = self.view.has_changed().is_err();
        let reasons = is_over.then(|| "the keeper of the shards has ended".to_owned());
        Health::from_reasons(reasons.into_iter().collect())
    }

    fn ready(&self) -> Health {
        let view = self.view.borrow();
        let mut reasons = Vec::new();
        match view.state {
            Some(NodeState::Ready) => {}
            Some(NodeState::Leaving) => reasons.push("leaving the mesh".to_owned()),
            Some(NodeState::Joining) | None => {
                reasons.push("watching who else is there".to_owned());
            }
        }
        if view.is_cut_off {
            reasons.push("NATS does not answer: is it up, and may we write?".to_owned());
        }
        for (shard, status) in &view.held {
            if status.phase != Phase::Owning {
                reasons.push(format!("shard {shard} is {:?}", status.phase).to_lowercase());
            }
        }
        let unowned = usize::from(self.shards.get()).saturating_sub(view.owners.len());
        if unowned > 0 && view.state == Some(NodeState::Ready) {
            reasons.push(format!("{unowned} shards have no owner that is known here"));
        }
        Health::from_reasons(reasons)
    }
}
