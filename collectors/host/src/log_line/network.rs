//! Failures that every stack words alike: limits, connections, names, disks.

use std::sync::LazyLock;

use regex::Regex;
use tapio_model::Kind;

use super::phrases::{self, Limit, Phrase};

/// Who was at the other end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Host name or address.
    pub address: String,
    /// Port, if it was named.
    pub port: Option<u16>,
}

/// What a text tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) kind: Kind,
    pub(super) error_type: &'static str,
    pub(super) peer: Option<Peer>,
    pub(super) dns_rcode: Option<&'static str>,
    pub(super) dns_name: Option<String>,
    pub(super) limit: Option<&'static Limit>,
}

/// Finds what the first phrase of the list that fits a text tells.
pub(super) fn find(text: &str) -> Option<Failure> {
    // Lower case of ASCII keeps every offset.
    let lower = text.to_ascii_lowercase();
    phrases::find(&lower).find_map(|(phrase, at)| read(text, &lower, (phrase, at)))
}

/// Reads what a phrase says; `None` if it is another story.
fn read(text: &str, lower: &str, (phrase, at): (&Phrase, usize)) -> Option<Failure> {
    let failure = Failure {
        kind: phrase.kind,
        error_type: phrase.error_type,
        peer: None,
        dns_rcode: phrase.dns_rcode,
        dns_name: None,
        limit: phrase.limit,
    };
    // Go says "lookup db on 10.96.0.10:53: …: i/o timeout" of a name server that does not answer.
    let is_timeout = phrase.kind == Kind::ConnectTimeout;
    let failure = if is_timeout && lower.contains("lookup ") {
        Failure {
            kind: Kind::DnsFailure,
            error_type: "EAI_AGAIN",
            dns_rcode: Some("timeout"),
            ..failure
        }
    } else {
        failure
    };
    if failure.kind == Kind::DnsFailure {
        let dns_name = dns_name(text);
        return (dns_name.is_some() || !phrase.needs_object)
            .then_some(Failure { dns_name, ..failure });
    }
    // A connection that stood, and then went silent, is another story.
    if is_timeout && (lower.contains("read tcp") || lower.contains("write tcp")) {
        return None;
    }
    let peer = if phrase.has_peer() { peer(text, at) } else { None };
    (peer.is_some() || !phrase.needs_object).then_some(Failure { peer, ..failure })
}

fn dns_name(text: &str) -> Option<String> {
    static NAME: LazyLock<Option<Regex>> = LazyLock::new(|| {
        Regex::new(concat!(
            r"\b(?:lookup|ENOTFOUND|EAI_AGAIN)\s+([A-Za-z0-9_][\w.-]*)",
            r"|UnknownHostException:\s*([A-Za-z0-9_][\w.-]*)",
            r#"|(?i:failed to resolve|can't resolve|bad address) ["']([A-Za-z0-9_][\w.-]*)["']"#,
            r"|server can't find ([A-Za-z0-9_][\w.-]*)",
            r#"|host ?(?:name)?\s*[=:]?\s*["']([A-Za-z0-9_][\w.-]*)["']"#,
        ))
        .ok()
    });
    let found = NAME.as_ref()?.captures(text)?;
    let name = found.iter().skip(1).flatten().next()?;
    Some(name.as_str().trim_end_matches('.').to_owned())
}

/// Reads who was called: in the words of Go, nginx, Python, libpq and Cassandra's driver, else the
/// nearest `host:port`.
fn peer(text: &str, phrase_at: usize) -> Option<Peer> {
    static WORDED: LazyLock<Option<Regex>> = LazyLock::new(|| {
        Regex::new(concat!(
            r"\bdial (?:tcp|udp)[46]? (\[[0-9a-fA-F:.]+\]|[^\s:\[\]]+):(\d{1,5})\b",
            r#"|\bupstream: "[a-z]+://(\[[0-9a-fA-F:.]+\]|[^\s:/"]+):(\d{1,5})"#,
            r"|\bhost='([^']+)', port=(\d{1,5})",
            r#"|\bserver at "([^"]+)"(?: \([^)]*\))?, port (\d{1,5})"#,
            r#"|\bhost "([^"]+)"(?: \([^)]*\))? and accepting TCP/IP connections on port (\d{1,5})"#,
            r"|\btried: (?:[^\s:/]*/)?(\[[0-9a-fA-F:.]+\]|[^\s:/\[\]]+):(\d{1,5})\b",
        ))
        .ok()
    });
    let worded = WORDED.as_ref()?.captures(text).and_then(|found| {
        let mut parts = found.iter().skip(1).flatten();
        to_peer(parts.next()?.as_str(), parts.next()?.as_str())
    });
    worded.or_else(|| nearest(text, phrase_at))
}

/// Bytes around the phrase in which an address is believed to belong to it.
const NEAR_BYTES: usize = 160;

fn nearest(text: &str, phrase_at: usize) -> Option<Peer> {
    static HOST_PORT: LazyLock<Option<Regex>> =
        LazyLock::new(|| Regex::new(r"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9_][\w.-]*):(\d{1,5})\b").ok());
    let from = text.floor_char_boundary(phrase_at.saturating_sub(NEAR_BYTES));
    let to = text.floor_char_boundary(phrase_at.saturating_add(NEAR_BYTES));
    let near = text.get(from..to)?;
    let (mut best, mut distance) = (None, usize::MAX);
    for found in HOST_PORT.as_ref()?.captures_iter(near) {
        let (Some(whole), Some(host), Some(port)) = (found.get(0), found.get(1), found.get(2))
        else {
            continue;
        };
        let away = (from + whole.start()).abs_diff(phrase_at);
        if away < distance && is_host(host.as_str()) {
            best = to_peer(host.as_str(), port.as_str());
            distance = away;
        }
    }
    best
}

/// Tells a host from a clock time (`12:04`) and from a place in a source file (`main.go:12`).
fn is_host(name: &str) -> bool {
    const SOURCES: [&str; 13] = [
        ".go", ".py", ".js", ".ts", ".java", ".kt", ".rs", ".c", ".cc", ".cpp", ".rb", ".scala",
        ".php",
    ];
    const WORDS: [&str; 6] = ["port", "line", "pid", "code", "errno", "status"];
    // `2025-08-12T03:28`: the day and the hour.
    let is_date = name.bytes().filter(|byte| *byte == b'-').count() == 2
        && name.starts_with(|letter: char| letter.is_ascii_digit())
        && name.rsplit_once('T').is_some_and(|(_, hour)| hour.len() == 2);
    if is_date {
        return false;
    }
    let is_address = name.starts_with('[') || name.split('.').count() == 4;
    let has_letter = name.bytes().any(|byte| byte.is_ascii_alphabetic());
    (is_address || has_letter)
        && !SOURCES.iter().any(|source| name.ends_with(source))
        && !WORDS.iter().any(|word| name.eq_ignore_ascii_case(word))
}

fn to_peer(host: &str, port: &str) -> Option<Peer> {
    let port: u16 = port.parse().ok().filter(|port| *port > 0)?;
    let address = host.trim_matches(['[', ']']).to_owned();
    Some(Peer { address, port: Some(port) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_who_was_called_in_many_tongues() {
        let lines = [
            ("dial tcp 10.0.0.1:5432: connect: connection refused", "10.0.0.1", 5_432),
            ("dial tcp [fd00::1]:80: i/o timeout", "fd00::1", 80),
            (
                "12:04:05 main.go:77: dial tcp db.shop:6379: connect: connection refused",
                "db.shop",
                6_379,
            ),
            ("Error: connect ECONNREFUSED 10.0.0.9:3000", "10.0.0.9", 3_000),
            (
                "HTTPConnectionPool(host='cart', port=8080): [Errno 111] Connection refused",
                "cart",
                8_080,
            ),
            (
                "connection to server at \"db\" (10.0.0.1), port 5432 failed: Connection refused",
                "db",
                5_432,
            ),
            ("Error 111 connecting to redis:6379. Connection refused.", "redis", 6_379),
            (
                "Connection refused Is the server running on host \"db\" (10.0.0.1) and accepting TCP/IP connections on port 5432?",
                "db",
                5_432,
            ),
            (
                "connect() failed (111: Connection refused) while connecting to upstream, client: 1.2.3.4, server: , upstream: \"http://10.0.0.5:8080/x\"",
                "10.0.0.5",
                8_080,
            ),
            ("Connect to cart:8080 [cart/10.0.0.1] failed: Connection refused", "cart", 8_080),
            ("connection timeout to db.shop:5432 after 5s", "db.shop", 5_432),
            (
                "connection to server at \"db\" (10.0.0.1), port 5432 failed: timeout expired",
                "db",
                5_432,
            ),
            (
                "All host(s) tried for query failed (tried: db/10.0.0.5:9042 (BusyPoolException: [db] Pool is busy (no available connection and timed out after 5000 MILLISECONDS)))",
                "10.0.0.5",
                9_042,
            ),
            ("dial tcp 10.0.0.1:443: connect: cannot assign requested address", "10.0.0.1", 443),
        ];
        for (line, address, port) in lines {
            let want = Peer { address: address.into(), port: Some(port) };
            assert_eq!(find(line).and_then(|failure| failure.peer), Some(want), "{line}");
        }
        for line in [
            "12:04:05 connection refused",
            "main.go:77 connection refused",
            "x:0 connection refused",
            "2025-08-12T03:28:10Z connection refused",
        ] {
            assert_eq!(find(line).and_then(|failure| failure.peer), None, "{line}");
        }
    }

    #[test]
    fn tells_names_from_connections() {
        let lines = [
            (
                "dial tcp: lookup db.shop on 10.96.0.10:53: no such host",
                Some("nxdomain"),
                Some("db.shop"),
            ),
            (
                "dial tcp: lookup db on 10.96.0.10:53: read udp 1.2.3.4:5->10.96.0.10:53: i/o timeout",
                Some("timeout"),
                Some("db"),
            ),
            ("lookup db on 10.96.0.10:53: server misbehaving", Some("servfail"), Some("db")),
            ("getaddrinfo ENOTFOUND db.shop", Some("nxdomain"), Some("db.shop")),
            ("** server can't find db.shop: NXDOMAIN", Some("nxdomain"), Some("db.shop")),
            ("getaddrinfo EAI_AGAIN db.shop", Some("timeout"), Some("db.shop")),
            (
                "java.net.UnknownHostException: db: Name or service not known",
                Some("nxdomain"),
                Some("db"),
            ),
            (
                "could not translate host name \"db\" to address: Name or service not known",
                Some("nxdomain"),
                Some("db"),
            ),
            (
                "could not translate host name \"db\" to address: Try again",
                Some("timeout"),
                Some("db"),
            ),
            ("[Errno -3] Temporary failure in name resolution", Some("timeout"), None),
            ("socket.gaierror: [Errno -3] Try again", Some("timeout"), None),
            (
                "NameResolutionError(\"<HTTPConnection object>: Failed to resolve 'cart' ([Errno -2] Name does not resolve)\")",
                Some("nxdomain"),
                Some("cart"),
            ),
            ("nslookup: can't resolve 'cart.shop'", Some("nxdomain"), Some("cart.shop")),
            ("wget: bad address 'cart.shop'", Some("nxdomain"), Some("cart.shop")),
            (
                "Caused by NameResolutionError: Failed to resolve 'cart.shop'",
                None,
                Some("cart.shop"),
            ),
            ("Failed to resolve 'cart.shop' [A(1)] after 2 queries", None, Some("cart.shop")),
        ];
        for (line, rcode, name) in lines {
            let failure = find(line).expect(line);
            assert_eq!(failure.kind, Kind::DnsFailure, "{line}");
            assert_eq!(failure.dns_rcode, rcode, "{line}");
            assert_eq!(failure.dns_name.as_deref(), name, "{line}");
        }
        for line in ["Failed to resolve './cart' from './src'", "the host name is taken, try again"]
        {
            assert_eq!(find(line), None, "{line}");
        }
        assert_eq!(find("read tcp 10.0.0.1:5->10.0.0.2:6: i/o timeout"), None);
        assert_eq!(
            find("dial tcp 10.0.0.1:5: i/o timeout").map(|f| f.kind),
            Some(Kind::ConnectTimeout)
        );
        assert_eq!(
            find("write /data/x: no space left on device").map(|f| f.kind),
            Some(Kind::StorageFull)
        );
        assert_eq!(
            find("open /x: Read-only file system").map(|f| f.kind),
            Some(Kind::FilesystemReadOnly)
        );
        assert_eq!(find("all is well"), None);
    }

    #[test]
    fn a_limit_that_is_reached_names_its_resource() {
        let lines = [
            (
                "accept tcp [::]:80: accept4: too many open files; retrying in 5ms",
                "open_files EMFILE",
            ),
            ("[Errno 24] Too many open files: '/data/x'", "open_files EMFILE"),
            ("open /x: too many open files in system", "open_files ENFILE"),
            ("lookup db: dial udp 10.96.0.10:53: socket: too many open files", "open_files EMFILE"),
            ("Error: EMFILE: too many open files, open '/x'", "open_files EMFILE"),
            ("failed to create fsnotify watcher: too many open files", "watches EMFILE"),
            ("Error: EMFILE: too many open files, watch '/x'", "watches EMFILE"),
            ("inotify_add_watch(/x): No space left on device", "watches ENOSPC"),
            (
                "ENOSPC: System limit for number of file watchers reached, watch '/x'",
                "watches ENOSPC",
            ),
            ("java.io.IOException: User limit of inotify watches reached", "watches ENOSPC"),
            (
                "The configured user limit (128) on the number of inotify instances has been reached",
                "watches EMFILE",
            ),
            ("connect: Cannot assign requested address", "ports EADDRNOTAVAIL"),
            ("Error: connect EADDRNOTAVAIL 10.0.0.1:443", "ports EADDRNOTAVAIL"),
            ("bash: fork: retry: Resource temporarily unavailable", "processes EAGAIN"),
            ("fork/exec /bin/sh: resource temporarily unavailable", "processes EAGAIN"),
            ("Error: spawn /bin/sh EAGAIN", "processes EAGAIN"),
            ("java.lang.OutOfMemoryError: unable to create new native thread", "processes EAGAIN"),
            ("OutOfMemoryError: unable to create native thread: possibly", "processes EAGAIN"),
            (
                "[os,thread] Failed to start thread with pthread_create failed (EAGAIN)",
                "processes EAGAIN",
            ),
            ("RuntimeError: can't start new thread", "processes EAGAIN"),
            ("runtime: failed to create new OS thread (have 9; errno=11)", "processes EAGAIN"),
        ];
        for (line, want) in lines {
            let failure = find(line).expect(line);
            let limit = failure.limit.expect(line);
            assert_eq!(failure.kind, Kind::LimitReached, "{line}");
            assert_eq!(format!("{} {}", limit.resource, failure.error_type), want, "{line}");
        }
    }

    #[test]
    fn what_sounds_like_a_limit_is_none() {
        for line in [
            "listen tcp 10.0.0.9:80: bind: cannot assign requested address",
            "bind() to 10.0.0.9:80 failed (99: Cannot assign requested address)",
            "dial tcp [::1]:5432: connect: cannot assign requested address",
            "recv on socket: Resource temporarily unavailable",
            "read EAGAIN",
            "the fork\nread: Resource temporarily unavailable",
            "Pool is busy (no available connection)",
            "connection timeout is 5s",
            "closed 10.0.0.9:5432: idle connection timeout",
            "itemFile is missing",
            "timeout expired",
            "ModuleNotFoundError: No module named 'flask'",
            "QueuePool limit of size 5 overflow 10 reached, connection timed out, timeout 30.00",
            "inotify watches are set up",
        ] {
            assert_eq!(find(line), None, "{line}");
        }
        let full = find("write /x: no space left on device\nfsnotify.go:12").map(|it| it.kind);
        assert_eq!(full, Some(Kind::StorageFull));
    }
}
