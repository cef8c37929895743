//! Stories.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_bytes::ByteArray;
use tapio_model::{
    Confidence, Entity, EvidenceClass, Link, RuledOut, Sentence, State, Story, StoryId, Timestamp,
};

use super::{
    code::Coded,
    finding::{
        EvidenceV1, RuledOutV1, UnknownV1, read_events, read_texts, read_verdict, write_events,
        write_verdict,
    },
    leaf::{Capped, Id16, TextV1, event_id, share, story_id, trace_id},
    place::EntityV1,
};
use crate::DecodeError;

/// A story.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct StoryV1 {
    id: Id16,
    telling: u32,
    state: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    merged_into: Option<Id16>,
    opened_at: i64,
    told_at: i64,
    title: TextV1,
    pattern: TextV1,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    unknown: Option<UnknownV1>,
    #[serde(default)]
    summary: Capped<SentenceV1>,
    root_cause: SentenceV1,
    root_cause_event: Id16,
    confidence: f64,
    class: u32,
    #[serde(default)]
    chain: Capped<LinkV1>,
    #[serde(default)]
    recommendation: Capped<SentenceV1>,
    #[serde(default)]
    ruled_out: Capped<RuledOutV1>,
    #[serde(default)]
    missing: Capped<TextV1>,
    #[serde(default)]
    lost: u64,
    #[serde(default)]
    late: u64,
    #[serde(default)]
    entities: Capped<EntityV1>,
    #[serde(default)]
    trace_ids: Capped<Id16>,
    #[serde(default)]
    event_ids: Capped<Id16>,
    #[serde(default, skip_serializing_if = "Capped::is_empty")]
    references: Capped<Id16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    predecessor: Option<Id16>,
}

impl From<&Story> for StoryV1 {
    fn from(story: &Story) -> Self {
        let id = |id: StoryId| ByteArray::new(*id.as_bytes());
        let (state, merged_into) = write_state(story.state);
        let traces = story.trace_ids.iter();
        Self {
            id: id(story.id),
            telling: story.telling,
            state,
            merged_into: merged_into.map(id),
            opened_at: story.opened_at.as_nanos(),
            told_at: story.told_at.as_nanos(),
            title: TextV1::from(&story.title),
            pattern: TextV1::from(&story.pattern),
            unknown: write_verdict(&story.verdict),
            summary: story.summary.iter().map(SentenceV1::from).collect(),
            root_cause: SentenceV1::from(&story.root_cause),
            root_cause_event: ByteArray::new(*story.root_cause_event.as_bytes()),
            confidence: story.confidence.get(),
            class: story.class.code(),
            chain: story.chain.iter().map(LinkV1::from).collect(),
            recommendation: story.recommendation.iter().map(SentenceV1::from).collect(),
            ruled_out: story.ruled_out.iter().map(RuledOutV1::from).collect(),
            missing: story.missing.iter().map(TextV1::from).collect(),
            lost: story.lost,
            late: story.late,
            entities: story.entities.iter().map(EntityV1::from).collect(),
            trace_ids: traces.map(|trace| ByteArray::new(*trace.as_bytes())).collect(),
            event_ids: write_events(&story.event_ids),
            references: write_events(&story.references),
            predecessor: story.predecessor.map(id),
        }
    }
}

impl TryFrom<StoryV1> for Story {
    type Error = DecodeError;

    fn try_from(story: StoryV1) -> Result<Self, DecodeError> {
        Ok(Self {
            id: story_id(story.id),
            telling: story.telling,
            state: read_state(story.state, story.merged_into.map(story_id))?,
            opened_at: Timestamp::from_nanos(story.opened_at),
            told_at: Timestamp::from_nanos(story.told_at),
            title: story.title.into(),
            pattern: story.pattern.into(),
            verdict: read_verdict(story.unknown)?,
            summary: story.summary.into_model("sentences", Sentence::try_from)?,
            root_cause: story.root_cause.try_into()?,
            root_cause_event: event_id(story.root_cause_event),
            confidence: Confidence::new(share("confidence", story.confidence)?),
            class: EvidenceClass::from_code(story.class)?,
            chain: story.chain.into_model("links", Link::try_from)?,
            recommendation: story.recommendation.into_model("sentences", Sentence::try_from)?,
            ruled_out: story.ruled_out.into_model("ruled out patterns", RuledOut::try_from)?,
            missing: read_texts(story.missing, "missing pieces of evidence")?,
            lost: story.lost,
            late: story.late,
            entities: story.entities.into_model("entities", Entity::try_from)?,
            trace_ids: story.trace_ids.into_model("trace ids", |id| Ok(trace_id(id)))?,
            event_ids: read_events(story.event_ids)?,
            references: read_events(story.references)?,
            predecessor: story.predecessor.map(story_id),
        })
    }
}

const fn write_state(state: State) -> (u32, Option<StoryId>) {
    match state {
        State::Opened => (1, None),
        State::Amended => (2, None),
        State::Resolved => (3, None),
        State::Merged { into } => (4, Some(into)),
    }
}

fn read_state(code: u32, merged_into: Option<StoryId>) -> Result<State, DecodeError> {
    match (code, merged_into) {
        (1, _) => Ok(State::Opened),
        (2, _) => Ok(State::Amended),
        (3, _) => Ok(State::Resolved),
        (4, Some(into)) => Ok(State::Merged { into }),
        (4, None) => Err(DecodeError::malformed("a merged story does not say into which")),
        (code, _) => Err(DecodeError::UnknownCode { field: "state", code }),
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct SentenceV1 {
    text: TextV1,
    events: Capped<Id16>,
}

impl From<&Sentence> for SentenceV1 {
    fn from(sentence: &Sentence) -> Self {
        Self { text: TextV1::from(&sentence.text), events: write_events(&sentence.events) }
    }
}

impl TryFrom<SentenceV1> for Sentence {
    type Error = DecodeError;

    fn try_from(sentence: SentenceV1) -> Result<Self, DecodeError> {
        let events = read_events(sentence.events)?;
        if events.is_empty() {
            return Err(DecodeError::malformed("a sentence that cites no event"));
        }
        Ok(Self { text: sentence.text.into(), events })
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct LinkV1 {
    evidence: EvidenceV1,
    pattern: TextV1,
    lag_ns: u64,
}

impl From<&Link> for LinkV1 {
    fn from(link: &Link) -> Self {
        Self {
            evidence: EvidenceV1::from(&link.evidence),
            pattern: TextV1::from(&link.pattern),
            // Times span 585 years, and so do the distances between them: nothing saturates.
            lag_ns: u64::try_from(link.lag.as_nanos()).unwrap_or(u64::MAX),
        }
    }
}

impl TryFrom<LinkV1> for Link {
    type Error = DecodeError;

    fn try_from(link: LinkV1) -> Result<Self, DecodeError> {
        Ok(Self {
            evidence: link.evidence.try_into()?,
            pattern: link.pattern.into(),
            lag: Duration::from_nanos(link.lag_ns),
        })
    }
}
