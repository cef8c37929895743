//! What pods use of the processor time that they may use: `kubectl top pods` beside their limits.

use std::collections::BTreeMap;

use serde_json::Value as Json;
use tapio_collect::{Unbound, event_id};
use tapio_collect_kube::Snapshot;
use tapio_model::{Class, Kind, Place, Severity, Source, Timestamp, keys};

use super::{
    name::{Name, Uids},
    section::Command,
    table::Table,
};
use crate::importers::k8s_objects::moment::before;

/// Who uses so many per cent of its limit is throttled: the figure is a mean over some time.
const FULL_PERCENT: u64 = 95;

/// What `kubectl top pods` says that containers use, in thousandths of a processor.
#[derive(Debug, Default)]
pub(super) struct Usage(BTreeMap<(Name, Option<String>), u64>);

/// The limits of the containers of pods and of those that make them, in thousandths of a processor.
#[derive(Debug, Default)]
pub(super) struct Limits(BTreeMap<Name, BTreeMap<String, Option<u64>>>);

impl Usage {
    /// Reads a table of `kubectl top pods`.
    pub(super) fn read(&mut self, command: &Command, text: &str) {
        let mut lines = text.lines().filter(|line| !line.trim().is_empty());
        let Some(table) = lines.next().map(Table::of) else { return };
        let names = ["POD", "NAME"].into_iter().find(|name| table.has(&[name]));
        let Some(column) = names.filter(|_| table.has(&["CPU(cores)"])) else { return };
        for row in lines.map(|line| table.row(line)) {
            let Some((name, used)) = row.get(column).zip(row.get("CPU(cores)").and_then(milli))
            else {
                continue;
            };
            // `--containers` has a row for each.
            let container = row.get("NAME").filter(|_| column == "POD").map(str::to_owned);
            let namespace = row.get("NAMESPACE").or(command.namespace.as_deref());
            self.0.insert((Name::new("Pod", namespace, name), container), used);
        }
    }

    /// Tells of those who use what they may use, each twice, as what stands is.
    pub(super) fn tell(
        &self,
        limits: &Limits,
        snapshot: &Snapshot,
        (uids, end): (&Uids, Timestamp),
    ) -> Vec<Unbound> {
        let told = self.0.iter().filter_map(|((pod, container), used)| {
            let limit = limits.of(pod, container.as_deref())?;
            let is_full = used.saturating_mul(100) >= limit.saturating_mul(FULL_PERCENT);
            let place = snapshot.pod(&uids.get(pod)).filter(|_| is_full)?;
            let only = limits.only(pod);
            let container = container.clone().or(only).map(|name| name.as_str().into());
            let place = Place { container, ..(*place).clone() };
            Some(event(pod, place, (*used, limit), end))
        });
        told.flat_map(|event| [before(&event), event]).collect()
    }
}

impl Limits {
    /// Notes the limits that a pod sets.
    pub(super) fn note(&mut self, pod: &Json) {
        let containers = pod.pointer("/spec/containers").and_then(Json::as_array);
        let limits = containers.into_iter().flatten().filter_map(|one| {
            let limit = one.pointer("/resources/limits/cpu").and_then(Json::as_str);
            Some((one.get("name")?.as_str()?.to_owned(), limit.and_then(milli)))
        });
        self.0.insert(Name::of("Pod", pod), limits.collect());
    }

    /// Returns the limit of a container, or of a pod all of whose containers have one.
    fn of(&self, pod: &Name, container: Option<&str>) -> Option<u64> {
        let limits = self.0.get(pod).filter(|limits| !limits.is_empty())?;
        match container {
            Some(name) => *limits.get(name)?,
            None => limits.values().copied().sum(),
        }
    }

    /// Returns the name of a pod's container, if there is one and no other.
    fn only(&self, pod: &Name) -> Option<String> {
        let limits = self.0.get(pod)?;
        limits.keys().next().filter(|_| limits.len() == 1).cloned()
    }
}

fn event(pod: &Name, place: Place, (used, limit): (u64, u64), end: Timestamp) -> Unbound {
    let container = place.container.as_deref().unwrap_or_default();
    let parts = [&*pod.namespace, &*pod.name, container].map(str::as_bytes);
    let [namespace, name, container] = parts;
    let id = event_id(&[b"at its limit", namespace, name, container]);
    Unbound::new(id, end, Source::Metrics, Kind::CpuThrottled)
        .at(place)
        .rated(Severity::Warn, 0.5, Class::Cpu)
        .with(keys::REASON, "AtLimit")
        .message(format!("it uses {used}m of the {limit}m of processor time that it may use"))
}

/// Reads `250m`, `1`, `0.5`.
fn milli(text: &str) -> Option<u64> {
    if let Some(milli) = text.strip_suffix('m') {
        return milli.parse().ok();
    }
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let digits: String = part.chars().chain("000".chars()).take(3).collect();
    whole.parse::<u64>().ok()?.checked_mul(1_000)?.checked_add(digits.parse().ok()?)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn processor_time_is_read_as_it_is_written() {
        for (text, want) in [
            ("250m", Some(250)),
            ("1", Some(1_000)),
            ("0.25", Some(250)),
            ("2.5", Some(2_500)),
            ("x", None),
        ] {
            assert_eq!(milli(text), want, "{text}");
        }
    }

    #[test]
    fn who_uses_what_it_may_use_is_told_twice() {
        let pod = |limit: &str| {
            json!({ "metadata": { "namespace": "shop", "name": "cart-0", "uid": "u" }, "spec": {
                "containers": [{ "name": "cart", "resources": { "limits": { "cpu": limit } } }] } })
        };
        let shop = Command { namespace: Some("shop".to_owned()), ..Command::default() };
        let table = "NAME    CPU(cores)   MEMORY(bytes)\ncart-0  199m         12Mi\n";
        let containers =
            "POD     NAME  CPU(cores)   MEMORY(bytes)\ncart-0  cart  199m         12Mi\n";
        for (table, limit, want) in
            [(table, "200m", 2), (containers, "200m", 2), (table, "1", 0), (containers, "1", 0)]
        {
            let (mut usage, mut limits, mut uids) = Default::default();
            Usage::read(&mut usage, &shop, table);
            Limits::note(&mut limits, &pod(limit));
            Uids::note(&mut uids, "Pod", &pod(limit));
            let snapshot = Snapshot::new(None, Timestamp::from_secs(9));
            snapshot.learn("Pod", &pod(limit)).unwrap();
            let told = usage.tell(&limits, &snapshot, (&uids, Timestamp::from_secs(9)));
            assert_eq!(told.len(), want, "{table}{limit}");
        }
    }
}
