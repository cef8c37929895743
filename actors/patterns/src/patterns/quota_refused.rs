//! A namespace's own rules refuse the pods: a quota, limits, a security level, a missing
//! service account or priority class. The pods never exist, so nothing of them is seen.
//!
//! Evidence: the controller's failed creations, or the ReplicaSet's failure as a condition, whose
//! message says "forbidden" and names the rule; or the kubelet's refusal to run a root image as
//! not root.
//! Root: the first refusal.
//! Not this: `unschedulable` (the pod exists and waits for a node); `admission_webhook` (a webhook
//! refuses or does not answer); `rbac_denied` (a user may not create pods at all).
//! First look: `kubectl describe quota,limitrange -n NAMESPACE`, then the workload's requests,
//! limits and securityContext.

use tapio_engine::{Draft, Pattern, Spec, View};
use tapio_model::{Entity, Event, EvidenceClass, Kind, Place, Text, keys};

use crate::{
    Scene,
    last_words::{quote, rollout_before},
    witness::{by_owner, spot, touch_services},
};

/// Scenes whose cause is known.
pub(crate) const SCENES: &[Scene] = &[
    Scene::cause(
        "quota_refused",
        "a quota is used up in the middle of a rollout",
        "0s shop/x%cart RolloutStarted hash=7f6b8d9c4
        1s shop/x%cart ObjectEvent reason=FailedCreate sev=error impact=0.6 count=3 okind=ReplicaSet oname=cart-7f6b8d9c4 msg=\"Error creating: pods \\\"cart-7f6b8d9c4-x2kq9\\\" is forbidden: exceeded quota: small, requested: requests.cpu=1, used: requests.cpu=4, limited: requests.cpu=4\"
        2s shop/x%cart RolloutStalled condition=ReplicaFailure status=true reason=FailedCreate hash=7f6b8d9c4 msg=\"pods \\\"cart-7f6b8d9c4-x2kq9\\\" is forbidden: exceeded quota: small\"",
    ),
    Scene::cause(
        "quota_refused",
        "one quota refuses two workloads",
        "0s shop/x%cart ObjectEvent trace=1 reason=FailedCreate sev=error count=2 msg=\"Error creating: pods \\\"cart-a\\\" is forbidden: exceeded quota: small, requested: pods=1\"
        1s shop/x%cart RolloutStalled trace=1 condition=ReplicaFailure status=true reason=FailedCreate msg=\"pods \\\"cart-a\\\" is forbidden: exceeded quota: small\"
        2s shop/x%StatefulSet/db ObjectEvent trace=2 reason=FailedCreate sev=error msg=\"create Pod db-1 in StatefulSet db failed error: pods \\\"db-1\\\" is forbidden: exceeded quota: small, requested: pods=1\"
        9s shop/x%StatefulSet/db ObjectEvent trace=2 reason=FailedCreate sev=error msg=\"create Pod db-1 in StatefulSet db failed error: pods \\\"db-1\\\" is forbidden: exceeded quota: small, requested: pods=1\"",
    ),
    Scene::cause(
        "quota_refused",
        "the namespace wants pods that are not root",
        "0s shop/x%cart ObjectEvent reason=FailedCreate sev=error msg=\"Error creating: pods \\\"cart-7f6b8d9c4-x2kq9\\\" is forbidden: violates PodSecurity \\\"restricted:latest\\\": runAsNonRoot != true (pod or container \\\"cart\\\" must set securityContext.runAsNonRoot=true)\"
        3s shop/x%cart ObjectEvent reason=FailedCreate sev=error msg=\"Error creating: pods \\\"cart-7f6b8d9c4-aaaaa\\\" is forbidden: violates PodSecurity \\\"restricted:latest\\\"\"",
    ),
    Scene::cause(
        "quota_refused",
        "an autoscaler at its maximum, and the quota refuses what it may add",
        "0s shop/x%cart ScalingLimited condition=ScalingLimited status=true reason=TooManyReplicas okind=HorizontalPodAutoscaler oname=cart tapio.desired=6 ratio=1.5
        1s shop/x%cart ObjectEvent reason=FailedCreate sev=error count=2 msg=\"Error creating: pods \\\"cart-a\\\" is forbidden: exceeded quota: small, requested: pods=1\"
        2s shop/x%cart ObjectEvent reason=FailedCreate sev=error count=2 msg=\"Error creating: pods \\\"cart-b\\\" is forbidden: exceeded quota: small, requested: pods=1\"",
    ),
    Scene::cause(
        "unschedulable",
        "the pod exists and finds no node",
        "0s shop/cart-1%cart ObjectEvent reason=FailedScheduling sev=warn msg=\"0/3 nodes are available: 3 Insufficient memory.\"
        0s shop/cart-1%cart ObjectEvent reason=Unschedulable condition=PodScheduled status=false msg=\"0/3 nodes are available: 3 Insufficient memory.\"",
    ),
    Scene::cause(
        "admission_webhook",
        "a webhook does not answer",
        "0s shop/x%cart ObjectEvent reason=FailedCreate sev=error msg=\"Error creating: Internal error occurred: failed calling webhook \\\"pods.policy.example\\\": failed to call webhook: Post \\\"https://policy.policy.svc:443/validate?timeout=10s\\\": dial tcp 10.96.3.4:443: connect: connection refused\"
        1s shop/x%cart RolloutStalled condition=ReplicaFailure status=true reason=FailedCreate msg=\"Internal error occurred: failed calling webhook \\\"pods.policy.example\\\"\"",
    ),
    Scene::cause(
        "rbac_denied",
        "a controller may not create pods",
        "0s shop/x%SparkApplication/sums ObjectEvent reason=FailedCreate sev=error msg=\"pods is forbidden: User \\\"system:serviceaccount:shop:spark\\\" cannot create resource \\\"pods\\\" in API group \\\"\\\" in the namespace \\\"shop\\\"\"
        5s shop/x%SparkApplication/sums ObjectEvent reason=FailedCreate sev=error msg=\"pods is forbidden: User \\\"system:serviceaccount:shop:spark\\\" cannot create resource \\\"pods\\\" in API group \\\"\\\" in the namespace \\\"shop\\\"\"",
    ),
    Scene::unknown(
        "quota_refused",
        "the message of the refusal was lost",
        "0s shop/x%cart RolloutStarted hash=7f6b8d9c4
        2s shop/x%cart RolloutStalled condition=ReplicaFailure status=true reason=FailedCreate hash=7f6b8d9c4",
    ),
    Scene::healthy(
        "the last pod of the old version leaves room for the new one",
        "0s shop/x%cart ObjectEvent reason=FailedCreate sev=error msg=\"Error creating: pods \\\"cart-7f6b8d9c4-x2kq9\\\" is forbidden: exceeded quota: small, requested: pods=1\"
        4s shop/x%cart ObjectEvent reason=SuccessfulCreate msg=\"Created pod: cart-7f6b8d9c4-bbbbb\"
        5s shop/cart-7f6b8d9c4-bbbbb%cart PodScheduled",
    ),
];

const SPEC: Spec = Spec {
    slug: "quota_refused",
    title: "Quota or policy refuses the pods",
    wakes_on: &[Kind::ObjectEvent, Kind::RolloutStalled, Kind::ContainerCreateFailed],
    leads_to: &[
        "cannot_start",
        "readiness_lost",
        "connection_failed",
        "cascading_dependency",
        "job_failed",
        "init_deadlock",
        "admission_webhook",
        "hpa_limited",
    ],
};

/// A rule that refuses: the words that name it in lower case, what it says and what to do.
const RULES: &[(&[&str], &str, &str)] = &[
    (&["exceeded quota"], "the quota is used up", "raise the quota, or lower requests or replicas"),
    (
        &["failed quota", "must specify"],
        "the quota wants requests and limits that the pods do not set",
        "set requests and limits of every container, or a LimitRange with defaults",
    ),
    (
        &[" usage per ", "limit to request ratio"],
        "a LimitRange forbids what the pods ask for",
        "bring requests and limits between the LimitRange's bounds, or change them",
    ),
    (
        &["violates podsecurity", "pod security policy", "security context constraint"],
        "the namespace's pod security level forbids what the pods may do",
        "correct securityContext as the message says, or the namespace's pod-security label",
    ),
    (
        &["service account", "serviceaccount"],
        "its service account does not exist",
        "create the service account, or correct serviceAccountName",
    ),
    (
        &["priorityclass"],
        "its priority class does not exist",
        "create the priority class, or correct priorityClassName",
    ),
    (
        &["validatingadmissionpolicy"],
        "an admission policy of the cluster forbids what the pods ask for",
        "change what the message names, or the policy",
    ),
    (
        &["runasnonroot"],
        "its image runs as root, and its security context forbids that",
        "set runAsUser to another number than 0, or build the image with a USER",
    ),
];

/// Finds workloads whose pods a rule of their namespace refuses.
#[derive(Debug)]
pub(crate) struct Detector;

impl Pattern for Detector {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn detect(&self, view: &View<'_>) -> Vec<Draft> {
        let refused = |event: &&Event| is_refusal(event) && !is_made_good(view, event);
        let owners = by_owner(view.events().filter(refused));
        owners.into_iter().filter_map(|(owner, refusals)| draft(view, owner, &refusals)).collect()
    }
}

/// Says whether a pod could not be created: a controller says so, or its object's status.
pub(super) fn is_failed_create(event: &Event) -> bool {
    matches!(event.kind, Kind::ObjectEvent | Kind::RolloutStalled)
        && matches!(
            event.attributes.text(keys::REASON),
            Some("FailedCreate" | "ReplicaSetCreateError")
        )
}

/// Says whether a pod of the workload was created after all. Old pods leave room when they go, and
/// a webhook that restarts answers again. That a pod finds a node says nothing: it may be one that
/// was created before.
pub(super) fn is_made_good(view: &View<'_>, refusal: &Event) -> bool {
    view.of(Kind::ObjectEvent).any(|event| {
        event.attributes.text(keys::REASON) == Some("SuccessfulCreate")
            && event.order() > refusal.order()
            && event.place.is_same_workload(&refusal.place)
    })
}

/// Says whether it is a rule that refuses, or a refusal that nobody explains.
fn is_refusal(event: &Event) -> bool {
    if event.kind == Kind::ContainerCreateFailed {
        return event.message().contains("runAsNonRoot");
    }
    is_failed_create(event) && (rule(event).is_some() || is_unexplained(event))
}

fn is_unexplained(event: &Event) -> bool {
    event.attributes.text(keys::MESSAGE).is_none()
}

fn rule(event: &Event) -> Option<(&'static str, &'static str)> {
    let said = event.message().to_ascii_lowercase();
    // The one may not ask at all, the other is asked before the rules are.
    if said.contains("forbidden: user ") || said.contains("webhook") {
        return None;
    }
    let rule = RULES.iter().find(|(marks, ..)| marks.iter().any(|mark| said.contains(mark)));
    rule.map(|(_, what, cure)| (*what, *cure))
}

/// Reads the name of the quota: `exceeded quota: small, requested: ...`.
fn quota(event: &Event) -> Option<Entity> {
    let (_, rest) = event.message().split_once(" quota: ")?;
    let name = rest.split([',', ':', ' ']).next().filter(|name| !name.is_empty())?;
    let namespace = event.place.namespace.clone().unwrap_or_default();
    Some(Entity::Object { namespace, kind: "ResourceQuota".into(), name: name.into() })
}

fn draft(view: &View<'_>, owner: Entity, refusals: &[&Event]) -> Option<Draft> {
    let first = *refusals.first()?;
    let told = refusals.iter().find_map(|refusal| Some((*refusal, rule(refusal)?)));
    let root = told.map_or(first, |(refusal, _)| refusal);
    let by_status = refusals.iter().any(|refusal| refusal.kind != Kind::ObjectEvent);
    let class = if by_status { EvidenceClass::ObjectStatus } else { EvidenceClass::EventText };
    let mut draft = Draft::new(owner, class, root, quote(root));
    for refusal in refusals {
        draft = draft.touching(&refusal.place);
        draft = if refusal.kind == Kind::ObjectEvent {
            draft.step(refusal, quote(refusal))
        } else {
            draft.symptom(refusal, quote(refusal))
        };
    }
    if let Some(rollout) = rollout_before(view, root) {
        draft = draft.step(rollout, "a rollout asked for these pods");
    }
    draft = touch_services(view, draft, &root.place);
    let who = whose(&root.place);
    let Some((_, (what, cure))) = told else { return Some(unexplained(draft, &who)) };
    let (what, draft): (Text, _) = match quota(root) {
        Some(quota) => (format!("{what} ({quota})").into(), draft.touch(quota)),
        None => (what.into(), draft),
    };
    let draft = draft
        .title(format!("{who} may not have its pods: {what}"))
        .because(format!("a rule refuses the pods of {who}: {what}; {}", quote(root)))
        .advise(cure)
        .rule_out("admission_webhook", "the message names no webhook", &[root])
        .rule_out("rbac_denied", "a rule refuses the pod, whoever asks for it", &[root]);
    Some(if root.kind == Kind::ContainerCreateFailed {
        draft.rule_out("missing_config", "the message names no object that is missing", &[root])
    } else {
        draft.rule_out("unschedulable", "the pod was never created: no scheduler saw it", &[root])
    })
}

/// Names the workload whose pods they are: `Deployment shop/cart`.
pub(super) fn whose(place: &Place) -> String {
    Entity::workload(place).map_or_else(|| spot(place), |workload| workload.to_string())
}

fn unexplained(draft: Draft, who: &str) -> Draft {
    draft
        .title(format!("{who} cannot create its pods"))
        .because(format!("the pods of {who} are refused, and the message was not seen"))
        .missing("the message of the refusal")
        .advise("kubectl describe replicaset: FailedCreate names who refuses")
        .or(
            "admission_webhook",
            "an admission webhook refuses, or does not answer",
            "kubectl describe replicaset: the message says \"quota\" or \"forbidden\", or names a \
             webhook",
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_rule_is_named() {
        let cases = [
            ("exceeded quota: small, requested: pods=1", "used up (ResourceQuota shop/small)"),
            ("failed quota: small: must specify limits.cpu", "do not set"),
            ("maximum cpu usage per Container is 500m, but limit is 1", "LimitRange"),
            ("violates PodSecurity \\\"restricted:latest\\\": privileged", "security level"),
            (
                "error looking up service account shop/cart: serviceaccount \\\"cart\\\" not found",
                "service account",
            ),
            ("no PriorityClass with name high was found", "priority class"),
            ("ValidatingAdmissionPolicy 'p' with binding 'b' denied request: no", "policy"),
        ];
        for (words, what) in cases {
            let story = format!(
                "0s shop/x%cart ObjectEvent reason=FailedCreate \
                 msg=\"Error creating: pods \\\"cart-1\\\" is forbidden: {words}\""
            );
            let draft = one!(Detector, &story).unwrap();
            assert!(draft.headline().contains(what), "{words}: {}", draft.headline());
            assert!(draft.doubt().is_none());
            assert_eq!(draft.subject().to_string(), "Deployment shop/cart");
        }
    }

    #[test]
    fn a_root_image_is_refused_by_the_kubelet() {
        let draft = one!(
            Detector,
            "0s a/b-1/b%b ContainerCreateFailed reason=CreateContainerConfigError \
             msg=\"Error: container has runAsNonRoot and image will run as root\""
        )
        .unwrap();
        assert!(draft.headline().contains("runs as root"), "{}", draft.headline());
        assert_eq!(draft.class(), EvidenceClass::ObjectStatus);
        assert!(draft.ruled_out().iter().any(|it| it.pattern == "missing_config"));
    }

    #[test]
    fn without_the_message_it_stays_a_doubt_and_any_message_ends_it() {
        let stall = "1s a/b%b RolloutStalled reason=FailedCreate";
        assert_eq!(
            one!(Detector, stall).unwrap().doubt().unwrap().alternative,
            "admission_webhook"
        );
        let told =
            format!("{stall}; 2s a/b%b ObjectEvent reason=FailedCreate msg=\"exceeded quota: q\"");
        let draft = one!(Detector, &told).unwrap();
        assert!(draft.doubt().is_none());
        assert_eq!(draft.evidence()[0].kind, Kind::ObjectEvent, "the root is what explains");
    }

    #[test]
    fn look_alikes_and_health_are_not_it() {
        let failed = "0s a/b%b ObjectEvent reason=FailedCreate msg=\"exceeded quota: q\"";
        let placed = format!("{failed}; 1s a/b-1@n1%b PodScheduled");
        assert!(one!(Detector, &placed).is_some(), "a pod that was created before finds its node");
        let good = format!("{failed}; 3s a/b%b ObjectEvent reason=SuccessfulCreate");
        for story in [
            &*good,
            "0s a/b%b ObjectEvent reason=FailedCreate msg=\"failed calling webhook \\\"quota.x\\\": timeout, must specify\"",
            "0s a/b%b ObjectEvent reason=FailedCreate msg=\"pods is forbidden: User \\\"x\\\" cannot create resource\"",
            "0s a/b%b ObjectEvent reason=FailedCreate msg=\"etcdserver: request timed out\"",
            "0s a/b%b RolloutStalled reason=ProgressDeadlineExceeded",
            "0s a/b-1/b%b ContainerCreateFailed msg=\"configmap \\\"env\\\" not found\"",
            "0s a/b%b ObjectEvent reason=SuccessfulCreate",
        ] {
            assert_eq!(one!(Detector, story), None, "{story}");
        }
    }
}
