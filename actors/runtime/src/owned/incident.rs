//! The actor of an owned shard's incidents.

use actix::{Actor, Context, Handler, Message};
use tapio_engine::Question;
use tapio_model::{Entity, Findings, IncidentState, StoryId, Timestamp};
use tapio_owner::{IncidentCut, IncidentShard, Related};
use tokio::sync::oneshot;

use super::shard::News;
use crate::related::Entries;

/// The incidents of one shard: found by what they touch, and sharded like traces.
#[derive(Debug)]
pub(super) struct OwnedIncidentActor {
    /// `None` until the owner has read the shard.
    incidents: Option<IncidentShard>,
    news: News,
    /// What the node's index holds of them; gone with the actor, however it ends.
    entries: Entries,
}

impl OwnedIncidentActor {
    pub(super) const fn new(news: News, entries: Entries) -> Self {
        Self { incidents: None, news, entries }
    }
}

impl Actor for OwnedIncidentActor {
    type Context = Context<Self>;
}

/// What the incidents are to do or to say; each is answered at once.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) enum Tell {
    /// Take these over.
    Adopt(Box<IncidentShard>, oneshot::Sender<()>),
    /// Take in what a shard has to say.
    Hear(Findings, Timestamp, oneshot::Sender<()>),
    /// Let time pass.
    Advance(Timestamp, oneshot::Sender<()>),
    /// Say what is to be asked of other shards.
    TakeQuestions(oneshot::Sender<Vec<Question>>),
    /// Take in the answer to a question.
    Answer(StoryId, Related, Timestamp, oneshot::Sender<()>),
    /// Write down what changed.
    Cut(oneshot::Sender<IncidentCut>),
    /// Say what is open: all of it, or what touches one of these.
    Look(Option<Vec<Entity>>, oneshot::Sender<Vec<IncidentState>>),
}

impl Handler<Tell> for OwnedIncidentActor {
    type Result = ();

    fn handle(&mut self, tell: Tell, _: &mut Self::Context) {
        let tell = match tell {
            Tell::Adopt(incidents, done) => {
                self.entries.begin(incidents.incidents());
                self.incidents = Some(*incidents);
                done.send(()).unwrap_or_default();
                return;
            }
            other @ (Tell::Hear(..)
            | Tell::Advance(..)
            | Tell::TakeQuestions(_)
            | Tell::Answer(..)
            | Tell::Cut(_)
            | Tell::Look(..)) => other,
        };
        // Who asks before there are incidents is told so by the dropped answer.
        let Some(incidents) = &mut self.incidents else { return };
        // The index comes first: who has the answer finds what it says.
        match tell {
            Tell::Adopt(..) => {}
            Tell::Hear(findings, now, done) => {
                incidents.hear(findings, now);
                self.entries.follow(incidents.incidents());
                done.send(()).unwrap_or_default();
            }
            Tell::Advance(now, done) => {
                incidents.advance(now);
                self.entries.follow(incidents.incidents());
                done.send(()).unwrap_or_default();
            }
            Tell::TakeQuestions(answer) => drop(answer.send(incidents.take_questions())),
            Tell::Answer(story, related, now, done) => {
                incidents.answer(story, related, now);
                self.entries.follow(incidents.incidents());
                done.send(()).unwrap_or_default();
            }
            Tell::Cut(answer) => drop(answer.send(incidents.cut())),
            Tell::Look(entities, answer) => {
                let incidents = incidents.incidents();
                let states = match entities {
                    None => incidents.states().collect(),
                    Some(entities) => incidents.states_of(&entities),
                };
                drop(answer.send(states));
            }
        }
        self.news.set(incidents.has_news());
    }
}
