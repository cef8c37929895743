//! Keeps a copy of every story of the mesh, so that any node can show any of them.

use std::{sync::Arc, time::Duration};

use tapio_bus::Start;
use tapio_model::{Story, Telling};
use tapio_nats::Archive;
use tokio::{sync::broadcast, task::spawn_blocking, time::sleep};
use tracing::{error, warn};

use crate::{StoryStore, store::Record};

/// Stories that a subscriber may be behind before it misses some.
pub(super) const BEHIND_MAX: usize = 256;

/// Wait before the feed is opened again.
const RETRY: Duration = Duration::from_secs(1);

/// Keeps and passes on every telling, from the oldest that is kept; for ever.
pub(super) async fn follow(
    archive: Archive,
    store: Arc<StoryStore>,
    stories: broadcast::Sender<Arc<Story>>,
) {
    loop {
        match archive.tellings(Start::Earliest).await {
            Ok(mut feed) => loop {
                match feed.next().await {
                    Ok(entry) => keep(entry.telling, &store, &stories).await,
                    Err(why) => {
                        warn!(%why, "stopped hearing stories");
                        break;
                    }
                }
            },
            Err(why) => warn!(%why, "cannot hear stories"),
        }
        sleep(RETRY).await;
    }
}

async fn keep(telling: Telling, store: &Arc<StoryStore>, stories: &broadcast::Sender<Arc<Story>>) {
    let Telling { story, evidence } = telling;
    let story: Arc<Story> = Arc::from(story);
    let records = vec![Record::Evidence(evidence), Record::Story(Arc::clone(&story))];
    let store = Arc::clone(store);
    match spawn_blocking(move || store.keep(&records)).await {
        Ok(Ok(())) => {}
        Ok(Err(why)) => error!(%why, "a story was told and not kept"),
        Err(why) => error!(%why, "a story was told, and the store panicked"),
    }
    // Without subscribers nobody hears it, and the store still has it.
    drop(stories.send(story));
}
