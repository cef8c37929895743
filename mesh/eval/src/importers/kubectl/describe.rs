//! What `kubectl describe` prints becomes the object that it was printed of, and its Events.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};

use super::{
    age::date,
    container::{self, Container},
    events::{Desk, Said, described, is_rule, merge},
    name::{Name, hash, reference},
    outline::{Outline, indent, pair},
    section::Command,
    table::Table,
};
use crate::importers::k8s_objects::{
    clock,
    moment::{Detail, Object, is_emptied},
};

/// Kinds by the fields that only they have, most telling first.
const KINDS: &[(&str, &[&str])] = &[
    ("Job", &["Pods Statuses"]),
    ("Deployment", &["StrategyType"]),
    ("DaemonSet", &["Desired Number of Nodes Scheduled"]),
    ("StatefulSet", &["Update Strategy", "Replicas"]),
    ("ReplicaSet", &["Pods Status", "Replicas"]),
    ("Node", &["Allocatable", "Capacity"]),
    ("HorizontalPodAutoscaler", &["Reference", "Min replicas"]),
    ("CronJob", &["Concurrency Policy"]),
    ("PersistentVolumeClaim", &["StorageClass", "Used By"]),
    ("Ingress", &["Rules", "Default backend"]),
    ("Service", &["Session Affinity"]),
    ("Pod", &["Containers", "Node"]),
];

/// Reads every object of a text.
pub(super) fn read(desk: &Desk<'_>, command: &Command, text: &str) -> Vec<Object> {
    Outline::all(text).iter().flat_map(|outline| one(desk, command, outline)).collect()
}

fn one(desk: &Desk<'_>, command: &Command, outline: &Outline<'_>) -> Vec<Object> {
    let of_fields = KINDS.iter().find(|(_, fields)| outline.has(fields)).map(|(kind, _)| *kind);
    let of_fields = of_fields.or_else(|| is_policy(outline).then_some("NetworkPolicy"));
    // The text knows better than the command above it: a recorder may have mixed them up.
    let kind = of_fields.or_else(|| outline.get("Kind")).or(command.kind.as_deref());
    let Some((kind, called)) = kind.zip(outline.get("Name")) else { return Vec::new() };
    let namespace = outline.get("Namespace").or(command.namespace.as_deref());
    let name = Name::new(kind, namespace, called);
    // A part of a description is no look at the object: a row of it may say more.
    let is_part = of_fields.is_none() && KINDS.iter().any(|(kind, _)| *kind == name.kind);
    let is_part = is_part && !(name.kind == "Node" && outline.has(&["Conditions"]));
    let mut objects = Vec::new();
    let (mut containers, mut node) = (Vec::new(), None);
    let said = described(outline.below("Events"));
    let json = match name.kind.as_str() {
        "Pod" => {
            let all = Containers::of(outline);
            containers = all.names();
            node = outline.get("Node").map(|node| node.split('/').next().unwrap_or(node));
            Some(pod(desk, outline, &all))
        }
        "Job" => Some(job(desk, outline, &said)),
        "Deployment" => Some(deployment(outline)),
        "StatefulSet" => outline.get("Replicas").map(|_| deployment(outline)),
        "Node" => Some(json!({ "status": { "conditions": conditions(outline) } })),
        "HorizontalPodAutoscaler" => autoscaler(outline),
        "NetworkPolicy" => Some(policy(outline)),
        "Service" => Some(service(outline)),
        "PersistentVolumeClaim" => Some(json!({
            "spec": { "volumeName": outline.get("Volume") },
            "status": { "phase": outline.get("Status") },
        })),
        _ => None,
    };
    for said in &said {
        objects.push(desk.event(&name, said, &containers, node));
    }
    if let Some(mut json) = json.filter(|_| !is_part) {
        if let Some(refusal) = said.iter().rfind(|said| said.reason == "FailedScheduling") {
            unschedulable(&mut json, &refusal.message);
        }
        complete(desk, outline, &name, &mut json);
        objects.push(name.seen(json, Detail::Described, desk.file.map(str::to_owned)));
    }
    objects
}

/// Gives the object its metadata, and a pod the controller that it names.
fn complete(desk: &Desk<'_>, outline: &Outline<'_>, name: &Name, json: &mut Json) {
    let mut metadata = name.metadata(desk.uids);
    let labels: BTreeMap<&str, &str> = outline.pairs("Labels").collect();
    let mut labels = json!(labels);
    let controller = outline.get("Controlled By").and_then(|by| by.split_once('/'));
    if let Some((kind, owner)) = controller {
        let owner = reference(kind, owner);
        if let Some(hash) = hash(&owner).filter(|_| labels.get("pod-template-hash").is_none()) {
            merge(&mut labels, "pod-template-hash", hash);
        }
        merge(&mut metadata, "ownerReferences", vec![owner]);
    }
    merge(&mut metadata, "labels", labels);
    let created = outline.get("Created on").or_else(|| {
        // Since then at the earliest it has no replicas.
        outline.get("CreationTimestamp").filter(|_| is_emptied(&name.kind, json))
    });
    if let Some(created) = created.and_then(date) {
        merge(&mut metadata, "creationTimestamp", clock::write(created));
    }
    if outline.get("Status").is_some_and(|status| status.starts_with("Terminating")) {
        merge(&mut metadata, "deletionTimestamp", clock::write(desk.end));
    }
    merge(json, "metadata", metadata);
}

/// The containers of a pod.
struct Containers {
    main: Vec<Container>,
    init: Vec<Container>,
}

impl Containers {
    fn of(outline: &Outline<'_>) -> Self {
        let read = |name| container::read(outline.below(name));
        Self { main: read("Containers"), init: read("Init Containers") }
    }

    fn names(&self) -> Vec<String> {
        self.main.iter().chain(&self.init).map(|one| one.name.clone()).collect()
    }
}

fn pod(desk: &Desk<'_>, outline: &Outline<'_>, containers: &Containers) -> Json {
    let specs = |all: &[Container]| all.iter().map(|one| one.spec.clone()).collect::<Vec<_>>();
    let statuses = |all: &[Container]| all.iter().map(|one| one.status.clone()).collect::<Vec<_>>();
    let status = outline.get("Status").unwrap_or_default();
    // A pod on its way out runs until it is gone.
    let phase = if status.starts_with("Terminating") { "Running" } else { status };
    let node = outline.get("Node").and_then(|node| node.split('/').next());
    let started =
        outline.get("Start Time").and_then(date).map(|time| clock::write(time.min(desk.end)));
    let mut conditions = conditions(outline);
    if let Some(started) = &started {
        date_placement(&mut conditions, started);
    }
    json!({
        "spec": {
            "nodeName": node,
            "volumes": claims(outline),
            "containers": specs(&containers.main),
            "initContainers": specs(&containers.init),
        },
        "status": {
            "phase": phase,
            "reason": outline.get("Reason"),
            "message": outline.get("Message"),
            "startTime": started,
            "conditions": conditions,
            "containerStatuses": statuses(&containers.main),
            "initContainerStatuses": statuses(&containers.init),
        },
    })
}

/// Reads the volumes that are claims: `ClaimName:  data`.
fn claims(outline: &Outline<'_>) -> Vec<Json> {
    let names = outline.below("Volumes").iter().filter_map(|line| pair(line));
    let names = names.filter(|(field, _)| *field == "ClaimName").map(|(_, name)| name);
    names
        .map(|name| json!({ "name": name, "persistentVolumeClaim": { "claimName": name } }))
        .collect()
}

fn is_policy(outline: &Outline<'_>) -> bool {
    outline.below("Spec").iter().any(|line| line.trim_start().starts_with("PodSelector:"))
}

/// Reads what a network policy lets pass: nothing, where the pods that it selects are isolated.
fn policy(outline: &Outline<'_>) -> Json {
    let lines = outline.below("Spec");
    let admitted = admitted(lines);
    let is_isolated = |way: &str| {
        let words = format!("isolated for {way} connectivity");
        lines.iter().any(|line| line.contains(&words))
    };
    let rules = |way: &str| if is_isolated(way) { json!([]) } else { json!([{}]) };
    let named = |name: &str| {
        let found = lines.iter().filter_map(|line| pair(line)).find(|(field, _)| *field == name);
        found.map(|(_, value)| value).unwrap_or_default()
    };
    let types: Vec<_> = named("Policy Types").split(", ").filter(|one| !one.is_empty()).collect();
    let selector = named("PodSelector").split(',').filter_map(|pair| pair.trim().split_once('='));
    let selector: BTreeMap<&str, &str> = selector.collect();
    json!({ "spec": {
        "podSelector": { "matchLabels": selector },
        "policyTypes": types,
        "ingress": admitted.map_or_else(|| rules("ingress"), Json::from),
        "egress": rules("egress"),
    } })
}

/// Reads who may send to the pods that a policy selects; `None` if it lets nobody in, or everybody.
fn admitted(lines: &[&str]) -> Option<Vec<Json>> {
    let mut peers = Vec::new();
    let ingress = lines.iter().map(|line| line.trim());
    let ingress = ingress.skip_while(|line| !line.starts_with("Allowing ingress traffic"));
    for line in ingress.skip(1).take_while(|line| !line.ends_with("egress traffic")) {
        if line.starts_with("From: <any>") || line.starts_with("IPBlock") {
            return None;
        }
        if line == "From:" {
            peers.push(json!({}));
        }
        let selector = line.split_once(": ").filter(|(field, _)| field.ends_with("Selector"));
        if let Some(((field, labels), peer)) = selector.zip(peers.last_mut()) {
            let field = if field == "PodSelector" { "podSelector" } else { "namespaceSelector" };
            merge(peer, field, selector_of(labels));
        }
    }
    (!peers.is_empty()).then(|| vec![json!({ "from": peers })])
}

/// Reads `app=cart,tier in (web,api)`: commas part what selects, but in parentheses values.
fn selector_of(text: &str) -> Json {
    let mut depth = 0_u32;
    let parts = text.split(|letter: char| {
        match letter {
            '(' => depth = depth.saturating_add(1),
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        letter == ',' && depth == 0
    });
    let (mut pairs, mut expressions) = (BTreeMap::new(), Vec::new());
    for part in parts.map(str::trim) {
        if let Some((key, values)) = part.split_once(" in (") {
            let values: Vec<_> = values.trim_end_matches(')').split(',').map(str::trim).collect();
            expressions.push(json!({ "key": key.trim(), "operator": "In", "values": values }));
        } else if let Some((key, value)) = part.split_once('=') {
            pairs.insert(key, value);
        }
    }
    json!({ "matchLabels": pairs, "matchExpressions": expressions })
}

/// Reads a Service. Its endpoints are of another object, and printed with it.
fn service(outline: &Outline<'_>) -> Json {
    let beside = outline.get("Selector").unwrap_or_default().split(',').map(str::trim);
    let below = outline.below("Selector").iter().map(|line| line.trim());
    let pairs = beside.chain(below).filter_map(|pair| pair.split_once('='));
    let selector: BTreeMap<&str, &str> = pairs.collect();
    json!({
        "spec": {
            "selector": selector,
            "clusterIP": outline.get("IP"),
            "ports": outline.get("TargetPort").and_then(target).map(|port| vec![port]),
        },
        "endpoints": outline.get("Endpoints"),
    })
}

/// Reads `8080/TCP`, `http/TCP`: where a Service sends what it is sent.
fn target(text: &str) -> Option<Json> {
    let (port, protocol) = text.split_once('/')?;
    let port = port.parse::<u16>().map_or_else(|_| Json::from(port), Json::from);
    Some(json!({ "targetPort": port, "protocol": protocol }))
}

/// Dates the condition by which a node took the pod: it starts at once.
fn date_placement(conditions: &mut [Json], started: &str) {
    for condition in conditions {
        let text = |field: &str| condition.get(field).and_then(Json::as_str);
        if (text("type"), text("status")) == (Some("PodScheduled"), Some("True")) {
            merge(condition, "lastTransitionTime", started);
        }
    }
}

/// Adds why no node takes the pod: the condition has it, and kubectl does not print it there.
fn unschedulable(json: &mut Json, message: &str) {
    let conditions = json.pointer_mut("/status/conditions").and_then(Json::as_array_mut);
    for condition in conditions.into_iter().flatten() {
        let text = |field: &str| condition.get(field).and_then(Json::as_str);
        if (text("type"), text("status")) == (Some("PodScheduled"), Some("False")) {
            merge(condition, "reason", "Unschedulable");
            merge(condition, "message", message);
        }
    }
}

/// Reads the table of conditions.
fn conditions(outline: &Outline<'_>) -> Vec<Json> {
    let mut lines = outline.below("Conditions").iter().filter(|line| !line.trim().is_empty());
    let Some(table) = lines.next().map(|header| Table::of(header)) else { return Vec::new() };
    lines
        .filter(|line| !is_rule(line))
        .filter_map(|line| {
            let row = table.row(line);
            let mut condition = json!({ "type": row.get("Type")?, "status": row.get("Status")? });
            let since = row.get("LastTransitionTime").and_then(date).map(clock::write);
            for (field, value) in [
                ("reason", row.get("Reason").map(str::to_owned)),
                ("message", row.get("Message").map(str::to_owned)),
                ("lastTransitionTime", since),
            ] {
                if let Some(value) = value {
                    merge(&mut condition, field, value);
                }
            }
            Some(condition)
        })
        .collect()
}

/// Reads a Job. That it failed is a condition which kubectl does not print: it follows from the
/// numbers, and an Event may tell since when.
fn job(desk: &Desk<'_>, outline: &Outline<'_>, said: &[Said<'_>]) -> Json {
    let pods = outline.get("Pods Statuses").unwrap_or_default();
    let count = |what: &str| -> i64 {
        let part = pods.split('/').find(|part| part.contains(what)).unwrap_or_default();
        part.split_whitespace().next().and_then(|number| number.parse().ok()).unwrap_or_default()
    };
    let limit: Option<i64> = outline.get("Backoff Limit").and_then(|limit| limit.parse().ok());
    let (active, failed) = (count("Active"), count("Failed"));
    let is_over = active == 0 && limit.is_some_and(|limit| failed > limit);
    let mut status = json!({
        "active": small(active), "failed": small(failed), "succeeded": small(count("Succeeded")),
    });
    if is_over {
        let reason = "BackoffLimitExceeded";
        let since = said.iter().find(|said| said.reason == reason).and_then(|said| said.sight.last);
        let mut condition = json!({ "type": "Failed", "status": "True", "reason": reason,
            "message": "Job has reached the specified backoff limit" });
        if let Some(since) = since {
            merge(&mut condition, "lastTransitionTime", clock::write(desk.ago(since)));
        }
        merge(&mut status, "conditions", vec![condition]);
    }
    json!({ "status": status })
}

/// Reads `3 desired | 3 updated | 3 total | 1 available | 2 unavailable`.
fn deployment(outline: &Outline<'_>) -> Json {
    let replicas = outline.get("Replicas").unwrap_or_default();
    let count = |what: &str| -> Option<i64> {
        let part = replicas.split('|').find(|part| part.split_whitespace().last() == Some(what))?;
        part.split_whitespace().next()?.parse().ok()
    };
    let selector: BTreeMap<&str, &str> = outline
        .get("Selector")
        .unwrap_or_default()
        .split(',')
        .filter_map(|pair| pair.split_once('='))
        .collect();
    json!({
        "spec": {
            "replicas": count("desired").map(small),
            "selector": { "matchLabels": selector },
            "template": template(outline),
        },
        "status": { "readyReplicas": count("available").map(small), "conditions": conditions(outline) },
    })
}

/// Reads the devices that the pods of a template ask for: resources with a domain.
fn template(outline: &Outline<'_>) -> Json {
    let is_device =
        |(name, value): &(&str, &str)| name.contains('/') && value.parse::<u32>().is_ok();
    let pairs = outline.below("Pod Template").iter().filter_map(|line| pair(line));
    let limits: BTreeMap<&str, &str> = pairs.filter(is_device).collect();
    let env = variables(outline.below("Pod Template"));
    let container = json!({ "name": "", "resources": { "limits": limits }, "env": env });
    json!({ "spec": { "containers": [container] } })
}

/// Reads the variables of all containers of a template.
fn variables(lines: &[&str]) -> Vec<Json> {
    let mut depth = None;
    let mut found = Vec::new();
    for line in lines {
        let is_below = depth.is_some_and(|depth| indent(line) > depth);
        let Some((name, value)) = pair(line) else { continue };
        if is_below {
            found.push(json!({ "name": name, "value": value }));
        } else {
            depth = (name == "Environment").then(|| indent(line));
        }
    }
    found
}

fn autoscaler(outline: &Outline<'_>) -> Option<Json> {
    let (kind, name) = outline.get("Reference")?.split_once('/')?;
    // `3 current / 6 desired`.
    let pods = outline.get("Deployment pods").and_then(|pods| pods.split_once(" / "));
    let count = |pods: &str| pods.split(' ').next()?.parse::<i32>().ok();
    let (current, desired) = pods.map(|(is, wants)| (count(is), count(wants))).unwrap_or_default();
    let metrics = outline.below("Metrics").iter().filter_map(|line| line.rsplit_once(": "));
    let ratio = metrics.filter_map(|(_, metric)| above_target(metric)).max_by(f64::total_cmp);
    Some(json!({
        "spec": { "scaleTargetRef": { "kind": kind, "name": name } },
        "status": {
            "conditions": conditions(outline),
            "currentReplicas": current,
            "desiredReplicas": desired,
        },
        "ratio": ratio,
    }))
}

/// Reads `184% (460m) / 60%`: how many times what is to be kept is used.
pub(super) fn above_target(metric: &str) -> Option<f64> {
    let (used, target) = metric.split_once('/')?;
    let percent = |text: &str| -> Option<f64> {
        let number = text.trim().split(' ').next()?.strip_suffix('%')?;
        number.parse().ok()
    };
    let target = percent(target).filter(|target| *target > 0.0)?;
    Some(percent(used)? / target)
}

/// Fits a number into the API's.
fn small(number: i64) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_may_mix_pairs_and_lists() {
        for text in ["tier in (cache,db),app=redis", "app=redis,tier in (cache,db)"] {
            let selector = selector_of(text);
            assert_eq!(selector.pointer("/matchLabels/app"), Some(&json!("redis")), "{text}");
            let values = selector.pointer("/matchExpressions/0/values");
            assert_eq!(values, Some(&json!(["cache", "db"])), "{text}");
        }
    }
}
