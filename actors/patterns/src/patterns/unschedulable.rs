//! Pods find no node: there is not enough of something, or nothing that they may run on.
//!
//! Evidence: the scheduler's refusal ("0/3 nodes are available: ..."), the pod's `PodScheduled`
//! condition, or the autoscaler's word that one more node would not help; and no node for that pod
//! afterwards, nor one on its way.
//! Root: the first refusal. Each clause of it is a cause with a cure of its own.
//! Not this: `quota_refused` (the pod was never created); `volume_unbound` (every clause speaks of
//! volumes); `node_not_ready` and `node_drain` (they took the nodes, and lead here).
//! First look: `kubectl describe pod POD`, then `kubectl describe nodes` for what is allocated.

use std::collections::BTreeSet;

use tapio_engine::{Draft, Pattern, Spec, View};
use tapio_model::{Entity, Event, EvidenceClass, Kind, keys};

use crate::{
    Scene,
    last_words::{quote, rollout_before},
    witness::{by_owner, touch_services},
};

/// Scenes whose cause is known.
pub(crate) const SCENES: &[Scene] = &[
    Scene::cause(
        "unschedulable",
        "the nodes are full",
        "0s shop/x%cart RolloutStarted hash=7f6b8d9c4 generation=4
        1s shop/cart-1%cart ObjectEvent reason=FailedScheduling sev=warn msg=\"0/3 nodes are available: 3 Insufficient cpu. preemption: 0/3 nodes are available: 3 No preemption victims found for incoming pod.\"
        1s shop/cart-1%cart ObjectEvent reason=Unschedulable condition=PodScheduled status=false sev=warn msg=\"0/3 nodes are available: 3 Insufficient cpu.\"
        9s shop/x%cart RolloutStalled reason=ProgressDeadlineExceeded",
    ),
    Scene::cause(
        "unschedulable",
        "no node has the label, and another node would not help",
        "0s shop/cart-1%cart ObjectEvent reason=FailedScheduling sev=warn msg=\"0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector.\"
        2s shop/cart-1%cart ObjectEvent reason=NotTriggerScaleUp msg=\"pod didn't trigger scale-up: 1 node(s) didn't match Pod's node affinity/selector\"",
    ),
    Scene::cause(
        "quota_refused",
        "the pods are refused before the scheduler sees them",
        "0s shop/x%cart ObjectEvent reason=FailedCreate sev=error msg=\"Error creating: pods \\\"cart-7f6b8d9c4-x2kq9\\\" is forbidden: exceeded quota: small, requested: pods=1, used: pods=4, limited: pods=4\"
        1s shop/x%cart RolloutStalled condition=ReplicaFailure status=true reason=FailedCreate msg=\"pods \\\"cart-7f6b8d9c4-x2kq9\\\" is forbidden: exceeded quota: small\"",
    ),
    Scene::cause(
        "volume_unbound",
        "the scheduler waits for a claim",
        "0s shop/db-0%StatefulSet/db VolumeUnbound reason=FailedScheduling msg=\"0/3 nodes are available: pod has unbound immediate PersistentVolumeClaims.\"
        0s shop/db-0%StatefulSet/db ObjectEvent reason=Unschedulable condition=PodScheduled status=false msg=\"0/3 nodes are available: pod has unbound immediate PersistentVolumeClaims.\"",
    ),
    Scene::unknown(
        "unschedulable",
        "the scheduler's message was lost",
        "0s shop/cart-1%cart ObjectEvent reason=FailedScheduling sev=warn
        9s shop/cart-1%cart ObjectEvent reason=FailedScheduling sev=warn",
    ),
    Scene::unknown(
        "unschedulable",
        "a rollout stalls and nothing says why",
        "0s shop/x%cart RolloutStarted hash=7f6b8d9c4
        9s shop/x%cart RolloutStalled reason=ProgressDeadlineExceeded",
    ),
    Scene::healthy(
        "a pod waits for the one before it to leave",
        "0s shop/cart-1%cart ObjectEvent reason=FailedScheduling sev=warn msg=\"0/1 nodes are available: 1 Insufficient memory.\"
        0s shop/cart-1%cart ObjectEvent reason=Unschedulable condition=PodScheduled status=false msg=\"0/1 nodes are available: 1 Insufficient memory.\"
        6s shop/cart-1@n1%cart PodScheduled",
    ),
    Scene::healthy(
        "a node is on its way",
        "0s shop/cart-1%cart ObjectEvent reason=FailedScheduling sev=warn msg=\"0/1 nodes are available: 1 Insufficient cpu.\"
        1s shop/cart-1%cart ObjectEvent reason=TriggeredScaleUp msg=\"pod triggered scale-up: [{pool 1->2 (max: 5)}]\"",
    ),
    Scene::cause(
        "node_not_ready",
        "a node is lost, and its pods find no other",
        "0s node:n1 NodeCondition trace=1 condition=Ready status=false reason=NodeStatusUnknown sev=error impact=0.8 msg=\"Kubelet stopped posting node status.\"
        1s node:n1 NodeCondition trace=1 condition=Ready status=false reason=NodeNotReady sev=error impact=0.8 msg=\"Node n1 status is now: NodeNotReady\"
        2s shop/cart-1@n1%cart PodEvicted trace=2 reason=DeletionByTaintManager msg=\"Taint manager: deleting due to NoExecute taint\"
        3s shop/cart-2%cart ObjectEvent trace=2 reason=FailedScheduling sev=warn msg=\"0/3 nodes are available: 1 node(s) had untolerated taint {node.kubernetes.io/unreachable: }, 2 Insufficient cpu.\"",
    ),
    Scene::cause(
        "node_drain",
        "a drain leaves no room",
        "0s node:n1 ObjectEvent trace=1 reason=NodeNotSchedulable sev=warn
        2s shop/cart-1@n1%cart PodEvicted trace=2 reason=EvictionByEvictionAPI msg=\"Eviction API: evicting\"
        2s svc:shop/cart%cart EndpointsChanged trace=2 ready=0 not_ready=0
        3s shop/cart-2%cart ObjectEvent trace=2 reason=FailedScheduling sev=warn msg=\"0/2 nodes are available: 1 node(s) were unschedulable, 1 Insufficient cpu.\"
        3s shop/cart-2%cart ObjectEvent trace=2 reason=Unschedulable condition=PodScheduled status=false msg=\"0/2 nodes are available: 1 node(s) were unschedulable, 1 Insufficient cpu.\"",
    ),
    Scene::cause(
        "node_reboot",
        "a node is restarted, and its pods find no other",
        r#"0s node:n1 ObjectEvent trace=1 reason=Rebooted sev=error impact=0.8 msg="Node n1 has been rebooted, boot id: 7d1f"
         0s node:n1 ObjectEvent trace=1 reason=Starting count=1 msg="Starting kubelet."
         1s shop/cart-1@n1%cart PodEvicted trace=2 reason=DeletionByTaintManager msg="Taint manager: deleting due to NoExecute taint"
         3s shop/cart-2%cart ObjectEvent trace=2 reason=FailedScheduling sev=warn msg="0/2 nodes are available: 1 node(s) had untolerated taint {node.kubernetes.io/unreachable: }, 1 Insufficient cpu."
         3s shop/cart-2%cart ObjectEvent trace=2 reason=Unschedulable condition=PodScheduled status=false msg="0/2 nodes are available: 1 node(s) had untolerated taint {node.kubernetes.io/unreachable: }, 1 Insufficient cpu.""#,
    ),
];

const SPEC: Spec = Spec {
    slug: "unschedulable",
    title: "Pod finds no node",
    wakes_on: &[Kind::ObjectEvent],
    leads_to: &[
        "cannot_start",
        "readiness_lost",
        "connection_failed",
        "cascading_dependency",
        "job_failed",
        "init_deadlock",
        "admission_webhook",
    ],
};

/// Reasons of those who say that a pod has no node.
const REFUSALS: &[&str] = &["FailedScheduling", "Unschedulable", "NotTriggerScaleUp"];

/// What a clause of the refusal means and what to do; any of the words, in lower case, names it,
/// and the first that fits decides. What is insufficient the clause names itself.
const CLAUSES: &[(&[&str], &str, &str)] = &[
    (&["insufficient "], "", "add nodes, or lower the requests of this pod or of others"),
    (
        &["no nodes available", "too many pods"],
        "there is no room for one more pod",
        "add nodes, or raise the kubelet's maxPods",
    ),
    (
        &["max volume count"],
        "the nodes hold as many volumes as they may",
        "add nodes, or spread the pods that have volumes",
    ),
    (&["free ports"], "its host port is taken on every node", "drop hostPort, or use a Service"),
    (
        &["node.kubernetes.io/", "node-role.kubernetes.io/", "were unschedulable"],
        "nodes are not ready, under pressure, cordoned or reserved",
        "see what became of the nodes: kubectl get nodes",
    ),
    (
        &["taint"],
        "it does not tolerate the nodes' taint",
        "add a toleration, or take the taint off",
    ),
    (
        &["volume", "pvc(s)", "free storage"],
        "its volume is in another zone or on another node",
        "free a node in the volume's zone, or move the volume",
    ),
    (
        &["anti-affinity", "pod affinity"],
        "its pods may not share a node with those that run there",
        "loosen podAffinity or podAntiAffinity, or add nodes",
    ),
    (
        &["node affinity", "selector"],
        "no node has the labels it asks for",
        "correct nodeSelector or nodeAffinity, or label a node",
    ),
    (
        &["topology spread"],
        "its topologySpreadConstraints leave no node",
        "loosen topologySpreadConstraints, or add nodes to the empty zone",
    ),
    (
        &["max node group size", "max limit reached", "max cluster"],
        "the autoscaler may not add nodes",
        "raise the maximum size of the node group",
    ),
];

/// Finds workloads whose pods find no node.
#[derive(Debug)]
pub(crate) struct Detector;

impl Pattern for Detector {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn detect(&self, view: &View<'_>) -> Vec<Draft> {
        let refused = |event: &&Event| {
            is_refusal(event) && !waits_for_volume(event.message()) && !is_placed(view, event)
        };
        let owners = by_owner(view.of(Kind::ObjectEvent).filter(refused));
        owners.into_iter().filter_map(|(owner, refusals)| draft(view, owner, &refusals)).collect()
    }
}

/// Says whether a pod is said to have no node. One that is being deleted needs none.
pub(super) fn is_refusal(event: &Event) -> bool {
    let is_named =
        event.attributes.text(keys::REASON).is_some_and(|reason| REFUSALS.contains(&reason));
    is_named && event.kind == Kind::ObjectEvent && !event.message().contains("skip schedul")
}

/// Says whether a pod has no node for want of a volume, and of nothing else.
pub(super) fn waits_for_volume(message: &str) -> bool {
    let is_volume = |clause: &str| {
        let marks = ["volume", "pvc(s)", "free storage"];
        marks.into_iter().any(|mark| clause.contains(mark)) && !clause.contains("max volume")
    };
    if ["unbound immediate", "VolumeBinding"].into_iter().any(|mark| message.contains(mark)) {
        return true;
    }
    let clauses = clauses(message);
    !clauses.is_empty() && clauses.iter().all(|clause| is_volume(clause))
}

/// Says whether the pod has a node after all, or a new one is made for it.
pub(super) fn is_placed(view: &View<'_>, refusal: &Event) -> bool {
    view.events().any(|event| {
        let is_on_its_way = event.kind == Kind::ObjectEvent
            && matches!(
                event.attributes.text(keys::REASON),
                Some("TriggeredScaleUp" | "Nominated")
            );
        let is_later = matches!(event.kind, Kind::PodScheduled | Kind::ContainerStarted)
            && event.order() > refusal.order();
        (is_on_its_way || is_later) && event.place.is_same_pod(&refusal.place)
    })
}

/// Reads the clauses, in lower case: `0/3 nodes are available: 1 Insufficient cpu, 2 node(s) ...`.
/// What preemption would bring comes after a full stop.
fn clauses(message: &str) -> Vec<String> {
    let lower = message.to_ascii_lowercase();
    if lower.contains("no nodes available") {
        return vec![lower];
    }
    let rest = ["available: ", "scale-up: "].into_iter().find_map(|mark| lower.split_once(mark));
    let clauses = rest.and_then(|(_, rest)| rest.split(". ").next()).unwrap_or_default();
    let clauses = clauses.trim_end_matches('.').split(", ");
    clauses.filter(|clause| !clause.is_empty()).map(str::to_owned).collect()
}

/// Returns what a clause means, and the cure.
fn meaning(clause: &str) -> Option<(String, &'static str)> {
    let (_, what, cure) =
        CLAUSES.iter().find(|(marks, ..)| marks.iter().any(|mark| clause.contains(mark)))?;
    match clause.split_once("insufficient ") {
        Some((_, resource)) => Some((format!("not enough {resource}"), cure)),
        None => Some(((*what).to_owned(), cure)),
    }
}

fn draft(view: &View<'_>, owner: Entity, refusals: &[&Event]) -> Option<Draft> {
    let root = *refusals.first()?;
    let mut causes: Vec<(String, &str)> = Vec::new();
    for clause in refusals.iter().flat_map(|refusal| clauses(refusal.message())) {
        let cause = meaning(&clause).filter(|cause| !causes.contains(cause));
        causes.extend(cause);
    }
    let by_status = refusals.iter().any(|refusal| refusal.attributes.get(keys::STATUS).is_some());
    let class = if by_status { EvidenceClass::ObjectStatus } else { EvidenceClass::EventText };
    let (who, is) = who(refusals);
    let mut draft = Draft::new(owner, class, root, quote(root));
    for refusal in refusals {
        draft = draft.touching(&refusal.place).step(refusal, quote(refusal));
    }
    if let Some(rollout) = rollout_before(view, root) {
        draft = draft.step(rollout, "a rollout asked for these pods");
    }
    draft = touch_services(view, after_eviction(view, draft, root), &root.place);
    let named = refusals.iter().any(|refusal| !clauses(refusal.message()).is_empty());
    if !named {
        let device = refusals.iter().find_map(|refusal| refusal.attributes.text(keys::RESOURCE));
        return Some(match device {
            Some(device) => for_want_of(draft, &who, is, device),
            None => unnamed(draft, &who, is),
        });
    }
    let whats: Vec<_> = causes.iter().map(|(what, _)| what.as_str()).collect();
    let what = if whats.is_empty() { quote(root) } else { whats.join("; ") };
    draft = draft
        .title(format!("{who} {is} without a node: {what}"))
        .because(format!("the scheduler finds no node for {who}: {what}"))
        .rule_out("quota_refused", "the pods exist, nothing refused to create them", &[root])
        .rule_out("volume_unbound", "the scheduler does not speak of volumes alone", &[root]);
    let cures: BTreeSet<_> = causes.iter().map(|(_, cure)| *cure).collect();
    Some(cures.into_iter().fold(draft, Draft::advise))
}

/// A pod that was evicted looks for another node: what took the first one is part of the story.
fn after_eviction(view: &View<'_>, draft: Draft, root: &Event) -> Draft {
    let of_workload = |event: &Event| event.place.is_same_workload(&root.place);
    view.of(Kind::PodEvicted)
        .filter(|event| of_workload(event) && event.order() < root.order())
        .fold(draft, |draft, evicted| {
            let draft = draft.step(evicted, format!("a pod had to leave: {}", quote(evicted)));
            Entity::node(&evicted.place).into_iter().fold(draft, Draft::touch)
        })
}

/// Few nodes have a device, and no node has more of it than are free: whoever asks for one and finds
/// no node lacks it before anything else.
fn for_want_of(draft: Draft, who: &str, is: &str, device: &str) -> Draft {
    draft
        .sure(0.55)
        .title(format!("{who} {is} without a node: it asks for {device}"))
        .because(format!(
            "the scheduler finds no node for {who}, which asks for {device}: not enough of it is \
             free; its message was not seen"
        ))
        .missing("the scheduler's message")
        .missing("how many of it the nodes have")
        .advise(format!("compare with the nodes: kubectl describe nodes | grep {device}"))
        .advise("add nodes that have it, or lower the requests of this pod or of others")
}

fn unnamed(draft: Draft, who: &str, is: &str) -> Draft {
    draft
        .title(format!("{who} {is} without a node"))
        .because(format!("the scheduler finds no node for {who}, and its message was not seen"))
        .missing("the scheduler's message")
        .advise("kubectl describe pod: FailedScheduling names what is lacking")
        .or(
            "volume_unbound",
            "it waits for a volume claim",
            "kubectl describe pod: the message says \"Insufficient\", or names a \
             PersistentVolumeClaim",
        )
}

/// Names the pods, with their verb: `shop/cart-1` is, `3 pods of cart` are.
fn who(refusals: &[&Event]) -> (String, &'static str) {
    let pods: BTreeSet<_> = refusals.iter().map(|refusal| refusal.place.label()).collect();
    let owner = refusals.first().and_then(|refusal| refusal.place.workload.as_ref());
    match (pods.len(), owner) {
        (2.., Some(owner)) => (format!("{} pods of {}", pods.len(), owner.name), "are"),
        (2.., None) => (format!("{} pods", pods.len()), "are"),
        (_, _) => (pods.into_iter().next().unwrap_or_default(), "is"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FULL: &str = "1s shop/cart-1%cart ObjectEvent reason=FailedScheduling \
        msg=\"0/3 nodes are available: 3 Insufficient cpu. preemption: 0/3 nodes are available\"";

    #[test]
    fn each_clause_is_named() {
        let cases = [
            ("3 Insufficient nvidia.com/gpu", "not enough nvidia.com/gpu"),
            ("1 node(s) had untolerated taint {dedicated: db}", "tolerate"),
            ("2 node(s) had untolerated taint {node.kubernetes.io/not-ready: }", "not ready"),
            ("1 node(s) were unschedulable", "cordoned"),
            ("1 node(s) didn't match Pod's node affinity/selector", "labels"),
            ("3 node(s) didn't match pod anti-affinity rules", "share a node"),
            ("3 Too many pods", "room"),
            ("2 node(s) had volume node affinity conflict, 1 Insufficient cpu", "another zone"),
            ("4 node(s) exceed max volume count", "as many volumes"),
        ];
        for (clause, what) in cases {
            let story = format!(
                "0s a/b-1%b ObjectEvent reason=FailedScheduling \
                 msg=\"0/3 nodes are available: {clause}. preemption: none.\""
            );
            let draft = one!(Detector, &story).unwrap();
            assert!(draft.headline().contains(what), "{clause}: {}", draft.headline());
            assert!(draft.doubt().is_none() && !draft.recommendation().is_empty(), "{clause}");
        }
    }

    #[test]
    fn the_pods_of_a_workload_are_one_story_and_their_status_is_stronger() {
        let status = "2s shop/cart-2%cart ObjectEvent reason=Unschedulable condition=PodScheduled \
            status=false msg=\"0/3 nodes are available: 3 Insufficient cpu.\"";
        let draft = one!(Detector, &format!("{FULL}; {status}")).unwrap();
        assert_eq!(draft.subject().to_string(), "Deployment shop/cart");
        assert_eq!(draft.headline(), "2 pods of cart are without a node: not enough cpu");
        assert_eq!(draft.class(), EvidenceClass::ObjectStatus);
        assert_eq!(one!(Detector, FULL).unwrap().class(), EvidenceClass::EventText);
    }

    #[test]
    fn who_was_evicted_is_of_the_incident_of_its_node() {
        let evicted = "0s shop/cart-0@n1%cart PodEvicted reason=Evicted";
        let draft = one!(Detector, &format!("{evicted}; {FULL}")).unwrap();
        assert!(draft.touches().contains(&Entity::Node { name: "n1".into() }));
        assert_eq!(draft.evidence().len(), 2);
    }

    #[test]
    fn without_its_message_a_refusal_stays_a_doubt() {
        let draft = one!(Detector, "0s a/b-1%b ObjectEvent reason=FailedScheduling").unwrap();
        assert_eq!(draft.doubt().map(|doubt| doubt.alternative), Some("volume_unbound"));
        assert!(
            one!(
                Detector,
                &format!("0s shop/cart-1%cart ObjectEvent reason=Unschedulable; {FULL}")
            )
            .unwrap()
            .doubt()
            .is_none()
        );
    }

    #[test]
    fn a_device_that_is_asked_for_stands_for_the_message() {
        let story = "0s a/b-1%b ObjectEvent reason=Unschedulable tapio.resource=vendor.example/gpu";
        let draft = one!(Detector, story).unwrap();
        assert!(draft.headline().ends_with("it asks for vendor.example/gpu"));
        assert_eq!((draft.doubt(), draft.gaps().len()), (None, 2));
    }

    #[test]
    fn look_alikes_and_health_are_not_it() {
        let placed = format!("{FULL}; 5s shop/cart-1@n1%cart PodScheduled");
        let scaled = format!("{FULL}; 5s shop/cart-1%cart ObjectEvent reason=TriggeredScaleUp");
        for story in [
            &*placed,
            &scaled,
            "0s a/b-1 ObjectEvent reason=FailedScheduling msg=\"skip schedule deleting pod: a/b-1\"",
            "0s a/b-1 ObjectEvent reason=FailedScheduling msg=\"0/2 nodes are available: 2 node(s) had volume node affinity conflict.\"",
            "0s a/b-1 ObjectEvent reason=FailedCreate msg=\"exceeded quota\"",
            "0s a/b-1 PodScheduled",
        ] {
            assert_eq!(one!(Detector, story), None, "{story}");
        }
        let other = format!("{FULL}; 5s shop/cart-2@n1%cart PodScheduled");
        assert!(one!(Detector, &other).is_some(), "another pod's node is no help");
    }
}
