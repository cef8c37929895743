//! The actor of the second level.

use std::sync::Arc;

use actix::{Actor, AsyncContext, Context, Handler, Message, WrapFuture};
use tapio_engine::{Found, Incidents, Output, Rules, Told};
use tapio_model::{Telling, Timestamp};
use tokio::sync::mpsc;
use tracing::error;

use crate::related::OpenIncidents;

/// Joins findings to incidents. One a node, where there is one
/// node; see [`OwnedIncidentActor`](crate::owned) for a node among several.
#[derive(Debug)]
pub(crate) struct IncidentActor {
    incidents: Incidents,
    index: Arc<OpenIncidents>,
    told: mpsc::Sender<Told>,
    now: Timestamp,
}

impl IncidentActor {
    pub(crate) fn new(
        rules: Arc<Rules>,
        index: Arc<OpenIncidents>,
        told: mpsc::Sender<Told>,
    ) -> Self {
        Self { incidents: Incidents::new(rules), index, told, now: Timestamp::MIN }
    }

    fn admit(&mut self, output: Output, tellings: &mut Vec<Told>) {
        match output {
            Output::Found(found) => {
                let Found { finding, events } = *found;
                let stories = self.incidents.admit(finding, events, self.now);
                self.publish(stories, tellings);
            }
            Output::Retracted(id, _anchor) => self.incidents.retract(&id),
            Output::Dead { trace, events } => tellings.push(Told::Dead { trace, events }),
        }
    }

    fn publish(&self, stories: Vec<Telling>, tellings: &mut Vec<Told>) {
        for telling in stories {
            self.index.note(&telling.story);
            tellings.extend(Told::of(telling));
        }
    }

    /// Tells, and takes no further message before everything is told: a slow listener slows the
    /// findings down, and through the shards the bus, instead of filling memory.
    fn tell(&self, tellings: Vec<Told>, ctx: &mut Context<Self>) {
        if tellings.is_empty() {
            return;
        }
        let told = self.told.clone();
        let telling = async move {
            for telling in tellings {
                if told.send(telling).await.is_err() {
                    error!("nobody listens to stories any more");
                    return;
                }
            }
        };
        ctx.wait(telling.into_actor(self));
    }
}

impl Actor for IncidentActor {
    type Context = Context<Self>;
}

/// What a shard found, and the shard's time: the incidents' own may not have come that far yet.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Admit {
    pub(crate) now: Timestamp,
    pub(crate) outputs: Vec<Output>,
}

impl Handler<Admit> for IncidentActor {
    type Result = ();

    fn handle(&mut self, Admit { now, outputs }: Admit, ctx: &mut Self::Context) {
        self.now = self.now.max(now);
        let mut tellings = Vec::new();
        for output in outputs {
            self.admit(output, &mut tellings);
        }
        self.tell(tellings, ctx);
    }
}

/// Time has passed.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Pass(pub(crate) Timestamp);

impl Handler<Pass> for IncidentActor {
    type Result = ();

    fn handle(&mut self, Pass(now): Pass, ctx: &mut Self::Context) {
        self.now = self.now.max(now);
        let mut tellings = Vec::new();
        let stories = self.incidents.advance(self.now);
        self.publish(stories, &mut tellings);
        self.tell(tellings, ctx);
    }
}

/// Nothing more will come: tell what still waits for its time.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Finish;

impl Handler<Finish> for IncidentActor {
    type Result = ();

    fn handle(&mut self, _: Finish, ctx: &mut Self::Context) {
        let mut tellings = Vec::new();
        let stories = self.incidents.finish(self.now);
        self.publish(stories, &mut tellings);
        self.tell(tellings, ctx);
    }
}
