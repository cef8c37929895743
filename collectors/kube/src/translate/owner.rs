//! Whose an object is: the workload that people know, by what the object says of itself.
//!
//! Not by the chain of owners. The agent of a node sees its pods and nothing else, the leader sees
//! everything, and both must name one workload, or the events of one pod fall into two traces. So
//! a pod's own metadata decides for both, and an owner decides as its pods do: what owns a
//! Deployment or a StatefulSet is not asked.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use tapio_collect::schedule_of;
use tapio_model::Workload;

/// Labels with which a controller marks the pods and `ReplicaSets` of one template, and whose they
/// are: the ReplicaSet's name is the workload's and the label's value.
const TEMPLATE_LABELS: [(&str, &str); 2] =
    [("pod-template-hash", "Deployment"), ("rollouts-pod-template-hash", "Rollout")];

/// Letters of a template's hash: without vowels, and without digits that look like them.
const HASH_LETTERS: &str = "bcdfghjklmnpqrstvwxz2456789";

/// Lengths of a template's hash: a number of 32 bits, of which few are shorter.
const HASH_LENGTHS: std::ops::RangeInclusive<usize> = 8..=10;

/// Returns the workload of a pod; a bare pod has none, nor has the mirror of a static one.
pub(crate) fn of_pod(meta: &ObjectMeta) -> Option<Workload> {
    let owners = meta.owner_references.as_deref().unwrap_or_default();
    let owner = owners.iter().find(|owner| owner.controller == Some(true))?;
    of_labelled(&owner.kind, &owner.name, meta.labels.as_ref())
}

/// Returns the workload of the pods that an object of this kind owns.
pub(crate) fn of_object(kind: &str, meta: &ObjectMeta) -> Option<Workload> {
    of_labelled(kind, meta.name.as_deref().unwrap_or_default(), meta.labels.as_ref())
}

/// Returns the workload of the pods that an object owns of which only kind and name are known.
pub(super) fn of_name(kind: &str, name: &str) -> Option<Workload> {
    let is_hash = |hash: &str| {
        HASH_LENGTHS.contains(&hash.len()) && hash.chars().all(|one| HASH_LETTERS.contains(one))
    };
    match name.rsplit_once('-') {
        Some((name, hash)) if kind == "ReplicaSet" && !name.is_empty() && is_hash(hash) => {
            Some(workload("Deployment", name))
        }
        Some(_) | None => of_labelled(kind, name, None),
    }
}

fn of_labelled(
    kind: &str,
    name: &str,
    labels: Option<&BTreeMap<String, String>>,
) -> Option<Workload> {
    match kind {
        // A bare pod owns itself, and a static pod's mirror is owned by its node.
        "Pod" | "Node" => None,
        "Job" => Some(match schedule_of(name) {
            Some(schedule) => workload("CronJob", schedule),
            None => workload(kind, name),
        }),
        "ReplicaSet" => {
            let of_template = TEMPLATE_LABELS.iter().find_map(|(label, kind)| {
                let hash = labels?.get(*label)?;
                let name = name.strip_suffix(hash.as_str())?.strip_suffix('-')?;
                (!name.is_empty()).then(|| workload(kind, name))
            });
            Some(of_template.unwrap_or_else(|| workload(kind, name)))
        }
        _ => Some(workload(kind, name)),
    }
}

fn workload(kind: &str, name: &str) -> Workload {
    Workload { kind: kind.into(), name: name.into() }
}
