//! What nodes and people ask of the mesh, and what they are told.

use std::{fmt, sync::Arc, time::Duration};

use crate::{
    Ending, Entity, Event, Finding, Incarnation, ShardId, Story, StoryId, Text, Timestamp, TraceId,
};

/// How often a shard has changed hands. Grows with every claim; the highest one wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Epoch(pub u64);

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Who owns a shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// The node.
    pub node: Text,
    /// Since which change of hands.
    pub epoch: Epoch,
}

/// Something that is asked.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// What.
    pub op: Op,
    /// Within what time an answer is worth having, in whole milliseconds: at most
    /// [`Request::DEADLINE_MAX`]; `None` is [`Request::DEADLINE`].
    pub deadline: Option<Duration>,
    /// The shards to answer for: set by a coordinator that asks an owner, empty otherwise.
    pub shards: Vec<ShardId>,
}

impl Request {
    /// Within what time an answer is given unless the request says otherwise.
    pub const DEADLINE: Duration = Duration::from_millis(100);
    /// The longest that a request may ask for: what waits longer is better asked again.
    pub const DEADLINE_MAX: Duration = Duration::from_secs(10);

    /// Makes a request that leaves its deadline to the coordinator.
    #[must_use]
    pub const fn new(op: Op) -> Self {
        Self { op, deadline: None, shards: Vec::new() }
    }

    /// Returns within what time it is to be answered.
    #[must_use]
    pub fn within(&self) -> Duration {
        self.deadline.unwrap_or(Self::DEADLINE).min(Self::DEADLINE_MAX)
    }
}

/// What is asked.
#[derive(Debug, Clone, PartialEq)]
pub enum Op {
    /// One story.
    Story(StoryId),
    /// One trace: what it holds and found, or how it ended.
    Trace(TraceId),
    /// The open stories and live traces that touch a thing.
    Entity(Entity),
    /// The open stories, oldest first.
    List {
        /// How many.
        limit: u32,
    },
    /// The open incidents near some things.
    Related {
        /// The things.
        entities: Vec<Entity>,
        /// When; `None` is now.
        at: Option<Timestamp>,
    },
    /// Who owns a thing.
    WhoOwns(Owned),
    /// Takes these events, which all belong to one shard. Safe to repeat: an event's id decides.
    Deliver {
        /// The events, bound to their traces.
        events: Vec<Arc<Event>>,
    },
    /// Gives shards back.
    Handoff(Handoff),
}

impl Op {
    /// Returns the op's name in the protocol.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Story(_) | Self::Trace(_) | Self::Entity(_) | Self::List { .. } => "query",
            Self::Related { .. } => "related",
            Self::WhoOwns(_) => "who_owns",
            Self::Deliver { .. } => "deliver",
            Self::Handoff(_) => "handoff",
        }
    }

    /// Says whether it only reads: a root then answers for an owner that does not.
    #[must_use]
    pub const fn is_read(&self) -> bool {
        match self {
            Self::Story(_)
            | Self::Trace(_)
            | Self::Entity(_)
            | Self::List { .. }
            | Self::Related { .. }
            | Self::WhoOwns(_) => true,
            Self::Deliver { .. } | Self::Handoff(_) => false,
        }
    }
}

/// A thing that has an owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Owned {
    /// A trace.
    Trace(TraceId),
    /// A thing in the cluster: the owner of the incidents that are anchored in it.
    Entity(Entity),
    /// A shard.
    Shard(ShardId),
}

/// What is to be given back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Handoff {
    /// One shard, for placement to give to whoever should have it.
    Shard(ShardId),
    /// Everything that this node owns.
    Node(Text),
}

/// One thing that was found, or done.
#[derive(Debug, Clone, PartialEq)]
pub enum Item {
    /// A story.
    Story(Box<Story>),
    /// A trace.
    Trace(Box<TraceReport>),
    /// An open incident.
    Incident {
        /// Its story.
        id: StoryId,
        /// When it was opened, by the engine's time.
        opened_at: Timestamp,
        /// What it touches.
        touches: Vec<Entity>,
    },
    /// A shard and its owner.
    Owner {
        /// The shard.
        shard: ShardId,
        /// Its owner; `None` if it has none.
        owner: Option<Owner>,
    },
    /// Events are in the shard's log, and will be processed.
    Accepted {
        /// The shard.
        shard: ShardId,
        /// How many.
        events: u64,
    },
    /// The owner gives a shard back.
    Released {
        /// The shard.
        shard: ShardId,
    },
}

/// What is known of a trace.
#[derive(Debug, Clone, PartialEq)]
pub struct TraceReport {
    /// Identity.
    pub id: TraceId,
    /// Which life.
    pub incarnation: Incarnation,
    /// How it ended; `None` while it lives.
    pub ended: Option<Ending>,
    /// When it was opened, by the engine's time.
    pub opened_at: Timestamp,
    /// When its last event came, by the engine's time.
    pub last_at: Timestamp,
    /// Events that it holds; more than `events` if some did not fit, or were not asked for.
    pub events_total: u64,
    /// Its events, in order of (time, id).
    pub events: Vec<Arc<Event>>,
    /// What it found.
    pub findings: Vec<Finding>,
    /// The stories that tell of it.
    pub stories: Vec<StoryId>,
}

/// What an owner answers for the shards it was asked about.
#[derive(Debug, Clone, PartialEq)]
pub struct Part {
    /// Who answers.
    pub node: Text,
    /// Its answers, one a shard.
    pub shards: Vec<ShardAnswer>,
}

/// What a node answers for one shard.
#[derive(Debug, Clone, PartialEq)]
pub enum ShardAnswer {
    /// It owns the shard, and this is what it knows.
    Known {
        /// The shard.
        shard: ShardId,
        /// Since which change of hands it owns it.
        epoch: Epoch,
        /// What it found, or did.
        results: Vec<Item>,
        /// Results and events that are left out, for they would not fit.
        omitted: u64,
    },
    /// It does not own the shard.
    Moved {
        /// The shard.
        shard: ShardId,
        /// Who owns it, as far as it knows.
        owner: Option<Text>,
        /// The latest change of hands that it has heard of.
        epoch: Epoch,
    },
}

impl ShardAnswer {
    /// Returns the shard.
    #[must_use]
    pub const fn shard(&self) -> ShardId {
        match self {
            Self::Known { shard, .. } | Self::Moved { shard, .. } => *shard,
        }
    }
}

/// Which shards an answer knows, and how well.
///
/// # Invariant
/// Each list is sorted; no shard is in two of them; together they are the shards that were needed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Coverage {
    /// Their owners answered.
    pub answered: Vec<ShardId>,
    /// Known from their roots only: as of the last commit.
    pub stale: Vec<ShardId>,
    /// Not known at all.
    pub missing: Vec<ShardId>,
}

/// What the mesh answers.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// Who answered for which shard.
    pub shards: Coverage,
    /// What was found, or done.
    pub results: Vec<Item>,
    /// Results and events that are left out: beyond the limit, or they would not fit a message.
    pub omitted: u64,
    /// How long it took.
    pub took: Duration,
    /// The node that gathered it.
    pub coordinator: Text,
}

impl Answer {
    /// Says whether nothing is stale, missing or left out.
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        self.shards.stale.is_empty() && self.shards.missing.is_empty() && self.omitted == 0
    }
}

/// Everything that can come back for a request.
#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    /// From the mesh: what a coordinator gathered.
    Answer(Answer),
    /// From an owner, to a coordinator.
    Part(Part),
    /// The request could not be answered.
    Refused(Refusal),
}

/// Why a request is not answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The kind of reason.
    pub reason: RefusalReason,
    /// What was wrong, in words.
    pub text: Text,
}

impl Refusal {
    /// Makes a refusal.
    #[must_use]
    pub fn new(reason: RefusalReason, text: impl Into<Text>) -> Self {
        Self { reason, text: text.into() }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.text, self.reason.cure())
    }
}

impl std::error::Error for Refusal {}

macro_rules! reasons {
    ($($(#[doc = $doc:literal])+ $name:ident = $code:literal, $cure:literal;)+) => {
        /// Kinds of reasons for which a request is not answered.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum RefusalReason {
            $($(#[doc = $doc])+ $name,)+
        }

        impl RefusalReason {
            /// Every reason.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// Returns the code: what programs compare, and the label it is counted under.
            #[must_use]
            pub const fn code(self) -> &'static str {
                match self { $(Self::$name => $code,)+ }
            }

            /// Says what to do about it.
            #[must_use]
            pub const fn cure(self) -> &'static str {
                match self { $(Self::$name => $cure,)+ }
            }
        }
    };
}

reasons! {
    /// Not a message, or not of a request's shape.
    Malformed = "malformed", "see docs/requests.md for the fields of each op";
    /// A version that this node cannot read.
    UnknownVersion = "unknown_version", "ask in version 1, or upgrade the older side";
    /// An op that this node does not know.
    UnknownOp = "unknown_op", "use one of query, related, who_owns, deliver, handoff";
    /// More bytes, or more items, than are read.
    TooLarge = "too_large", "ask for less, or deliver in smaller batches";
    /// As many requests as may be are under way.
    Busy = "busy", "ask again after a moment";
    /// There is no such shard or node.
    NotFound = "not_found", "list the owners with who_owns";
    /// Events of several shards in one delivery.
    MixedShards = "mixed_shards", "deliver the events of each trace on their own";
    /// The node is leaving, or was never ready.
    Unavailable = "unavailable", "ask again: another node takes the request";
    /// Something that should not happen did.
    Internal = "internal", "ask again; if it stays, look into the node's log";
}

impl RefusalReason {
    /// Returns the number that HTTP has for such a reason, which NATS services use too.
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Self::Malformed | Self::UnknownVersion | Self::UnknownOp | Self::MixedShards => 400,
            Self::NotFound => 404,
            Self::TooLarge => 413,
            Self::Busy => 429,
            Self::Internal => 500,
            Self::Unavailable => 503,
        }
    }

    /// Reads a code; one that only a newer node knows is [`RefusalReason::Internal`].
    #[must_use]
    pub fn from_code(code: &str) -> Self {
        Self::ALL.iter().copied().find(|it| it.code() == code).unwrap_or(Self::Internal)
    }
}
