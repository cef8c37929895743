//! A service account or user lacks a right: the API server refuses what a controller asks for.
//!
//! Evidence: `forbidden: User "..." cannot VERB resource "..."`, from the cluster's own components
//! (an Event, a status), or from an application that is refused the same again, or that ends of it.
//! Root: the first refusal.
//! Not this: `quota_refused` (a rule refuses the object, whoever asks); `admission_webhook` (the
//! right is there, and a webhook says no); `missing_config` (a node may not read an object that no
//! pod of it refers to, or that is not there: the message does not tell which);
//! `stale_credentials` (nobody knows the caller: 401, not 403).
//! First look: `kubectl auth can-i VERB RESOURCE -n NAMESPACE --as USER`, then who changed its
//! Role, `RoleBinding` or `ServiceAccount`.

use std::collections::BTreeMap;

use tapio_engine::{Draft, Pattern, Spec, View};
use tapio_model::{Entity, Event, EvidenceClass, Kind, Text};

use crate::{
    Scene,
    last_words::{is_own_exit, quote},
    witness::{count, same_container},
};

/// Scenes whose cause is known.
pub(crate) const SCENES: &[Scene] = &[
    Scene::cause(
        "rbac_denied",
        "a controller may not list what it watches",
        "0s ops/operator-1/operator@n1%operator Log sev=error msg=\"Failed to watch: failed to list *v1.Deployment: deployments.apps is forbidden: User \\\"system:serviceaccount:ops:operator\\\" cannot list resource \\\"deployments\\\" in API group \\\"apps\\\" at the cluster scope\"
        2s ops/operator-1/operator@n1%operator Log sev=error msg=\"Failed to watch: failed to list *v1.Deployment: deployments.apps is forbidden: User \\\"system:serviceaccount:ops:operator\\\" cannot list resource \\\"deployments\\\" in API group \\\"apps\\\" at the cluster scope\"",
    ),
    Scene::cause(
        "rbac_denied",
        "an operator ends when it is refused",
        "0s ops/operator-1/operator@n1%operator ContainerStarted
        1s ops/operator-1/operator@n1%operator Log sev=error msg=\"fatal: leases.coordination.k8s.io \\\"operator\\\" is forbidden: User \\\"system:serviceaccount:ops:operator\\\" cannot get resource \\\"leases\\\" in API group \\\"coordination.k8s.io\\\" in the namespace \\\"ops\\\"\"
        2s ops/operator-1/operator@n1%operator ContainerTerminated exit=1 reason=Error
        9s ops/operator-1/operator@n1%operator ContainerWaiting reason=CrashLoopBackOff",
    ),
    Scene::cause(
        "quota_refused",
        "a rule refuses the pod and not the user",
        "0s shop/x%cart ObjectEvent reason=FailedCreate sev=error msg=\"Error creating: pods \\\"cart-a\\\" is forbidden: exceeded quota: small, requested: pods=1\"
        1s shop/x%cart RolloutStalled condition=ReplicaFailure status=true reason=FailedCreate msg=\"pods \\\"cart-a\\\" is forbidden: exceeded quota: small\"",
    ),
    Scene::cause(
        "admission_webhook",
        "a webhook says no",
        "0s shop/x%cart ObjectEvent reason=FailedCreate sev=error msg=\"Error creating: admission webhook \\\"v.kyverno\\\" denied the request: forbidden: no label\"
        1s shop/x%cart RolloutStalled condition=ReplicaFailure status=true reason=FailedCreate msg=\"admission webhook \\\"v.kyverno\\\" denied the request: forbidden: no label\"",
    ),
    Scene::unknown(
        "rbac_denied",
        "a node may not read a secret that may not be there",
        "0s shop/cart-1@n1%cart PodScheduled
        1s shop/cart-1@n1%cart MountFailed reason=FailedMount count=3 msg=\"MountVolume.SetUp failed for volume \\\"tls\\\" : secrets \\\"cart-tls\\\" is forbidden: User \\\"system:node:n1\\\" cannot get resource \\\"secrets\\\" in API group \\\"\\\" in the namespace \\\"shop\\\": no relationship found between node 'n1' and this object\"",
    ),
    Scene::healthy(
        "an application asks once, is refused and goes on",
        "0s ops/agent-1/agent@n1%agent ContainerStarted
        1s ops/agent-1/agent@n1%agent Log sev=warn msg=\"optional: nodes is forbidden: User \\\"system:serviceaccount:ops:agent\\\" cannot list resource \\\"nodes\\\" in API group \\\"\\\" at the cluster scope\"
        2s ops/agent-1@n1%agent PodReadiness status=true",
    ),
];

const SPEC: Spec = Spec {
    slug: "rbac_denied",
    title: "A right is missing (RBAC)",
    wakes_on: &[
        Kind::Log,
        Kind::Exception,
        Kind::ObjectEvent,
        Kind::RolloutStalled,
        Kind::ScalingLimited,
        Kind::MountFailed,
        Kind::ContainerCreateFailed,
    ],
    leads_to: &[
        "cannot_start",
        "readiness_lost",
        "hpa_limited",
        "job_failed",
        "cascading_dependency",
        "service_abnormal",
    ],
};

/// The words of the API server; what stands between is the object, and what follows is who.
const MARK: &str = "forbidden: User ";

/// Applications ask whether they may: one refusal is an answer, the same again is a fault.
const LINES_MIN: i64 = 2;

/// Refusals that are cited of one user; the rest is only counted.
const CITED_MAX: usize = 8;

/// Finds users that lack a right.
#[derive(Debug)]
pub(crate) struct Detector;

/// What was refused to whom.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Denial {
    user: Text,
    /// `list deployments.apps in namespace shop`.
    what: Text,
    /// The same as kubectl takes it: `list deployments.apps -n shop`.
    asked: Text,
    /// Says whether a node was refused for want of a pod that refers to the object.
    is_unrelated: bool,
}

impl Pattern for Detector {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn detect(&self, view: &View<'_>) -> Vec<Draft> {
        let mut denials: BTreeMap<Denial, Vec<&Event>> = BTreeMap::new();
        for event in view.events().filter(|event| SPEC.wakes_on.contains(&event.kind)) {
            if let Some(denial) = Denial::read(event.message()) {
                denials.entry(denial).or_default().push(event);
            }
        }
        denials.retain(|_, events| is_shown(view, events));
        denials.iter().filter_map(|(denial, events)| draft(denial, events)).collect()
    }
}

/// Says whether the refusal is more than an answer.
fn is_shown(view: &View<'_>, events: &[&Event]) -> bool {
    let lines: i64 = events.iter().map(|event| count(event)).sum();
    let ended = |event: &&Event| {
        let ends = view.of(Kind::ContainerTerminated).filter(|end| is_own_exit(end));
        ends.into_iter().any(|end| end.order() > event.order() && same_container(end, event))
    };
    lines >= LINES_MIN || events.iter().any(|event| !is_line(event) || ended(event))
}

/// Says whether a line quotes a refusal of the API server.
pub(super) fn is_denial(event: &Event) -> bool {
    Denial::read(event.message()).is_some()
}

fn is_line(event: &Event) -> bool {
    matches!(event.kind, Kind::Log | Kind::Exception)
}

impl Denial {
    fn read(message: &str) -> Option<Self> {
        let (_, rest) = message.split_once(MARK)?;
        let user = word(rest)?;
        let (_, rest) = rest.split_once(" cannot ")?;
        let verb = word(rest)?;
        let after = |mark| rest.split_once(mark).and_then(|(_, rest)| word(rest));
        let resource = after("resource ").unwrap_or("an object");
        let group = after("API group ").map(|group| format!(".{group}")).unwrap_or_default();
        let namespace = after("in the namespace ");
        let scope = namespace.map_or(" in the whole cluster".to_owned(), |namespace| {
            format!(" in namespace {namespace}")
        });
        let flag = namespace.map(|namespace| format!(" -n {namespace}")).unwrap_or_default();
        Some(Self {
            user: user.into(),
            what: format!("{verb} {resource}{group}{scope}").into(),
            asked: format!("{verb} {resource}{group}{flag}").into(),
            is_unrelated: message.contains("no relationship found"),
        })
    }

    /// Returns who was refused.
    fn subject(&self) -> Entity {
        let account = self.user.strip_prefix("system:serviceaccount:");
        let (namespace, kind, name) = match account.and_then(|account| account.split_once(':')) {
            Some((namespace, name)) => (namespace, "ServiceAccount", name),
            None => ("", "User", self.user.as_str()),
        };
        Entity::Object { namespace: namespace.into(), kind: kind.into(), name: name.into() }
    }
}

/// Reads the word a text begins with, out of its quotes, which a log may have escaped.
fn word(text: &str) -> Option<&str> {
    let text = text.trim_start_matches('\\');
    // An empty group is "": the word ends where it begins.
    let text = text.strip_prefix('"').unwrap_or(text);
    text.split(['"', '\\', ' ', ',']).next().filter(|word| !word.is_empty())
}

fn draft(denial: &Denial, events: &[&Event]) -> Option<Draft> {
    let root = *events.first()?;
    let by_line = events.iter().all(|event| is_line(event));
    let class = if by_line { EvidenceClass::LogTemplate } else { EvidenceClass::EventText };
    let Denial { user, what, asked, is_unrelated } = denial;
    let mut draft = Draft::new(denial.subject(), class, root, quote(root))
        .title(format!("{user} may not {what}"))
        .because(format!("the API server refuses {user}: it has no right to {what}"));
    for event in events.iter().take(CITED_MAX) {
        draft = draft.touching(&event.place).step(event, quote(event));
    }
    draft = draft
        .rule_out("quota_refused", "the user lacks a right: no rule refuses the object", &[root])
        .rule_out("stale_credentials", "the API server knows the user", &[root]);
    if *is_unrelated {
        return Some(
            draft
                .title(format!("{user} may not {what}, or there is nothing to {what}"))
                .because(format!(
                    "the API server knows of no pod on that node which needs what {user} asks for: \
                     {}",
                    quote(root)
                ))
                .missing("whether the object exists")
                .advise("look for the object, and for the pods of that node which name it")
                .or(
                    "missing_config",
                    "the object does not exist, or no pod of the node refers to it",
                    "kubectl get the object that the message names: if it is there, it is the \
                     node's right that is missing",
                ),
        );
    }
    Some(
        draft
            .advise(format!("kubectl auth can-i {asked} --as {user}"))
            .advise("grant that verb on that resource in a Role, no more, and bind it"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const REFUSED: &str = "deployments.apps is forbidden: User \\\"system:serviceaccount:ops:bot\\\" \
        cannot list resource \\\"deployments\\\" in API group \\\"apps\\\" in the namespace \\\"shop\\\"";

    #[test]
    fn the_message_tells_who_what_and_where() {
        let line = format!("0s ops/bot-1/bot%bot Log sev=error count=2 msg=\"{REFUSED}\"");
        let draft = one!(Detector, &line).unwrap();
        let title = "system:serviceaccount:ops:bot may not list deployments.apps in namespace shop";
        assert_eq!(draft.headline(), title);
        assert_eq!(draft.subject().to_string(), "ServiceAccount ops/bot");
        assert!(draft.recommendation()[0].contains("can-i list deployments.apps -n shop --as"));
        assert_eq!(draft.class(), EvidenceClass::LogTemplate);
    }

    #[test]
    fn quotes_may_be_escaped_the_group_empty_and_the_scope_the_cluster() {
        let cases = [
            (
                r#"forbidden: User \"jane\" cannot get resource \"pods\" in API group \"\" at the cluster scope"#,
                "get pods in the whole cluster",
            ),
            (
                r#"forbidden: User "jane" cannot get resource "pods/log" in API group "" in the namespace "a""#,
                "get pods/log in namespace a",
            ),
            (r#"forbidden: User "jane" cannot list pods"#, "list an object in the whole cluster"),
        ];
        for (message, what) in cases {
            let denial = Denial::read(message).unwrap();
            assert_eq!((&*denial.user, &*denial.what), ("jane", what), "{message}");
        }
        for message in
            ["", "forbidden: User ", "forbidden: User \"", "forbidden: User \"a\" cannot "]
        {
            assert_eq!(Denial::read(message), None, "{message}");
        }
    }

    #[test]
    fn a_component_is_believed_at_once_and_an_application_when_it_matters() {
        let of_hpa = format!("0s shop/x%cart ScalingLimited status=true msg=\"{REFUSED}\"");
        assert_eq!(one!(Detector, &of_hpa).unwrap().class(), EvidenceClass::EventText);
        let line = format!("0s ops/bot-1/bot%bot Log sev=error msg=\"{REFUSED}\"");
        assert_eq!(one!(Detector, &line), None);
        assert!(
            one!(Detector, &format!("{line}; 1s ops/bot-1/bot%bot ContainerTerminated exit=1"))
                .is_some()
        );
        assert_eq!(
            one!(Detector, &format!("{line}; 1s ops/bot-2/bot%bot ContainerTerminated exit=1")),
            None
        );
    }

    #[test]
    fn a_node_that_no_pod_sends_stays_a_doubt() {
        let draft = one!(
            Detector,
            "0s a/b-1%b MountFailed msg=\"secrets \\\"s\\\" is forbidden: User \
             \\\"system:node:n1\\\" cannot get resource \\\"secrets\\\": no relationship found \
             between node 'n1' and this object\""
        )
        .unwrap();
        assert_eq!(draft.doubt().map(|doubt| doubt.alternative), Some("missing_config"));
    }

    #[test]
    fn look_alikes_and_health_are_not_it() {
        for event in [
            "ObjectEvent reason=FailedCreate msg=\"pods \\\"b\\\" is forbidden: exceeded quota: q\"",
            "Log sev=error count=9 msg=\"HTTP 403 Forbidden\"",
            "Log sev=error count=9 msg=\"Unauthorized\"",
            "Log msg=\"served\"",
        ] {
            assert_eq!(one!(Detector, &format!("0s a/b-1/b%b {event}")), None, "{event}");
        }
    }
}
