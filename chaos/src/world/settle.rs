//! Waiting until a run has come to rest.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use tracing::warn;

use super::{publish::Published, witness::Witness};

/// How long a mesh may take to come to rest. A trace closes after its window of 2 s, a story after
/// its quiet of 16 s; the rest is what the last fault may have held up.
const REST_MAX: Duration = Duration::from_secs(90);

/// How long nothing must have come.
const SILENCE: Duration = Duration::from_millis(1_500);

const LOOK_INTERVAL: Duration = Duration::from_millis(250);

/// Waits until every acknowledged event has an outcome, every story has ended and nothing more
/// comes; or until that has taken too long, and what is missing is lost.
pub(super) async fn wait(published: &Published, witness: &Witness) {
    let deadline = Instant::now() + REST_MAX;
    let (mut read, mut silent_since) = (0, Instant::now());
    loop {
        sleep(LOOK_INTERVAL).await;
        let acked = published.sent.iter().filter(|(_, sending)| sending.acked.is_some());
        let unsettled = witness.unsettled(acked.map(|(event, _)| *event));
        let (open, entries) = witness.open_stories();
        if entries != read {
            (read, silent_since) = (entries, Instant::now());
        }
        if unsettled == 0 && open == 0 && silent_since.elapsed() >= SILENCE {
            return;
        }
        if Instant::now() >= deadline {
            warn!(unsettled, open, "the mesh did not come to rest");
            return;
        }
    }
}
