//! The root of a shard.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_bytes::ByteArray;
use tapio_model::{ChunkName, Ledger, Mark, Outcome, ShardId, ShedReason, Text, Timestamp};
use tapio_shard::{Content, NodeId, PieceKey, Posted, Root};

use super::{
    address::AddressV1,
    code::Coded,
    leaf::{BytesV1, Capped, Id16, TextV1, needed, story_id, trace_id},
    node::NodeIdV1,
};
use crate::DecodeError;

/// A place in the log and the time there: a pair, for there are many.
type MarkV1 = (u64, i64);

/// A root.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct RootV1<'a> {
    epoch: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    owner: Option<NodeIdV1>,
    commit: u64,
    #[serde(default)]
    released: bool,
    now: i64,
    processed: u64,
    low: MarkV1,
    #[serde(default)]
    ticks: Capped<MarkV1>,
    #[serde(default)]
    findings_read: u64,
    /// Shard and commit.
    #[serde(default)]
    received: Capped<(u16, u64)>,
    ledger: LedgerV1,
    #[serde(default)]
    live_traces: u64,
    #[serde(default)]
    unread_gaps: u64,
    #[serde(default)]
    claims: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    trying: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    hearing: Option<u64>,
    #[serde(default, skip_serializing_if = "Capped::is_empty")]
    given_up: Capped<u64>,
    #[serde(borrow)]
    pieces: Capped<PieceV1<'a>>,
    #[serde(borrow)]
    outbox: Capped<PostedV1<'a>>,
}

impl<'a> From<&'a Root> for RootV1<'a> {
    fn from(root: &'a Root) -> Self {
        let received = root.received.iter();
        Self {
            epoch: root.epoch,
            owner: root.owner.as_ref().map(NodeIdV1::from),
            commit: root.commit,
            released: root.released,
            now: root.now.as_nanos(),
            processed: root.processed,
            low: write_mark(root.low),
            ticks: root.ticks.iter().copied().map(write_mark).collect(),
            findings_read: root.findings_read,
            received: received.map(|(shard, commit)| (shard.number(), *commit)).collect(),
            ledger: LedgerV1::from(&root.ledger),
            live_traces: root.live_traces,
            unread_gaps: root.unread_gaps,
            claims: root.claims,
            trying: root.trying,
            hearing: root.hearing,
            given_up: root.given_up.iter().copied().collect(),
            pieces: root.pieces.iter().map(PieceV1::from).collect(),
            outbox: root.outbox.iter().map(PostedV1::from).collect(),
        }
    }
}

impl TryFrom<RootV1<'_>> for Root {
    type Error = DecodeError;

    fn try_from(root: RootV1<'_>) -> Result<Self, DecodeError> {
        let low = read_mark(root.low);
        if low.sequence > root.processed.saturating_add(1) {
            return Err(DecodeError::malformed("a root that would skip entries of its log"));
        }
        let received = root
            .received
            .into_model("received commits", |(shard, commit)| Ok((ShardId::new(shard), commit)))?;
        let pieces = root.pieces.into_model("pieces", PieceV1::into_entry)?;
        Ok(Self {
            epoch: root.epoch,
            owner: root.owner.map(NodeId::from),
            commit: root.commit,
            released: root.released,
            now: Timestamp::from_nanos(root.now),
            processed: root.processed,
            low,
            ticks: root.ticks.into_model("ticks", |mark| Ok(read_mark(mark)))?,
            findings_read: root.findings_read,
            received: unique(received, "received commits")?,
            ledger: root.ledger.try_into()?,
            live_traces: root.live_traces,
            unread_gaps: root.unread_gaps,
            claims: root.claims,
            trying: root.trying,
            hearing: root.hearing,
            given_up: root.given_up.into_items("entries given up")?,
            pieces: unique(pieces, "pieces")?,
            outbox: root.outbox.into_model("parcels", Posted::try_from)?,
        })
    }
}

const fn write_mark(mark: Mark) -> MarkV1 {
    (mark.sequence, mark.now.as_nanos())
}

const fn read_mark((sequence, now): MarkV1) -> Mark {
    Mark { sequence, now: Timestamp::from_nanos(now) }
}

/// Refuses a key that is there twice: one of the two would be lost.
fn unique<K: Ord, V>(entries: Vec<(K, V)>, what: &str) -> Result<BTreeMap<K, V>, DecodeError> {
    let count = entries.len();
    let unique: BTreeMap<K, V> = entries.into_iter().collect();
    if unique.len() < count {
        return Err(DecodeError::malformed(format!("{what} with one key twice")));
    }
    Ok(unique)
}

/// What became of the events; of the reasons to shed only those that were ever used, by number.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct LedgerV1 {
    received: u64,
    #[serde(default)]
    story: u64,
    #[serde(default)]
    open: u64,
    #[serde(default)]
    expired: u64,
    #[serde(default)]
    duplicate: u64,
    #[serde(default)]
    late: u64,
    #[serde(default)]
    dead_letter: u64,
    /// Reason and count.
    #[serde(default, skip_serializing_if = "Capped::is_empty")]
    shed: Capped<(u32, u64)>,
}

impl From<&Ledger> for LedgerV1 {
    fn from(ledger: &Ledger) -> Self {
        let shed = ShedReason::ALL.into_iter().zip(ledger.shed);
        Self {
            received: ledger.received,
            story: ledger.story,
            open: ledger.open,
            expired: ledger.expired,
            duplicate: ledger.duplicate,
            late: ledger.late,
            dead_letter: ledger.dead_letter,
            shed: shed.filter(|(_, n)| *n > 0).map(|(reason, n)| (reason.code(), n)).collect(),
        }
    }
}

impl TryFrom<LedgerV1> for Ledger {
    type Error = DecodeError;

    fn try_from(ledger: LedgerV1) -> Result<Self, DecodeError> {
        let mut read = Self {
            received: ledger.received,
            story: ledger.story,
            open: ledger.open,
            expired: ledger.expired,
            duplicate: ledger.duplicate,
            late: ledger.late,
            dead_letter: ledger.dead_letter,
            shed: Default::default(),
        };
        for (code, count) in unique(ledger.shed.into_items("shed reasons")?, "shed reasons")? {
            *read.count(Outcome::Shed(ShedReason::from_code(code)?)) = count;
        }
        Ok(read)
    }
}

/// A part of the state: which, and where. Its type is the number of [`PieceKey`]'s variant.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct PieceV1<'a> {
    r#type: u32,
    /// Of graves, and of a change that waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    number: Option<u64>,
    /// Of a trace or an incident.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    id: Option<Id16>,
    #[serde(borrow)]
    content: ContentV1<'a>,
}

impl<'a> From<(&PieceKey, &'a Content)> for PieceV1<'a> {
    fn from((key, content): (&PieceKey, &'a Content)) -> Self {
        let (r#type, number, id) = match key {
            PieceKey::Graves(number) => (1, Some(*number), None),
            PieceKey::Trace(trace) => (2, None, Some(*trace.as_bytes())),
            PieceKey::Incident(story) => (3, None, Some(*story.as_bytes())),
            PieceKey::Resolved => (4, None, None),
            PieceKey::Waiting(number) => (5, Some(*number), None),
        };
        Self { r#type, number, id: id.map(ByteArray::new), content: ContentV1::from(content) }
    }
}

impl PieceV1<'_> {
    fn into_entry(self) -> Result<(PieceKey, Content), DecodeError> {
        let id = || needed(self.id, "a piece", "id");
        let key = match self.r#type {
            1 => PieceKey::Graves(needed(self.number, "a piece of graves", "number")?),
            2 => PieceKey::Trace(trace_id(id()?)),
            3 => PieceKey::Incident(story_id(id()?)),
            4 => PieceKey::Resolved,
            5 => PieceKey::Waiting(needed(self.number, "a waiting change", "number")?),
            code => return Err(DecodeError::UnknownCode { field: "piece type", code }),
        };
        Ok((key, self.content.try_into()?))
    }
}

/// Bytes, or the names of the chunks that hold them; exactly one of the two.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct ContentV1<'a> {
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    inline: Option<BytesV1<'a>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    chunks: Option<Capped<Id16>>,
    /// Without one, until it is replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    until: Option<i64>,
}

impl<'a> From<&'a Content> for ContentV1<'a> {
    fn from(content: &'a Content) -> Self {
        match content {
            Content::Inline(bytes) => {
                Self { inline: Some(BytesV1::from(bytes.as_slice())), chunks: None, until: None }
            }
            Content::Chunks { names, until } => Self {
                inline: None,
                chunks: Some(names.iter().map(|name| ByteArray::new(name.0)).collect()),
                until: (*until != Timestamp::MAX).then(|| until.as_nanos()),
            },
        }
    }
}

impl TryFrom<ContentV1<'_>> for Content {
    type Error = DecodeError;

    fn try_from(content: ContentV1<'_>) -> Result<Self, DecodeError> {
        match (content.inline, content.chunks) {
            (Some(bytes), None) => Ok(Self::Inline(bytes.0.into_owned())),
            (None, Some(names)) => Ok(Self::Chunks {
                names: names.into_model("chunks", |name| Ok(ChunkName(name.into_array())))?,
                until: content.until.map_or(Timestamp::MAX, Timestamp::from_nanos),
            }),
            (Some(_), Some(_)) | (None, None) => {
                Err(DecodeError::malformed("content is either in the root or in chunks"))
            }
        }
    }
}

/// Something in the outbox; what it says is not read here.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct PostedV1<'a> {
    commit: u64,
    address: AddressV1,
    #[serde(borrow)]
    content: ContentV1<'a>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    traceparent: Option<TextV1>,
}

impl<'a> From<&'a Posted> for PostedV1<'a> {
    fn from(posted: &'a Posted) -> Self {
        Self {
            commit: posted.commit,
            address: AddressV1::from(&posted.address),
            content: ContentV1::from(&posted.content),
            traceparent: posted.traceparent.as_ref().map(TextV1::from),
        }
    }
}

impl TryFrom<PostedV1<'_>> for Posted {
    type Error = DecodeError;

    fn try_from(posted: PostedV1<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            commit: posted.commit,
            address: posted.address.try_into()?,
            content: posted.content.try_into()?,
            traceparent: posted.traceparent.map(Text::from),
        })
    }
}
