//! Bytes in, bytes out: every request is answered, garbage too, and counted.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, PoisonError},
};

use async_trait::async_trait;
use bytes::Bytes;
use tapio_bus::{Serve, Served};
use tapio_model::{Op, Part, Refusal, RefusalReason, Reply, ShardId, Text};
use tapio_telemetry::{Label, Meters, Metric, RequestOp, RequestResult};
use tapio_wire::{Form, decode_request, encode_reply_within};
use tokio::time::{Instant, timeout};

use super::{Coordinator, OwnerMap, port::SharedAnswering};

#[cfg(test)]
mod tests;

/// What was asked and how it was answered.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RequestFigures {
    /// Requests to the mesh that this node coordinated, by op.
    pub coordinated: BTreeMap<&'static str, u64>,
    /// Requests to this node as an owner, by op.
    pub answered: BTreeMap<&'static str, u64>,
    /// Requests that were refused, by the refusal's code.
    pub refused: BTreeMap<&'static str, u64>,
    /// Answers that knew everything.
    pub complete: u64,
    /// Answers that said what they do not know.
    pub partial: u64,
}

/// Answers requests: those to the mesh, and those to the owner of a shard.
#[derive(Debug)]
pub struct RequestDesk {
    node: Text,
    coordinator: Coordinator,
    owners: std::sync::Arc<OwnerMap>,
    local: SharedAnswering,
    reply_bytes_max: usize,
    figures: Mutex<RequestFigures>,
    meters: Meters,
}

impl RequestDesk {
    /// Makes a desk; its replies have at most `reply_bytes_max` bytes, as the transport wants it.
    #[must_use]
    pub fn new(coordinator: Coordinator, reply_bytes_max: usize) -> Self {
        let (node, owners, local) = coordinator.identity();
        let (figures, meters) = (Mutex::default(), Meters::new());
        Self { node, coordinator, owners, local, reply_bytes_max, figures, meters }
    }

    /// Has every request counted and timed in `meters`.
    #[must_use]
    pub fn measured(self, meters: &Meters) -> Self {
        Self { meters: meters.clone(), ..self }
    }

    /// Returns the coordinator.
    #[must_use]
    pub const fn coordinator(&self) -> &Coordinator {
        &self.coordinator
    }

    /// Returns what was asked and how it was answered.
    #[must_use]
    pub fn figures(&self) -> RequestFigures {
        self.figures.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn count(&self, note: impl FnOnce(&mut RequestFigures)) {
        note(&mut self.figures.lock().unwrap_or_else(PoisonError::into_inner));
    }

    async fn coordinated(&self, bytes: &[u8]) -> Result<Reply, Refusal> {
        let begun = Instant::now();
        let request = decode_request(bytes).inspect_err(|_| {
            self.measure((RequestOp::Unread, RequestResult::Refused), begun);
        })?;
        let op = label(&request.op);
        self.count(|figures| *figures.coordinated.entry(request.op.name()).or_default() += 1);
        let answer = self.coordinator.run(&request).await;
        let answer = answer.inspect_err(|_| self.measure((op, RequestResult::Refused), begun))?;
        let is_complete = answer.is_complete();
        self.count(|figures| {
            *(if is_complete { &mut figures.complete } else { &mut figures.partial }) += 1;
        });
        let result = if is_complete { RequestResult::Complete } else { RequestResult::Partial };
        self.measure((op, result), begun);
        Ok(Reply::Answer(answer))
    }

    fn measure(&self, (op, result): (RequestOp, RequestResult), begun: Instant) {
        let labels = (Label::Op(op), Label::Request(result));
        self.meters.counter(Metric::Requests, labels).add(1);
        self.meters.histogram(Metric::RequestDuration, Label::Op(op)).record(begun.elapsed());
    }

    async fn answered(&self, shard: ShardId, bytes: &[u8]) -> Result<Reply, Refusal> {
        let request = decode_request(bytes)?;
        self.count(|figures| *figures.answered.entry(request.op.name()).or_default() += 1);
        self.meters.counter(Metric::ShardRequests, Label::Op(label(&request.op))).add(1);
        let listed = request.shards.iter().copied().filter(|shard| self.owners.has(*shard));
        let mut shards: BTreeSet<_> = listed.collect();
        if request.shards.is_empty() {
            shards.insert(shard);
        }
        let shards: Vec<_> = shards.into_iter().collect();
        let within = request.within();
        match timeout(within, self.local.answer(&shards, &request.op)).await {
            Ok(shards) => Ok(Reply::Part(Part { node: self.node.clone(), shards })),
            Err(_elapsed) => {
                Err(Refusal::new(RefusalReason::Busy, "the shard did not answer in time"))
            }
        }
    }

    fn reply(&self, reply: Result<Reply, Refusal>, form: Form) -> Served {
        let refused = reply.as_ref().err().map(|refusal| refusal.reason);
        if let Some(reason) = refused {
            self.count(|figures| *figures.refused.entry(reason.code()).or_default() += 1);
        }
        let reply = reply.unwrap_or_else(Reply::Refused);
        Served { body: encode_reply_within(reply, form, self.reply_bytes_max).into(), refused }
    }
}

/// What an op is called in metrics.
const fn label(op: &Op) -> RequestOp {
    match op {
        Op::Story(_) | Op::Trace(_) | Op::Entity(_) | Op::List { .. } => RequestOp::Query,
        Op::Related { .. } => RequestOp::Related,
        Op::WhoOwns(_) => RequestOp::WhoOwns,
        Op::Deliver { .. } => RequestOp::Deliver,
        Op::Handoff(_) => RequestOp::Handoff,
    }
}

#[async_trait]
impl Serve for RequestDesk {
    async fn coordinate(&self, request: Bytes) -> Served {
        self.reply(self.coordinated(&request).await, Form::of(&request))
    }

    async fn answer(&self, shard: ShardId, request: Bytes) -> Served {
        self.reply(self.answered(shard, &request).await, Form::of(&request))
    }
}
