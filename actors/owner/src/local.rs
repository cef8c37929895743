//! The brain without actors: the same engine in one place, for simulation and for small machines.

use std::sync::Arc;

use tapio_engine::{Question, Shard};
use tapio_model::{Event, Findings, StoryId, Timestamp};

use crate::{Brain, BrainCut, BrainGone, IncidentShard, Related};

/// The brain without actors.
#[derive(Debug, Default)]
pub struct LocalBrain {
    mind: Option<(Shard, IncidentShard)>,
}

impl LocalBrain {
    fn mind(&mut self) -> Result<&mut (Shard, IncidentShard), BrainGone> {
        self.mind.as_mut().ok_or(BrainGone)
    }
}

impl Brain for LocalBrain {
    async fn adopt(&mut self, shard: Shard, incidents: IncidentShard) -> Result<(), BrainGone> {
        self.mind = Some((shard, incidents));
        Ok(())
    }

    async fn take_in(
        &mut self,
        sequence: u64,
        now: Timestamp,
        events: Vec<Arc<Event>>,
    ) -> Result<(), BrainGone> {
        self.mind()?.0.take_in(sequence, now, &events);
        Ok(())
    }

    async fn advance(&mut self, now: Timestamp) -> Result<bool, BrainGone> {
        let (shard, incidents) = self.mind()?;
        incidents.advance(now);
        let is_due = shard.next_deadline().is_some_and(|deadline| deadline <= now);
        if is_due {
            shard.advance(now);
        }
        Ok(is_due)
    }

    async fn hear(&mut self, findings: Findings, now: Timestamp) -> Result<(), BrainGone> {
        self.mind()?.1.hear(findings, now);
        Ok(())
    }

    async fn take_questions(&mut self) -> Result<Vec<Question>, BrainGone> {
        Ok(self.mind()?.1.take_questions())
    }

    async fn answer(
        &mut self,
        story: StoryId,
        related: Related,
        now: Timestamp,
    ) -> Result<(), BrainGone> {
        self.mind()?.1.answer(story, related, now);
        Ok(())
    }

    async fn has_news(&mut self) -> Result<bool, BrainGone> {
        let (shard, incidents) = self.mind()?;
        Ok(shard.has_outputs() || incidents.has_news())
    }

    async fn cut(&mut self, old: Timestamp) -> Result<BrainCut, BrainGone> {
        let (shard, incidents) = self.mind()?;
        Ok(BrainCut { traces: shard.cut(old), incidents: incidents.cut() })
    }
}
