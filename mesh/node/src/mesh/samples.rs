//! What only the actors know, asked now and then: a figure is no message to a busy shard.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tapio_actors::{MeshActors, ShardStats};
use tapio_model::ShardId;
use tokio::time::{MissedTickBehavior, interval, timeout};

/// How often the actors are asked.
const SAMPLE_EVERY: Duration = Duration::from_secs(2);

/// How long a shard may take to answer; one that is too busy shows what it last said.
const SAMPLE_WAIT: Duration = Duration::from_secs(1);

/// What the shards of this node last said of themselves.
#[derive(Debug, Default)]
pub(super) struct Samples(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    latest: BTreeMap<ShardId, ShardStats>,
    /// What shards had counted that are no longer here, or began anew: a counter never falls.
    past: ShardStats,
}

impl Samples {
    /// Returns the figures of the shards that are here, and all that was ever counted here.
    pub(super) fn total(&self) -> ShardStats {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut total = known.past;
        known.latest.values().for_each(|stats| total.add(stats));
        total
    }

    fn keep(&self, latest: BTreeMap<ShardId, ShardStats>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).keep(latest);
    }
}

impl Known {
    fn keep(&mut self, latest: BTreeMap<ShardId, ShardStats>) {
        let before = std::mem::replace(&mut self.latest, latest);
        for (shard, before) in before {
            let now = self.latest.get(&shard);
            // No count of a shard falls unless it began anew.
            let is_over = now.is_none_or(|now| {
                now.restarts < before.restarts
                    || now.quarantined < before.quarantined
                    || now.wakes_refused < before.wakes_refused
            });
            if is_over {
                self.past.restarts += before.restarts;
                self.past.quarantined += before.quarantined;
                self.past.wakes_refused += before.wakes_refused;
            }
        }
    }
}

/// Asks the shards of this node, one after the other, for as long as it is let.
pub(super) async fn sample(actors: Arc<MeshActors>, samples: Arc<Samples>) {
    let mut tick = interval(SAMPLE_EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut last = BTreeMap::new();
    loop {
        tick.tick().await;
        let mut latest = BTreeMap::new();
        for reader in actors.readers() {
            let shard = reader.shard();
            match timeout(SAMPLE_WAIT, reader.stats()).await {
                Ok(Ok(stats)) => drop(latest.insert(shard, stats)),
                // Gone or too busy: what it last said, if it is still here.
                Ok(Err(_)) | Err(_) if reader.is_open() => {
                    latest.extend(last.get(&shard).map(|stats| (shard, *stats)));
                }
                Ok(Err(_)) | Err(_) => {}
            }
        }
        last.clone_from(&latest);
        samples.keep(latest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shard_that_leaves_takes_its_traces_and_leaves_its_counts() {
        let shard =
            |live_actors, restarts| ShardStats { live_actors, restarts, ..ShardStats::default() };
        let (one, two) = (ShardId::new(1), ShardId::new(2));
        let samples = Samples::default();
        let steps = [
            (vec![(one, shard(5, 1)), (two, shard(7, 2))], (12, 3)),
            // The second is somebody else's now.
            (vec![(one, shard(5, 1))], (5, 3)),
            // The first was lost and is back, and counts from nothing.
            (vec![(one, shard(1, 0))], (1, 3)),
            (vec![(one, shard(1, 4)), (two, shard(0, 0))], (1, 7)),
        ];
        for (latest, (live_actors, restarts)) in steps {
            samples.keep(latest.into_iter().collect());
            let total = samples.total();
            assert_eq!((total.live_actors, total.restarts), (live_actors, restarts));
        }
    }
}
