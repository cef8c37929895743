//! The actor of one shard: takes batches in, keeps time, hands on what was found.

use std::sync::Arc;

use actix::{
    Actor, ActorFutureExt, Addr, AsyncContext, Context, Handler, Message, MessageResult,
    WrapFuture, dev::SendError,
};
use tapio_bus::Batch;
use tapio_engine::Rules;
use tapio_model::Timestamp;
use tokio::sync::oneshot;
use tracing::error;

use crate::{
    desk::{Bell, Desk},
    incident::{Admit, IncidentActor},
    registry::Registry,
    stats::ShardStats,
};

/// Outputs that may wait for the incident actor before the shard refuses further batches.
const OUTPUTS_WAITING_MAX: usize = 4_096;

/// The actor of one shard.
#[derive(Debug)]
pub(crate) struct ShardActor {
    rules: Arc<Rules>,
    incidents: Addr<IncidentActor>,
    registry: Option<Registry>,
    /// Outputs are on their way to a full mailbox: further ones wait in the registry.
    is_handing_on: bool,
    /// Who asked to be told when everything has been thought and handed on.
    waiting: Vec<oneshot::Sender<()>>,
}

impl ShardActor {
    /// Makes the actor; its registry is made on its arbiter, where it stays.
    pub(crate) fn new(rules: Arc<Rules>, incidents: Addr<IncidentActor>) -> Self {
        Self { rules, incidents, registry: None, is_handing_on: false, waiting: Vec::new() }
    }

    /// Works off reports, does `work`, and hands on what was found.
    fn work<T: Default>(
        &mut self,
        ctx: &mut Context<Self>,
        work: impl FnOnce(&mut Registry) -> T,
    ) -> T {
        let Some(registry) = &mut self.registry else { return T::default() };
        registry.clear_desk();
        let result = work(registry);
        registry.clear_desk();
        self.hand_on(ctx);
        result
    }

    fn hand_on(&mut self, ctx: &mut Context<Self>) {
        let Some(registry) = &mut self.registry else { return };
        if self.is_handing_on {
            return;
        }
        let outputs = registry.take_outputs();
        if !outputs.is_empty() {
            match self.incidents.try_send(Admit { now: registry.now(), outputs }) {
                Ok(()) => {}
                Err(SendError::Full(admit)) => {
                    self.wait_for_room(admit, ctx);
                    return;
                }
                Err(SendError::Closed(Admit { outputs, .. })) => {
                    error!(
                        outputs = outputs.len(),
                        "the incident actor is gone; findings are lost"
                    );
                }
            }
        }
        if registry.is_quiet() {
            for waiting in self.waiting.drain(..) {
                // Who no longer waits need not be told.
                waiting.send(()).unwrap_or_default();
            }
        }
    }

    /// Hands on behind everything that fills the mailbox, then what was found meanwhile. The shard
    /// takes nothing new once too much waits.
    fn wait_for_room(&mut self, admit: Admit, ctx: &mut Context<Self>) {
        self.is_handing_on = true;
        // Unlike `try_send`, `send` has a place in the mailbox, behind what fills it: one message
        // a shard, because the next one is sent only once this one was taken.
        let sending = self.incidents.send(admit).into_actor(self);
        let handing_on = sending.map(|sent, shard, ctx| {
            if let Err(gone) = sent {
                error!(%gone, "the incident actor is gone; findings are lost");
            }
            shard.is_handing_on = false;
            shard.hand_on(ctx);
        });
        ctx.spawn(handing_on);
    }
}

impl Actor for ShardActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.registry = Some(Registry::new(Arc::clone(&self.rules), Desk::new(&ctx.address())));
    }
}

impl Handler<Bell> for ShardActor {
    type Result = ();

    fn handle(&mut self, _: Bell, ctx: &mut Self::Context) {
        self.work(ctx, |_| ());
    }
}

/// Time has passed.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Advance(pub(crate) Timestamp);

impl Handler<Advance> for ShardActor {
    type Result = ();

    fn handle(&mut self, Advance(now): Advance, ctx: &mut Self::Context) {
        self.work(ctx, |registry| registry.advance(now));
    }
}

/// A batch for this shard. Answers whether it was taken; a batch that was not is to be brought again.
#[derive(Message)]
#[rtype(result = "bool")]
pub(crate) struct Deliver(pub(crate) Arc<Batch>);

impl Handler<Deliver> for ShardActor {
    type Result = MessageResult<Deliver>;

    fn handle(&mut self, Deliver(batch): Deliver, ctx: &mut Self::Context) -> Self::Result {
        let is_taken = self.work(ctx, |registry| {
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

    fn handle(&mut self, _: GetStats, ctx: &mut Self::Context) -> Self::Result {
        MessageResult(self.work(ctx, |registry| registry.stats()))
    }
}

/// Asks to be told once every trace has thought what is due, and what was found was handed on.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Settle(pub(crate) oneshot::Sender<()>);

impl Handler<Settle> for ShardActor {
    type Result = ();

    fn handle(&mut self, Settle(waiting): Settle, ctx: &mut Self::Context) {
        self.waiting.push(waiting);
        self.work(ctx, |_| ());
    }
}
