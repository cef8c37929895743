//! What went wrong with a request, as far as it decides what to do next.

use std::time::Duration;

use kube::{Error, core::Status};

/// Why a listing or a watch ended badly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// 410: the server does not remember that far back.
    Gone,
    /// 401: it does not know us, or not at the moment.
    Unauthorized,
    /// 403: it does not let us, or not yet.
    Forbidden,
    /// 404: it does not serve the resource, or not yet.
    NotServed,
    /// 400, 422, or a version from the future: what we ask makes no sense to it.
    Refused(String),
    /// 429 and everything from 500 on.
    Busy {
        /// What it said.
        why: String,
        /// When it wants to be asked again.
        retry_after: Option<Duration>,
    },
    /// No connection, or a broken one.
    Unreachable(String),
    /// Connected, and silent.
    Silent,
    /// It answered something else than what the API promises.
    Malformed(String),
}

impl Trouble {
    /// Reads an error of the client.
    #[expect(clippy::wildcard_enum_match_arm, reason = "the client's errors are open-ended")]
    pub(crate) fn of(error: &Error) -> Self {
        match error {
            Error::Api(status) => Self::of_status(status),
            Error::SerdeError(error) => Self::Malformed(error.to_string()),
            // The rest is a matter of connections, certificates and their like.
            other => Self::Unreachable(chain(other)),
        }
    }

    /// Reads a status, of a response or of an item in a watch.
    pub(crate) fn of_status(status: &Status) -> Self {
        let why = format!("{} {}: {}", status.code, status.reason, status.message);
        let seconds = status.details.as_ref().map_or(0, |details| details.retry_after_seconds);
        let retry_after = (seconds > 0).then(|| Duration::from_secs(u64::from(seconds)));
        let is_from_the_future = status.message.contains("Too large resource version");
        match status.code {
            401 => Self::Unauthorized,
            403 => Self::Forbidden,
            404 => Self::NotServed,
            410 => Self::Gone,
            _ if is_from_the_future => Self::Refused(why),
            400 | 405 | 406 | 415 | 422 => Self::Refused(why),
            _ if status.reason == "Expired" || status.reason == "Gone" => Self::Gone,
            _ => Self::Busy { why, retry_after },
        }
    }

    /// Says whether the server spoke, and is up.
    pub(crate) const fn is_sign_of_life(&self) -> bool {
        match self {
            Self::Gone
            | Self::Unauthorized
            | Self::Forbidden
            | Self::NotServed
            | Self::Refused(_) => true,
            Self::Busy { .. } | Self::Unreachable(_) | Self::Silent | Self::Malformed(_) => false,
        }
    }

    /// Says it to a person.
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Gone => "410: the server does not remember that far back".into(),
            Self::Unauthorized => "401: the server does not accept our credentials".into(),
            Self::Forbidden => "403: we may not list and watch it".into(),
            Self::NotServed => "404: the server does not serve it".into(),
            Self::Silent => "connected, and silent".into(),
            Self::Refused(why)
            | Self::Busy { why, .. }
            | Self::Unreachable(why)
            | Self::Malformed(why) => why.clone(),
        }
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        source = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_decide_and_a_future_version_is_no_busy_server() {
        let of =
            |code, message: &str| Trouble::of_status(&Status::failure(message, "").with_code(code));
        assert_eq!(of(410, ""), Trouble::Gone);
        assert_eq!(of(403, ""), Trouble::Forbidden);
        assert_eq!(of(404, ""), Trouble::NotServed);
        assert!(matches!(of(504, "Too large resource version: 9"), Trouble::Refused(_)));
        assert!(matches!(of(503, "starting"), Trouble::Busy { retry_after: None, .. }));
        assert!(of(401, "").is_sign_of_life() && !of(503, "").is_sign_of_life());
    }
}
