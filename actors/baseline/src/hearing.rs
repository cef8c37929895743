//! Since when and until when each node's log was heard: what is not there can only be missed where
//! somebody listened.

use std::time::Duration;

use ahash::AHashMap;
use tapio_model::{Text, Timestamp};

/// A time without a gap.
#[derive(Debug, Clone, Copy)]
struct Heard {
    since: Timestamp,
    until: Timestamp,
}

impl Heard {
    /// Goes on until `at`, or begins anew after a gap.
    fn extend(known: Option<Self>, at: Timestamp, gap: Duration) -> Self {
        match known {
            Some(heard) if at <= heard.until.after(gap) => {
                Self { until: heard.until.max(at), ..heard }
            }
            Some(_) | None => Self { since: at, until: at },
        }
    }

    fn covers(self, begin: Timestamp, end: Timestamp) -> bool {
        self.since < begin && self.until.after(ECHO) > end
    }
}

/// How long after its last line a node counts as heard: a span ends a moment after it wrote its
/// last.
const ECHO: Duration = Duration::from_secs(1);

/// Nodes and services that are known: names come from outside.
const NAMES_MAX: usize = 50_000;

/// Since when and until when each node's log, and spans of anybody, were heard.
#[derive(Debug, Default)]
pub(crate) struct Hearing {
    nodes: AHashMap<Text, Heard>,
    /// The node that a service's lines last came from; the empty one where they name none.
    homes: AHashMap<Text, Text>,
    spans: Option<Heard>,
}

impl Hearing {
    /// Notes a line of a service.
    pub(crate) fn hear(&mut self, service: &Text, node: &Text, at: Timestamp, gap: Duration) {
        let is_known = self.nodes.contains_key(node) && self.homes.contains_key(service);
        if !is_known && self.nodes.len().max(self.homes.len()) >= NAMES_MAX {
            return;
        }
        if self.homes.get(service) != Some(node) {
            self.homes.insert(service.clone(), node.clone());
        }
        let heard = Heard::extend(self.nodes.get(node).copied(), at, gap);
        match self.nodes.get_mut(node) {
            Some(known) => *known = heard,
            None => drop(self.nodes.insert(node.clone(), heard)),
        }
    }

    /// Notes a span of anybody.
    pub(crate) fn see(&mut self, at: Timestamp, gap: Duration) {
        self.spans = Some(Heard::extend(self.spans, at, gap));
    }

    /// Says whether spans, and the log of a service's node, were heard from before `begin` until
    /// `end`. Of a service that never wrote a line no line can be missed.
    pub(crate) fn covers(&self, service: &str, begin: Timestamp, end: Timestamp) -> bool {
        let covers = |heard: &Heard| heard.covers(begin, end);
        let lines =
            self.homes.get(service).is_none_or(|node| self.nodes.get(node).is_some_and(covers));
        lines && self.spans.as_ref().is_none_or(covers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_is_not_heard_through() {
        let mut hearing = Hearing::default();
        let at = Timestamp::from_secs;
        let gap = Duration::from_secs(60);
        for second in [0, 30, 200, 210] {
            hearing.hear(&"cart".into(), &"n1".into(), at(second), gap);
        }
        let cases = [(201, 209, true), (10, 20, false), (199, 205, false), (205, 212, false)];
        for (begin, end, want) in cases {
            assert_eq!(hearing.covers("cart", at(begin), at(end)), want, "{begin}..{end}");
        }
        assert!(hearing.covers("silent", at(0), at(1)));
    }
}
