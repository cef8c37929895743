//! Sending the load, its repeats, and poison.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::Bytes;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use tapio_model::{DeadReason, EventId, ShardId};
use tapio_wire::{EventBatch, encode_batch};
use tokio::time::{Instant, sleep_until};

use super::{
    options::SimOptions,
    poison::{self, Poison},
    trouble::Trouble,
    world::{Log, World},
};
use crate::{
    load::{self, Load},
    record::Sending,
};

/// How much later than the first time something may be sent again, in milliseconds.
const REPEAT_LAG_MS: std::ops::Range<u64> = 20..9_000;

/// Something that must become exactly one dead letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Indigestible {
    pub(super) shard: ShardId,
    pub(super) sequence: u64,
    pub(super) reason: DeadReason,
    pub(super) body: Bytes,
    /// The events, where it can be read.
    pub(super) events: Vec<EventId>,
}

/// What was sent.
#[derive(Debug, Clone, Default)]
pub(super) struct Published {
    /// Every event. What is appended is acknowledged.
    pub(super) sent: BTreeMap<EventId, Sending>,
    /// Events in all entries, and one for each entry that cannot be read, by shard and sequence.
    pub(super) deliveries: BTreeMap<(ShardId, u64), u64>,
    /// What must become dead letters.
    pub(super) indigestible: Vec<Indigestible>,
}

/// Something that is to be sent.
enum Job {
    Load(load::Step),
    Again(ShardId, Bytes, Vec<EventId>),
    Garbage(u16),
    Poison(Poison),
}

struct Publisher {
    world: Arc<World>,
    options: SimOptions,
    rng: StdRng,
    jobs: BTreeMap<(Duration, usize), Job>,
    published: Published,
}

/// Sends everything that a run sends.
pub(super) async fn publish(world: Arc<World>, options: SimOptions, load: Load) -> Published {
    let rng = StdRng::seed_from_u64(options.seed ^ 0x9B11_5133);
    let (jobs, published) = (BTreeMap::new(), Published::default());
    let mut publisher = Publisher { world, options, rng, jobs, published };
    publisher.plan(load);
    let began = Instant::now();
    while let Some(((at, _), job)) = publisher.jobs.pop_first() {
        sleep_until(began + at).await;
        publisher.send(at, job);
    }
    publisher.published
}

impl Publisher {
    fn plan(&mut self, load: Load) {
        let duration = self.options.duration;
        let at = |rng: &mut StdRng| duration.mul_f64(rng.random_range(0.0..0.8));
        let mut poison = Vec::new();
        if self.options.has(Trouble::Garbage) {
            let count = self.rng.random_range(1..4);
            poison.extend((0..count).map(|number| (at(&mut self.rng), Job::Garbage(number))));
        }
        if self.options.has(Trouble::Panic) {
            let first = at(&mut self.rng);
            poison.push((first, Job::Poison(Poison::Panicky(0))));
            let second = first + Duration::from_millis(self.rng.random_range(0..3_000));
            poison.push((second, Job::Poison(Poison::Panicky(1))));
        }
        if self.options.has(Trouble::Deadly) {
            poison.push((at(&mut self.rng), Job::Poison(Poison::Deadly)));
        }
        let jobs = load.map(|step| (step.at, Job::Load(step))).chain(poison);
        self.jobs = jobs.enumerate().map(|(place, (at, job))| ((at, place), job)).collect();
    }

    fn send(&mut self, at: Duration, job: Job) {
        let (seed, shards) = (self.options.seed, self.options.load().shards);
        match job {
            Job::Load(step) => {
                let copies = step.copies;
                let batch = step.stamped(self.world.now());
                let ids: Vec<_> = batch.events.iter().map(|event| event.id).collect();
                let shard = batch.shard;
                let batch = EventBatch {
                    shard,
                    level: batch.level,
                    time: batch.time,
                    events: batch.events,
                };
                let body = Bytes::from(encode_batch(&batch));
                for _ in 0..copies {
                    self.append(shard, body.clone(), &ids);
                }
                if self.options.has(Trouble::Repeat) && self.rng.random_range(0..6) == 0 {
                    let later = at + Duration::from_millis(self.rng.random_range(REPEAT_LAG_MS));
                    self.jobs.insert(
                        (later, usize::MAX - self.jobs.len()),
                        Job::Again(shard, body, ids),
                    );
                }
            }
            Job::Again(shard, body, ids) => {
                self.append(shard, body, &ids);
            }
            Job::Garbage(number) => {
                let (shard, body) = poison::garbage(seed, number, shards);
                self.append_poison(shard, Bytes::from(body), &[], Some(DeadReason::BadBatch));
            }
            Job::Poison(poison) => {
                let batch = poison::batch(poison, (seed, shards), self.world.now());
                let ids: Vec<_> = batch.events.iter().map(|event| event.id).collect();
                let reason = match poison {
                    Poison::Panicky(0) => Some(DeadReason::Poison),
                    // It finds the trace given up, or is given up with it.
                    Poison::Panicky(_) => None,
                    Poison::Deadly => Some(DeadReason::Crash),
                };
                let body = Bytes::from(encode_batch(&batch));
                self.append_poison(batch.shard, body, &ids, reason);
            }
        }
    }

    fn append_poison(
        &mut self,
        shard: ShardId,
        body: Bytes,
        ids: &[EventId],
        reason: Option<DeadReason>,
    ) {
        let sequence = self.append(shard, body.clone(), ids);
        let indigestible = reason.map(|reason| Indigestible {
            shard,
            sequence,
            reason,
            body,
            events: ids.to_vec(),
        });
        self.published.indigestible.extend(indigestible);
    }

    fn append(&mut self, shard: ShardId, body: Bytes, ids: &[EventId]) -> u64 {
        let sequence = self.world.append(Log::Events, shard, body);
        let at = self.world.age();
        let acked = Some(at);
        for id in ids {
            let sending = Sending { at, acked, sequence: Some(sequence), shard, copies: 0 };
            self.published.sent.entry(*id).or_insert(sending).copies += 1;
        }
        self.published.deliveries.insert((shard, sequence), ids.len().max(1) as u64);
        sequence
    }
}
