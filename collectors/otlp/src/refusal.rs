//! Why a request is not taken, in the words of both protocols.

use axum::http::StatusCode;
use tapio_collect::DropReason;
use tonic::{Code, Status};

/// The longest explanation quoted from a parser, which may quote the request itself.
const WHY_BYTES_MAX: usize = 256;

/// Why a request is not taken. The text goes to the sender and names the cure.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    /// The bytes make no sense.
    #[error(
        "not an OTLP request: {why}; send what an OTLP exporter sends, under the content type it \
         is written in"
    )]
    Malformed {
        /// What the parser says.
        why: String,
    },
    /// More bytes than a request may have.
    #[error(
        "the request has more than {bytes_max} bytes; send smaller batches \
         (OTEL_BSP_MAX_EXPORT_BATCH_SIZE for spans, OTEL_BLRP_MAX_EXPORT_BATCH_SIZE for logs)"
    )]
    TooLarge {
        /// The limit.
        bytes_max: usize,
    },
    /// Written in a way that nobody here reads.
    #[error(
        "cannot read this {header}; send application/x-protobuf or application/json, plain or \
         gzip"
    )]
    Unsupported {
        /// The header that says so.
        header: &'static str,
    },
    /// Nobody takes events any more.
    #[error("the pipeline is closed; send the request again later")]
    Closed,
    /// The pipeline took longer than a request may wait.
    #[error("the pipeline is full; send the request again later")]
    Busy,
    /// Metrics.
    #[error("metrics are not accepted; send them elsewhere, or set OTEL_METRICS_EXPORTER=none")]
    Metrics,
    /// A path that is not OTLP's.
    #[error("nothing is here; send traces to /v1/traces and logs to /v1/logs")]
    NotFound,
    /// A method other than POST.
    #[error("this method does nothing here; use POST")]
    Method,
}

impl Refusal {
    /// Makes a refusal of bytes that make no sense.
    pub(crate) fn malformed(why: impl std::fmt::Display) -> Self {
        let mut why = why.to_string();
        why.truncate(why.floor_char_boundary(WHY_BYTES_MAX));
        Self::Malformed { why }
    }

    /// Returns the reason to count a lost request under; `None` if the sender keeps it and comes
    /// again, or if it was none of ours.
    pub(crate) const fn drop_reason(&self) -> Option<DropReason> {
        match self {
            Self::Malformed { .. } | Self::Unsupported { .. } => Some(DropReason::Malformed),
            Self::TooLarge { .. } => Some(DropReason::TooLarge),
            Self::Closed | Self::Busy | Self::Metrics | Self::NotFound | Self::Method => None,
        }
    }

    /// Returns the HTTP status. Of these, exporters send again after 503 only.
    pub(crate) const fn http(&self) -> StatusCode {
        match self {
            Self::Malformed { .. } => StatusCode::BAD_REQUEST,
            Self::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Unsupported { .. } => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Closed | Self::Busy => StatusCode::SERVICE_UNAVAILABLE,
            Self::Metrics | Self::NotFound => StatusCode::NOT_FOUND,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
        }
    }

    /// Returns the gRPC code. Of these, exporters send again after `UNAVAILABLE` only.
    pub(crate) const fn grpc(&self) -> Code {
        match self {
            Self::Malformed { .. } | Self::Unsupported { .. } => Code::InvalidArgument,
            Self::TooLarge { .. } => Code::ResourceExhausted,
            Self::Closed | Self::Busy => Code::Unavailable,
            Self::Metrics | Self::NotFound | Self::Method => Code::Unimplemented,
        }
    }
}

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Self {
        Self::new(refusal.grpc(), refusal.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn senders_are_asked_to_come_again_only_when_it_helps() {
        for (refusal, comes_again) in [
            (Refusal::malformed("x"), false),
            (Refusal::TooLarge { bytes_max: 1 }, false),
            (Refusal::Unsupported { header: "content-type" }, false),
            (Refusal::Closed, true),
            (Refusal::Busy, true),
            (Refusal::Metrics, false),
            (Refusal::NotFound, false),
            (Refusal::Method, false),
        ] {
            assert_eq!(refusal.http() == StatusCode::SERVICE_UNAVAILABLE, comes_again, "{refusal}");
            assert_eq!(refusal.grpc() == Code::Unavailable, comes_again, "{refusal}");
            assert!(!comes_again || refusal.drop_reason().is_none(), "{refusal}");
        }
    }

    #[test]
    fn an_explanation_is_cut_between_letters() {
        let refusal = Refusal::malformed("é".repeat(WHY_BYTES_MAX));
        assert!(refusal.to_string().len() < WHY_BYTES_MAX + 200);
    }
}
