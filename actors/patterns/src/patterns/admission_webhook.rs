//! An admission webhook keeps pods from being created: it does not answer, or it says no.
//!
//! Evidence: failed creations whose message says "failed calling webhook" (it is down, too slow or
//! not trusted) or "admission webhook ... denied the request" (it works, and refuses).
//! Root: the first such refusal. A webhook that does not answer has a story of its own: it leads
//! here, through the webhook's service.
//! Not this: `quota_refused` (the API server's own rules refuse); `rbac_denied` (the user may not
//! ask at all); `api_server_overload` (the API server itself does not answer).
//! First look: `kubectl get validatingwebhookconfigurations,mutatingwebhookconfigurations`, then
//! the pods behind the webhook's service.

use std::collections::BTreeMap;

use tapio_engine::{Draft, Pattern, Spec, View};
use tapio_model::{Entity, Event, EvidenceClass, Kind, Text, keys};

use super::quota_refused::{is_made_good, whose};
use crate::{
    Scene,
    last_words::{quote, rollout_before},
    witness::touch_their_services,
};

/// Scenes whose cause is known.
pub(crate) const SCENES: &[Scene] = &[
    Scene::cause(
        "admission_webhook",
        "a webhook is down and nothing can be created",
        "0s shop/x%cart ObjectEvent trace=1 reason=FailedCreate sev=error count=2 msg=\"Error creating: Internal error occurred: failed calling webhook \\\"pods.policy.example\\\": failed to call webhook: Post \\\"https://policy.policy.svc:443/validate?timeout=10s\\\": no endpoints available for service \\\"policy\\\"\"
        1s shop/x%cart RolloutStalled trace=1 condition=ReplicaFailure status=true reason=FailedCreate msg=\"Internal error occurred: failed calling webhook \\\"pods.policy.example\\\": no endpoints available for service \\\"policy\\\"\"
        3s web/x%StatefulSet/api ObjectEvent trace=2 reason=FailedCreate sev=error msg=\"create Pod api-1 in StatefulSet api failed error: Internal error occurred: failed calling webhook \\\"pods.policy.example\\\": failed to call webhook: Post \\\"https://policy.policy.svc:443/validate?timeout=10s\\\": context deadline exceeded\"
        9s web/x%StatefulSet/api ObjectEvent trace=2 reason=FailedCreate sev=error msg=\"create Pod api-1 in StatefulSet api failed error: Internal error occurred: failed calling webhook \\\"pods.policy.example\\\": context deadline exceeded\"",
    ),
    Scene::cause(
        "admission_webhook",
        "a webhook says no",
        "0s shop/x%cart RolloutStarted hash=7f6b8d9c4
        1s shop/x%cart ObjectEvent reason=FailedCreate sev=error msg=\"Error creating: admission webhook \\\"validate.kyverno.svc-fail\\\" denied the request: policy Pod/shop/cart for resource violation: require-labels\"",
    ),
    Scene::cause(
        "readiness_lost",
        "the webhook's own pods are not ready",
        "0s policy/policy-1/policy@n1%policy ProbeFailed trace=1 probe=readiness count=3 msg=\"Readiness probe failed: HTTP probe failed with statuscode: 500\"
        1s policy/policy-1@n1%policy PodReadiness trace=1 status=false
        2s svc:policy/policy EndpointsChanged trace=1 ready=0 not_ready=1
        5s shop/x%cart ObjectEvent trace=2 reason=FailedCreate sev=error msg=\"Error creating: Internal error occurred: failed calling webhook \\\"pods.policy.example\\\": failed to call webhook: Post \\\"https://policy.policy.svc:443/validate?timeout=10s\\\": no endpoints available for service \\\"policy\\\"\"
        6s shop/x%cart RolloutStalled trace=2 condition=ReplicaFailure status=true reason=FailedCreate msg=\"Internal error occurred: failed calling webhook \\\"pods.policy.example\\\": no endpoints available for service \\\"policy\\\"\"",
    ),
    Scene::cause(
        "quota_refused",
        "the API server's own rule refuses",
        "0s shop/x%cart ObjectEvent reason=FailedCreate sev=error msg=\"Error creating: pods \\\"cart-a\\\" is forbidden: exceeded quota: small, requested: pods=1\"
        1s shop/x%cart RolloutStalled condition=ReplicaFailure status=true reason=FailedCreate msg=\"pods \\\"cart-a\\\" is forbidden: exceeded quota: small\"",
    ),
    Scene::unknown(
        "admission_webhook",
        "the message of the refusal was lost",
        "0s shop/x%cart ObjectEvent reason=FailedCreate sev=error
        2s shop/x%cart RolloutStalled condition=ReplicaFailure status=true reason=FailedCreate",
    ),
    Scene::healthy(
        "a webhook restarts, and the next attempt succeeds",
        "0s shop/x%cart ObjectEvent reason=FailedCreate sev=error msg=\"Error creating: Internal error occurred: failed calling webhook \\\"pods.policy.example\\\": context deadline exceeded\"
        6s shop/x%cart ObjectEvent reason=SuccessfulCreate msg=\"Created pod: cart-b\"",
    ),
    Scene::cause(
        "certificate_expired",
        "the webhook's certificate has expired",
        "0s policy/policy-1/policy@n1%policy Log trace=1 svc=policy sev=error reason=CertificateExpired error=x509 count=3 msg=\"http: TLS handshake error: x509: certificate has expired or is not yet valid\"
        1s policy/policy-1/policy@n1%policy Log trace=1 svc=policy sev=error reason=CertificateExpired error=x509 count=3 msg=\"http: TLS handshake error: x509: certificate has expired or is not yet valid\"
        5s shop/x%cart ObjectEvent trace=2 reason=FailedCreate sev=error msg=\"Error creating: Internal error occurred: failed calling webhook \\\"pods.policy.example\\\": failed to call webhook: Post \\\"https://policy.policy.svc:443/validate?timeout=10s\\\": tls: failed to verify certificate: x509: certificate has expired or is not yet valid\"
        6s shop/x%cart ObjectEvent trace=2 reason=FailedCreate sev=error msg=\"Error creating: Internal error occurred: failed calling webhook \\\"pods.policy.example\\\": x509: certificate has expired\"",
    ),
];

const SPEC: Spec = Spec {
    slug: "admission_webhook",
    title: "Admission webhook down or denying",
    wakes_on: &[Kind::ObjectEvent, Kind::RolloutStalled],
    leads_to: &["readiness_lost", "connection_failed", "cascading_dependency", "job_failed"],
};

const DOWN: &str = "failed calling webhook ";
const DENIED: &str = "admission webhook ";

/// Why a webhook does not answer, in lower case, and what to do; the first that fits decides.
const CAUSES: &[(&[&str], &str, &str)] = &[
    (
        // Go has one sentence for both ends of a certificate's time, and the comparison behind it.
        &["z is before "],
        "its certificate is not valid yet",
        "compare the clocks of the API server and of who issued its certificate",
    ),
    (
        &["has expired", "certificate expired"],
        "its certificate has expired",
        "renew its certificate, and see why what renews it did not",
    ),
    (
        &["x509", "certificate"],
        "its certificate is not trusted",
        "renew its certificate, and the caBundle of its configuration",
    ),
    (
        &["no endpoints available", "connection refused"],
        "nobody listens behind its service",
        "bring its pods back: kubectl get endpointslices of its service",
    ),
    (
        &["not found", "no such host"],
        "its service does not exist",
        "create its service again, or delete its configuration if it was uninstalled",
    ),
    (
        &["deadline exceeded", "timeout", "timed out"],
        "it does not answer in time",
        "see whether its pods are slow or cut off from the API server",
    ),
];

/// Finds webhooks that keep objects from being created.
#[derive(Debug)]
pub(crate) struct Detector;

impl Pattern for Detector {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn detect(&self, view: &View<'_>) -> Vec<Draft> {
        let mut webhooks: BTreeMap<(Text, bool), Vec<&Event>> = BTreeMap::new();
        for refusal in view.events().filter(|event| SPEC.wakes_on.contains(&event.kind)) {
            let Some((name, is_down)) = webhook(refusal) else { continue };
            if !is_made_good(view, refusal) {
                webhooks.entry((name.into(), is_down)).or_default().push(refusal);
            }
        }
        webhooks
            .into_iter()
            .filter_map(|((name, is_down), refusals)| draft(view, &name, is_down, &refusals))
            .collect()
    }
}

/// Quotes why a webhook denies: its policies speak in several lines, and of each rule by itself.
fn denial(refusal: &Event) -> String {
    const CHARS_MAX: usize = 400;
    let said = refusal.message().split_once(" denied the request:").map(|(_, why)| why);
    let words = said.map(|why| why.split_whitespace().collect::<Vec<_>>().join(" "));
    let words = words.map(|why| why.trim_start_matches([';', ' ']).to_owned());
    match words.filter(|why| !why.is_empty()) {
        Some(why) => format!("\"{}\"", why.chars().take(CHARS_MAX).collect::<String>()),
        None => quote(refusal),
    }
}

/// Reads the webhook's name, and whether it did not answer or said no.
fn webhook(refusal: &Event) -> Option<(&str, bool)> {
    let said = refusal.attributes.text(keys::MESSAGE)?;
    let is_denied = said.contains(" denied the request");
    let (mark, is_down) = if is_denied { (DENIED, false) } else { (DOWN, true) };
    let (_, rest) = said.split_once(mark)?;
    let name = rest.trim_start_matches('"').split(['"', ':', ' ']).next()?;
    (!name.is_empty()).then_some((name, is_down))
}

/// Reads the service that stands before the webhook: `https://NAME.NAMESPACE.svc:443/...`.
fn service(refusal: &Event) -> Option<Entity> {
    let (_, rest) = refusal.message().split_once("https://")?;
    let host = rest.split(['/', ':', '?', '"']).next()?;
    let mut labels = host.split('.');
    let (name, namespace) = (labels.next()?, labels.next()?);
    (labels.next() == Some("svc"))
        .then(|| Entity::Service { namespace: namespace.into(), name: name.into() })
}

fn draft(view: &View<'_>, name: &str, is_down: bool, refusals: &[&Event]) -> Option<Draft> {
    let root = *refusals.first()?;
    let subject = Entity::Object {
        namespace: Text::default(),
        kind: "AdmissionWebhook".into(),
        name: name.into(),
    };
    let who = whose(&root.place);
    let mut draft = Draft::new(subject, EvidenceClass::EventText, root, quote(root));
    for refusal in refusals {
        draft = draft.touching(&refusal.place).step(refusal, quote(refusal));
        draft = service(refusal).into_iter().fold(draft, Draft::touch);
    }
    draft = touch_their_services(view, draft, refusals);
    if let Some(rollout) = rollout_before(view, root) {
        draft = draft.step(rollout, "a rollout asked for these pods");
    }
    draft = draft
        .rule_out("quota_refused", "the message names a webhook, no rule of the server", &[root])
        .rule_out("rbac_denied", "the webhook is asked after the user's rights are", &[root]);
    if !is_down {
        return Some(
            draft
                .title(format!("admission webhook {name} denies the pods of {who}"))
                .because(format!("{name} answered and denied the request: {}", denial(root)))
                .advise("change what the message names, or the policy behind the webhook"),
        );
    }
    let said = root.message().to_ascii_lowercase();
    let known = CAUSES.iter().find(|(marks, ..)| marks.iter().any(|mark| said.contains(mark)));
    let (what, cure) = known
        .map_or(("it does not answer", "look at its pods and its log"), |(_, what, cure)| {
            (*what, *cure)
        });
    let emptied = refusals.iter().find_map(|refusal| refusal.attributes.text(keys::CHANGED));
    let what = emptied.map_or_else(|| what.to_owned(), |emptied| format!("{what} ({emptied})"));
    let draft = draft
        .title(format!("admission webhook {name} keeps {who} from its pods: {what}"))
        .because(format!(
            "the API server may create nothing before {name} agrees, and {what}: {}",
            quote(root)
        ))
        .advise(cure)
        .advise("until then: failurePolicy Ignore, or a namespaceSelector that leaves others out");
    Some(draft)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn down(words: &str) -> String {
        format!(
            "0s a/x%b ObjectEvent reason=FailedCreate msg=\"Error creating: Internal error \
             occurred: failed calling webhook \\\"pods.policy\\\": failed to call webhook: Post \
             \\\"https://policy.sys.svc:443/v?timeout=10s\\\": {words}\""
        )
    }

    #[test]
    fn why_it_does_not_answer_is_named_and_its_service_touched() {
        let cases = [
            ("x509: certificate signed by unknown authority", "not trusted"),
            (
                "x509: certificate has expired or is not yet valid: current time \
                 2026-01-02T05:48:12Z is after 2026-01-01T22:00:00Z",
                "has expired",
            ),
            (
                "x509: certificate has expired or is not yet valid: current time \
                 2026-01-02T05:48:12Z is before 2026-01-03T22:00:00Z",
                "not valid yet",
            ),
            ("dial tcp 10.0.0.1:443: connect: connection refused", "nobody listens"),
            ("service \\\"policy\\\" not found", "does not exist"),
            ("context deadline exceeded", "in time"),
            ("EOF", "does not answer"),
        ];
        for (words, what) in cases {
            let draft = one!(Detector, &down(words)).unwrap();
            assert!(draft.headline().contains(what), "{words}: {}", draft.headline());
            assert_eq!(draft.subject().to_string(), "AdmissionWebhook /pods.policy");
            let service = Entity::Service { namespace: "sys".into(), name: "policy".into() };
            assert!(draft.touches().contains(&service));
        }
    }

    #[test]
    fn what_is_known_of_the_pods_behind_it_is_named() {
        let words = "no endpoints available for service \\\"policy\\\"";
        let story =
            format!("{} tapio.changed=\"Deployment sys/policy is scaled to 0\"", down(words));
        let draft = one!(Detector, &story).unwrap();
        let want = "nobody listens behind its service (Deployment sys/policy is scaled to 0)";
        assert!(draft.headline().ends_with(want), "{}", draft.headline());
        assert!(draft.root_cause().contains(want), "{}", draft.root_cause());
    }

    #[test]
    fn why_it_denies_is_quoted_to_its_end() {
        let why = format!("{} images may only come from registry.io", "rule x ".repeat(30));
        let story = format!(
            "0s a/x%b ObjectEvent reason=FailedCreate msg=\"Error creating: admission webhook \
             \\\"v\\\" denied the request: ; {why}\""
        );
        let draft = one!(Detector, &story).unwrap();
        let cause = draft.root_cause();
        assert!(cause.contains("request: \"rule x") && cause.ends_with("registry.io\""), "{cause}");
    }

    #[test]
    fn a_webhook_that_says_no_works() {
        let draft = one!(
            Detector,
            "0s a/x%b ObjectEvent reason=FailedCreate msg=\"Error creating: admission \
             webhook \\\"v.kyverno\\\" denied the request: no label\""
        )
        .unwrap();
        assert!(draft.headline().starts_with("admission webhook v.kyverno denies"));
        assert_eq!(draft.recommendation().len(), 1);
    }

    #[test]
    fn status_and_event_are_one_refusal() {
        let status = "1s a/x%b RolloutStalled reason=FailedCreate msg=\"failed calling webhook \\\"pods.policy\\\": EOF\"";
        let draft = one!(Detector, &format!("{}; {status}", down("EOF"))).unwrap();
        assert_eq!(draft.evidence().len(), 2);
        assert_eq!(draft.evidence()[0].kind, Kind::ObjectEvent);
    }

    #[test]
    fn look_alikes_and_health_are_not_it() {
        let good = format!("{}; 5s a/x%b ObjectEvent reason=SuccessfulCreate", down("EOF"));
        for story in [
            &*good,
            "0s a/x%b ObjectEvent reason=FailedCreate msg=\"exceeded quota: webhook \"",
            "0s a/x%b ObjectEvent reason=FailedCreate",
            "0s a/x%b ObjectEvent reason=SuccessfulCreate",
        ] {
            assert_eq!(one!(Detector, story), None, "{story}");
        }
    }
}
