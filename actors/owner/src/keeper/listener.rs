//! Hearing the other nodes, however often that has to begin anew.

use std::{sync::Arc, time::Duration};

use futures::{FutureExt as _, future::BoxFuture};
use tapio_bus::{Beat, BeatReader, FabricError, SharedFabric};
use tokio::time::sleep;
use tracing::warn;

/// Wait before listening is tried again.
const RETRY: Duration = Duration::from_millis(250);

/// Listens to signs of life.
pub(super) struct Listener {
    fabric: SharedFabric,
    listening: Listening,
}

enum Listening {
    Open(Box<dyn BeatReader>),
    // Kept here: the keeper stops waiting many times a second, and opening may take longer.
    Opening(BoxFuture<'static, Result<Box<dyn BeatReader>, FabricError>>),
}

impl Listening {
    fn opening(fabric: &SharedFabric, wait: Duration) -> Self {
        let fabric = Arc::clone(fabric);
        let opening = async move {
            sleep(wait).await;
            fabric.hear_beats().await
        };
        Self::Opening(opening.boxed())
    }
}

impl Listener {
    pub(super) fn new(fabric: SharedFabric) -> Self {
        let listening = Listening::opening(&fabric, Duration::ZERO);
        Self { fabric, listening }
    }

    /// Waits for the next sign of life.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing: what was begun is gone on with.
    pub(super) async fn next(&mut self) -> Beat {
        loop {
            let why = match &mut self.listening {
                Listening::Open(reader) => match reader.next().await {
                    Ok(beat) => return beat,
                    Err(why) => why,
                },
                Listening::Opening(opening) => match opening.await {
                    Ok(reader) => {
                        self.listening = Listening::Open(reader);
                        continue;
                    }
                    Err(why) => why,
                },
            };
            warn!(%why, "cannot hear the other nodes");
            self.listening = Listening::opening(&self.fabric, RETRY);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::Middle;

    #[tokio::test(start_paused = true)]
    async fn opening_outlasts_a_caller_that_stops_waiting() {
        let middle = Middle::new();
        middle.script().hearing_takes = Duration::from_secs(1);
        let fabric: SharedFabric = middle;
        let mut listener = Listener::new(fabric);
        let waited = async {
            for round in 0..20 {
                let heard = tokio::time::timeout(Duration::from_millis(100), listener.next()).await;
                if heard.is_ok() {
                    return Some(round);
                }
            }
            None
        };
        assert!(waited.await.is_some(), "it never came to hear");
    }
}
