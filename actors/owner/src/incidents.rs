//! The incidents of one shard, as one shard among several.

use std::{collections::BTreeMap, sync::Arc};

use tapio_engine::{
    Handed, IncidentRef, Incidents, IncidentsCut, IncidentsRestored, Joined, Question, Rules,
};
use tapio_model::{Findings, Sent, ShardId, StoryId, Telling, Timestamp};

/// An open incident of another shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Elsewhere {
    /// The shard that has it.
    pub shard: ShardId,
    /// The incident.
    pub incident: IncidentRef,
}

/// What is known elsewhere of some things.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Related {
    /// The open incidents that touch them.
    pub known: Vec<Elsewhere>,
    /// Whether every other shard has answered.
    pub is_complete: bool,
}

/// What the incidents of a shard became since the last cut.
#[derive(Debug, Default)]
pub struct IncidentCut {
    /// What changed of their state.
    pub state: IncidentsCut,
    /// What is to be told.
    pub tellings: Vec<Telling>,
    /// What is to be said to other shards.
    pub outgoing: Vec<(ShardId, Sent)>,
}

/// The incidents of one shard. Findings come in from all shards, its own among them.
#[derive(Debug)]
pub struct IncidentShard {
    shard: ShardId,
    incidents: Incidents,
    tellings: Vec<Telling>,
    outgoing: Vec<(ShardId, Sent)>,
    /// The latest time that was heard of. That of the traces, which an answer comes with, stands
    /// still where no events come.
    now: Timestamp,
}

impl IncidentShard {
    /// Makes the incidents of `shard` of what was written down.
    #[must_use]
    pub fn restore(shard: ShardId, rules: Arc<Rules>, restored: IncidentsRestored) -> Self {
        let times = restored.open.iter().flat_map(|it| [it.opened_at, it.told_at, it.news_at]);
        let times = times.chain(restored.resolved.iter().map(|it| it.at));
        let now = times.max().unwrap_or(Timestamp::MIN);
        let mut incidents = Incidents::sharded(rules);
        incidents.restore(restored);
        Self { shard, incidents, tellings: Vec::new(), outgoing: Vec::new(), now }
    }

    /// Returns the incidents, for whoever asks.
    #[must_use]
    pub const fn incidents(&self) -> &Incidents {
        &self.incidents
    }

    /// Takes in what a shard has to say.
    pub fn hear(&mut self, findings: Findings, now: Timestamp) {
        let now = self.reach(now);
        for sent in findings.sent {
            match sent {
                Sent::Found { finding, events } => {
                    self.tellings.extend(self.incidents.admit(*finding, events, now));
                }
                Sent::Retracted(id) => self.incidents.retract(&id),
                Sent::Handed { incident, into } => {
                    let handed = Handed { incident: *incident, into };
                    self.tellings.extend(self.incidents.take_over(handed, now));
                }
                Sent::Join { story, into, shard } => {
                    let (told, handed) = self.incidents.hand_over(story, into, now);
                    self.tellings.extend(told);
                    self.give(shard, handed);
                }
            }
        }
    }

    /// Takes in the answer to a question.
    pub fn answer(&mut self, story: StoryId, related: Related, now: Timestamp) {
        let now = self.reach(now);
        let Related { known, is_complete } = related;
        let shards: BTreeMap<_, _> =
            known.iter().map(|known| (known.incident.id, known.shard)).collect();
        let known: Vec<_> = known.into_iter().map(|known| known.incident).collect();
        let joined = self.incidents.answer(story, (&known, is_complete), now);
        let Joined { told, handed, younger } = joined;
        self.tellings.extend(told);
        if let Some(shard) = handed.as_ref().and_then(|handed| shards.get(&handed.into)) {
            self.give(*shard, handed);
        }
        for young in younger {
            let Some(shard) = shards.get(&young) else { continue };
            let join = Sent::Join { story: young, into: story, shard: self.shard };
            self.outgoing.push((*shard, join));
        }
    }

    /// Lets the present come as far as `now`, and returns it. It never goes back.
    fn reach(&mut self, now: Timestamp) -> Timestamp {
        self.now = self.now.max(now);
        self.now
    }

    fn give(&mut self, shard: ShardId, handed: Option<Handed>) {
        self.outgoing.extend(handed.map(|Handed { incident, into }| {
            (shard, Sent::Handed { incident: Box::new(incident), into })
        }));
    }

    /// Lets time pass.
    pub fn advance(&mut self, now: Timestamp) {
        let now = self.reach(now);
        self.tellings.extend(self.incidents.advance(now));
    }

    /// Takes what is to be asked of other shards.
    pub fn take_questions(&mut self) -> Vec<Question> {
        self.incidents.take_questions()
    }

    /// Says whether something is to be told or said.
    #[must_use]
    pub const fn has_news(&self) -> bool {
        !self.tellings.is_empty() || !self.outgoing.is_empty()
    }

    /// Writes down what changed since the last cut.
    pub fn cut(&mut self) -> IncidentCut {
        IncidentCut {
            state: self.incidents.cut(),
            tellings: std::mem::take(&mut self.tellings),
            outgoing: std::mem::take(&mut self.outgoing),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tapio_engine::{Limits, Patterns};
    use tapio_model::{IncidentState, State};

    use super::*;
    use crate::fixture::{at, finding, incident};

    fn found(number: u8) -> Findings {
        let finding = Box::new(finding(number, "it broke"));
        let sent = vec![Sent::Found { finding, events: Vec::new() }];
        Findings { from: ShardId::new(1), commit: 1, now: at(1), sent }
    }

    fn shard(open: Vec<IncidentState>) -> IncidentShard {
        let rules = Arc::new(Rules::new(&Patterns::from([]), Limits::default()));
        let restored = IncidentsRestored { open, ..IncidentsRestored::default() };
        IncidentShard::restore(ShardId::new(0), rules, restored)
    }

    #[test]
    fn an_answer_on_a_shard_without_events_tells_at_the_time_of_the_findings() {
        let mut shard = shard(Vec::new());
        shard.hear(found(1), at(1_000));
        let [question] = &shard.take_questions()[..] else { panic!("one question") };
        shard.answer(question.story, Related::default(), Timestamp::MIN);
        let told = shard.cut().tellings;
        let times: Vec<_> = told.iter().map(|it| (it.story.opened_at, it.story.told_at)).collect();
        assert_eq!(times, [(at(1_000), at(1_000))]);
    }

    #[test]
    fn time_goes_on_from_where_it_was_written_down() {
        let mut shard = shard(vec![IncidentState {
            is_told: false,
            news_at: at(500),
            ..incident(1, vec![finding(1, "it broke")])
        }]);
        let [question] = &shard.take_questions()[..] else { panic!("one question") };
        shard.answer(question.story, Related::default(), at(3));
        assert_eq!(shard.cut().tellings[0].story.told_at, at(500));
    }

    fn states(shard: &mut IncidentShard) -> Vec<State> {
        shard.cut().tellings.iter().map(|telling| telling.story.state).collect()
    }

    #[test]
    fn a_quiet_incident_is_resolved_once_every_shard_has_said_that_it_knows_nothing() {
        let quiet = Limits::default().quiet;
        let mut shard = shard(vec![incident(1, vec![finding(1, "it broke")])]);
        let now = at(1).after(quiet);
        shard.advance(now);
        let [question] = &shard.take_questions()[..] else { panic!("one question") };
        shard.answer(question.story, Related::default(), now);
        shard.advance(now.after(Duration::from_millis(500)));
        assert_eq!(states(&mut shard), [], "somebody has not answered");
        assert_eq!(shard.take_questions(), [], "and is not asked every moment");
        for (seconds, told) in [(1, vec![]), (2, vec![State::Resolved])] {
            let later = now.after(Duration::from_secs(seconds));
            shard.advance(later);
            let [question] = &shard.take_questions()[..] else { panic!("asked again") };
            let nobody = Related { is_complete: true, ..Related::default() };
            shard.answer(question.story, nobody, later);
            shard.advance(later);
            assert_eq!(states(&mut shard), told, "after {seconds} s");
        }
    }

    #[test]
    fn nobody_waits_for_ever_for_a_shard_without_owner() {
        let quiet = Limits::default().quiet;
        let mut shard = shard(vec![incident(1, vec![finding(1, "it broke")])]);
        shard.advance(at(1).after(quiet));
        shard.advance(at(1).after(quiet + Duration::from_secs(10)));
        assert_eq!(states(&mut shard), [State::Resolved]);
    }

    #[test]
    fn what_was_opened_elsewhere_while_a_shard_had_no_owner_is_asked_in() {
        let quiet = Limits::default().quiet;
        let mut shard = shard(vec![incident(1, vec![finding(1, "it broke")])]);
        let now = at(1).after(quiet);
        shard.advance(now);
        let [question] = &shard.take_questions()[..] else { panic!("one question") };
        let younger = incident(2, vec![finding(1, "it broke")]);
        let touches = younger.entities.clone();
        let known = IncidentRef { id: younger.id, opened_at: now, touches };
        let known = vec![Elsewhere { shard: ShardId::new(3), incident: known }];
        shard.answer(question.story, Related { known, is_complete: true }, now);
        shard.advance(now);
        let cut = shard.cut();
        assert!(cut.tellings.is_empty(), "it is not over");
        let join = Sent::Join { story: younger.id, into: question.story, shard: ShardId::new(0) };
        assert_eq!(cut.outgoing, [(ShardId::new(3), join)]);
    }
}
