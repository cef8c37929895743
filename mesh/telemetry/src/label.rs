//! Every label a metric may have. Labels come from enums, never from data.

use tapio_model::{Level, ShedReason};

/// An enum whose values are labels: variant and text, line by line.
macro_rules! label_values {
    ($($(#[$doc:meta])* $name:ident { $($(#[$value_doc:meta])* $value:ident = $text:literal,)+ })+) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name {
            $($(#[$value_doc])* $value,)+
        }

        impl $name {
            /// Every value.
            pub const ALL: &[Self] = &[$(Self::$value,)+];

            /// Returns the label's text.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$value => $text,)+
                }
            }
        }
    )+};
}

label_values! {
    /// Which of the seven accounts an event is booked under.
    Account {
        /// A story cites it.
        Story = "story",
        /// Its trace is live and no story cites it yet.
        Open = "open",
        /// Its window closed without a finding that cites it.
        Expired = "expired",
        /// Seen before.
        Duplicate = "duplicate",
        /// Its trace had closed.
        Late = "late",
        /// It could not be processed.
        DeadLetter = "dead_letter",
        /// Turned away at a limit.
        Shed = "shed",
    }

    /// Why an event was lost before the bus had it.
    Loss {
        /// The bus was full.
        Shed = "shed",
        /// The bus was closed.
        Closed = "closed",
        /// The bus could never take it.
        Refused = "refused",
    }

    /// How the commit of a shard's root ended.
    CommitResult {
        /// Written.
        Ok = "ok",
        /// Another owner has written: the shard was dropped.
        Lost = "lost",
        /// No answer: read back before anything else.
        Unsure = "unsure",
    }

    /// What became of a finding on its way between shards.
    FindingFate {
        /// Left through the outbox.
        Sent = "sent",
        /// Taken in by the incidents' shard.
        Received = "received",
        /// Received before, and skipped.
        Skipped = "skipped",
    }

    /// What a `correlation.request` asks for.
    RequestOp {
        /// Traces, entities or stories.
        Query = "query",
        /// What else is known of some entities.
        Related = "related",
        /// The owner of a trace or shard.
        WhoOwns = "who_owns",
        /// Findings for an incident.
        Deliver = "deliver",
        /// A shard changes hands.
        Handoff = "handoff",
        /// What could not be read, or was not for lack of room.
        Unread = "unread",
    }

    /// How a `correlation.request` was answered.
    RequestResult {
        /// Every shard answered.
        Complete = "complete",
        /// Some shards are missing, and named.
        Partial = "partial",
        /// Not a request of ours, or too much at once.
        Refused = "refused",
        /// No answer.
        Failed = "failed",
    }

    /// What the NATS client reports out of turn.
    NatsErrorKind {
        /// The connection broke.
        Disconnected = "disconnected",
        /// The server is about to go.
        LameDuck = "lame_duck",
        /// The connection drains.
        Draining = "draining",
        /// The connection is closed for good.
        Closed = "closed",
        /// Messages were dropped because they were not read in time.
        SlowConsumer = "slow_consumer",
        /// The server refuses who we are or what we do.
        Authorization = "authorization",
        /// Another error of the server.
        Server = "server",
        /// An error of the client.
        Client = "client",
    }

    /// What became of an envelope that an agent handed over directly.
    EnvelopeFate {
        /// Kept, and acknowledged.
        Kept = "kept",
        /// Refused for good.
        Refused = "refused",
        /// To come again later.
        Busy = "busy",
        /// Sent to another node.
        Leaving = "leaving",
        /// Its sender was gone before the answer; it comes again.
        Lost = "lost",
    }

    /// What became of a span of our own.
    SpanFate {
        /// Ended, and handed to the exporter's queue.
        Ended = "ended",
        /// Sent.
        Sent = "sent",
        /// The other side did not take it.
        Failed = "failed",
    }
}

/// The name of a label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LabelKey {
    /// `outcome`.
    Outcome,
    /// `reason`.
    Reason,
    /// `level`.
    Level,
    /// `result`.
    Result,
    /// `fate`.
    Fate,
    /// `op`.
    Op,
    /// `kind`.
    Kind,
    /// `version`.
    Version,
}

impl LabelKey {
    /// Returns the name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Outcome => "outcome",
            Self::Reason => "reason",
            Self::Level => "level",
            Self::Result => "result",
            Self::Fate => "fate",
            Self::Op => "op",
            Self::Kind => "kind",
            Self::Version => "version",
        }
    }
}

/// A label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Label {
    /// `outcome`.
    Outcome(Account),
    /// `reason`, for events that were turned away.
    Shed(ShedReason),
    /// `reason`, for events that never reached the bus.
    Loss(Loss),
    /// `level`.
    Level(Level),
    /// `result` of a commit.
    Commit(CommitResult),
    /// `result` of a request.
    Request(RequestResult),
    /// `op`.
    Op(RequestOp),
    /// `fate` of a finding.
    Finding(FindingFate),
    /// `fate` of an envelope.
    Envelope(EnvelopeFate),
    /// `fate` of a span.
    Span(SpanFate),
    /// `kind` of an error of the NATS client.
    NatsError(NatsErrorKind),
    /// `version`: the one that was built.
    Version(&'static str),
}

impl Label {
    /// Returns the label's name.
    #[must_use]
    pub const fn key(self) -> LabelKey {
        match self {
            Self::Outcome(_) => LabelKey::Outcome,
            Self::Shed(_) | Self::Loss(_) => LabelKey::Reason,
            Self::Level(_) => LabelKey::Level,
            Self::Commit(_) | Self::Request(_) => LabelKey::Result,
            Self::Op(_) => LabelKey::Op,
            Self::Finding(_) | Self::Envelope(_) | Self::Span(_) => LabelKey::Fate,
            Self::NatsError(_) => LabelKey::Kind,
            Self::Version(_) => LabelKey::Version,
        }
    }

    /// Returns the label's value.
    #[must_use]
    pub const fn value(self) -> &'static str {
        match self {
            Self::Outcome(account) => account.name(),
            Self::Shed(reason) => reason.name(),
            Self::Loss(loss) => loss.name(),
            Self::Level(level) => level.name(),
            Self::Commit(result) => result.name(),
            Self::Request(result) => result.name(),
            Self::Op(op) => op.name(),
            Self::Finding(fate) => fate.name(),
            Self::Envelope(fate) => fate.name(),
            Self::Span(fate) => fate.name(),
            Self::NatsError(kind) => kind.name(),
            Self::Version(version) => version,
        }
    }
}

/// The labels of one series: none, one or two, in the order the metric names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Labels([Option<Label>; 2]);

impl Labels {
    /// Returns the labels.
    pub fn iter(&self) -> impl Iterator<Item = Label> {
        self.0.into_iter().flatten()
    }
}

impl From<()> for Labels {
    fn from((): ()) -> Self {
        Self::default()
    }
}

impl From<Label> for Labels {
    fn from(label: Label) -> Self {
        Self([Some(label), None])
    }
}

impl From<(Label, Label)> for Labels {
    fn from((first, second): (Label, Label)) -> Self {
        Self([Some(first), Some(second)])
    }
}
