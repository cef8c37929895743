//! `v1.Event`: what the cluster's components said.

use k8s_openapi::api::core::v1::{Event, ObjectReference};
use tapio_collect::Unbound;
use tapio_model::{Kind, Place, Text, Timestamp, Workload, keys};

use super::{
    Context, Translate, owner,
    reason::{self, Reading},
    seen::{Seen, message, nanos, place, timestamp, told},
};

/// Controllers that speak of a pod because of its node; the last was the taint manager's name until
/// Kubernetes 1.28.
const NODE_CONTROLLERS: &[&str] =
    &["node-controller", "taint-eviction-controller", "taint-controller"];

/// Kinds that are workloads themselves, or are owned by one.
const WORKLOADS: &[&str] =
    &["CronJob", "DaemonSet", "Deployment", "Job", "ReplicaSet", "StatefulSet"];

impl Translate for Event {
    /// An Event is updated when it is seen again: the rise of its count is the news. It is deleted
    /// when it is old, which is none.
    fn changes(before: Option<&Self>, after: Option<&Self>, context: &Context<'_>) -> Vec<Unbound> {
        let Some(seen) = Seen::of(before, after, context).filter(|seen| !seen.is_gone) else {
            return Vec::new();
        };
        let event = seen.last;
        let (time, count) = (time(&seen, event), count(event));
        let known = seen.before.map(self::count);
        if !seen.is_news(time) || known == Some(count) {
            return Vec::new();
        }
        // Of an Event found, only a first sight that is news itself makes the whole count news.
        let first = event.first_timestamp.as_ref().map(timestamp);
        let is_whole = !seen.is_found() || first.is_some_and(|first| seen.is_news(first));
        let rise = match known {
            Some(known) => count.saturating_sub(known).max(1),
            None if is_whole => count,
            None => 1,
        };
        vec![tell(&seen, time, (count, rise))]
    }
}

fn tell(seen: &Seen<'_, Event>, time: Timestamp, (count, rise): (i64, i64)) -> Unbound {
    let event = seen.last;
    let object = &event.involved_object;
    let said = event.message.as_deref().unwrap_or_default();
    let read = reason::read(event);
    let number = count.to_string();
    let unbound = match placed(object, read.kind) {
        // The pod's status tells of this too: one thing that happened is one event.
        Some(uid) => told(seen.context, read.kind, time, (uid, &["scheduled"])),
        None => seen.event(read.kind, time, &["count", &number]),
    };
    let Reading { severity, impact, class, probe, victim, .. } = read;
    let (process, pid) = victim.unzip();
    let quoted = said.split_once("image \"").and_then(|(_, rest)| rest.split_once('"'));
    let unbound = unbound
        .at(where_it_happened(seen, object))
        .rated(severity, impact, class)
        .with_some(keys::REASON, event.reason.as_deref().filter(|reason| !reason.is_empty()))
        .with(keys::COUNT, rise)
        .with_some(keys::PROBE, probe)
        .with_some(keys::PROCESS_NAME, process)
        .with_some(keys::PROCESS_PID, pid.flatten())
        .with_some(keys::IMAGE, quoted.map(|(image, _)| image))
        .with_some(keys::MESSAGE, message(Some(said)));
    let unbound = match read.condition {
        Some((name, status)) => unbound.with(keys::CONDITION, name).with(keys::STATUS, status),
        None => unbound,
    };
    let is_place = matches!(object.kind.as_deref(), Some("Pod" | "Node") | None);
    if is_place {
        return unbound;
    }
    unbound
        .with_some(keys::OBJECT_KIND, object.kind.as_deref())
        .with_some(keys::OBJECT_NAME, object.name.as_deref())
        .with_some(keys::OBJECT_NAMESPACE, object.namespace.as_deref())
        .with_some(keys::OBJECT_UID, object.uid.as_deref())
}

fn placed(object: &ObjectReference, kind: Kind) -> Option<&str> {
    object.uid.as_deref().filter(|uid| !uid.is_empty() && kind == Kind::PodScheduled)
}

fn where_it_happened(seen: &Seen<'_, Event>, object: &ObjectReference) -> Place {
    let name = object.name.as_deref().unwrap_or_default();
    let kind = object.kind.as_deref().unwrap_or_default();
    let namespace = object.namespace.as_deref().unwrap_or_default();
    let place = place(seen.context, namespace);
    if kind == "Node" {
        // The kubelet gives the node's name for its UID, and Events of nodes a namespace.
        return Place { node: Some(name.into()), namespace: None, ..place };
    }
    let uid = object.uid.as_deref().unwrap_or_default();
    if kind == "Pod" {
        return Place {
            node: node(seen, uid),
            workload: seen.context.owners.workload(uid),
            pod: Some(name.into()),
            pod_uid: object.uid.as_deref().map(Into::into),
            container: container(object),
            ..place
        };
    }
    if kind == "Service" || kind == "Endpoints" {
        return Place { service: Some(name.into()), ..place };
    }
    if !WORKLOADS.contains(&kind) {
        return Place { workload: user(seen, kind, (namespace, name)), ..place };
    }
    // An Event may be faster than the object that it is about.
    let known = seen.context.owners.workload(uid).filter(|_| kind == "ReplicaSet");
    Place { workload: known.or_else(|| owner::of_name(kind, name)), ..place }
}

/// Returns the workload that uses the object, if there is one and no other.
fn user(seen: &Seen<'_, Event>, kind: &str, (namespace, name): (&str, &str)) -> Option<Workload> {
    let mut users = seen.context.owners.users(namespace, kind, name);
    let user = users.pop()?;
    users.is_empty().then_some(user)
}

/// Returns the node that speaks, the kubelet's, or the pod's, if its node is what is spoken of;
/// other components run elsewhere.
fn node(seen: &Seen<'_, Event>, pod_uid: &str) -> Option<Text> {
    let event = seen.last;
    let source = event.source.as_ref();
    let component = source.and_then(|source| source.component.as_deref());
    let component = component.or(event.reporting_component.as_deref());
    if component.is_some_and(|component| NODE_CONTROLLERS.contains(&component)) {
        return seen.context.owners.node(pod_uid);
    }
    let host = source.and_then(|source| source.host.as_deref());
    let host = host.or(event.reporting_instance.as_deref());
    host.filter(|host| component == Some("kubelet") && !host.is_empty()).map(Into::into)
}

/// Reads `spec.containers{name}`.
fn container(object: &ObjectReference) -> Option<Text> {
    let path = object.field_path.as_deref()?.strip_prefix("spec.")?;
    let (list, name) = path.strip_suffix('}')?.split_once('{')?;
    list.to_ascii_lowercase().ends_with("containers").then(|| name.into())
}

/// Returns when it was last seen. The kubelet leaves `eventTime` empty, the scheduler the others.
fn time(seen: &Seen<'_, Event>, event: &Event) -> Timestamp {
    let series = event.series.as_ref().and_then(|series| series.last_observed_time.as_ref());
    series
        .map(|time| nanos(time.0))
        .or_else(|| event.last_timestamp.as_ref().map(timestamp))
        .or_else(|| event.event_time.as_ref().map(|time| nanos(time.0)))
        .or_else(|| event.metadata.creation_timestamp.as_ref().map(timestamp))
        .unwrap_or(seen.context.now)
}

/// Returns how often it was seen so far.
fn count(event: &Event) -> i64 {
    let series = event.series.as_ref().and_then(|series| series.count);
    i64::from(series.or(event.count).unwrap_or(1)).max(1)
}
