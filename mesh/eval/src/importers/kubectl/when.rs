//! When a recording was made, as what was printed tells.

use std::{collections::BTreeMap, time::Duration};

use serde_json::Value as Json;
use tapio_model::{Place, Timestamp};

use super::{
    age::{age, date},
    events,
    logs::Log,
    name::Name,
    outline::Outline,
    section::Command,
    table::Table,
};
use crate::importers::k8s_objects::clock::parse;

/// How long a server keeps Events: who was started since then has one.
const KEPT: Duration = Duration::from_secs(3_600);

/// Objects of which one output says when they began, and another how old they are.
#[derive(Debug, Default)]
pub(super) struct Ages {
    /// Since when an object is there.
    began: BTreeMap<Name, Timestamp>,
    /// How old it is.
    old: BTreeMap<Name, Duration>,
}

impl Ages {
    /// Notes what a text says of objects.
    pub(super) fn read(&mut self, command: &Command, text: &str) {
        let kind = command.kind.as_deref().unwrap_or_default();
        let namespace = command.namespace.as_deref();
        for outline in Outline::all(text) {
            let of_pod = outline.get("Start Time").map(|at| ("Pod", at));
            let began = of_pod.or_else(|| Some((kind, outline.get("CreationTimestamp")?)));
            let began = began.and_then(|(kind, at)| Some((kind, date(at)?)));
            if let Some(((kind, began), name)) = began.zip(outline.get("Name")) {
                let namespace = outline.get("Namespace").or(namespace);
                self.began.insert(Name::new(kind, namespace, name), began);
            }
        }
        let mut lines = text.lines().filter(|line| !line.trim().is_empty());
        let Some(table) = lines.next().map(Table::of).filter(|table| table.has(&["NAME", "AGE"]))
        else {
            return;
        };
        for row in lines.map(|line| table.row(line)) {
            let old = row.get("NAME").zip(row.get("AGE").and_then(age));
            if let Some((name, old)) = old {
                let kind = if table.has(&["RESTARTS"]) { "Pod" } else { kind };
                let namespace = row.get("NAMESPACE").or(namespace);
                self.old.insert(Name::new(kind, namespace, name), old);
            }
        }
    }

    /// Notes when an object was made, or a pod begun.
    pub(super) fn read_whole(&mut self, kind: &str, json: &Json) {
        let at = ["/status/startTime", "/metadata/creationTimestamp"];
        let began = at.iter().find_map(|at| parse(json.pointer(at)?.as_str()?));
        self.began.extend(began.map(|began| (Name::of(kind, json), began)));
    }

    /// Returns the latest moment at which an object is as old as it is said to be.
    pub(super) fn latest(&self) -> Option<Timestamp> {
        let both = self.began.iter().filter_map(|(of, began)| Some((began, self.old.get(of)?)));
        both.map(|(began, old)| began.after(*old)).max()
    }
}

/// Returns the latest time that descriptions state, or when they were printed as their ages tell.
pub(super) fn stated(text: &str) -> Option<Timestamp> {
    /// `12 Aug 2025 05:45:20 +0200`.
    const LENGTH: usize = 26;
    let dates = text.match_indices(", ").filter_map(|(at, comma)| {
        let from = at.checked_add(comma.len())?;
        date(text.get(from..from.checked_add(LENGTH)?)?)
    });
    dates.chain(Outline::all(text).iter().flat_map(printed)).max()
}

/// Returns when a description was printed at the earliest: its oldest Event is not older than the
/// object, the youngest start that its Events tell of is the last that it states, and a pod of
/// which there are no Events was not started within the time that they are kept.
fn printed(outline: &Outline<'_>) -> Vec<Timestamp> {
    let said = events::described(outline.below("Events"));
    let created = outline.get("Start Time").or_else(|| outline.get("CreationTimestamp"));
    let oldest = said.iter().filter_map(|said| said.sight.first).max();
    let lists = ["Containers", "Init Containers"].map(|name| outline.below(name));
    let lines = lists.into_iter().flatten();
    let started = lines.filter_map(|line| date(line.trim().strip_prefix("Started:")?)).max();
    let starts = said.iter().filter(|said| said.reason == "Started");
    let youngest = starts.filter_map(|said| said.sight.last).min();
    let is_silent = said.is_empty() && outline.has(&["Events"]);
    let pairs = [
        (created.and_then(date), oldest),
        (started, youngest),
        (started, is_silent.then_some(KEPT)),
    ];
    pairs.into_iter().filter_map(|(began, age)| Some(began?.after(age?))).collect()
}

/// Returns the latest time that a line bears.
pub(super) fn of_logs(logs: &[Log]) -> Option<Timestamp> {
    let times = |log: &Log| {
        let events = tapio_collect_host::translate_log(
            log.text.as_bytes(),
            b"",
            &Place::default(),
            Timestamp::MAX,
        );
        events.into_iter().map(|event| event.time).filter(|time| *time < Timestamp::MAX).max()
    };
    logs.iter().filter_map(times).max()
}

#[cfg(test)]
mod tests {
    use super::*;

    const POD: &str = "Name:  cart-0\nNamespace:  shop\nNode:  n1/1\n\
        Start Time:  Fri, 02 Jan 2026 03:00:00 +0000\nContainers:\n  cart:\n    State:  Running\n      \
        Started:  Fri, 02 Jan 2026 03:10:00 +0000\n";

    #[test]
    fn a_pod_without_events_was_started_an_hour_ago_at_least() {
        let printed = |below: &str| {
            let time = stated(&format!("{POD}{below}"))?;
            Some(time.since(date("Fri, 02 Jan 2026 03:00:00 +0000")?).as_secs() / 60)
        };
        assert_eq!(printed("Events:  <none>\n"), Some(70));
        assert_eq!(printed(""), Some(10));
    }

    #[test]
    fn a_pods_age_and_its_beginning_tell_the_moment() {
        let mut ages = Ages::default();
        let shop = Command { namespace: Some("shop".to_owned()), ..Command::default() };
        ages.read(&shop, POD);
        assert_eq!(ages.latest(), None);
        ages.read(
            &shop,
            "NAME    READY  STATUS   RESTARTS  AGE\ncart-0  1/1    Running  0         2d\n",
        );
        let days = ages.latest().map(|at| at.since(ages.began.values().next().copied().unwrap()));
        assert_eq!(days, Some(Duration::from_secs(2 * 86_400)));
    }
}
