//! Claiming a shard, or letting one go that an earlier owner of this boot left held.

use std::sync::Arc;

use tapio_bus::{FabricError, Revision};
use tapio_model::{Mark, Timestamp};
use tapio_shard::{Claimable, Root};
use tapio_wire::decode_root;
use tokio::time::sleep;
use tracing::info;

use super::{Order, OwnerParts};
use crate::{Dropped, Sabotage, commit::Committer, draft::Setting};

/// The log begins with entry 1.
const FIRST: Mark = Mark { sequence: 1, now: Timestamp::MIN };

/// Waits until the shard is free and claims it; `None` if it is no longer wanted.
pub(super) async fn claim(parts: &mut OwnerParts) -> Result<Option<Committer>, Dropped> {
    loop {
        let is_wanted = *parts.order.borrow() == Order::Own;
        let (root, revision) = match parts.fabric.read_root(parts.shard).await {
            Ok(Some(read)) => match decode_root(&read.bytes) {
                Ok(root) => (root, Some(read.revision)),
                Err(why) => return Err(Dropped::Refused(format!("the root is unreadable: {why}"))),
            },
            Ok(None) => (Root { low: FIRST, ..Root::default() }, None),
            Err(FabricError::Refused(why)) => return Err(Dropped::Refused(why)),
            Err(FabricError::Unreachable(_) | FabricError::Full(_)) => {
                sleep(parts.limits.retry).await;
                continue;
            }
        };
        let claimable = root.claimable(&parts.me, |node| (parts.is_dead)(node));
        if !is_wanted {
            // An owner of this boot that ended otherwise than it should may have left it held.
            if claimable == Claimable::Mine {
                // An epoch of its own: a write of that owner may still be on its way.
                let released = Root {
                    released: true,
                    epoch: root.epoch + 1,
                    commit: root.commit + 1,
                    ..root.clone()
                };
                committer(parts, root, revision).swap(released).await?;
            }
            return Ok(None);
        }
        match claimable {
            Claimable::Free | Claimable::Mine => {}
            Claimable::Held(_) if parts.limits.breaks(Sabotage::NoFence) => {}
            Claimable::Held(_) => {
                sleep(parts.limits.retry / 2).await;
                continue;
            }
        }
        let is_takeover = root.owner.is_some() && !root.released;
        let claimed = root.claimed_by(&parts.me);
        let mut committer = committer(parts, root, revision);
        match committer.swap(claimed).await {
            Ok(()) => {
                parts.figures.claims.add(1);
                parts.figures.takeovers.add(u64::from(is_takeover));
                let epoch = committer.root.epoch;
                info!(shard = %parts.shard, epoch, is_takeover, "claimed");
                return Ok(Some(committer));
            }
            Err(Dropped::Lost) => sleep(parts.limits.retry / 2).await,
            Err(refused @ Dropped::Refused(_)) => return Err(refused),
        }
    }
}

fn committer(parts: &OwnerParts, root: Root, revision: Option<Revision>) -> Committer {
    let is_audited = parts.rules.is_audited();
    let setting = Setting { shard: parts.shard, shards: parts.shards, is_audited };
    let tools = (parts.limits.clone(), Arc::clone(&parts.figures), parts.telemetry.clone());
    Committer::new(Arc::clone(&parts.fabric), setting, tools, (root, revision))
}
