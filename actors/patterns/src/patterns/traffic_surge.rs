//! More requests come than a service can take.
//!
//! Evidence: the request rate of a service rose against what was learnt, and it or its pods suffer
//! since: errors, its own time, its CPU quota, its probes, an autoscaler at its limit. A surge that
//! hurts nobody is good business.
//! Root: the rise of the request rate.
//! Not this: `cpu_throttling` and `noisy_neighbour` (the rate is flat); `bad_rollout` (a new version
//! began just before, and may call more); `cascading_dependency` (errors came first: the rate is
//! made of retries, a storm that outlasts its trigger).
//! First look: the rate at the edge of the system: if it is flat there and high inside, callers try
//! again and again; if it is high, who sends it.

use tapio_engine::{Draft, Pattern, Spec, View};
use tapio_model::{Entity, Event, EvidenceClass, Kind, Text, Value, keys};

use crate::{
    Scene,
    last_words::quote,
    witness::{not_before, spot, truth},
};

/// Scenes whose cause is known.
pub(crate) const SCENES: &[Scene] = &[
    Scene::cause(
        "traffic_surge",
        "eight times the requests, and errors after that",
        "0s svc:shop/cart Anomaly anomaly=request_rate how=rose was=10.0 is=80.0
         5s svc:shop/cart Anomaly anomaly=self_time how=rose was=4.0 is=60.0
         8s svc:shop/cart Anomaly anomaly=error_rate how=rose was=0.0 is=0.3",
    ),
    Scene::cause(
        "traffic_surge",
        "pods are at their quota and fail their probes, and the autoscaler is at its limit",
        "0s svc:shop/cart%cart Anomaly anomaly=request_rate how=rose was=10.0 is=80.0
         3s shop/cart-1/cart@n1%cart CpuThrottled ratio=0.8
         5s shop/x%cart ScalingLimited reason=TooManyReplicas
         9s shop/cart-1@n1%cart ProbeFailed probe=readiness count=3
         10s shop/cart-1@n1%cart PodReadiness status=false",
    ),
    Scene::cause(
        "bad_rollout",
        "a new version fails, and its callers try again",
        "0s shop/x%cart RolloutStarted hash=newer generation=7 image=shop/cart:v7
         2s shop/cart-older-aaaaa/cart%cart Log msg=served
         3s shop/cart-newer-bbbbb/cart%cart Exception msg=\"NullPointerException\"
         4s shop/cart-newer-bbbbb/cart%cart Exception msg=\"NullPointerException\"
         6s svc:shop/cart%cart Anomaly anomaly=request_rate how=rose was=10.0 is=30.0
         7s svc:shop/cart%cart Anomaly anomaly=error_rate how=rose was=0.0 is=0.3",
    ),
    Scene::unknown(
        "traffic_surge",
        "errors came first, and then the requests",
        "0s svc:shop/cart Anomaly anomaly=error_rate how=rose was=0.0 is=0.3
         9s svc:shop/cart Anomaly anomaly=request_rate how=rose was=10.0 is=30.0",
    ),
    Scene::cause(
        "traffic_surge",
        "as it is learnt: told where services are compared, and beside the events of the workload",
        r#"0s svc:shop/cart%cart Anomaly anomaly=request_rate how=rose score=60.0 was=10.0 is=40.0 msg="cart gets 40.0 requests a second; 10.0 are usual"
         15s svc:shop/cart%cart Anomaly anomaly=request_rate how=rose score=60.0 was=10.0 is=80.0 msg="cart gets 80.0 requests a second; 10.0 are usual"
         20s shop/cart-1/cart@n1%cart CpuThrottled ratio=0.8 trace=2
         30s svc:shop/cart%cart Anomaly anomaly=request_rate how=rose score=60.0 was=10.0 is=80.0 msg="cart gets 80.0 requests a second; 10.0 are usual"
         30s svc:shop/cart%cart Anomaly anomaly=error_rate how=rose score=60.0 was=0.002 is=0.3 msg="30 % of the requests to cart fail by themselves; it was 0.2 %"
         0s svc:shop/cart%cart Anomaly anomaly=request_rate how=rose score=60.0 was=10.0 is=40.0 msg="cart gets 40.0 requests a second; 10.0 are usual" tapio.anomaly.of=a trace=2
         30s svc:shop/cart%cart Anomaly anomaly=error_rate how=rose score=60.0 was=0.002 is=0.3 msg="30 % of the requests to cart fail by themselves; it was 0.2 %" tapio.anomaly.of=b trace=2"#,
    ),
    Scene::healthy(
        "a sale that everybody enjoys",
        "0s svc:shop/cart%cart Anomaly anomaly=request_rate how=rose was=10.0 is=80.0
         3s shop/x%cart ObjectEvent reason=SuccessfulRescale msg=\"New size: 4\"
         9s shop/cart-4@n1%cart PodReadiness status=true",
    ),
    Scene::cause(
        "cpu_throttling",
        "the rate is flat, and the service's own time rises at its quota",
        "0s shop/cart-1/cart@n1%cart CpuThrottled ratio=0.8
         3s svc:shop/cart%cart Anomaly anomaly=self_time how=rose was=4.0 is=60.0
         9s shop/cart-1@n1%cart ProbeFailed probe=liveness count=3",
    ),
];

const SPEC: Spec = Spec {
    slug: "traffic_surge",
    title: "More requests than a service can take",
    wakes_on: &[Kind::Anomaly],
    leads_to: &[
        "cpu_throttling",
        "pool_exhaustion",
        "hpa_limited",
        "readiness_lost",
        "liveness_kill",
        "cascading_dependency",
        "service_abnormal",
    ],
};

/// Finds services that get more than they can take.
#[derive(Debug)]
pub(crate) struct Detector;

impl Pattern for Detector {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn detect(&self, view: &View<'_>) -> Vec<Draft> {
        let rises = view.of(Kind::Anomaly).filter(|event| is(event, "request_rate"));
        let mut found: Vec<Draft> = Vec::new();
        for draft in rises.filter_map(|rise| draft(view, rise)) {
            // A surge that goes on is told again and again: its beginning is its root.
            if found.iter().all(|known| known.subject() != draft.subject()) {
                found.push(draft);
            }
        }
        found
    }
}

fn is(event: &Event, signal: &str) -> bool {
    let text = |key| event.attributes.text(key);
    text(keys::ANOMALY_SIGNAL) == Some(signal) && text(keys::ANOMALY_CHANGE) == Some("rose")
}

fn draft(view: &View<'_>, rise: &Event) -> Option<Draft> {
    let mine = |event: &&Event| event.id != rise.id && is_of(event, rise) && hurts(event);
    let harm: Vec<_> = view.events().filter(mine).collect();
    let first = *harm.first()?;
    let subject = Entity::service(&rise.place).or_else(|| Entity::narrowest(&rise.place))?;
    let who = spot(&rise.place);
    let times = factor(rise).map(|times| format!("{times:.1} times its usual"));
    let times = times.unwrap_or_else(|| "more".to_owned());
    // Telemetry suggests; what a quota, a probe or an autoscaler says is a status.
    let is_status = harm.iter().any(|event| event.kind != Kind::Anomaly);
    let class = if is_status { EvidenceClass::ObjectStatus } else { EvidenceClass::LogTemplate };
    let mut draft = Draft::new(subject, class, rise, format!("{who} gets {times} requests"))
        .touching(&rise.place)
        .title(format!("{who} gets {times} requests, more than it can take"))
        .because(format!("the request rate rose, and since then {who} suffers: {}", told(first)))
        .advise("shed or limit what comes in; scale out, if what is behind can take it")
        .advise("see whether callers try again and again: give them budgets for retries");
    for event in &harm {
        draft = draft.symptom(event, told(event)).touching(&event.place);
    }
    let caller = rise.attributes.text(keys::PEER_SERVICE).map(|name| Entity::Service {
        namespace: rise.place.namespace.clone().unwrap_or_default(),
        name: name.into(),
    });
    draft = caller.into_iter().fold(draft, Draft::touch);
    Some(judge(view, draft, rise, first))
}

/// Says what keeps the surge from being a verdict: what came before it.
fn judge(view: &View<'_>, draft: Draft, rise: &Event, first: &Event) -> Draft {
    let before =
        |kind| view.of(kind).rfind(|change| change.order() < rise.order() && is_of(change, rise));
    if let Some(rollout) = before(Kind::RolloutStarted) {
        return draft.step(rollout, "a rollout began before").or(
            "bad_rollout",
            "the new version fails, and callers try again",
            "compare errors of new and old pods: kubectl get pods -L pod-template-hash",
        );
    }
    if !not_before(first, rise) {
        return draft.missing("the rate at the edge of the system").or(
            "cascading_dependency",
            "something failed first, and callers try again",
            "the request rate at the edge: flat means that the surge is made of retries",
        );
    }
    draft.rule_out("cpu_throttling", "the request rate rose first", &[rise]).rule_out(
        "bad_rollout",
        "no rollout began",
        &[],
    )
}

/// Says whether both are of one service or one workload.
fn is_of(event: &Event, rise: &Event) -> bool {
    let service = |event: &Event| event.place.service.clone();
    event.place.is_same_workload(&rise.place)
        || (service(rise).is_some() && service(event) == service(rise))
}

/// Says whether an event shows that the service suffers.
fn hurts(event: &Event) -> bool {
    let signals = ["error_rate", "self_time"];
    match event.kind == Kind::Anomaly {
        true => signals.iter().any(|signal| is(event, signal)),
        false => {
            matches!(
                event.kind,
                Kind::CpuThrottled
                    | Kind::ScalingLimited
                    | Kind::ProbeFailed
                    | Kind::RolloutStalled
            ) || (event.kind == Kind::PodReadiness && truth(event, keys::STATUS) == Some(false))
        }
    }
}

/// Returns how many times what was learnt it is now.
fn factor(rise: &Event) -> Option<f64> {
    let number = |key| match rise.attributes.get(key)? {
        Value::Float(number) => Some(*number),
        Value::Text(_) | Value::Int(_) | Value::Bool(_) => None,
    };
    let (before, after) = (number(keys::ANOMALY_BEFORE)?, number(keys::ANOMALY_AFTER)?);
    (before > 0.0 && after > before).then(|| after / before)
}

fn told(event: &Event) -> Text {
    if event.kind != Kind::Anomaly {
        return quote(event).into();
    }
    let signal = event.attributes.text(keys::ANOMALY_SIGNAL).unwrap_or_default();
    format!("{} rose", signal.replace('_', " ")).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::witness::SKEW;

    const RISE: &str = "5s svc:a/b%b Anomaly anomaly=request_rate how=rose was=10.0 is=80.0\n";
    const HARM: &str = "9s svc:a/b%b Anomaly anomaly=error_rate how=rose was=0.0 is=0.2\n";

    #[test]
    fn a_surge_that_hurts_is_told_with_its_size() {
        let draft = one!(Detector, &[RISE, HARM].concat()).unwrap();
        let title = "Deployment b gets 8.0 times its usual requests, more than it can take";
        assert_eq!(draft.headline().to_lowercase(), title.to_lowercase());
        assert_eq!(draft.class(), EvidenceClass::LogTemplate);
        assert_eq!(draft.evidence().len(), 2);
        let throttled = "9s a/b-1/c%b CpuThrottled ratio=0.8";
        assert_eq!(
            one!(Detector, &[RISE, throttled].concat()).unwrap().class(),
            EvidenceClass::ObjectStatus
        );
        let again = RISE.replace("5s", "15s");
        assert_eq!(
            one!(Detector, &[RISE, HARM, &again].concat()).unwrap().root_time().as_nanos(),
            5_000_000_000
        );
    }

    #[test]
    fn what_came_before_it_leaves_a_doubt() {
        let cases = [
            (HARM.replace("9s", "0s"), "cascading_dependency"),
            ([HARM, "0s a/x%b RolloutStarted hash=n"].concat(), "bad_rollout"),
        ];
        for (more, alternative) in cases {
            let draft = one!(Detector, &[RISE, &more].concat()).unwrap();
            assert_eq!(draft.doubt().unwrap().alternative, alternative, "{more}");
        }
        let close = HARM.replace("9s", &format!("{}s", 5 - SKEW.as_secs()));
        assert!(
            one!(Detector, &[RISE, &close].concat()).unwrap().doubt().is_none(),
            "clocks differ"
        );
    }

    #[test]
    fn look_alikes_and_health_are_not_it() {
        for story in [
            RISE.to_owned(),
            HARM.to_owned(),
            [&RISE.replace("rose", "fell"), HARM].concat(),
            [RISE, &HARM.replace("a/b%b", "a/c%c")].concat(),
            [RISE, "9s a/b-1%b PodReadiness status=true"].concat(),
            [RISE, "9s svc:a/b%b Anomaly anomaly=memory how=rose"].concat(),
        ] {
            assert_eq!(one!(Detector, &story), None, "{story}");
        }
    }
}
