//! What travels: numbered envelopes one way, answers and credit the other.
//!
//! Protobuf, so that a field which one side does not know yet is skipped by it. A field keeps its
//! number for ever.

use bytes::Bytes;

/// The service, as HTTP paths and gRPC tools name it.
pub(crate) const SERVICE: &str = "tapio.direct.v1.Direct";

/// The method.
pub(crate) const PUBLISH: &str = "/tapio.direct.v1.Direct/Publish";

/// An envelope on its way.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct Parcel {
    /// Chosen by the client; the answer repeats it. The same envelope sent again keeps it.
    #[prost(uint64, tag = "1")]
    pub(crate) sequence: u64,
    /// A batch as `tapio_wire` writes it.
    #[prost(bytes = "bytes", tag = "2")]
    pub(crate) envelope: Bytes,
}

/// What the server says.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct Answer {
    /// The parcel it is about; nothing's in a grant.
    #[prost(uint64, tag = "1")]
    pub(crate) sequence: u64,
    /// What became of it.
    #[prost(enumeration = "Outcome", tag = "2")]
    pub(crate) outcome: i32,
    /// How many more parcels may be sent because of this answer.
    #[prost(uint32, tag = "3")]
    pub(crate) credit: u32,
    /// The reason of a refusal, as it is counted.
    #[prost(string, tag = "4")]
    pub(crate) code: String,
    /// The reason in words.
    #[prost(string, tag = "5")]
    pub(crate) why: String,
    /// Where it is kept.
    #[prost(uint64, tag = "6")]
    pub(crate) offset: u64,
    /// Events of the envelope that could not be read; the others are kept.
    #[prost(uint32, tag = "7")]
    pub(crate) rejected_events: u32,
}

/// What became of a parcel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
pub(crate) enum Outcome {
    /// About no parcel: more may be sent. The first message of a stream is one.
    Grant = 0,
    /// It is kept.
    Kept = 1,
    /// It can never be kept.
    Refused = 2,
    /// There is no room for it now: send it again, later.
    Busy = 3,
    /// The server is leaving: send it to another one.
    Leaving = 4,
}

impl Answer {
    /// Grants `credit` parcels.
    pub(crate) fn grant(credit: u32) -> Self {
        Self { credit, outcome: Outcome::Grant.into(), ..Self::default() }
    }

    /// Answers `sequence`, and gives its credit back.
    pub(crate) fn to(sequence: u64, outcome: Outcome) -> Self {
        Self { sequence, outcome: outcome.into(), credit: 1, ..Self::default() }
    }

    /// Refuses `sequence` for good.
    pub(crate) fn refuse(sequence: u64, code: &str, why: &impl ToString) -> Self {
        let (code, why) = (code.to_owned(), why.to_string());
        Self { code, why, ..Self::to(sequence, Outcome::Refused) }
    }
}
