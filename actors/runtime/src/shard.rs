//! The actor of one shard: takes batches in, keeps time, hands on what was found.

use std::sync::Arc;

use actix::{Actor, Addr, AsyncContext, Context, Handler, Message, MessageResult};
use tapio_bus::Batch;
use tapio_engine::Rules;
use tapio_model::Timestamp;
use tracing::error;

use crate::{
    desk::Desk,
    incident::{Admit, IncidentActor},
    registry::{Registry, ShardStats},
};

/// Outputs that may wait for the incident actor before the shard refuses further batches.
const OUTPUTS_WAITING_MAX: usize = 4_096;

/// The actor of one shard.
#[derive(Debug)]
pub(crate) struct ShardActor {
    rules: Arc<Rules>,
    incidents: Addr<IncidentActor>,
    registry: Option<Registry>,
}

impl ShardActor {
    /// Makes the actor; its registry is made on its arbiter, where it stays.
    pub(crate) fn new(rules: Arc<Rules>, incidents: Addr<IncidentActor>) -> Self {
        Self { rules, incidents, registry: None }
    }

    /// Works off reports, does `work`, and hands on what was found.
    fn work<T: Default>(&mut self, work: impl FnOnce(&mut Registry) -> T) -> T {
        let Some(registry) = &mut self.registry else { return T::default() };
        registry.clear_desk();
        let result = work(registry);
        registry.clear_desk();
        let outputs = registry.take_outputs();
        if outputs.is_empty() {
            return result;
        }
        match self.incidents.try_send(Admit(outputs)) {
            Ok(()) => {}
            // It waits here, and the shard takes nothing new once too much does.
            Err(actix::dev::SendError::Full(Admit(outputs))) => registry.put_back(outputs),
            Err(actix::dev::SendError::Closed(Admit(outputs))) => {
                error!(outputs = outputs.len(), "the incident actor is gone; findings are lost");
            }
        }
        result
    }
}

impl Actor for ShardActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.registry = Some(Registry::new(Arc::clone(&self.rules), Desk::new(ctx.address())));
    }
}

/// There is something on the desk.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Bell;

impl Handler<Bell> for ShardActor {
    type Result = ();

    fn handle(&mut self, _: Bell, _: &mut Self::Context) {
        self.work(|_| ());
    }
}

/// Time has passed.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Advance(pub(crate) Timestamp);

impl Handler<Advance> for ShardActor {
    type Result = ();

    fn handle(&mut self, Advance(now): Advance, _: &mut Self::Context) {
        self.work(|registry| registry.advance(now));
    }
}

/// A batch for this shard. Answers whether it was taken; a batch that was not is to be brought again.
#[derive(Message)]
#[rtype(result = "bool")]
pub(crate) struct Deliver(pub(crate) Arc<Batch>);

impl Handler<Deliver> for ShardActor {
    type Result = MessageResult<Deliver>;

    fn handle(&mut self, Deliver(batch): Deliver, _: &mut Self::Context) -> Self::Result {
        let is_taken = self.work(|registry| {
            if registry.waiting_outputs() > OUTPUTS_WAITING_MAX {
                return false;
            }
            registry.advance(batch.time);
            for event in &batch.events {
                registry.deliver(Arc::clone(event));
            }
            true
        });
        MessageResult(is_taken)
    }
}

/// Asks for the shard's figures.
#[derive(Message)]
#[rtype(result = "ShardStats")]
pub(crate) struct GetStats;

impl Handler<GetStats> for ShardActor {
    type Result = MessageResult<GetStats>;

    fn handle(&mut self, _: GetStats, _: &mut Self::Context) -> Self::Result {
        MessageResult(self.work(|registry| registry.stats()))
    }
}
