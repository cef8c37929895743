//! Failures that every stack words alike: connections, names, disks.

use std::sync::LazyLock;

use regex::Regex;
use tapio_model::Kind;

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
}

/// What a phrase means.
struct Phrase {
    /// In lower case.
    text: &'static str,
    kind: Kind,
    error_type: &'static str,
    dns_rcode: Option<&'static str>,
}

/// Names first: a name that does not resolve is often told with a timeout in the same line.
const PHRASES: [Phrase; 19] = {
    const fn dns(text: &'static str, error_type: &'static str, rcode: &'static str) -> Phrase {
        Phrase { text, kind: Kind::DnsFailure, error_type, dns_rcode: Some(rcode) }
    }
    const fn other(text: &'static str, kind: Kind, error_type: &'static str) -> Phrase {
        Phrase { text, kind, error_type, dns_rcode: None }
    }
    [
        dns("no such host", "EAI_NONAME", "nxdomain"),
        dns("nxdomain", "EAI_NONAME", "nxdomain"),
        dns("enotfound", "EAI_NONAME", "nxdomain"),
        dns("name or service not known", "EAI_NONAME", "nxdomain"),
        dns("nodename nor servname provided", "EAI_NONAME", "nxdomain"),
        dns("servfail", "EAI_AGAIN", "servfail"),
        dns("server misbehaving", "EAI_AGAIN", "servfail"),
        dns("eai_again", "EAI_AGAIN", "timeout"),
        dns("temporary failure in name resolution", "EAI_AGAIN", "timeout"),
        other("connection refused", Kind::ConnectRefused, "ECONNREFUSED"),
        other("econnrefused", Kind::ConnectRefused, "ECONNREFUSED"),
        other("i/o timeout", Kind::ConnectTimeout, "ETIMEDOUT"),
        other("connection timed out", Kind::ConnectTimeout, "ETIMEDOUT"),
        other("connect timed out", Kind::ConnectTimeout, "ETIMEDOUT"),
        other("etimedout", Kind::ConnectTimeout, "ETIMEDOUT"),
        other("no space left on device", Kind::StorageFull, "ENOSPC"),
        other("enospc", Kind::StorageFull, "ENOSPC"),
        other("read-only file system", Kind::FilesystemReadOnly, "EROFS"),
        other("erofs", Kind::FilesystemReadOnly, "EROFS"),
    ]
};

/// Finds the first phrase of the list in a text.
pub(super) fn find(text: &str) -> Option<Failure> {
    // Lower case of ASCII keeps every offset.
    let lower = text.to_ascii_lowercase();
    let (phrase, at) =
        PHRASES.iter().find_map(|phrase| lower.find(phrase.text).map(|at| (phrase, at)))?;
    let name = dns_name(text);
    // Go says "lookup db on 10.96.0.10:53: …: i/o timeout" of a name server that does not answer.
    let is_lookup = phrase.kind == Kind::ConnectTimeout && lower.contains("lookup ");
    if phrase.kind == Kind::DnsFailure || is_lookup {
        return Some(Failure {
            kind: Kind::DnsFailure,
            error_type: if is_lookup { "EAI_AGAIN" } else { phrase.error_type },
            peer: None,
            dns_rcode: phrase.dns_rcode.or(Some("timeout")),
            dns_name: name,
        });
    }
    // A connection that stood, and then went silent, is another story.
    let is_established = lower.contains("read tcp") || lower.contains("write tcp");
    if phrase.kind == Kind::ConnectTimeout && is_established {
        return None;
    }
    let is_network = matches!(phrase.kind, Kind::ConnectRefused | Kind::ConnectTimeout);
    let peer = if is_network { peer(text, at) } else { None };
    Some(Failure {
        kind: phrase.kind,
        error_type: phrase.error_type,
        peer,
        dns_rcode: None,
        dns_name: None,
    })
}

fn dns_name(text: &str) -> Option<String> {
    static NAME: LazyLock<Option<Regex>> = LazyLock::new(|| {
        Regex::new(concat!(
            r"\b(?:lookup|ENOTFOUND|EAI_AGAIN)\s+([A-Za-z0-9_][\w.-]*)",
            r"|UnknownHostException:\s*([A-Za-z0-9_][\w.-]*)",
            r#"|host(?:name)?\s*[=:]?\s*["']([A-Za-z0-9_][\w.-]*)["']"#,
        ))
        .ok()
    });
    let found = NAME.as_ref()?.captures(text)?;
    let name = found.iter().skip(1).flatten().next()?;
    Some(name.as_str().trim_end_matches('.').to_owned())
}

/// Reads who was called: in the words of Go, nginx, Python and libpq, else the nearest `host:port`.
fn peer(text: &str, phrase_at: usize) -> Option<Peer> {
    static WORDED: LazyLock<Option<Regex>> = LazyLock::new(|| {
        Regex::new(concat!(
            r"\bdial (?:tcp|udp)[46]? (\[[0-9a-fA-F:.]+\]|[^\s:\[\]]+):(\d{1,5})\b",
            r#"|\bupstream: "[a-z]+://(\[[0-9a-fA-F:.]+\]|[^\s:/"]+):(\d{1,5})"#,
            r"|\bhost='([^']+)', port=(\d{1,5})",
            r#"|\bserver at "([^"]+)"(?: \([^)]*\))?, port (\d{1,5})"#,
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
                "connect() failed (111: Connection refused) while connecting to upstream, client: 1.2.3.4, server: , upstream: \"http://10.0.0.5:8080/x\"",
                "10.0.0.5",
                8_080,
            ),
            ("Connect to cart:8080 [cart/10.0.0.1] failed: Connection refused", "cart", 8_080),
        ];
        for (line, address, port) in lines {
            let want = Peer { address: address.into(), port: Some(port) };
            assert_eq!(find(line).and_then(|failure| failure.peer), Some(want), "{line}");
        }
        for line in [
            "12:04:05 connection refused",
            "main.go:77 connection refused",
            "x:0 connection refused",
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
            ("getaddrinfo EAI_AGAIN db.shop", Some("timeout"), Some("db.shop")),
            (
                "java.net.UnknownHostException: db: Name or service not known",
                Some("nxdomain"),
                Some("db"),
            ),
            (
                "could not translate host name \"db\" to address: Name or service not known",
                Some("nxdomain"),
                None,
            ),
        ];
        for (line, rcode, name) in lines {
            let failure = find(line).expect(line);
            assert_eq!(failure.kind, Kind::DnsFailure, "{line}");
            assert_eq!(failure.dns_rcode, rcode, "{line}");
            if name.is_some() {
                assert_eq!(failure.dns_name.as_deref(), name, "{line}");
            }
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
}
