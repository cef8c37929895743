//! How much a complaint of a log says of what is wrong.
//!
//! Of a log that is read as a whole the most frequent complaint is seldom the reason: what is tried
//! again and succeeds is said all day, and what stops the work once.

use tapio_model::Event;

use crate::{
    last_words::{exception, innermost, quote},
    wording::bears,
};

/// How much a complaint says of what is wrong, from least to most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Gravity {
    /// What failed is tried again, or done without.
    Passing,
    /// A request failed, and this is not why.
    Felt,
    /// Something failed.
    Plain,
    /// What failed fails for as long as nobody does something about it.
    Lasting,
    /// Saying it once is enough: data are damaged, or the work has come to its end.
    Final,
}

/// What says that data of one's own are damaged, in lower case.
const DAMAGE: &[&str] = &[
    "checksum mismatch",
    "crc mismatch",
    "corrupt record",
    "invalid page in block",
    "refusing to apply",
];

/// What is wrong for good besides, in lower case: of a log that is read to its end.
const FINAL: &[&str] = &[
    "replication halted",
    // A server says once that it has come to its own ceiling.
    "server reached pm.max_children",
    "server reached maxrequestworkers",
    "server reached maxclients",
    "worker_connections are not enough",
    "flood stage disk watermark",
    "exceeded flood-stage watermark",
    "publishers will be blocked until",
];

/// What somebody must change: keys and rights, what is used up, what is not there.
const LASTING: &[&str] = &[
    "is corrupt",
    "corrupted",
    "expired api key",
    "api key expired",
    "api key has expired",
    "invalid api key",
    "invalid_api_key",
    "incorrect api key",
    "key has been revoked",
    "token has been revoked",
    "license expired",
    "license has expired",
    "invalid license",
    "subscription expired",
    "authenticationerror",
    "invalidaccesskeyid",
    "signaturedoesnotmatch",
    "expiredtoken",
    "invalid_client",
    "invalid_grant",
    "not authorized to perform",
    "(accessdenied)",
    "accessdeniedexception: user",
    "insufficient privilege",
    "insufficient permission",
    "insufficient_scope",
    "permission denied for",
    "quotaexceeded",
    "quota exceeded",
    "exceeded your current quota",
    "insufficient_quota",
    "over_quota",
    "storage limit exceeded",
    "oom command not allowed",
    "'maxmemory'",
    "read-only-allow-delete",
    "in a read-only transaction",
    "against a read only replica",
    "masterdown",
    "no such table",
    "no such column",
    "unknown column",
    "unknown database",
    "undefinedtable",
    "undefined_table",
    "undefinedcolumn",
    "undefined_column",
    "unknown_topic_or_partition",
    "can't see a majority",
    "cannot see a majority",
    "lost quorum",
    "quorum lost",
    "quorum is lost",
    "no quorum",
    "connectionblocked",
    "test mode key",
    "410 gone",
    "version_sunset",
    "has been sunset",
    "has been retired",
    "was retired",
    "api version is no longer supported",
    "nosuchbucket",
    "index_not_found_exception",
    "not_found: no queue",
    "not_found - no queue",
    "not_found - no exchange",
    "wrong version number",
    "does not look like a tls handshake",
    "unsupported protocol version",
    "incompatible schema",
    "schema being registered is incompatible",
    "out of range for type",
    "out of range for column",
    "nextval: reached maximum value",
    "must be vacuumed within",
    "not accepting commands to avoid wraparound",
];

/// What is tried again or done without.
const PASSING: &[&str] = &[
    "retrying",
    "will retry",
    "will be retried",
    "trying again",
    "try again later",
    "(ignored)",
    "ignoring",
    "skipping",
    "falling back",
    "using cached",
    "using default",
    "using stale",
];

/// Weighs what an event says: its line, or the exception below it if that names what lasts.
pub(crate) fn gravity(event: &Event) -> Gravity {
    let thrown = innermost(event).or_else(|| exception(event)).map(Gravity::of);
    let lasting = thrown.filter(|thrown| *thrown >= Gravity::Lasting);
    lasting.max(Some(Gravity::of(event.message()))).unwrap_or(Gravity::Plain)
}

/// Quotes a line so that what makes it grave is to be read: a long line is cut elsewhere.
pub(crate) fn quote_gravest(event: &Event) -> String {
    const BEFORE: usize = 60;
    const CHARS_MAX: usize = 180;
    let (quoted, line) = (quote(event), event.message());
    // Lower case of ASCII keeps every offset.
    let lower = line.to_ascii_lowercase();
    let mark =
        DAMAGE.iter().chain(FINAL).chain(LASTING).find_map(|mark| Some((lower.find(mark)?, *mark)));
    match mark.filter(|(_, mark)| !quoted.to_ascii_lowercase().contains(mark)) {
        Some((at, _)) => {
            let from = line.floor_char_boundary(at.saturating_sub(BEFORE));
            let near: String = line.get(from..).unwrap_or(line).chars().take(CHARS_MAX).collect();
            format!("\"...{}...\"", near.trim())
        }
        None => quoted,
    }
}

/// Says whether a line, in lower case, says that data of one's own are damaged. Whoever fetches them
/// anew has them whole then, and what somebody sends is his own.
pub(crate) fn is_damage(line: &str) -> bool {
    const OF_OTHERS: &[&str] = &["rejected", "upload", "download", "replica", "from client"];
    bears(line, DAMAGE) && !bears(line, PASSING) && !bears(line, OF_OTHERS)
}

impl Gravity {
    /// Weighs a line.
    #[must_use]
    pub fn of(line: &str) -> Self {
        let line = line.to_ascii_lowercase();
        if is_damage(&line) || (bears(&line, FINAL) && !bears(&line, PASSING)) {
            return Self::Final;
        }
        let is_used_up = line.contains("quota") && line.contains("exceeded");
        let is_absent = ["relation ", "column ", "table "].iter().any(|it| line.contains(it))
            && line.contains(" does not exist");
        if bears(&line, LASTING) || is_used_up || is_absent {
            return Self::Lasting;
        }
        if bears(&line, PASSING) {
            return Self::Passing;
        }
        if is_failed_request(&line) { Self::Felt } else { Self::Plain }
    }
}

/// Says whether a line, in lower case, is one of an access log whose status is a server's error:
/// `"get /cart http/1.1" 503`, `method=get path=/cart status=500`.
#[must_use]
pub fn is_failed_request(line: &str) -> bool {
    let quoted = line.split_once(" http/").and_then(|(_, rest)| rest.split_once("\" "));
    let status = quoted.map(|(_, rest)| rest).or_else(|| {
        let (before, rest) = line.split_once(" status=")?;
        before.contains("method=").then_some(rest)
    });
    let status = status.and_then(|rest| rest.split(' ').next()).unwrap_or_default();
    status.len() == 3 && status.parse::<u16>().is_ok_and(|status| (500..600).contains(&status))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_weigh() {
        for (line, want) in [
            ("ERROR checksum mismatch file=/data/7.seg", Gravity::Final),
            ("checksum mismatch of part 3, retrying", Gravity::Passing),
            ("upload rejected: checksum mismatch", Gravity::Plain),
            ("WARNING: [pool www] server reached pm.max_children setting (5)", Gravity::Final),
            ("Stripe::AuthenticationError: Expired API Key provided", Gravity::Lasting),
            ("geo said 429: daily quota of 50000 requests exceeded", Gravity::Lasting),
            ("ERROR: relation \"carts\" does not exist at character 15", Gravity::Lasting),
            ("ERROR 42703 column s0.reason does not exist", Gravity::Lasting),
            ("OOM command not allowed when used memory > 'maxmemory', retrying", Gravity::Lasting),
            ("deadlock detected; retrying transaction (1/3)", Gravity::Passing),
            ("rates returned 503, using cached rate", Gravity::Passing),
            ("10.0.0.1 - - \"GET /cart HTTP/1.1\" 503 19", Gravity::Felt),
            ("method=GET path=/cart status=500 duration=9", Gravity::Felt),
            ("exit status=500", Gravity::Plain),
            ("GET session failed after 3 attempts", Gravity::Plain),
        ] {
            assert_eq!(Gravity::of(line), want, "{line}");
        }
        assert!(Gravity::Final > Gravity::Lasting && Gravity::Plain > Gravity::Passing);
    }

    #[test]
    fn an_exception_weighs_more_than_its_line_only_if_it_lasts() {
        let said = |line: &str, thrown: &str| {
            let words = format!("msg=\"{line}\" error=E exception.stacktrace=\"E: {thrown}\"");
            gravity(&crate::fixture::events(&format!("0s a/b/c Exception {words}")).unwrap()[0])
        };
        assert_eq!(said("upload failed", "not authorized to perform s3:Put"), Gravity::Lasting);
        assert_eq!(said("upload failed, retrying", "boom"), Gravity::Passing);
    }

    #[test]
    fn what_makes_a_long_line_grave_is_quoted() {
        let quoted = |line: &str| {
            quote_gravest(
                &crate::fixture::events(&format!("0s a/b/c Log msg=\"{line}\"")).unwrap()[0],
            )
        };
        let long = format!("no label {} resulted in 410 Gone {}", "x".repeat(200), "y".repeat(200));
        let told = quoted(&long);
        assert!(told.contains("resulted in 410 Gone y") && told.len() < 200, "{told}");
        assert_eq!(quoted("it was 410 Gone"), "\"it was 410 Gone\"");
    }

    #[test]
    fn marks_are_in_lower_case_and_said_once() {
        let all = [DAMAGE, FINAL, LASTING, PASSING].concat();
        for mark in &all {
            assert_eq!(**mark, mark.to_ascii_lowercase());
            assert_eq!(all.iter().filter(|other| *other == mark).count(), 1, "{mark}");
        }
    }

    #[test]
    fn server_errors_of_an_access_log_are_failed_requests() {
        let line = "10.0.0.1 - - [02/jan/2026:03:00:00 +0000] \"get /cart http/1.1\" 503 19";
        assert!(is_failed_request(line));
        assert!(!is_failed_request(&line.replace("503", "404")));
        assert!(!is_failed_request("listening on http/1.1"));
    }
}
