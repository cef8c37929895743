//! Pods: placed, ready or not, evicted; their containers are in [`super::container`].

use k8s_openapi::api::core::v1::{Pod, PodCondition, PodStatus};
use tapio_collect::Unbound;
use tapio_model::{Class, Kind, Place, Severity, keys};

use super::{
    Context, Translate, container, owner,
    seen::{Condition, Seen, message, turned},
};

/// Where the kubelet writes the UID by which it, the runtime and the kernel know a static pod; the
/// mirror in the API has another.
const STATIC_POD_UID: &str = "kubernetes.io/config.hash";

/// Reasons by which a pod as a whole fails because it was made to leave.
const EVICTIONS: &[&str] =
    &["Evicted", "Preempting", "Shutdown", "NodeShutdown", "Terminated", "NodeLost"];

impl Translate for Pod {
    fn changes(before: Option<&Self>, after: Option<&Self>, context: &Context<'_>) -> Vec<Unbound> {
        let Some(seen) = Seen::of(before, after, context).filter(|seen| !seen.is_gone) else {
            return Vec::new();
        };
        let place = place(&seen);
        let mut told = conditions(&seen);
        told.extend(eviction(&seen));
        for event in &mut told {
            event.place = place.clone();
        }
        told.extend(container::changes(&seen, &place));
        if let Some(hash) = template_hash(&seen) {
            for event in &mut told {
                event.attributes.push((keys::TEMPLATE_HASH.into(), hash.into()));
            }
        }
        told
    }
}

/// Returns where a pod is: node, namespace, workload, name and UID.
fn place(seen: &Seen<'_, Pod>) -> Place {
    let meta = seen.meta();
    let static_uid = meta.annotations.as_ref().and_then(|notes| notes.get(STATIC_POD_UID));
    let node = seen.last.spec.as_ref().and_then(|spec| spec.node_name.as_deref());
    Place {
        node: node.filter(|node| !node.is_empty()).map(Into::into),
        workload: owner::of_pod(meta),
        pod: meta.name.as_deref().map(Into::into),
        pod_uid: static_uid.or(meta.uid.as_ref()).map(|uid| uid.as_str().into()),
        ..seen.place()
    }
}

/// Returns what the pods of one version of their workload share.
fn template_hash<'a>(seen: &Seen<'a, Pod>) -> Option<&'a str> {
    seen.label("pod-template-hash").or_else(|| seen.label("controller-revision-hash"))
}

fn conditions(seen: &Seen<'_, Pod>) -> Vec<Unbound> {
    fn of(pod: &Pod) -> Option<&[PodCondition]> {
        pod.status.as_ref()?.conditions.as_deref()
    }
    let (before, after) = (seen.before.and_then(of), of(seen.last));
    turned(before, after)
        .into_iter()
        .filter_map(|(was, condition)| match condition.name {
            "PodScheduled" => scheduled(seen, &condition),
            "Ready" => readiness(seen, was, &condition),
            _ => None,
        })
        .collect()
}

/// Tells that a pod found a node, or that it found none.
fn scheduled(seen: &Seen<'_, Pod>, condition: &Condition<'_>) -> Option<Unbound> {
    let time = seen.time(condition.since);
    if condition.is_true() {
        // A pod that runs was placed long ago.
        let node = seen.last.spec.as_ref()?.node_name.as_deref()?;
        return (!seen.is_found()).then(|| {
            seen.event(Kind::PodScheduled, time, &["scheduled"])
                .rated(Severity::Info, 0.0, Class::Lifecycle)
                .with(keys::REASON, "Scheduled")
                .message(format!("assigned to {node}"))
        });
    }
    let reason = condition.reason.unwrap_or_default();
    // A gate is closed by whoever made the pod.
    (reason != "SchedulingGated").then(|| {
        let event = seen
            .event(Kind::ObjectEvent, time, &["unschedulable", &condition.turn()])
            .rated(Severity::Warn, 0.6, Class::Lifecycle);
        condition.tell(event)
    })
}

/// Tells a change of readiness. A pod that begins is not ready, nor is one that is done or on its
/// way out: none of that is a change.
fn readiness(
    seen: &Seen<'_, Pod>,
    was: Option<&str>,
    condition: &Condition<'_>,
) -> Option<Unbound> {
    let is_ready = condition.is_true();
    let phase = status(seen).and_then(|status| status.phase.as_deref()).unwrap_or_default();
    let is_leaving = seen.meta().deletion_timestamp.is_some()
        || matches!(phase, "Succeeded" | "Failed")
        || matches!(condition.reason, Some("PodCompleted" | "PodFailed"));
    let is_change = if seen.is_found() {
        // Not ready now; before the containers run, they say why themselves.
        !is_ready && phase == "Running" && !is_leaving
    } else if is_ready {
        true
    } else {
        was == Some("True") && !is_leaving
    };
    is_change.then(|| {
        let (severity, impact) =
            if is_ready { (Severity::Info, 0.0) } else { (Severity::Warn, 0.6) };
        let event = seen
            .event(
                Kind::PodReadiness,
                seen.time(condition.since),
                &["condition", &condition.turn()],
            )
            .rated(severity, impact, Class::Health);
        condition.tell(event)
    })
}

/// Tells that a pod was made to leave: by its own status, or the disruption's notice before it.
fn eviction(seen: &Seen<'_, Pod>) -> Option<Unbound> {
    let notice = |status: Option<&'_ PodStatus>| -> Option<String> {
        let conditions = status?.conditions.as_deref()?;
        let notice = conditions.iter().find(|c| c.type_ == "DisruptionTarget")?;
        (notice.status == "True").then(|| notice.reason.clone().unwrap_or_default())
    };
    let failure = |status: Option<&'_ PodStatus>| -> Option<String> {
        let status = status.filter(|status| status.phase.as_deref() == Some("Failed"))?;
        status.reason.clone().filter(|reason| !reason.is_empty())
    };
    let before = seen.before.and_then(|pod| pod.status.as_ref());
    let now = status(seen);
    let is_new = (notice(before).is_none() && notice(now).is_some())
        || (failure(before).is_none() && failure(now).is_some());
    let conditions = now.and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    let condition = |name: &str| {
        conditions.iter().find(|condition| condition.type_ == name).map(Condition::from)
    };
    let disruption = condition("DisruptionTarget").filter(Condition::is_true);
    let since = disruption.or_else(|| condition("Ready")).and_then(|c| c.since);
    let time = seen.time(since);
    let reason = failure(now).or_else(|| notice(now))?;
    let said = now.and_then(|status| status.message.as_deref());
    let said = message(said).or_else(|| message(disruption?.message));
    let is_eviction = disruption.is_some() || EVICTIONS.contains(&reason.as_str());
    // Evicted pods stay in the list until somebody sweeps them.
    (is_new && seen.is_news(time)).then(|| {
        let (kind, what) =
            if is_eviction { (Kind::PodEvicted, "evicted") } else { (Kind::ObjectEvent, "failed") };
        seen.event(kind, time, &[what])
            .rated(Severity::Warn, 0.6, Class::Lifecycle)
            .with(keys::REASON, reason)
            .with_some(keys::MESSAGE, said)
    })
}

fn status<'a>(seen: &Seen<'a, Pod>) -> Option<&'a PodStatus> {
    seen.last.status.as_ref()
}
