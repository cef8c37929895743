//! An autoscaler may not add the replicas that are needed, or does not see whether they are.
//!
//! Evidence: its condition says that it is at its maximum, and the workload behind it is short of
//! something or uses more than the autoscaler is to keep; or that it gets no metrics, or cannot read what it scales. At the maximum with
//! nothing wrong is what a maximum is for.
//! Root: the condition that turned, else the autoscaler's first Event.
//! Not this: `traffic_surge` (far more requests came than before: the maximum only shows it);
//! `quota_refused` and others that refuse pods (it has not got what it may have);
//! `rbac_denied` (it may not read the metrics); `unschedulable` (it added replicas that find no
//! node); pods that begin have no metrics yet.
//! First look: `kubectl describe hpa -n NAMESPACE`, then `kubectl top pods` for the metrics
//! themselves.

use std::{collections::BTreeMap, time::Duration};

use tapio_engine::{Draft, Pattern, Spec, View};
use tapio_model::{Entity, Event, EvidenceClass, Kind, Value, keys};

use super::quota_refused::{is_failed_create, is_made_good, whose};
use crate::{
    Scene,
    last_words::quote,
    witness::{count, truth},
};

/// Scenes whose cause is known.
pub(crate) const SCENES: &[Scene] = &[
    Scene::cause(
        "hpa_limited",
        "at its maximum, and the pods are throttled",
        "0s shop/x%cart ScalingLimited condition=ScalingLimited status=true reason=TooManyReplicas okind=HorizontalPodAutoscaler oname=cart msg=\"the desired replica count is more than the maximum replica count\"
        2s shop/cart-1/cart@n1%cart Anomaly anomaly=self_time how=rose was=20.0 is=90.0
        3s shop/cart-2/cart@n2%cart Anomaly anomaly=cpu how=rose was=0.4 is=1.0",
    ),
    Scene::cause(
        "hpa_limited",
        "at its maximum, and each replica uses three times what it should",
        "0s shop/x%cart ScalingLimited condition=ScalingLimited status=true reason=TooManyReplicas okind=HorizontalPodAutoscaler oname=cart ratio=3.1 msg=\"the desired replica count is more than the maximum replica count\"
        4s shop/x%cart Metric",
    ),
    Scene::cause(
        "hpa_limited",
        "blind: the pods have no requests to scale by",
        "0s shop/x%cart ScalingLimited condition=ScalingActive status=true reason=FailedGetResourceMetric okind=HorizontalPodAutoscaler oname=cart msg=\"the HPA was unable to compute the replica count: failed to get cpu utilization: missing request for cpu in container cart of Pod cart-1\"
        4s shop/x%cart Metric",
    ),
    Scene::cause(
        "rbac_denied",
        "blind: it may not read the metrics",
        "0s shop/x%cart ScalingLimited condition=ScalingActive status=true reason=FailedGetResourceMetric okind=HorizontalPodAutoscaler oname=cart msg=\"unable to fetch metrics from resource metrics API: pods.metrics.k8s.io is forbidden: User \\\"system:serviceaccount:kube-system:horizontal-pod-autoscaler\\\" cannot list resource \\\"pods\\\" in API group \\\"metrics.k8s.io\\\" in the namespace \\\"shop\\\"\"
        4s shop/x%cart Metric",
    ),
    Scene::cause(
        "unschedulable",
        "it may scale, and the nodes are full",
        "0s shop/x%cart ObjectEvent reason=SuccessfulRescale okind=HorizontalPodAutoscaler oname=cart msg=\"New size: 9; reason: cpu resource utilization above target\"
        1s shop/cart-9%cart ObjectEvent reason=FailedScheduling sev=warn msg=\"0/3 nodes are available: 3 Insufficient cpu.\"
        1s shop/cart-9%cart ObjectEvent reason=Unschedulable condition=PodScheduled status=false msg=\"0/3 nodes are available: 3 Insufficient cpu.\"",
    ),
    Scene::unknown(
        "hpa_limited",
        "at its maximum, and requests rose after the pods were short",
        "0s shop/cart-1/cart@n1%cart ProbeFailed probe=readiness count=2
        4s shop/x%cart Anomaly anomaly=request_rate how=rose was=10.0 is=40.0
        6s shop/x%cart ScalingLimited condition=ScalingLimited status=true reason=TooManyReplicas okind=HorizontalPodAutoscaler oname=cart",
    ),
    Scene::healthy(
        "at its maximum, and all is well",
        "0s shop/x%cart ScalingLimited condition=ScalingLimited status=true reason=TooManyReplicas okind=HorizontalPodAutoscaler oname=cart
        3s shop/cart-4/cart@n1%cart ContainerStarted
        4s shop/cart-4@n1%cart PodReadiness status=true",
    ),
    Scene::healthy(
        "blind while the first pods begin",
        "0s shop/x%cart RolloutStarted hash=7f6b8d9c4
        2s shop/cart-1/cart@n1%cart ContainerStarted
        9s shop/x%cart ScalingLimited condition=ScalingActive status=true reason=FailedGetResourceMetric okind=HorizontalPodAutoscaler oname=cart msg=\"did not receive metrics for targeted pods (pods might be unready)\"",
    ),
    Scene::cause(
        "traffic_surge",
        "at its maximum under far more requests than before",
        "0s shop/x%cart Anomaly anomaly=request_rate how=rose was=10.0 is=80.0
        1s shop/x%cart Anomaly anomaly=self_time how=rose was=20.0 is=90.0
        5s shop/x%cart ScalingLimited condition=ScalingLimited status=true reason=TooManyReplicas okind=HorizontalPodAutoscaler oname=cart",
    ),
];

const SPEC: Spec = Spec {
    slug: "hpa_limited",
    title: "Autoscaler at its maximum or blind",
    wakes_on: &[Kind::ScalingLimited, Kind::ObjectEvent],
    leads_to: &[
        "readiness_lost",
        "liveness_kill",
        "connection_failed",
        "cascading_dependency",
        "service_abnormal",
    ],
};

/// A pod has metrics a minute after its start.
const WARM_UP: Duration = Duration::from_secs(60);

/// An autoscaler looks four times a minute; so often blind, it has not been so for a moment.
const BLIND_MIN: i64 = 4;

/// Why an autoscaler is blind, in lower case, and what to do; the first that fits decides.
const CAUSES: &[(&[&str], &str, &str)] = &[
    (
        &["missing request for"],
        "its pods have no request to compare the use with",
        "set requests of the resource it scales by, in every container of the pod",
    ),
    (
        &[
            "external.metrics.k8s.io)",
            "custom.metrics.k8s.io)",
            "no custom metrics api",
            "no external metrics api",
        ],
        "nobody serves the metric that it scales by",
        "install the adapter that serves this metric: kubectl get apiservices",
    ),
    (
        &["could not find the requested resource", "no matches for kind", "not registered"],
        "there is no metrics server",
        "install the metrics server or adapter that serves this metric",
    ),
    (
        &[
            "currently unable to handle",
            "connection refused",
            "no endpoints",
            "timeout",
            "deadline",
        ],
        "the metrics server does not answer",
        "bring the metrics server back: kubectl get apiservices",
    ),
    (
        &["failedgetscale", "not found"],
        "what it is to scale does not exist",
        "correct scaleTargetRef of the autoscaler",
    ),
    (
        &["no metrics returned", "did not receive metrics", "no metrics known"],
        "there are no metrics of its pods",
        "see whether the metrics server scrapes the pods: kubectl top pods",
    ),
];

/// Finds autoscalers that cannot do what they are for.
#[derive(Debug)]
pub(crate) struct Detector;

impl Pattern for Detector {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn detect(&self, view: &View<'_>) -> Vec<Draft> {
        let mut scaled: BTreeMap<Entity, Vec<&Event>> = BTreeMap::new();
        for event in view.events().filter(|event| is_limit(event)) {
            if let Some(subject) = Entity::workload(&event.place).or_else(|| autoscaler(event)) {
                scaled.entry(subject).or_default().push(event);
            }
        }
        let told = scaled.into_iter();
        told.filter_map(|(subject, events)| {
            let blind: Vec<_> = events.iter().copied().filter(|it| is_blind(view, it)).collect();
            let is_shown = blind.iter().any(|it| it.kind == Kind::ScalingLimited)
                || blind.iter().map(|it| count(it)).sum::<i64>() >= BLIND_MIN;
            let at_max = events.iter().copied().rfind(|event| is_at_max(event));
            match (blind.first().filter(|_| is_shown), at_max) {
                (Some(root), _) => Some(told_blind(subject, root, &blind)),
                (None, Some(root)) => told_maxed(view, subject, root),
                (None, None) => None,
            }
        })
        .collect()
    }
}

/// Says whether an autoscaler speaks of a limit, or that one is over.
fn is_limit(event: &Event) -> bool {
    let reason = event.attributes.text(keys::REASON).unwrap_or_default();
    event.kind == Kind::ScalingLimited
        || (event.kind == Kind::ObjectEvent
            && event.attributes.text(keys::OBJECT_KIND) == Some("HorizontalPodAutoscaler")
            && (reason.starts_with("FailedGet") || reason.starts_with("FailedCompute")))
}

fn autoscaler(event: &Event) -> Option<Entity> {
    let name = event.attributes.text(keys::OBJECT_NAME)?.into();
    let namespace = event.place.namespace.clone().unwrap_or_default();
    Some(Entity::Object { namespace, kind: "HorizontalPodAutoscaler".into(), name })
}

/// Says whether the autoscaler is at its maximum. That it may not add all at once is no limit.
fn is_at_max(event: &Event) -> bool {
    event.kind == Kind::ScalingLimited
        && event.attributes.text(keys::REASON).is_none_or(|reason| reason == "TooManyReplicas")
        && event.attributes.text(keys::CONDITION) == Some("ScalingLimited")
        && truth(event, keys::STATUS) == Some(true)
}

/// Says whether the autoscaler sees nothing, though the pods are there long enough to be seen.
fn is_blind(view: &View<'_>, event: &Event) -> bool {
    let condition = event.attributes.text(keys::CONDITION);
    let says = event.kind == Kind::ObjectEvent
        || (condition != Some("ScalingLimited") && truth(event, keys::STATUS) == Some(true));
    let begins = || {
        view.events().any(|other| {
            matches!(other.kind, Kind::ContainerStarted | Kind::RolloutStarted)
                && other.place.is_same_workload(&event.place)
                && other.time <= event.time
                && event.time.since(other.time) < WARM_UP
        })
    };
    let sees_again = || {
        view.of(Kind::ScalingLimited).any(|other| {
            other.attributes.text(keys::CONDITION) == condition
                && truth(other, keys::STATUS) == Some(false)
                && other.order() > event.order()
                && autoscaler(other) == autoscaler(event)
        })
    };
    says && !begins() && !sees_again()
}

fn told_blind(subject: Entity, root: &Event, blind: &[&Event]) -> Draft {
    let reason = root.attributes.text(keys::REASON).unwrap_or_default();
    let said = format!("{reason} {}", root.message()).to_ascii_lowercase();
    let known = CAUSES.iter().find(|(marks, ..)| marks.iter().any(|mark| said.contains(mark)));
    let (what, cure) = known.map_or(
        ("it gets no metrics", "kubectl describe hpa: its conditions say what it lacks"),
        |(_, what, cure)| (*what, *cure),
    );
    let who = whose(&root.place);
    let draft = begin(subject, root)
        .title(format!("the autoscaler of {who} is blind: {what}"))
        .because(format!("the autoscaler of {who} cannot tell how many it needs: {}", quote(root)))
        .advise(cure)
        .rule_out("traffic_surge", "it does not see how much there is to do", &[root]);
    blind.iter().fold(draft, |draft, event| draft.step(event, quote(event)))
}

fn told_maxed(view: &View<'_>, subject: Entity, root: &Event) -> Option<Draft> {
    let is_of = |event: &&Event| event.place.is_same_workload(&root.place);
    let is_over = view.of(Kind::ScalingLimited).filter(is_of).any(|event| {
        event.order() > root.order()
            && event.attributes.text(keys::CONDITION) == Some("ScalingLimited")
            && truth(event, keys::STATUS) == Some(false)
    });
    let short: Vec<_> = view.events().filter(is_of).filter(|event| is_short(event)).collect();
    let uses = above_target(root);
    // Where its pods are refused the maximum is not what keeps it.
    let is_refused = view
        .events()
        .any(|event| is_of(&event) && is_failed_create(event) && !is_made_good(view, event));
    if is_over || is_refused || (short.is_empty() && uses.is_none()) {
        return None;
    }
    let who = whose(&root.place);
    let wants = root.attributes.int(keys::DESIRED);
    let at = wants.map(|wants| format!(" of {wants} replicas")).unwrap_or_default();
    let mut draft = begin(subject, root)
        .title(format!("the autoscaler of {who} is at its maximum{at}, and that is too few"))
        .because(format!(
            "the autoscaler of {who} wants more replicas than it may have, and those that run are \
             short: {}",
            short.first().map(|event| sign(event)).or(uses).unwrap_or_default()
        ))
        .advise("raise maxReplicas, if the nodes and what stands behind them have room")
        .advise("else give each replica more, or shed load");
    for event in short {
        draft = draft.touching(&event.place).symptom(event, sign(event));
    }
    let surge = view.of(Kind::Anomaly).filter(is_of).find(|event| is_surge(event));
    Some(match surge {
        Some(surge) => draft.symptom(surge, sign(surge)).or(
            "traffic_surge",
            "far more requests came than before",
            "compare the requests of today with the peaks the maximum was chosen for",
        ),
        None => draft
            .rule_out("traffic_surge", "no rise of the requests was seen", &[])
            .missing("the rate of requests"),
    })
}

fn begin(subject: Entity, root: &Event) -> Draft {
    let by_status = root.kind == Kind::ScalingLimited;
    let class = if by_status { EvidenceClass::ObjectStatus } else { EvidenceClass::EventText };
    let draft = Draft::new(subject, class, root, quote(root)).touching(&root.place);
    autoscaler(root).into_iter().fold(draft, Draft::touch)
}

/// Says how far what the replicas use is above what the autoscaler is to keep, if it is: one tenth
/// it lets pass itself.
fn above_target(event: &Event) -> Option<String> {
    const TOLERATED: f64 = 1.1;
    let ratio = match event.attributes.get(keys::RATIO)? {
        Value::Float(ratio) => *ratio,
        Value::Int(_) | Value::Text(_) | Value::Bool(_) => return None,
    };
    (ratio > TOLERATED).then(|| format!("they use {ratio:.1} times what they should"))
}

/// Says whether an event shows that the replicas do not get their work done.
fn is_short(event: &Event) -> bool {
    let signal = event.attributes.text(keys::ANOMALY_SIGNAL).unwrap_or_default();
    let is_worse = event.attributes.text(keys::ANOMALY_CHANGE) == Some("rose")
        && matches!(signal, "self_time" | "error_rate" | "cpu");
    matches!(event.kind, Kind::CpuThrottled | Kind::CpuDelayed | Kind::ProbeFailed)
        || (event.kind == Kind::PodReadiness && truth(event, keys::STATUS) == Some(false))
        || (event.kind == Kind::Anomaly && is_worse)
}

fn is_surge(event: &Event) -> bool {
    event.attributes.text(keys::ANOMALY_SIGNAL) == Some("request_rate")
        && event.attributes.text(keys::ANOMALY_CHANGE) == Some("rose")
}

/// Names a sign: `self time rose at shop/cart-1`.
fn sign(event: &Event) -> String {
    let place = event.place.label();
    let signal = event.attributes.text(keys::ANOMALY_SIGNAL);
    let change = event.attributes.text(keys::ANOMALY_CHANGE).unwrap_or("changed");
    let what = signal.map(|signal| format!("{signal} {change}"));
    let what = what.unwrap_or_else(|| event.kind.name().to_owned());
    format!("{} at {place}", what.replace('_', " "))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAXED: &str = "1s shop/x%cart ScalingLimited condition=ScalingLimited status=true \
        reason=TooManyReplicas okind=HorizontalPodAutoscaler oname=cart tapio.desired=4";
    const SHORT: &str = "3s shop/cart-1/cart%cart CpuThrottled ratio=0.6";

    fn blind(words: &str) -> String {
        format!(
            "1s shop/x%cart ScalingLimited condition=ScalingActive status=true \
             reason=FailedGetResourceMetric okind=HorizontalPodAutoscaler oname=cart msg=\"{words}\""
        )
    }

    #[test]
    fn a_maximum_is_a_fault_when_the_replicas_are_short() {
        assert_eq!(one!(Detector, MAXED), None);
        let draft = one!(Detector, &format!("{MAXED}; {SHORT}")).unwrap();
        assert!(draft.headline().contains("at its maximum of 4 replicas"), "{}", draft.headline());
        assert_eq!(draft.subject().to_string(), "Deployment shop/cart");
        let autoscaler = "HorizontalPodAutoscaler shop/cart";
        assert!(draft.touches().iter().any(|it| it.to_string() == autoscaler));
        let other = "3s shop/db-1/db%db CpuThrottled ratio=0.6";
        assert_eq!(one!(Detector, &format!("{MAXED}; {other}")), None, "another workload is short");
    }

    #[test]
    fn more_requests_than_before_make_it_a_doubt() {
        let surge = "0s shop/x%cart Anomaly anomaly=request_rate how=rose was=1.0 is=9.0";
        let draft = one!(Detector, &format!("{surge}; {MAXED}; {SHORT}")).unwrap();
        assert_eq!(draft.doubt().map(|doubt| doubt.alternative), Some("traffic_surge"));
    }

    #[test]
    fn why_it_is_blind_is_named() {
        let cases = [
            ("missing request for cpu", "no request"),
            (
                "the server could not find the requested resource (get pods.metrics.k8s.io)",
                "no metrics server",
            ),
            ("the server is currently unable to handle the request", "does not answer"),
            ("no metrics returned from resource metrics API", "no metrics of its pods"),
            ("odd", "it gets no metrics"),
        ];
        for (words, what) in cases {
            let draft = one!(Detector, &blind(words)).unwrap();
            assert!(draft.headline().contains(what), "{words}: {}", draft.headline());
            assert!(draft.doubt().is_none());
        }
    }

    #[test]
    fn an_event_alone_must_come_again() {
        let event = "1s shop/x ObjectEvent reason=FailedGetResourceMetric \
             okind=HorizontalPodAutoscaler oname=cart msg=\"no metrics returned\"";
        assert_eq!(one!(Detector, event), None);
        let draft = one!(Detector, &format!("{event} count=9")).unwrap();
        assert_eq!(draft.subject().to_string(), "HorizontalPodAutoscaler shop/cart");
        assert_eq!(draft.class(), EvidenceClass::EventText);
    }

    #[test]
    fn look_alikes_and_health_are_not_it() {
        let again = "9s shop/x%cart ScalingLimited status=false okind=HorizontalPodAutoscaler \
             oname=cart condition=";
        let sees = format!("{}; {again}ScalingActive", blind("odd"));
        let over = format!("{MAXED}; {SHORT}; {again}ScalingLimited");
        let begins = format!("0s shop/cart-1/cart%cart ContainerStarted; {}", blind("odd"));
        for story in [
            &*sees,
            &over,
            &begins,
            SHORT,
            "0s shop/x ObjectEvent reason=SuccessfulRescale okind=HorizontalPodAutoscaler oname=c",
            "0s shop/x%cart ScalingLimited condition=AbleToScale status=false",
            &*format!("{MAXED}; {SHORT}; 2s shop/x%cart ObjectEvent reason=FailedCreate msg=no"),
        ] {
            assert_eq!(one!(Detector, story), None, "{story}");
        }
    }
}
