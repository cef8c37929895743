//! Answers a request by asking whoever has to be asked.

use std::{collections::BTreeSet, fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::{StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use tapio_bus::{AskError, SharedAsk};
use tapio_model::{
    Answer, Entity, Handoff, Op, Owned, Refusal, RefusalReason, Reply, Request, ShardAnswer,
    ShardId, Text,
};
use tapio_wire::{Form, decode_reply, encode_request};
use tokio::time::{Instant, sleep_until};
use tracing::debug;

use super::{
    Asking, Effect, Input, LatencyEstimate, OwnerMap, Plan, Scatter,
    gather::merge,
    port::{SharedAnswering, SharedRecall},
};

#[cfg(test)]
mod tests;

/// Below this no owner is slow: a busy machine takes as long to wake a task.
const HEDGE_MIN: Duration = Duration::from_millis(5);

/// Knows the shard of the incidents that are anchored in a thing.
type HomeOf = Arc<dyn Fn(&Entity) -> ShardId + Send + Sync>;

/// What a coordinator needs.
pub struct CoordinatorParts {
    /// This node's name.
    pub node: Text,
    /// Who owns which shard.
    pub owners: Arc<OwnerMap>,
    /// How other nodes are asked.
    pub ask: SharedAsk,
    /// How this node is.
    pub local: SharedAnswering,
    /// How roots are read.
    pub roots: SharedRecall,
    /// The shard of the incidents that are anchored in a thing.
    pub home: HomeOf,
}

impl fmt::Debug for CoordinatorParts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CoordinatorParts").field("node", &self.node).finish_non_exhaustive()
    }
}

/// Answers a request by asking the owners of all shards that it concerns.
#[derive(Debug)]
pub struct Coordinator {
    parts: CoordinatorParts,
    latency: LatencyEstimate,
}

impl Coordinator {
    /// Makes a coordinator.
    #[must_use]
    pub const fn new(parts: CoordinatorParts) -> Self {
        Self { parts, latency: LatencyEstimate::new() }
    }

    /// Returns how long owners take to answer, at the 95th percentile.
    #[must_use]
    pub fn latency(&self) -> Duration {
        self.latency.get()
    }

    /// Returns what its desk shares with it.
    pub(super) fn identity(&self) -> (Text, Arc<OwnerMap>, SharedAnswering) {
        let CoordinatorParts { node, owners, local, .. } = &self.parts;
        (node.clone(), Arc::clone(owners), Arc::clone(local))
    }

    /// Answers a request, at the latest at its deadline.
    ///
    /// # Errors
    /// [`Refusal`] if it concerns a shard, a node or events that it cannot.
    /// # Cancel safety
    /// Dropping the future forgets the answer; what was to be done may be done all the same.
    pub async fn run(&self, request: &Request) -> Result<Answer, Refusal> {
        let start = Instant::now();
        let op = &request.op;
        let expected = self.expected(op)?;
        let deadline = request.within();
        let hedge_at = self.latency.get().max(HEDGE_MIN).min(deadline / 2);
        let plan = Plan { deadline, hedge_at: op.is_read().then_some(hedge_at) };

        let owner_of = |shard| self.parts.owners.owner(shard);
        let (mut scatter, mut effects) = Scatter::begin(expected, owner_of, plan);
        let mut flights: FuturesUnordered<BoxFuture<'_, Input>> = FuturesUnordered::new();
        loop {
            for effect in effects {
                flights.push(match effect {
                    Effect::Ask(asking) => Box::pin(self.ask(asking, op, start + deadline)),
                    Effect::Recall(shard) => Box::pin(async move {
                        Input::Recalled { shard, found: self.parts.roots.recall(shard, op).await }
                    }),
                });
            }
            if scatter.is_done() {
                break;
            }
            let input = tokio::select! {
                Some(input) = flights.next(), if !flights.is_empty() => input,
                () = sleep_until(start + scatter.wakes_at()) => Input::Tick,
            };
            effects = scatter.on(input, start.elapsed());
        }
        let mut gathered = scatter.finish();
        let (results, omitted) = merge(op, &mut gathered);
        let coordinator = self.parts.node.clone();
        Ok(Answer { shards: gathered.shards, results, omitted, took: start.elapsed(), coordinator })
    }

    /// Returns the shards that have to answer.
    fn expected(&self, op: &Op) -> Result<BTreeSet<ShardId>, Refusal> {
        let owners = &self.parts.owners;
        let count = owners.count();
        let one = |shard: ShardId| {
            if owners.has(shard) {
                return Ok(BTreeSet::from([shard]));
            }
            let text = format!("there is no shard {shard}: they are 0 to {}", count.get() - 1);
            Err(Refusal::new(RefusalReason::NotFound, text))
        };
        match op {
            Op::Story(_) | Op::Entity(_) | Op::List { .. } | Op::Related { .. } => {
                Ok(count.shards().collect())
            }
            Op::Trace(trace) | Op::WhoOwns(Owned::Trace(trace)) => one(count.shard_of(*trace)),
            Op::WhoOwns(Owned::Entity(entity)) => one((self.parts.home)(entity)),
            Op::WhoOwns(Owned::Shard(shard)) | Op::Handoff(Handoff::Shard(shard)) => one(*shard),
            Op::Deliver { events } => {
                let shards = events.iter().map(|event| count.shard_of(event.trace.trace_id));
                let shards: BTreeSet<_> = shards.collect();
                if shards.len() == 1 {
                    return Ok(shards);
                }
                let text = format!("events of {} shards in one delivery", shards.len());
                Err(Refusal::new(RefusalReason::MixedShards, text))
            }
            Op::Handoff(Handoff::Node(node)) => {
                let shards: BTreeSet<_> = owners.shards_of(node).into_iter().collect();
                if !shards.is_empty() {
                    return Ok(shards);
                }
                let text = format!("no shard is known to be owned by a node {:?}", node.as_str());
                Err(Refusal::new(RefusalReason::NotFound, text))
            }
        }
    }

    async fn ask(&self, asking: Asking, op: &Op, until: Instant) -> Input {
        let Asking { id: ask, via, shards, owner } = asking;
        if owner.as_ref() == Some(&self.parts.node) {
            let node = self.parts.node.clone();
            let shards = self.parts.local.answer(&shards, op).await;
            self.learn(&node, &shards);
            return Input::Answered { ask, shards };
        }
        let begun = Instant::now();
        let within = until.saturating_duration_since(begun);
        let request = Request { op: op.clone(), deadline: Some(within), shards };
        let request = Bytes::from(encode_request(&request, Form::MessagePack));
        let hint = self.parts.owners.owner(via).map(|owner| owner.epoch).unwrap_or_default();
        match self.parts.ask.ask(via, request, within).await {
            Ok(reply) => {
                self.latency.note(begun.elapsed());
                match decode_reply(&reply) {
                    Ok(Reply::Part(part)) => {
                        self.learn(&part.node, &part.shards);
                        Input::Answered { ask, shards: part.shards }
                    }
                    Ok(Reply::Refused(refusal)) => {
                        debug!(shard = %via, %refusal, "an owner refused a request");
                        Input::Failed { ask }
                    }
                    Ok(Reply::Answer(_)) => Input::Failed { ask },
                    Err(error) => {
                        debug!(shard = %via, %error, "an owner's answer cannot be read");
                        Input::Failed { ask }
                    }
                }
            }
            Err(AskError::NoResponders) => {
                self.parts.owners.forget(via, hint);
                Input::Unowned { ask }
            }
            Err(AskError::Timeout | AskError::Unreachable(_)) => Input::Failed { ask },
        }
    }

    fn learn(&self, node: &Text, answers: &[ShardAnswer]) {
        for answer in answers {
            match answer {
                ShardAnswer::Known { shard, epoch, .. } => {
                    self.parts.owners.learn(*shard, node, *epoch);
                }
                ShardAnswer::Moved { shard, owner: Some(owner), epoch } => {
                    self.parts.owners.learn(*shard, owner, *epoch);
                }
                ShardAnswer::Moved { owner: None, .. } => {}
            }
        }
    }
}
