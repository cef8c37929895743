//! What JetStream says when it does not do what was asked, in the words of the ports.

use async_nats::{
    client::{RequestError, RequestErrorKind},
    jetstream::{Error as ApiError, ErrorCode},
};
use tapio_bus::{FabricError, SwapError};

/// Why an answer is not the one that was hoped for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Failure {
    /// The subject's last write is not the expected one. Nothing was written.
    Lost,
    /// Another write of the same is under way. Nothing was written; worth another try at once.
    Busy(String),
    /// No such stream: deleted, or an election that hides it.
    Missing(String),
    /// No answer, or nobody to give one.
    Unreachable(String),
    /// Full.
    Full(String),
    /// Refused for good.
    Refused(String),
}

impl Failure {
    /// Says whether this is no answer, as opposed to one nobody hoped for.
    pub(super) const fn is_silence(&self) -> bool {
        match self {
            Self::Missing(_) | Self::Unreachable(_) => true,
            Self::Lost | Self::Busy(_) | Self::Full(_) | Self::Refused(_) => false,
        }
    }
}

/// Full of whatever it is full of: each goes away by itself or by an operator's hand.
const FULL: [ErrorCode; 7] = [
    ErrorCode::STREAM_STORE_FAILED,
    ErrorCode::ACCOUNT_RESOURCES_EXCEEDED,
    ErrorCode::INSUFFICIENT_RESOURCES,
    ErrorCode::STORAGE_RESOURCES_EXCEEDED,
    ErrorCode::MEMORY_RESOURCES_EXCEEDED,
    ErrorCode::MAXIMUM_CONSUMERS_LIMIT,
    ErrorCode::STREAM_MAX_STREAM_BYTES_EXCEEDED,
];

/// Not taken because the same is being written right now.
const BUSY: [ErrorCode; 3] = [
    ErrorCode::STREAM_WRONG_LAST_SEQUENCE_CONSTANT,
    ErrorCode::STREAM_EXPECTED_LAST_SEQ_PER_SUBJECT_NOT_READY,
    ErrorCode::STREAM_DUPLICATE_MESSAGE_CONFLICT,
];

/// What a server says while it starts, stops or elects, with codes that sound like our fault.
const PASSING: [ErrorCode; 5] = [
    ErrorCode::JETSTREAM_NOT_ENABLED,
    ErrorCode::JETSTREAM_NOT_ENABLED_FOR_ACCOUNT,
    ErrorCode::CLUSTER_NOT_LEADER,
    ErrorCode::STREAM_OFFLINE,
    ErrorCode::STREAM_TOO_MANY_REQUESTS,
];

impl From<ApiError> for Failure {
    fn from(error: ApiError) -> Self {
        let (code, said) = (error.error_code(), error.to_string());
        match code {
            ErrorCode::STREAM_WRONG_LAST_SEQUENCE => Self::Lost,
            ErrorCode::STREAM_NOT_FOUND => Self::Missing(said),
            code if BUSY.contains(&code) => Self::Busy(said),
            code if FULL.contains(&code) => Self::Full(said),
            code if PASSING.contains(&code) => Self::Unreachable(said),
            // What is not known by name is judged by its class, as with HTTP: 5xx is the server's
            // trouble and passes, 4xx is ours and stays.
            _ if error.code() >= 500 || error.code() == 429 => Self::Unreachable(said),
            _ => Self::Refused(said),
        }
    }
}

impl From<RequestError> for Failure {
    fn from(error: RequestError) -> Self {
        match error.kind() {
            RequestErrorKind::InvalidSubject | RequestErrorKind::MaxPayloadExceeded => {
                Self::Refused(error.to_string())
            }
            RequestErrorKind::TimedOut | RequestErrorKind::NoResponders => {
                Self::Unreachable(error.to_string())
            }
            RequestErrorKind::Other => Self::Unreachable(error.to_string()),
        }
    }
}

impl From<Failure> for FabricError {
    fn from(failure: Failure) -> Self {
        match failure {
            // Where nothing is compared, somebody else's write is only another reason to try again.
            Failure::Lost => Self::Unreachable("another write was first".to_owned()),
            Failure::Busy(said) | Failure::Missing(said) | Failure::Unreachable(said) => {
                Self::Unreachable(said)
            }
            Failure::Full(said) => Self::Full(said),
            Failure::Refused(said) => Self::Refused(said),
        }
    }
}

impl From<Failure> for SwapError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Lost => Self::Lost,
            // A full bucket has written nothing, but it is not for good either: whoever reads
            // before believing, as the port asks, tries again.
            Failure::Busy(said)
            | Failure::Missing(said)
            | Failure::Unreachable(said)
            | Failure::Full(said) => Self::Unsure(said),
            Failure::Refused(said) => Self::Refused(said),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn api_error(code: u16, err_code: u64) -> Option<ApiError> {
        let text = format!(r#"{{"code":{code},"err_code":{err_code},"description":"said"}}"#);
        serde_json::from_str(&text).ok()
    }

    fn word(failure: &Failure) -> &'static str {
        match failure {
            Failure::Lost => "lost",
            Failure::Busy(_) => "busy",
            Failure::Missing(_) => "missing",
            Failure::Unreachable(_) => "unreachable",
            Failure::Full(_) => "full",
            Failure::Refused(_) => "refused",
        }
    }

    #[test]
    fn every_answer_of_the_server_has_its_word() {
        let table = [
            (400, 10071, "lost"),
            (400, 10164, "busy"),
            (400, 10163, "busy"),
            (409, 10158, "busy"),
            (404, 10059, "missing"),
            (503, 10077, "full"),
            (500, 10047, "full"),
            (400, 10026, "full"),
            (503, 10008, "unreachable"),
            (500, 10009, "unreachable"),
            (503, 10039, "unreachable"),
            (429, 10167, "unreachable"),
            (500, 19999, "unreachable"),
            (400, 10054, "refused"),
            (400, 10109, "refused"),
            (400, 19999, "refused"),
        ];
        for (code, err_code, wanted) in table {
            let error = api_error(code, err_code).expect("an error as the server writes it");
            assert_eq!(word(&Failure::from(error)), wanted, "{code} {err_code}");
        }
    }

    #[test]
    fn only_a_wrong_last_sequence_is_a_lost_swap() {
        let said = || "said".to_owned();
        let table = [
            (Failure::Lost, SwapError::Lost),
            (Failure::Busy(said()), SwapError::Unsure(said())),
            (Failure::Missing(said()), SwapError::Unsure(said())),
            (Failure::Unreachable(said()), SwapError::Unsure(said())),
            (Failure::Full(said()), SwapError::Unsure(said())),
            (Failure::Refused(said()), SwapError::Refused(said())),
        ];
        for (failure, wanted) in table {
            assert_eq!(SwapError::from(failure), wanted);
        }
    }

    #[test]
    fn silence_of_a_request_is_retryable_and_too_much_is_not() {
        let table = [
            (RequestErrorKind::TimedOut, "unreachable"),
            (RequestErrorKind::NoResponders, "unreachable"),
            (RequestErrorKind::Other, "unreachable"),
            (RequestErrorKind::MaxPayloadExceeded, "refused"),
            (RequestErrorKind::InvalidSubject, "refused"),
        ];
        for (kind, wanted) in table {
            assert_eq!(word(&Failure::from(RequestError::new(kind))), wanted, "{kind}");
        }
    }
}
