//! The wording that every stack shares of limits, names, connections and disks.
//!
//! # Source
//! `strerror` and `gai_strerror` of glibc and musl; `nslookup.c` and `xconnect.c` of busybox; Go
//! `net`, `syscall`, `runtime/os_linux.go`;
//! Python `socket`, `threading`, urllib3 `exceptions.py`, redis-py `connection.py`; Node.js `lib/internal/fs/watchers.js`,
//! libuv; the JDK's `jvm.cpp`, `LinuxWatchService.java`; .NET `FileSystemWatcher.Linux.cs`; libpq
//! `fe-misc.c`; the Cassandra driver's `BusyPoolException.java`.

use std::sync::LazyLock;

use regex::Regex;
use tapio_model::{Class, Kind};

/// What a phrase means.
pub(super) struct Phrase {
    /// In lower case.
    text: &'static str,
    pub(super) kind: Kind,
    pub(super) error_type: &'static str,
    pub(super) dns_rcode: Option<&'static str>,
    pub(super) limit: Option<&'static Limit>,
    /// One of these stands in the same line, if there are any.
    with: &'static [&'static str],
    /// None of these does.
    without: &'static [&'static str],
    /// Whether it is a failure only if it says of whom: a host and port, or a name.
    pub(super) needs_object: bool,
}

/// A resource that can be used up.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Limit {
    pub(super) resource: &'static str,
    pub(super) class: Class,
}

const OPEN_FILES: Limit = Limit { resource: "open_files", class: Class::Other };
const WATCHES: Limit = Limit { resource: "watches", class: Class::Other };
const PROCESSES: Limit = Limit { resource: "processes", class: Class::Lifecycle };
const PORTS: Limit = Limit { resource: "ports", class: Class::Network };

/// Who asked for a watch: the errno is that of open files, or of a disk.
const WATCHERS: &[&str] = &["inotify", "fsnotify", "file watcher", "add watch", ", watch '"];

/// Who asked for a process or thread: to read from a socket gives the same errno.
const FORKS: &[&str] = &[
    "fork",
    "clone(",
    "pthread_create",
    "posix_spawn",
    "spawn ",
    "new thread",
    "create thread",
    "start thread",
    "spawn thread",
    "creating thread",
    "create process",
    "os thread",
];

/// An address of one's own that the machine does not have; of `::1` that is one without IPv6.
const OWN_ADDRESSES: &[&str] = &["bind:", "bind(", "bind ", "binding", "listen", "[::1]"];

/// Who waited for a connection of his own, and not for an answer.
const POOLS: &[&str] = &["queuepool", "pool limit"];

/// A connection that stood, and was given up.
const IDLE: &[&str] = &["idle", "keepalive", "keep-alive"];

const fn phrase(text: &'static str, kind: Kind, error_type: &'static str) -> Phrase {
    Phrase {
        text,
        kind,
        error_type,
        dns_rcode: None,
        limit: None,
        with: &[],
        without: &[],
        needs_object: false,
    }
}

const fn dns(text: &'static str, error_type: &'static str, rcode: &'static str) -> Phrase {
    Phrase { dns_rcode: Some(rcode), ..phrase(text, Kind::DnsFailure, error_type) }
}

const fn limit(text: &'static str, error_type: &'static str, limit: &'static Limit) -> Phrase {
    Phrase { limit: Some(limit), ..phrase(text, Kind::LimitReached, error_type) }
}

impl Phrase {
    const fn with(self, with: &'static [&'static str]) -> Self {
        Self { with, ..self }
    }

    const fn without(self, without: &'static [&'static str]) -> Self {
        Self { without, ..self }
    }

    const fn of_something(self) -> Self {
        Self { needs_object: true, ..self }
    }

    /// Says whether somebody was called, who may be named.
    pub(super) fn has_peer(&self) -> bool {
        matches!(self.kind, Kind::ConnectRefused | Kind::ConnectTimeout)
            || self.limit == Some(&PORTS)
    }

    /// Returns where a text in lower case says it.
    fn find(&self, lower: &str) -> Option<usize> {
        lower.match_indices(self.text).map(|(at, _)| at).find(|at| {
            let line = line_at(lower, *at);
            let says = |words: &&str| line.contains(*words);
            (self.with.is_empty() || self.with.iter().any(says)) && !self.without.iter().any(says)
        })
    }
}

/// The first that fits counts. Limits come first, as whoever has no descriptor left resolves and
/// reaches nobody; then names, as a name that does not resolve is often told with a timeout.
const PHRASES: &[Phrase] = &[
    limit("too many open files", "EMFILE", &WATCHES).with(WATCHERS),
    limit("no space left on device", "ENOSPC", &WATCHES).with(WATCHERS),
    limit("enospc", "ENOSPC", &WATCHES).with(WATCHERS),
    limit("inotify instances", "EMFILE", &WATCHES).with(&["limit"]),
    limit("inotify watch", "ENOSPC", &WATCHES).with(&["limit"]),
    limit("too many open files in system", "ENFILE", &OPEN_FILES),
    limit("too many open files", "EMFILE", &OPEN_FILES),
    limit("cannot assign requested address", "EADDRNOTAVAIL", &PORTS).without(OWN_ADDRESSES),
    limit("eaddrnotavail", "EADDRNOTAVAIL", &PORTS).without(OWN_ADDRESSES),
    limit("resource temporarily unavailable", "EAGAIN", &PROCESSES).with(FORKS),
    limit("eagain", "EAGAIN", &PROCESSES).with(FORKS),
    limit("unable to create new native thread", "EAGAIN", &PROCESSES),
    limit("unable to create native thread", "EAGAIN", &PROCESSES),
    limit("can't start new thread", "EAGAIN", &PROCESSES),
    limit("failed to create new os thread", "EAGAIN", &PROCESSES),
    dns("no such host", "EAI_NONAME", "nxdomain"),
    dns("nxdomain", "EAI_NONAME", "nxdomain"),
    dns("enotfound", "EAI_NONAME", "nxdomain").without(&["modulenotfound", "filenotfound"]),
    dns("name or service not known", "EAI_NONAME", "nxdomain"),
    dns("name does not resolve", "EAI_NONAME", "nxdomain"),
    dns("nodename nor servname provided", "EAI_NONAME", "nxdomain"),
    dns("can't resolve '", "EAI_NONAME", "nxdomain").of_something(),
    dns("bad address '", "EAI_NONAME", "nxdomain").of_something(),
    dns("servfail", "EAI_AGAIN", "servfail"),
    dns("server misbehaving", "EAI_AGAIN", "servfail"),
    dns("eai_again", "EAI_AGAIN", "timeout"),
    dns("temporary failure in name resolution", "EAI_AGAIN", "timeout"),
    dns("errno -3]", "EAI_AGAIN", "timeout"),
    dns("try again", "EAI_AGAIN", "timeout")
        .with(&["getaddrinfo", "host name", "resolve"])
        .of_something(),
    // Why is not said: the server said no, or nothing.
    phrase("nameresolutionerror", Kind::DnsFailure, "NameResolutionError"),
    phrase("failed to resolve '", Kind::DnsFailure, "NameResolutionError").of_something(),
    phrase("connection refused", Kind::ConnectRefused, "ECONNREFUSED"),
    phrase("econnrefused", Kind::ConnectRefused, "ECONNREFUSED"),
    phrase("i/o timeout", Kind::ConnectTimeout, "ETIMEDOUT"),
    phrase("connection timed out", Kind::ConnectTimeout, "ETIMEDOUT").without(POOLS),
    phrase("connecttimeouterror", Kind::ConnectTimeout, "ETIMEDOUT"),
    phrase("connect timed out", Kind::ConnectTimeout, "ETIMEDOUT"),
    phrase("etimedout", Kind::ConnectTimeout, "ETIMEDOUT"),
    phrase("connection timeout", Kind::ConnectTimeout, "ETIMEDOUT").without(IDLE).of_something(),
    phrase("timeout connecting to server", Kind::ConnectTimeout, "ETIMEDOUT").of_something(),
    phrase("timeout expired", Kind::ConnectTimeout, "ETIMEDOUT").with(&["connection to server at"]),
    phrase("no available connection", Kind::ConnectTimeout, "ETIMEDOUT")
        .with(&["tried: "])
        .of_something(),
    phrase("no space left on device", Kind::StorageFull, "ENOSPC"),
    phrase("enospc", Kind::StorageFull, "ENOSPC"),
    phrase("read-only file system", Kind::FilesystemReadOnly, "EROFS"),
    phrase("erofs", Kind::FilesystemReadOnly, "EROFS"),
];

/// Returns the phrases that a text in lower case holds, in the order of the list, and where.
pub(super) fn find(lower: &str) -> impl Iterator<Item = (&'static Phrase, usize)> {
    // Most lines hold none: one pass over the text says so.
    static ANY: LazyLock<Option<Regex>> = LazyLock::new(|| {
        let texts: Vec<String> = PHRASES.iter().map(|it| regex::escape(it.text)).collect();
        Regex::new(&texts.join("|")).ok()
    });
    let may_hold = ANY.as_ref().is_none_or(|any| any.is_match(lower));
    let phrases = if may_hold { PHRASES } else { &[] };
    phrases.iter().filter_map(|phrase| Some((phrase, phrase.find(lower)?)))
}

/// Returns the line of a text in which a place is: a stack trace speaks of many things.
fn line_at(text: &str, at: usize) -> &str {
    let (before, after) = text.split_at_checked(at).unwrap_or((text, ""));
    let from = before.rfind('\n').map_or(0, |end| end.saturating_add(1));
    let to = after.find('\n').map_or(text.len(), |end| at.saturating_add(end));
    text.get(from..to).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phrases_are_in_lower_case() {
        for phrase in PHRASES {
            let words = [phrase.with, phrase.without].concat();
            for text in words.iter().chain([&phrase.text]) {
                assert_eq!(**text, text.to_ascii_lowercase());
            }
        }
    }

    #[test]
    fn every_phrase_is_found() {
        for phrase in PHRASES {
            let with = phrase.with.first().copied().unwrap_or_default();
            let text = format!("{with}\n{} {with}\n", phrase.text);
            assert!(find(&text).any(|(found, _)| found.text == phrase.text), "{text}");
        }
        assert_eq!(find("all is well").count(), 0);
    }

    #[test]
    fn a_line_is_cut_out_of_its_text() {
        let text = "one\ntwo é\nthree";
        for (at, want) in
            [(0, "one"), (3, "one"), (4, "two é"), (10, "two é"), (11, "three"), (16, "three")]
        {
            assert_eq!(line_at(text, at), want, "{at}");
        }
    }
}
