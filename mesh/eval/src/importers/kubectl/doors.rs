//! On which ports processes say that they listen, and where callers say that nobody does.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{Ipv4Addr, SocketAddrV4},
};

use super::{logs::Log, name::Name};

/// By what servers say where they listen, in lower case; the address or port follows.
const MARKS: &[&str] =
    &["listening", "started on port", "running on http", "serving http", "serving on"];

/// What logs say of ports.
#[derive(Debug, Default)]
pub(super) struct Doors {
    /// By the pod whose log says so.
    open: BTreeMap<Name, BTreeSet<u16>>,
    /// Addresses at which somebody was refused.
    refused: BTreeSet<(Ipv4Addr, u16)>,
}

impl Doors {
    pub(super) fn of(logs: &[Log]) -> Self {
        let mut doors = Self::default();
        for log in logs {
            for line in log.text.lines() {
                let line = line.to_ascii_lowercase();
                if let Some(port) = open(&line) {
                    doors.open.entry(log.pod.clone()).or_default().insert(port);
                }
                if line.contains("refused") {
                    doors.refused.extend(addresses(&line).map(|at| (*at.ip(), at.port())));
                }
            }
        }
        doors
    }

    /// Returns where a pod's log says that it listens.
    pub(super) fn open(&self, pod: &Name) -> impl Iterator<Item = u16> {
        self.open.get(pod).into_iter().flatten().copied()
    }

    /// Says whether somebody was refused at one of the endpoints that are printed of a Service.
    pub(super) fn refuse(&self, endpoints: &str) -> bool {
        let mut known = addresses(endpoints);
        known.any(|at| self.refused.contains(&(*at.ip(), at.port())))
    }
}

/// Returns the addresses with a port that a text holds.
pub(super) fn addresses(text: &str) -> impl Iterator<Item = SocketAddrV4> {
    let is_part = |letter: char| letter.is_ascii_digit() || letter == '.' || letter == ':';
    text.split(move |letter| !is_part(letter))
        .filter_map(|word| word.trim_matches([':', '.']).parse().ok())
}

/// Reads where a server says that it listens, in lower case: `listening on http://[::]:3000`,
/// `tomcat started on port 8080`. What listens for itself alone is no door.
fn open(line: &str) -> Option<u16> {
    let rest = MARKS.iter().find_map(|mark| {
        let (before, rest) = line.split_at_checked(line.find(mark)?)?;
        (!before.ends_with(|letter: char| letter.is_alphanumeric())).then_some(rest)
    })?;
    if ["localhost", "127.0.0.1", "[::1]"].iter().any(|own| rest.contains(own)) {
        return None;
    }
    let number = |text: &str| {
        let end = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
        let goes_on = text.get(end..)?.starts_with(['.', ':']);
        text.get(..end)?.parse::<u16>().ok().filter(|port| *port > 0 && !goes_on)
    };
    let of_word = rest.split_once("port").and_then(|(_, rest)| {
        number(rest.trim_start_matches("(s)").trim_start_matches([':', ' ', '=']))
    });
    of_word.or_else(|| rest.match_indices(':').find_map(|(at, _)| number(rest.get(at + 1..)?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_say_where_they_listen_in_many_ways() {
        for (line, want) in [
            ("api 3.0.0 listening on http://[::]:3000 (production)", Some(3_000)),
            ("[info] listening at: http://0.0.0.0:8000 (1)", Some(8_000)),
            ("tomcat started on port 8080 (http) with context path ''", Some(8_080)),
            ("tomcat started on port(s): 8443 (https)", Some(8_443)),
            ("server listening on port 50051", Some(50_051)),
            ("listening on :9090", Some(9_090)),
            ("uvicorn running on http://0.0.0.0:8000 (press ctrl+c to quit)", Some(8_000)),
            ("serving http on 0.0.0.0 port 8000", Some(8_000)),
            ("admin listening on 127.0.0.1:9901", None),
            ("listening for events", None),
            ("connection to 10.0.0.7:8080 refused", None),
        ] {
            assert_eq!(open(line), want, "{line}");
        }
    }

    #[test]
    fn a_refusal_is_known_by_its_address() {
        let log = |text: &str| Log {
            pod: Name::new("Pod", Some("web"), "proxy-1"),
            whose: super::super::logs::Whose { container: None, is_previous: false },
            text: text.to_owned(),
        };
        let doors = Doors::of(&[
            log(
                "connect() failed (111: Connection refused), upstream: \"http://10.0.4.37:8080/v1\"",
            ),
            log("dial tcp 10.0.4.38:8080: i/o timeout"),
        ]);
        assert!(doors.refuse("10.0.4.36:8080,10.0.4.37:8080"));
        assert!(!doors.refuse("10.0.4.37:80,10.0.4.38:8080"));
    }
}
