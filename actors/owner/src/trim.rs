//! Letting go of the log that nobody needs any more.

use tapio_bus::{FabricError, SharedFabric};
use tapio_shard::ShardCount;
use tapio_wire::decode_root;
use tracing::{debug, warn};

/// Lets go of the entries that no shard needs, if the log is short of room. One shard whose root
/// cannot be read, or was never written, keeps everything: what was not read is never let go.
pub(crate) async fn trim(fabric: SharedFabric, shards: ShardCount) {
    let mut needs = Vec::new();
    for shard in shards.shards() {
        let Ok(Some(read)) = fabric.read_root(shard).await else { return };
        let Ok(root) = decode_root(&read.bytes) else { return };
        needs.push((shard, root.low.sequence));
    }
    match fabric.trim_events(&needs).await {
        Ok(true) => debug!("trimmed the log"),
        Ok(false) | Err(FabricError::Unreachable(_)) => {}
        Err(why @ (FabricError::Refused(_) | FabricError::Full(_))) => {
            warn!(%why, "the log cannot be trimmed, and will be full one day");
        }
    }
}
