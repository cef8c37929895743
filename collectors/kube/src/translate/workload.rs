//! Workloads: new versions, and rollouts that stop.

use std::time::Duration;

use k8s_openapi::{
    Metadata,
    api::{
        apps::v1::{DaemonSet, Deployment, ReplicaSet, StatefulSet},
        core::v1::PodTemplateSpec,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use tapio_collect::Unbound;
use tapio_model::{Class, Kind, Severity, keys};

use super::{
    Context, Translate,
    seen::{Condition, Seen, turned},
};

/// The Deployment's count of templates that a ReplicaSet serves; a rollback gives an old
/// ReplicaSet a new one.
const REVISION: &str = "deployment.kubernetes.io/revision";

/// The reason of a workload that is to have no pod.
const SCALED_TO_ZERO: &str = "ScaledToZero";

/// A ReplicaSet is older than its pods. Both bear whole seconds, and a tie would let a pod of the
/// new template seem older than the rollout.
const LEAD: Duration = Duration::from_millis(1);

impl Translate for Deployment {
    fn changes(before: Option<&Self>, after: Option<&Self>, context: &Context<'_>) -> Vec<Unbound> {
        let Some(seen) = Seen::of(before, after, context).filter(|seen| !seen.is_gone) else {
            return Vec::new();
        };
        let replicas = |object: &Self| object.spec.as_ref()?.replicas;
        let mut told: Vec<Unbound> = emptied(&seen, "Deployment", replicas).into_iter().collect();
        // Of what is to have no pod a stalled rollout of long ago is no trouble.
        if seen.is_found() && replicas(seen.last) == Some(0) {
            return told;
        }
        let template = |object: &'_ Self| object.spec.as_ref().map(|spec| spec.template.clone());
        let now = template(seen.last);
        if seen.before.and_then(template) != now {
            told.extend(generation(&seen, "Deployment", now.as_ref()));
        }
        let conditions = |object: &'_ Self| object.status.as_ref()?.conditions.clone();
        let (before, now) = (seen.before.and_then(conditions), conditions(seen.last));
        for (was, condition) in turned(before.as_deref(), now.as_deref()) {
            told.extend(progress(&seen, was, &condition));
        }
        told
    }
}

fn progress(
    seen: &Seen<'_, Deployment>,
    was: Option<&str>,
    condition: &Condition<'_>,
) -> Option<Unbound> {
    let is_stalled = condition.reason == Some("ProgressDeadlineExceeded");
    let (kind, severity, impact) = match (condition.name, condition.status, was) {
        ("Progressing", "False", _) if is_stalled => (Kind::RolloutStalled, Severity::Error, 0.7),
        // A Deployment begins without any pod; that is no loss.
        ("Available", "False", Some("True")) => (Kind::ObjectEvent, Severity::Warn, 0.6),
        ("Progressing" | "Available", "True", Some("False")) => {
            (Kind::ObjectEvent, Severity::Info, 0.0)
        }
        _ => return None,
    };
    let status = seen.last.status.as_ref();
    let desired = seen.last.spec.as_ref().and_then(|spec| spec.replicas);
    let ready = status.map(|status| status.ready_replicas.unwrap_or_default());
    let event = seen
        .event(kind, seen.time(condition.since), &["condition", &condition.turn()])
        .at(seen.workload_place("Deployment"))
        .rated(severity, impact, Class::Rollout)
        .with_some(keys::GENERATION, seen.meta().generation)
        .with_some(keys::DESIRED, desired)
        .with_some(keys::READY, ready);
    Some(condition.tell(event))
}

impl Translate for ReplicaSet {
    fn changes(before: Option<&Self>, after: Option<&Self>, context: &Context<'_>) -> Vec<Unbound> {
        let Some(seen) = Seen::of(before, after, context).filter(|seen| !seen.is_gone) else {
            return Vec::new();
        };
        let mut told: Vec<Unbound> = rollout(&seen).into_iter().collect();
        let conditions = |object: &'_ Self| object.status.as_ref()?.conditions.clone();
        let (before, now) = (seen.before.and_then(conditions), conditions(seen.last));
        for (_, condition) in turned(before.as_deref(), now.as_deref()) {
            // The pods are refused: by a quota, a webhook, a policy.
            if condition.name == "ReplicaFailure" && condition.is_true() {
                let event = seen
                    .event(
                        Kind::RolloutStalled,
                        seen.time(condition.since),
                        &["condition", &condition.turn()],
                    )
                    .at(seen.workload_place("ReplicaSet"))
                    .rated(Severity::Error, 0.7, Class::Rollout)
                    .with_some(keys::TEMPLATE_HASH, seen.label("pod-template-hash"));
                told.push(condition.tell(event));
            }
        }
        told
    }
}

/// Tells that a template came to be used: a new ReplicaSet, or an old one that is taken up again.
fn rollout(seen: &Seen<'_, ReplicaSet>) -> Option<Unbound> {
    let revision = |object: &ReplicaSet| -> Option<String> {
        object.metadata.annotations.as_ref()?.get(REVISION).cloned()
    };
    let spec = seen.last.spec.as_ref()?;
    // What has no pods is history that the Deployment keeps.
    if spec.replicas == Some(0) {
        return None;
    }
    let now = revision(seen.last);
    let time = match seen.before {
        Some(before)
            if before.spec.as_ref().and_then(|spec| spec.replicas) == Some(0)
                || revision(before) != now =>
        {
            (now != revision(before)).then(|| seen.time(None))?
        }
        Some(_) => return None,
        None => seen.time(seen.meta().creation_timestamp.as_ref()),
    };
    let event = seen
        .event(
            Kind::RolloutStarted,
            time.before(LEAD),
            &["revision", now.as_deref().unwrap_or("1")],
        )
        .at(seen.workload_place("ReplicaSet"))
        .rated(Severity::Info, 0.2, Class::Rollout)
        .with_some(keys::TEMPLATE_HASH, seen.label("pod-template-hash"))
        .with_some(keys::IMAGE, image(spec.template.as_ref()))
        .with_some(keys::DESIRED, spec.replicas)
        .message(format!("ReplicaSet {} is to run", seen.name()));
    seen.is_news(time).then_some(event)
}

impl Translate for StatefulSet {
    fn changes(before: Option<&Self>, after: Option<&Self>, context: &Context<'_>) -> Vec<Unbound> {
        let Some(seen) = Seen::of(before, after, context).filter(|seen| !seen.is_gone) else {
            return Vec::new();
        };
        let template = |object: &'_ Self| object.spec.as_ref().map(|spec| spec.template.clone());
        let revision = |object: &'_ Self| {
            object.status.as_ref()?.update_revision.clone().filter(|name| !name.is_empty())
        };
        let now = template(seen.last);
        let replicas = |object: &Self| object.spec.as_ref()?.replicas;
        let mut told: Vec<Unbound> = emptied(&seen, "StatefulSet", replicas).into_iter().collect();
        if seen.before.and_then(template) != now {
            told.extend(generation(&seen, "StatefulSet", now.as_ref()));
        }
        // The controller names the new template a moment after it was asked for.
        if let Some(to) = revision(seen.last)
            && seen.before.is_some_and(|before| revision(before).as_ref() != Some(&to))
        {
            let event = seen
                .event(Kind::RolloutStarted, seen.time(None).before(LEAD), &["revision", &to])
                .at(seen.workload_place("StatefulSet"))
                .rated(Severity::Info, 0.2, Class::Rollout)
                .with_some(keys::GENERATION, seen.meta().generation)
                .with_some(keys::IMAGE, image(now.as_ref()))
                .with(keys::TEMPLATE_HASH, to.as_str())
                .message(format!("revision {to} is to run"));
            told.push(event);
        }
        told
    }
}

impl Translate for DaemonSet {
    fn changes(before: Option<&Self>, after: Option<&Self>, context: &Context<'_>) -> Vec<Unbound> {
        let Some(seen) = Seen::of(before, after, context).filter(|seen| !seen.is_gone) else {
            return Vec::new();
        };
        let template = |object: &'_ Self| object.spec.as_ref().map(|spec| spec.template.clone());
        let now = template(seen.last);
        let is_new = seen.before.and_then(template) != now;
        let told = is_new.then(|| generation(&seen, "DaemonSet", now.as_ref())).flatten();
        told.into_iter().collect()
    }
}

/// Tells that a workload is to have no pod: somebody scaled it to zero, or it is found so.
fn emptied<K: Metadata<Ty = ObjectMeta>>(
    seen: &Seen<'_, K>,
    kind: &str,
    replicas: impl Fn(&K) -> Option<i32>,
) -> Option<Unbound> {
    let was = seen.before.map(|before| replicas(before).unwrap_or(1));
    if replicas(seen.last) != Some(0) || was == Some(0) {
        return None;
    }
    let time = seen.time(None);
    let generation = seen.meta().generation;
    let number = generation.map(|number| number.to_string()).unwrap_or_default();
    let said = match was {
        Some(was) => format!("{kind} {} was scaled from {was} replicas to 0", seen.name()),
        None => format!("{kind} {} is scaled to 0 replicas", seen.name()),
    };
    let event = seen
        .event(Kind::ObjectEvent, time, &["emptied", &number])
        .at(seen.workload_place(kind))
        .rated(Severity::Info, 0.2, Class::Configuration)
        .with(keys::REASON, SCALED_TO_ZERO)
        .with_some(keys::GENERATION, generation)
        .with(keys::DESIRED, 0)
        .message(said);
    seen.is_news(time).then_some(event)
}

/// Tells that a workload was given another template. A change of scale is a generation too, and no
/// rollout.
pub(super) fn generation<K: Metadata<Ty = ObjectMeta>>(
    seen: &Seen<'_, K>,
    kind: &str,
    template: Option<&PodTemplateSpec>,
) -> Option<Unbound> {
    if seen.is_found() {
        return None;
    }
    let generation = seen.meta().generation;
    let number = generation.map(|number| number.to_string()).unwrap_or_default();
    let event = seen
        .event(Kind::RolloutStarted, seen.time(None), &["generation", &number])
        .at(seen.workload_place(kind))
        .rated(Severity::Info, 0.2, Class::Rollout)
        .with_some(keys::GENERATION, generation)
        .with_some(keys::IMAGE, image(template))
        .message(format!("{kind} {} was given a template, generation {number}", seen.name()));
    Some(event)
}

/// Returns the image of a template's first container.
pub(super) fn image(template: Option<&PodTemplateSpec>) -> Option<&str> {
    template?.spec.as_ref()?.containers.first()?.image.as_deref()
}
