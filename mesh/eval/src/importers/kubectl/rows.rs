//! Tables of `kubectl get`, and the trees of `kubectl lineage`.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};

use super::{
    age::{age, sight},
    describe::above_target,
    events::{Desk, Said, is_list, listed, merge},
    name::{Name, hash, owner},
    scale,
    section::Command,
    table::{Row, Table},
};
use crate::importers::k8s_objects::{
    clock,
    moment::{Detail, Object},
};

/// Branches of a tree.
const BRANCHES: &[char] = &['│', '├', '└', '─', ' '];

/// What a row says of a pod.
#[derive(Debug, Default)]
struct PodRow<'a> {
    namespace: Option<&'a str>,
    name: &'a str,
    ready: &'a str,
    status: &'a str,
    restarts: &'a str,
    age: Option<&'a str>,
    node: Option<&'a str>,
    /// Whether the table says that no node has it.
    is_homeless: bool,
    labels: Option<&'a str>,
}

/// Reads a table; `None` if the text is none.
pub(super) fn read(desk: &Desk<'_>, command: &Command, text: &str) -> Option<Vec<Object>> {
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    let mut objects = Vec::new();
    let mut table: Option<Table<'_>> = None;
    let mut branches: Vec<(usize, Name)> = Vec::new();
    let mut is_known = false;
    for line in lines {
        if is_header(line) {
            table = Some(Table::of(line));
            is_known = true;
            continue;
        }
        let words: Vec<_> = line.split_whitespace().collect();
        let Some(table) = &table else {
            // What was filtered has no header.
            if let Some(pod) = of_words(&words) {
                is_known = true;
                objects.extend(pod_object(desk, command, &pod));
            }
            continue;
        };
        let row = table.row(line);
        if is_list(table) {
            objects.extend(listed(desk, &row, command));
        } else if table.has(&["NAME", "READY", "STATUS", "RESTARTS"]) {
            objects.extend(pod_row(&row).and_then(|pod| pod_object(desk, command, &pod)));
        } else if table.has(&["NAME", "READY", "STATUS", "AGE"]) {
            objects.extend(leaf(desk, command, line, &row, &mut branches));
        } else {
            objects.extend(other(desk, command, table, &row));
        }
    }
    is_known.then_some(objects)
}

/// Says whether a line is the header of a table.
fn is_header(line: &str) -> bool {
    let starts = ["NAME ", "NAMESPACE ", "LAST SEEN "];
    let is_capital = |letter: char| !letter.is_lowercase();
    starts.iter().any(|start| line.starts_with(start)) && line.chars().all(is_capital)
}

fn pod_row<'a>(row: &Row<'_, 'a>) -> Option<PodRow<'a>> {
    Some(PodRow {
        namespace: row.get("NAMESPACE"),
        // `kubectl get all` puts the kind before the name.
        name: row.get("NAME").map(|name| name.strip_prefix("pod/").unwrap_or(name))?,
        ready: row.get("READY")?,
        status: row.get("STATUS")?,
        restarts: row.get("RESTARTS").unwrap_or("0"),
        age: row.get("AGE"),
        node: row.get("NODE"),
        is_homeless: row.has("NODE") && row.get("NODE").is_none(),
        labels: row.get("LABELS"),
    })
}

/// Reads `shop cart-1 0/1 Error 3 (5m ago) 2d 10.0.0.7 n1 <none> <none> app=cart`.
fn of_words<'a>(words: &[&'a str]) -> Option<PodRow<'a>> {
    let at = words.iter().position(|word| counts(word).is_some())?;
    let (before, after) = words.split_at_checked(at)?;
    let mut before = before.iter().rev().copied();
    let name = before.next()?;
    let mut after = after.iter().copied();
    let (ready, status, restarts) = (after.next()?, after.next()?, after.next()?);
    restarts.parse::<u32>().ok()?;
    let mut rest = after.skip_while(|word| word.starts_with('(') || word.ends_with(')'));
    let age = rest.next();
    let node = rest.nth(1);
    let is_homeless = node == Some("<none>");
    let node = node.filter(|node| !node.starts_with('<'));
    let labels = rest.last().filter(|labels| labels.contains('='));
    let namespace = before.next();
    Some(PodRow { namespace, name, ready, status, restarts, age, node, is_homeless, labels })
}

/// Reads `1/2`.
fn counts(word: &str) -> Option<(u32, u32)> {
    let (ready, all) = word.split_once('/')?;
    Some((ready.parse().ok()?, all.parse().ok()?))
}

fn pod_object(desk: &Desk<'_>, command: &Command, row: &PodRow<'_>) -> Option<Object> {
    let (ready, all) = counts(row.ready)?;
    let name = Name::new("Pod", row.namespace.or(command.namespace.as_deref()), row.name);
    let mut labels: BTreeMap<String, String> = row
        .labels
        .into_iter()
        .flat_map(|labels| labels.split(','))
        .filter_map(|pair| pair.split_once('='))
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect();
    let mut metadata = name.metadata(desk.uids);
    if let Some(owner) = owner(row.name, &labels) {
        if let Some(hash) = hash(&owner) {
            labels.entry("pod-template-hash".to_owned()).or_insert_with(|| hash.to_owned());
        }
        merge(&mut metadata, "ownerReferences", vec![owner]);
    }
    merge(&mut metadata, "labels", json!(labels));
    let json = json!({
        "metadata": metadata,
        "spec": { "nodeName": row.node },
        "status": pod_status(desk, row, ready == all),
    });
    Some(name.seen(json, Detail::Row, desk.file.map(str::to_owned)))
}

/// Returns the status that a row is printed of, as far as the row tells.
fn pod_status(desk: &Desk<'_>, row: &PodRow<'_>, is_ready: bool) -> Json {
    let (is_init, status) = match row.status.strip_prefix("Init:") {
        Some(status) => (true, status),
        None => (false, row.status),
    };
    let restarts = row.restarts.split_whitespace().next().and_then(|count| count.parse().ok());
    let restarts: i32 = restarts.unwrap_or_default();
    // `3 (5m ago)`: when the container ended last.
    let ended = row.restarts.split_once('(').map(|(_, ago)| ago.trim_end_matches(')'));
    let ended = ended.and_then(|ago| age(ago.trim_end_matches(" ago"))).map(|ago| desk.ago(ago));
    let (phase, state) = match status {
        "Running" | "NotReady" => ("Running", None),
        "Pending" | "ContainerCreating" | "PodInitializing" => ("Pending", None),
        "Succeeded" | "Completed" => ("Succeeded", None),
        // Between an end and the next start.
        "Error" if restarts > 0 => {
            ("Running", Some(json!({ "waiting": { "reason": "CrashLoopBackOff" } })))
        }
        "Evicted" | "Error" | "Failed" | "ContainerStatusUnknown" => ("Failed", None),
        // What a row cannot tell is when; the kill before a restart was as long ago as it says.
        "OOMKilled" => (
            "Running",
            Some(json!({ "terminated": {
            "reason": "OOMKilled", "exitCode": 137, "finishedAt": ended.map(clock::write) } })),
        ),
        _ if is_wait(status) => {
            let phase = if is_init || restarts == 0 { "Pending" } else { "Running" };
            (phase, Some(json!({ "waiting": { "reason": status } })))
        }
        _ => ("Unknown", None),
    };
    let container = state.map(|state| {
        json!([{ "name": "", "image": "", "imageID": "", "ready": false,
            "restartCount": restarts, "state": state }])
    });
    let list = if is_init { "initContainerStatuses" } else { "containerStatuses" };
    let is_out = phase == "Running" && !is_ready && container.is_none() && !began(row);
    let mut conditions = vec![];
    if is_out {
        conditions.push(json!({ "type": "Ready", "status": "False" }));
    }
    if status == "Pending" && row.is_homeless && !began(row) {
        conditions.push(json!({ "type": "PodScheduled", "status": "False",
            "reason": "Unschedulable" }));
    }
    let mut json = json!({ "phase": phase, "conditions": conditions });
    if status == "Evicted" {
        merge(&mut json, "reason", status);
    }
    if let Some(container) = container {
        merge(&mut json, list, container);
    }
    json
}

/// Says whether a pod is so young that it need not be ready.
fn began(row: &PodRow<'_>) -> bool {
    const START: std::time::Duration = std::time::Duration::from_secs(60);
    row.age.and_then(age).is_none_or(|age| age < START)
}

/// Says whether a status is the reason of a container's wait: a name, as the kubelet gives them.
fn is_wait(status: &str) -> bool {
    ["BackOff", "Error", "ImagePull", "Image", "NeverPull"].iter().any(|end| status.contains(end))
}

/// Reads a row of nodes, claims or Jobs; of others a row tells nothing that is wrong.
fn other(
    desk: &Desk<'_>,
    command: &Command,
    table: &Table<'_>,
    row: &Row<'_, '_>,
) -> Option<Object> {
    if table.has(&["REFERENCE", "TARGETS", "MAXPODS"]) {
        return autoscaler(desk, command, row);
    }
    if table.has(&["NAME", "TYPE", "CLUSTER-IP"]) {
        return service(desk, command, row);
    }
    if let Some(workload) = scale::empty_row(desk, command, table, row) {
        return Some(workload);
    }
    let status = row.get("STATUS")?;
    let condition = |name: &str, status: &str| json!({ "type": name, "status": status });
    let (kind, json) = if table.has(&["ROLES", "VERSION"]) {
        // `Ready,SchedulingDisabled`, `NotReady`.
        let is_ready = if status.starts_with("Ready") { "True" } else { "False" };
        ("Node", json!({ "status": { "conditions": [condition("Ready", is_ready)] } }))
    } else if table.has(&["VOLUME", "CAPACITY"]) {
        ("PersistentVolumeClaim", json!({ "status": { "phase": status } }))
    } else if table.has(&["COMPLETIONS"]) && status == "Failed" {
        ("Job", json!({ "status": { "conditions": [condition("Failed", "True")] } }))
    } else {
        return None;
    };
    let namespace = row.get("NAMESPACE").or(command.namespace.as_deref());
    let name = Name::new(kind, namespace, row.get("NAME")?);
    let mut json = json;
    merge(&mut json, "metadata", name.metadata(desk.uids));
    Some(name.seen(json, Detail::Row, desk.file.map(str::to_owned)))
}

/// Reads a row of a Service: its address, and in the wide form whom it selects.
fn service(desk: &Desk<'_>, command: &Command, row: &Row<'_, '_>) -> Option<Object> {
    let namespace = row.get("NAMESPACE").or(command.namespace.as_deref());
    let name = Name::new("Service", namespace, row.get("NAME")?);
    let selector = row.get("SELECTOR").unwrap_or_default();
    let selector: BTreeMap<&str, &str> =
        selector.split(',').filter_map(|pair| pair.split_once('=')).collect();
    let address = row.get("CLUSTER-IP").filter(|address| *address != "None");
    let json = json!({
        "metadata": name.metadata(desk.uids),
        "spec": { "clusterIP": address, "type": row.get("TYPE"), "selector": selector },
        "isRow": true,
    });
    Some(name.seen(json, Detail::Row, desk.file.map(str::to_owned)))
}

/// Reads a row of an autoscaler: at its maximum with more to do, or blind since it is there.
fn autoscaler(desk: &Desk<'_>, command: &Command, row: &Row<'_, '_>) -> Option<Object> {
    /// The first metrics take their time.
    const WARM_UP: std::time::Duration = std::time::Duration::from_secs(300);
    let (kind, target) = row.get("REFERENCE")?.split_once('/')?;
    let targets = row.get("TARGETS")?;
    let metric = targets.split(',').next()?.rsplit(": ").next()?;
    let is_max = row.get("REPLICAS").is_some_and(|all| row.get("MAXPODS") == Some(all));
    let is_old = row.get("AGE").and_then(age).is_some_and(|age| age > WARM_UP);
    let ratio = above_target(metric);
    let condition = if metric.starts_with("<unknown>/") && is_old {
        json!({ "type": "ScalingActive", "status": "False", "reason": "FailedGetResourceMetric" })
    } else if is_max && ratio.is_some_and(|ratio| ratio > 1.0) {
        json!({ "type": "ScalingLimited", "status": "True", "reason": "TooManyReplicas" })
    } else {
        return None;
    };
    let namespace = row.get("NAMESPACE").or(command.namespace.as_deref());
    let name = Name::new("HorizontalPodAutoscaler", namespace, row.get("NAME")?);
    let mut json = json!({
        "spec": { "scaleTargetRef": { "kind": kind, "name": target } },
        "status": {
            "conditions": [condition],
            "desiredReplicas": row.get("REPLICAS").and_then(|all| all.parse::<i32>().ok()),
        },
        "ratio": ratio,
    });
    merge(&mut json, "metadata", name.metadata(desk.uids));
    Some(name.seen(json, Detail::Row, desk.file.map(str::to_owned)))
}

/// Reads a row of a tree: `├── Pod/cart-1   1/1   Running   5m`. An Event is about what it hangs on.
fn leaf(
    desk: &Desk<'_>,
    command: &Command,
    line: &str,
    row: &Row<'_, '_>,
    branches: &mut Vec<(usize, Name)>,
) -> Option<Object> {
    let depth = line.chars().take_while(|letter| BRANCHES.contains(letter)).count();
    let cell = line.trim_start_matches(BRANCHES).split_whitespace().next()?;
    let (kind, called) = cell.split_once('/')?;
    let namespace = row.get("NAMESPACE").or(command.namespace.as_deref());
    let name = Name::new(kind, namespace, called);
    branches.retain(|(at, _)| *at < depth);
    if kind == "Event" {
        let (reason, message) = row.get("STATUS")?.split_once(": ")?;
        let sight = sight(row.get("AGE")?);
        let about = branches.last().map(|(_, name)| name.clone())?;
        let said = Said { reason, type_: None, message: message.into(), from: None, sight };
        return Some(desk.event(&about, &said, &[], None));
    }
    branches.push((depth, name.clone()));
    if kind == "NetworkPolicy" {
        let mut metadata = name.metadata(desk.uids);
        let came = clock::write(desk.ago(row.get("AGE").and_then(age)?));
        merge(&mut metadata, "creationTimestamp", came);
        let json = json!({ "metadata": metadata });
        return Some(name.seen(json, Detail::Row, desk.file.map(str::to_owned)));
    }
    if kind != "Pod" {
        return None;
    }
    let pod = PodRow {
        namespace,
        name: called,
        ready: row.get("READY")?,
        status: row.get("STATUS")?,
        restarts: "0",
        age: row.get("AGE"),
        ..PodRow::default()
    };
    pod_object(desk, command, &pod)
}
