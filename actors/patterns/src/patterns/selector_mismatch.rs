//! A Service leads nowhere: its selector matches no pod, or its port is one where nobody listens.
//!
//! Evidence: the service has no endpoint any more, ready or not, while its pods run on and none of
//! them left; or its selector, ports or type were changed, and since then it has no endpoint,
//! callers are refused, or nobody calls any more. The change alone is no evidence.
//! Root: the change of the Service; without it, the moment when the endpoints went.
//! Not this: `readiness_lost` (the endpoints are there and not ready); a scale to zero, a deletion
//! or a drain (the pods left, and the endpoints with them); `network_policy` (callers hear nothing
//! rather than being refused); `connection_failed` (refused, and the Service is as it was).
//! First look: `kubectl get endpointslices -l kubernetes.io/service-name=SERVICE`, then
//! `kubectl get service SERVICE -o wide` against `kubectl get pods --show-labels`.

use std::collections::BTreeSet;

use tapio_engine::{Draft, Pattern, Spec, View};
use tapio_model::{Entity, Event, EvidenceClass, Kind, Text, keys};

use super::connection_failed::attempt;
use crate::{
    Scene,
    witness::{spot, truth},
};

/// Scenes whose cause is known.
pub(crate) const SCENES: &[Scene] = &[
    Scene::cause(
        "selector_mismatch",
        "it sends to a port on which its pods do not listen",
        r#"0s svc:shop/web%web EndpointsChanged reason=PortNotServed msg="service web sends to port 8081, and its pods listen on 8080"
         1s svc:shop/web%web EndpointsChanged reason=PortNotServed msg="service web sends to port 8081, and its pods listen on 8080""#,
    ),
    Scene::cause(
        "selector_mismatch",
        "the selector was changed, and callers are refused",
        "0s svc:shop/db%db ServiceChanged okind=Service oname=db change=modified tapio.changed=selector trace=1
         1s svc:shop/db%db EndpointsChanged ready=0 not_ready=0 sev=info impact=0.0 trace=1
         3s shop/cart-1/cart@n1%cart ConnectRefused peer=db addr=10.96.0.7 port=5432 trace=2
         4s shop/cart-1/cart@n1%cart ConnectRefused peer=db addr=10.96.0.7 port=5432 trace=2",
    ),
    Scene::cause(
        "selector_mismatch",
        "the endpoints went, and the pods work on",
        "0s svc:shop/db%db EndpointsChanged ready=0 not_ready=0 sev=info impact=0.0
         4s shop/db-1/db@n1%db Log msg=\"checkpoint complete\"",
    ),
    Scene::cause(
        "selector_mismatch",
        "its selector takes none of the pods there are",
        r#"0s svc:shop/db EndpointsChanged ready=0 not_ready=0 reason=SelectorTakesNoPod msg="the selector app=db-v2 of service db takes no pod"
         1s svc:shop/db EndpointsChanged ready=0 not_ready=0 reason=SelectorTakesNoPod msg="the selector app=db-v2 of service db takes no pod""#,
    ),
    Scene::cause(
        "selector_mismatch",
        "the port was changed to one where nobody listens",
        "0s svc:shop/db%db ServiceChanged okind=Service oname=db change=modified tapio.changed=ports
         3s svc:shop/db%db Anomaly anomaly=request_rate how=fell was=40.0 is=0.0
         4s shop/cart-1/cart@n1%cart ConnectRefused peer=db addr=10.96.0.7 port=5432 count=3 trace=2
         5s shop/cart-1/cart@n1%cart Log sev=error msg=\"cannot reach db\" trace=2",
    ),
    Scene::cause(
        "readiness_lost",
        "the endpoints are there and not ready",
        "0s shop/db-1/db@n1%db ProbeFailed probe=readiness msg=\"Readiness probe failed: 503\" count=3
         1s shop/db-1@n1%db PodReadiness status=false
         2s svc:shop/db%db EndpointsChanged ready=0 not_ready=1",
    ),
    Scene::cause(
        "connection_failed",
        "nobody listens, and the Service is as it was",
        "3s shop/cart-1/cart@n1%cart ConnectRefused peer=db addr=10.96.0.7 port=5432
         4s shop/cart-1/cart@n1%cart ConnectRefused peer=db addr=10.96.0.7 port=5432",
    ),
    Scene::unknown(
        "selector_mismatch",
        "the endpoints went, and nothing is seen of the pods",
        "0s svc:shop/db%db EndpointsChanged ready=1 not_ready=0 sev=info impact=0.0
         9s svc:shop/db%db EndpointsChanged ready=0 not_ready=0 sev=info impact=0.0",
    ),
    Scene::healthy(
        "a scale to zero",
        "0s shop/x%db ObjectEvent reason=ScalingReplicaSet msg=\"Scaled down replica set db-6d4b75cb6d from 1 to 0\"
         1s shop/db-1/db@n1%db ContainerKilling reason=Killing msg=\"Stopping container db\"
         1s svc:shop/db%db EndpointsChanged ready=0 not_ready=0 sev=info impact=0.0
         2s shop/db-1/db@n1%db Log msg=\"shutting down\"",
    ),
    Scene::healthy(
        "a scale to zero, without the word of the kubelet",
        "0s shop/x%db ObjectEvent reason=ScalingReplicaSet msg=\"Scaled down replica set db-6d4b75cb6d from 1 to 0\"
         1s svc:shop/db%db EndpointsChanged ready=0 not_ready=0 sev=info impact=0.0",
    ),
    Scene::healthy(
        "a selector that was changed to other pods of the service",
        "0s svc:shop/db%db ServiceChanged okind=Service oname=db change=modified tapio.changed=selector
         1s svc:shop/db%db EndpointsChanged ready=0 not_ready=0 sev=info impact=0.0
         1s svc:shop/db%db EndpointsChanged ready=2 not_ready=0 sev=info impact=0.0
         4s shop/db-1/db@n1%db Log msg=\"checkpoint complete\"",
    ),
];

const SPEC: Spec = Spec {
    slug: "selector_mismatch",
    title: "Service leads nowhere",
    wakes_on: &[Kind::EndpointsChanged, Kind::ServiceChanged],
    leads_to: &[
        "cannot_start",
        "connection_failed",
        "cascading_dependency",
        "readiness_lost",
        "liveness_kill",
        "service_abnormal",
    ],
};

/// What of a Service decides where its traffic goes.
const ROUTING: &[&str] = &["selector", "ports", "type", "clusterIP", "externalName"];

/// Finds services that lead nowhere.
#[derive(Debug)]
pub(crate) struct Detector;

impl Pattern for Detector {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn detect(&self, view: &View<'_>) -> Vec<Draft> {
        let woken = view.events().filter(|event| SPEC.wakes_on.contains(&event.kind));
        let services: BTreeSet<Text> = woken.filter_map(|it| it.place.service.clone()).collect();
        services.iter().filter_map(|service| Seen::of(view, service)?.draft()).collect()
    }
}

/// What was seen of one service.
#[derive(Debug)]
struct Seen<'a> {
    service: &'a Text,
    change: Option<&'a Event>,
    empty: Option<&'a Event>,
    /// A sign that a pod of the workload runs on.
    at_work: Option<&'a Event>,
    refused: Vec<&'a Event>,
    fell: Option<&'a Event>,
}

impl<'a> Seen<'a> {
    /// Collects what was seen; `None` if a pod left, which explains everything.
    fn of(view: &View<'a>, service: &'a Text) -> Option<Self> {
        let mine = |event: &&'a Event| event.place.service.as_ref() == Some(service);
        let change = view.of(Kind::ServiceChanged).filter(mine).rfind(|it| reroutes(it));
        let empty = view.of(Kind::EndpointsChanged).rfind(mine);
        let empty = empty.filter(|empty| is_empty(empty) || is_said(empty));
        if view.events().any(leaves) {
            return None;
        }
        let since = [change, empty].into_iter().flatten().map(Event::order).min()?;
        let after = || view.events().filter(|event| event.order() > since);
        let owner = empty.and_then(|empty| empty.place.workload.as_ref());
        let at_work = after().find(|event| {
            event.place.pod.is_some() && owner.is_some() && event.place.workload.as_ref() == owner
        });
        let refused = after().filter(|event| {
            event.kind == Kind::ConnectRefused
                && event.attributes.text(keys::PEER_SERVICE) == Some(service)
        });
        let fell = after().filter(mine).find(|event| {
            let text = |key| event.attributes.text(key);
            event.kind == Kind::Anomaly
                && text(keys::ANOMALY_SIGNAL) == Some("request_rate")
                && matches!(text(keys::ANOMALY_CHANGE), Some("fell" | "vanished"))
        });
        Some(Self { service, change, empty, at_work, refused: refused.collect(), fell })
    }

    fn draft(&self) -> Option<Draft> {
        let shows = self.empty.or(self.refused.first().copied()).or(self.fell);
        let Some(shows) = shows else { return self.change.map(|change| self.waiting(change)) };
        let is_proved = self.change.is_some()
            || self.empty.is_some_and(is_said)
            || (self.empty.is_some() && self.at_work.is_some());
        if !is_proved {
            return None;
        }
        let root = self.change.or(self.empty)?;
        let service = self.service;
        let namespace = root.place.namespace.clone().unwrap_or_default();
        let subject = Entity::Service { namespace, name: service.clone() };
        let draft = Draft::new(subject, EvidenceClass::ObjectStatus, root, describe(root))
            .touching(&root.place)
            .touching(&shows.place)
            .title(self.title())
            .because(self.because())
            .advise(format!("kubectl get endpointslices -l kubernetes.io/service-name={service}"))
            .advise(
                "restore selector and targetPort, or the pods' labels; check them before merging",
            );
        Some(self.rule_out(self.cite(draft)))
    }

    /// Returns the change as one that waits for callers who are refused: of them other traces tell.
    fn waiting(&self, change: &Event) -> Draft {
        let service = self.service;
        let namespace = change.place.namespace.clone().unwrap_or_default();
        let subject = Entity::Service { namespace, name: service.clone() };
        let changed = change.attributes.text(keys::CHANGED).unwrap_or("it");
        Draft::new(subject, EvidenceClass::ObjectStatus, change, describe(change))
            .touching(&change.place)
            .title(self.title())
            .because(format!(
                "{changed} of service {service} changed, and callers are refused since"
            ))
            .advise(format!("kubectl get endpointslices -l kubernetes.io/service-name={service}"))
            .advise("restore selector and targetPort; check them before merging")
            .missing("the endpoints of the service")
            .candidate(&["connection_failed"])
    }

    fn title(&self) -> String {
        let service = self.service;
        match self.empty {
            Some(empty) if is_said(empty) => {
                format!("service {service} leads nowhere: {}", empty.message())
            }
            Some(_) => format!("service {service} selects no pod any more"),
            None => format!("service {service} leads where nobody listens"),
        }
    }

    fn because(&self) -> String {
        let service = self.service;
        let changed = self.change.and_then(|change| change.attributes.text(keys::CHANGED));
        let shows = match (self.empty, self.refused.first()) {
            (Some(_), _) => "it has no endpoint",
            (None, Some(_)) => "callers are refused",
            (None, None) => "nobody calls it",
        };
        match (self.change, changed) {
            (Some(_), Some(what)) => format!("{what} of service {service} changed, and {shows}"),
            (Some(_), None) => format!("service {service} changed, and {shows}"),
            (None, _) if self.empty.is_some_and(is_misled) => {
                let said = self.empty.map(Event::message).unwrap_or_default();
                format!("callers of service {service} are refused: {said}")
            }
            (None, _) if self.empty.is_some_and(is_said) => {
                format!("service {service} has no endpoint: no pod has the labels it asks for")
            }
            (None, _) => format!("service {service} lost its endpoints while its pods work on"),
        }
    }

    fn cite(&self, draft: Draft) -> Draft {
        let steps = [self.change, self.empty].into_iter().flatten();
        let mut draft = steps.fold(draft, |draft, event| draft.step(event, describe(event)));
        for event in &self.refused {
            draft = draft.symptom(event, attempt(event)).touching(&event.place);
        }
        draft = match self.fell {
            Some(fell) => draft.symptom(fell, "nobody calls it any more"),
            None => draft,
        };
        match self.change {
            Some(_) => draft,
            None => draft.missing("the change of the Service, or of its pods' labels"),
        }
    }

    fn rule_out(&self, draft: Draft) -> Draft {
        let draft = match (self.empty, self.at_work) {
            (Some(empty), Some(work)) => {
                draft.step(work, format!("{} works on", spot(&work.place))).rule_out(
                    "readiness_lost",
                    "no pod of it fails, and none is listed",
                    &[empty, work],
                )
            }
            (Some(empty), None) => {
                draft.rule_out("readiness_lost", "no endpoint is listed, ready or not", &[empty])
            }
            (None, _) => draft.rule_out("readiness_lost", "its endpoints did not change", &[]),
        };
        match self.refused.first() {
            Some(refused) => draft.rule_out("network_policy", "an RST came back", &[refused]),
            None => draft,
        }
    }
}

fn reroutes(change: &Event) -> bool {
    let changed = change.attributes.text(keys::CHANGED).unwrap_or_default();
    change.attributes.text(keys::CHANGE) != Some("added")
        && (change.attributes.text(keys::CHANGE) == Some("deleted")
            || changed.split(", ").any(|field| ROUTING.contains(&field)))
}

/// Says whether no endpoint is listed at all, be it ready or not.
fn is_empty(event: &&Event) -> bool {
    let none = |key| event.attributes.int(key) == Some(0);
    none(keys::ENDPOINTS_READY) && none(keys::ENDPOINTS_NOT_READY)
}

/// Says whether the labels of the pods are known, and the selector takes none of them; or their
/// ports, and the Service sends to none of those.
fn is_said(empty: &Event) -> bool {
    let reason = empty.attributes.text(keys::REASON);
    matches!(reason, Some("SelectorTakesNoPod" | "PortNotServed"))
}

fn is_misled(empty: &Event) -> bool {
    empty.attributes.text(keys::REASON) == Some("PortNotServed")
}

/// Says whether a pod left or failed, as its endpoint then does too.
fn leaves(event: &Event) -> bool {
    matches!(
        event.kind,
        Kind::ContainerKilling
            | Kind::ContainerTerminated
            | Kind::ContainerWaiting
            | Kind::PodEvicted
            | Kind::OomKill
            | Kind::JobFailed
    ) || (event.kind == Kind::PodReadiness && truth(event, keys::STATUS) == Some(false))
        || is_scaled_down(event)
}

/// Says whether somebody asked for fewer pods.
pub(super) fn is_scaled_down(event: &Event) -> bool {
    let reason = event.attributes.text(keys::REASON);
    event.kind == Kind::ObjectEvent
        && (matches!(reason, Some("SuccessfulDelete" | "ScaledToZero"))
            || event.message().starts_with("Scaled down"))
}

fn describe(event: &Event) -> String {
    let text = |key| event.attributes.text(key).unwrap_or_default();
    let service = event.place.service.as_deref().unwrap_or("a service");
    if is_misled(event) {
        return event.message().to_owned();
    }
    if event.kind == Kind::ServiceChanged {
        return format!("service {service} {}: {}", text(keys::CHANGE), text(keys::CHANGED));
    }
    format!("service {service} has no endpoint, ready or not")
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHANGE: &str =
        "0s svc:shop/db%db ServiceChanged change=modified tapio.changed=selector\n";
    const EMPTY: &str = "1s svc:shop/db%db EndpointsChanged ready=0 not_ready=0\n";
    const WORK: &str = "4s shop/db-1/db@n1%db Log msg=served\n";
    const REFUSED: &str = "3s shop/cart-1/cart%cart ConnectRefused peer=db addr=10.96.0.7\n";

    #[test]
    fn a_changed_selector_that_matches_nothing_is_the_root() {
        let draft = one!(Detector, &[CHANGE, EMPTY, WORK].concat()).unwrap();
        assert_eq!(draft.headline(), "service db selects no pod any more");
        assert_eq!(draft.root_cause(), "selector of service db changed, and it has no endpoint");
        assert_eq!(draft.evidence()[0].kind, Kind::ServiceChanged);
        assert!(draft.gaps().is_empty());
        assert!(draft.touches().iter().any(|it| it.to_string() == "Deployment shop/db"));
    }

    #[test]
    fn pods_that_work_on_need_no_change_to_be_seen() {
        let draft = one!(Detector, &[EMPTY, WORK].concat()).unwrap();
        assert_eq!(draft.evidence()[0].kind, Kind::EndpointsChanged);
        assert_eq!(draft.gaps().len(), 1);
        assert_eq!(one!(Detector, EMPTY), None, "without them nothing is decided");
    }

    #[test]
    fn a_changed_port_needs_somebody_who_misses_it() {
        let ports = CHANGE.replace("selector", "\"ports, type\"");
        assert!(one!(Detector, &ports).unwrap().is_candidate(), "of callers other traces tell");
        let draft = one!(Detector, &[&ports, REFUSED].concat()).unwrap();
        assert_eq!(draft.headline(), "service db leads where nobody listens");
        assert_eq!(draft.ruled_out()[1].pattern, "network_policy");
        let fell = "5s svc:shop/db Anomaly anomaly=request_rate how=vanished";
        assert!(
            one!(Detector, &[&ports, fell].concat())
                .unwrap()
                .root_cause()
                .ends_with("nobody calls it")
        );
    }

    #[test]
    fn look_alikes_and_health_are_not_it() {
        let policy = CHANGE.replace("selector", "trafficPolicy");
        for story in [
            CHANGE.to_owned(),
            [&policy, REFUSED].concat(),
            [&*CHANGE.replace("modified", "added"), REFUSED].concat(),
            [&REFUSED.replace("3s", "0s"), &*CHANGE.replace("0s", "9s")].concat(),
            [CHANGE, &REFUSED.replace("peer=db", "peer=mq")].concat(),
            [EMPTY, WORK, "4s shop/db-1/db%db ContainerKilling"].concat(),
            [EMPTY, WORK, "4s shop/db-1%db PodReadiness status=false"].concat(),
            [EMPTY, WORK, "0s shop/x%db ObjectEvent msg=\"Scaled down replica set db to 0\""]
                .concat(),
            [EMPTY, WORK, "2s svc:shop/db%db EndpointsChanged ready=1 not_ready=0"].concat(),
            [&EMPTY.replace("not_ready=0", "not_ready=1"), WORK].concat(),
        ] {
            assert_eq!(one!(Detector, &story).filter(|it| !it.is_candidate()), None, "{story}");
        }
    }
}
