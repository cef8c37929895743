//! What a span is called and what may be said of it.

use opentelemetry::{KeyValue, trace::SpanKind};

/// A stretch of the way of a batch, or of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SpanName {
    /// A collector hands a batch to the bus. Begins a trace.
    Publish,
    /// A shard takes a batch in.
    Process,
    /// A shard's root is written.
    Commit,
    /// A story is published.
    Tell,
    /// Findings leave for the incidents of another shard.
    Deliver,
    /// A shard changes its owner. Begins a trace.
    Claim,
    /// Somebody asks the mesh. Begins a trace.
    Ask,
    /// A node answers.
    Answer,
}

impl SpanName {
    /// Every name.
    pub const ALL: &[Self] = &[
        Self::Publish,
        Self::Process,
        Self::Commit,
        Self::Tell,
        Self::Deliver,
        Self::Claim,
        Self::Ask,
        Self::Answer,
    ];

    /// Returns the name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::Process => "process",
            Self::Commit => "commit",
            Self::Tell => "tell",
            Self::Deliver => "deliver",
            Self::Claim => "claim",
            Self::Ask => "ask",
            Self::Answer => "answer",
        }
    }

    /// Says whether a trace may begin with it. The others go on with one, or are not recorded:
    /// sampled anew at each step, one way would become many fragments.
    #[must_use]
    pub const fn begins_a_trace(self) -> bool {
        match self {
            Self::Publish | Self::Claim | Self::Ask => true,
            Self::Process | Self::Commit | Self::Tell | Self::Deliver | Self::Answer => false,
        }
    }

    /// Returns its part in the exchange.
    pub(super) const fn kind(self) -> SpanKind {
        match self {
            Self::Publish | Self::Tell | Self::Deliver => SpanKind::Producer,
            Self::Process => SpanKind::Consumer,
            Self::Commit | Self::Claim => SpanKind::Internal,
            Self::Ask => SpanKind::Client,
            Self::Answer => SpanKind::Server,
        }
    }

    /// Returns what holds for every span of that name.
    ///
    /// # Source
    /// OpenTelemetry semantic conventions for messaging: `messaging.operation.type` is one of
    /// create, send, receive, process, settle.
    pub(super) fn attributes(self) -> Vec<KeyValue> {
        let operation = match self {
            Self::Publish | Self::Tell | Self::Deliver => "send",
            Self::Process => "process",
            Self::Commit | Self::Claim | Self::Ask | Self::Answer => return Vec::new(),
        };
        vec![
            KeyValue::new("messaging.system", "nats"),
            KeyValue::new("messaging.operation.type", operation),
            KeyValue::new("messaging.operation.name", self.name()),
        ]
    }
}

/// What may be said of a span.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SpanKey {
    /// The subject.
    Destination,
    /// Events, findings or parcels in the message.
    Messages,
    /// Bytes of the message.
    BodyBytes,
    /// The shard.
    Shard,
    /// The level of a batch.
    Level,
    /// The place in the shard's log.
    Sequence,
    /// The number of a commit.
    Commit,
    /// The epoch of an owner.
    Epoch,
    /// The story.
    Story,
    /// How it ended.
    Result,
    /// What went wrong.
    Error,
}

impl SpanKey {
    /// Every key.
    pub const ALL: &[Self] = &[
        Self::Destination,
        Self::Messages,
        Self::BodyBytes,
        Self::Shard,
        Self::Level,
        Self::Sequence,
        Self::Commit,
        Self::Epoch,
        Self::Story,
        Self::Result,
        Self::Error,
    ];

    /// Returns the key as it is exported.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Destination => "messaging.destination.name",
            Self::Messages => "messaging.batch.message_count",
            Self::BodyBytes => "messaging.message.body.size",
            Self::Shard => "tapio.shard",
            Self::Level => "tapio.level",
            Self::Sequence => "tapio.log.sequence",
            Self::Commit => "tapio.commit",
            Self::Epoch => "tapio.epoch",
            Self::Story => "tapio.story",
            Self::Result => "tapio.result",
            Self::Error => "error.type",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    /// Whoever searches for our traces searches for these.
    #[test]
    fn names_and_keys_are_these() {
        let mut list = String::new();
        for span in SpanName::ALL {
            let (name, kind, begins) = (span.name(), span.kind(), span.begins_a_trace());
            writeln!(list, "{name} {kind:?}{}", if begins { " begins" } else { "" }).unwrap();
            for pair in span.attributes() {
                writeln!(list, "    {}={}", pair.key, pair.value).unwrap();
            }
        }
        SpanKey::ALL.iter().for_each(|key| writeln!(list, "{}", key.name()).unwrap());
        insta::assert_snapshot!(list);
    }
}
