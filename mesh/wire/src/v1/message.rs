//! What leaves a shard.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_bytes::ByteArray;
use tapio_model::{
    Audit, DeadLetter, DeadReason, Finding, FindingId, Findings, IncidentState, Sent, ShardId,
    Telling, Timestamp,
};

use super::{
    code::Coded,
    event::{BodiesV1, read_bodies, write_bodies},
    finding::{FindingIdV1, FindingV1},
    leaf::{BytesV1, Capped, Id16, TextV1, needed, story_id, trace_id},
    record::{read_outcomes, write_outcomes},
    state::IncidentStateV1,
    story::StoryV1,
};
use crate::DecodeError;

/// Findings for another shard.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct FindingsV1<'a> {
    from: u16,
    commit: u64,
    now: i64,
    #[serde(borrow)]
    sent: Capped<SentV1<'a>>,
}

impl From<&Findings> for FindingsV1<'_> {
    fn from(findings: &Findings) -> Self {
        Self {
            from: findings.from.number(),
            commit: findings.commit,
            now: findings.now.as_nanos(),
            sent: findings.sent.iter().map(SentV1::from).collect(),
        }
    }
}

impl TryFrom<FindingsV1<'_>> for Findings {
    type Error = DecodeError;

    fn try_from(findings: FindingsV1<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            from: ShardId::new(findings.from),
            commit: findings.commit,
            now: Timestamp::from_nanos(findings.now),
            sent: findings.sent.into_model("findings", Sent::try_from)?,
        })
    }
}

/// One thing to say: its type is the number of [`Sent`]'s variant. What is large is boxed, so that
/// a message of many small ones does not fill memory.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
struct SentV1<'a> {
    r#type: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    finding: Option<Box<FindingV1>>,
    #[serde(borrow, default, skip_serializing_if = "Capped::is_empty")]
    events: BodiesV1<'a>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    id: Option<Box<FindingIdV1>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    incident: Option<Box<IncidentStateV1<'a>>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    story: Option<Id16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    into: Option<Id16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    shard: Option<u16>,
}

impl From<&Sent> for SentV1<'_> {
    fn from(sent: &Sent) -> Self {
        match sent {
            Sent::Found { finding, events } => Self {
                r#type: 1,
                finding: Some(Box::new(FindingV1::from(&**finding))),
                events: write_bodies(events),
                ..Self::default()
            },
            Sent::Retracted(id) => {
                Self { r#type: 2, id: Some(Box::new(FindingIdV1::from(id))), ..Self::default() }
            }
            Sent::Handed { incident, into } => Self {
                r#type: 3,
                incident: Some(Box::new(IncidentStateV1::from(&**incident))),
                into: Some(ByteArray::new(*into.as_bytes())),
                ..Self::default()
            },
            Sent::Join { story, into, shard } => Self {
                r#type: 4,
                story: Some(ByteArray::new(*story.as_bytes())),
                into: Some(ByteArray::new(*into.as_bytes())),
                shard: Some(shard.number()),
                ..Self::default()
            },
        }
    }
}

impl TryFrom<SentV1<'_>> for Sent {
    type Error = DecodeError;

    fn try_from(sent: SentV1<'_>) -> Result<Self, DecodeError> {
        let into = |what| needed(sent.into, what, "into").map(story_id);
        Ok(match sent.r#type {
            1 => {
                let finding = needed(sent.finding, "what was found", "finding")?;
                let finding = Box::new(Finding::try_from(*finding)?);
                Self::Found { finding, events: read_bodies(sent.events)? }
            }
            2 => {
                let id = needed(sent.id, "a retraction", "id")?;
                Self::Retracted(FindingId::try_from(*id)?)
            }
            3 => {
                let into = into("an incident handed over")?;
                let incident = needed(sent.incident, "an incident handed over", "incident")?;
                Self::Handed { incident: Box::new(IncidentState::try_from(*incident)?), into }
            }
            4 => Self::Join {
                story: story_id(needed(sent.story, "a join", "story")?),
                into: into("a join")?,
                shard: ShardId::new(needed(sent.shard, "a join", "shard")?),
            },
            code => return Err(DecodeError::UnknownCode { field: "finding type", code }),
        })
    }
}

/// A telling of a story.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct TellingV1<'a> {
    story: StoryV1,
    #[serde(borrow)]
    evidence: BodiesV1<'a>,
}

impl From<&Telling> for TellingV1<'_> {
    fn from(telling: &Telling) -> Self {
        Self { story: StoryV1::from(&*telling.story), evidence: write_bodies(&telling.evidence) }
    }
}

impl TryFrom<TellingV1<'_>> for Telling {
    type Error = DecodeError;

    fn try_from(telling: TellingV1<'_>) -> Result<Self, DecodeError> {
        let story = Box::new(telling.story.try_into()?);
        Ok(Self { story, evidence: read_bodies(telling.evidence)? })
    }
}

/// A dead letter.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct DeadLetterV1<'a> {
    shard: u16,
    sequence: u64,
    at: i64,
    reason: u32,
    detail: TextV1,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    trace: Option<Id16>,
    #[serde(borrow, default)]
    events: BodiesV1<'a>,
    #[serde(borrow)]
    original: BytesV1<'a>,
}

impl<'a> From<&'a DeadLetter> for DeadLetterV1<'a> {
    fn from(letter: &'a DeadLetter) -> Self {
        Self {
            shard: letter.shard.number(),
            sequence: letter.sequence,
            at: letter.at.as_nanos(),
            reason: letter.reason.code(),
            detail: TextV1::from(&letter.detail),
            trace: letter.trace.map(|trace| ByteArray::new(*trace.as_bytes())),
            events: write_bodies(&letter.events),
            original: BytesV1::from(letter.original.as_slice()),
        }
    }
}

impl TryFrom<DeadLetterV1<'_>> for DeadLetter {
    type Error = DecodeError;

    fn try_from(letter: DeadLetterV1<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            shard: ShardId::new(letter.shard),
            sequence: letter.sequence,
            at: Timestamp::from_nanos(letter.at),
            reason: DeadReason::from_code(letter.reason)?,
            detail: letter.detail.into(),
            trace: letter.trace.map(trace_id),
            events: read_bodies(letter.events)?,
            original: letter.original.0.into_owned(),
        })
    }
}

/// An audit; its outcomes are records in one binary.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct AuditV1<'a> {
    shard: u16,
    epoch: u64,
    commit: u64,
    processed: u64,
    #[serde(borrow)]
    outcomes: BytesV1<'a>,
}

impl From<&Audit> for AuditV1<'_> {
    fn from(audit: &Audit) -> Self {
        Self {
            shard: audit.shard.number(),
            epoch: audit.epoch,
            commit: audit.commit,
            processed: audit.processed,
            outcomes: BytesV1(Cow::Owned(write_outcomes(&audit.outcomes))),
        }
    }
}

impl TryFrom<AuditV1<'_>> for Audit {
    type Error = DecodeError;

    fn try_from(audit: AuditV1<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            shard: ShardId::new(audit.shard),
            epoch: audit.epoch,
            commit: audit.commit,
            processed: audit.processed,
            outcomes: read_outcomes(&audit.outcomes.0)?,
        })
    }
}
