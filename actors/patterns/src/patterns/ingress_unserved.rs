//! An Ingress names a class that no controller serves, or a Service that is not there: nothing that
//! comes from outside arrives.
//!
//! Evidence: an Ingress whose class is not among those of the cluster; without them, one that never
//! got an address; one whose Service is not found. Recordings tell of it: Ingresses are not watched.
//! Root: the Ingress.
//! Not this: `selector_mismatch` (the Ingress is served, and the Service behind it leads nowhere);
//! `readiness_lost` (the pods behind it are not ready); an Ingress of a known class that waits for
//! its address a moment.
//! First look: `kubectl get ingressclass` against `kubectl get ingress -A`, then the pods of the
//! ingress controller.

use tapio_engine::{Draft, Pattern, Spec, View};
use tapio_model::{Entity, Event, EvidenceClass, Kind, keys};

use crate::{Scene, last_words::quote};

/// Scenes whose cause is known.
pub(crate) const SCENES: &[Scene] = &[
    Scene::cause(
        "ingress_unserved",
        "its class is not there",
        r#"0s shop/x ObjectEvent sev=warn okind=Ingress oname=web reason=IngressClassNotFound msg="Ingress web is of class inside"
         1s shop/x ObjectEvent sev=warn okind=Ingress oname=web reason=IngressClassNotFound msg="Ingress web is of class inside""#,
    ),
    Scene::cause(
        "ingress_unserved",
        "two of them, of one class that is not there",
        r#"0s shop/x ObjectEvent sev=warn okind=Ingress oname=web reason=IngressClassNotFound msg="Ingress web is of class inside"
         1s shop/x ObjectEvent sev=warn okind=Ingress oname=api reason=IngressClassNotFound msg="Ingress api is of class inside""#,
    ),
    Scene::cause(
        "selector_mismatch",
        "the Ingress is served, and the Service behind it takes no pod",
        r#"0s svc:shop/web EndpointsChanged ready=0 not_ready=0 reason=SelectorTakesNoPod msg="the selector app=web of service web takes no pod"
         1s svc:shop/web EndpointsChanged ready=0 not_ready=0 reason=SelectorTakesNoPod msg="the selector app=web of service web takes no pod"
         1s shop/x ObjectEvent okind=Ingress oname=web reason=Sync msg="Scheduled for sync""#,
    ),
    Scene::unknown(
        "ingress_unserved",
        "it has no address, and nobody listed the classes",
        r#"0s shop/x ObjectEvent sev=warn okind=Ingress oname=web reason=IngressWithoutAddress msg="Ingress web is of class inside"
         1s shop/x ObjectEvent sev=warn okind=Ingress oname=web reason=IngressWithoutAddress msg="Ingress web is of class inside""#,
    ),
    Scene::healthy(
        "its controller reads it again",
        r#"0s shop/x ObjectEvent okind=Ingress oname=web reason=Sync msg="Scheduled for sync"
         9s shop/x ObjectEvent okind=Ingress oname=web reason=Sync msg="Scheduled for sync""#,
    ),
    Scene::cause(
        "ingress_unserved",
        "the Service behind it does not exist",
        r#"0s shop/x ObjectEvent sev=warn okind=Ingress oname=web reason=IngressBackendNotFound msg="Ingress web leads to Service site (services \"site\" not found)"
         1s shop/x ObjectEvent sev=warn okind=Ingress oname=web reason=IngressBackendNotFound msg="Ingress web leads to Service site (services \"site\" not found)""#,
    ),
];

const SPEC: Spec = Spec {
    slug: "ingress_unserved",
    title: "Ingress that nobody serves",
    wakes_on: &[Kind::ObjectEvent],
    leads_to: &["cascading_dependency"],
};

/// Finds Ingresses that nobody serves.
#[derive(Debug)]
pub(crate) struct Detector;

impl Pattern for Detector {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn detect(&self, view: &View<'_>) -> Vec<Draft> {
        let told = view.of(Kind::ObjectEvent).filter(|event| reason(event).is_some());
        let events: Vec<_> = told.collect();
        events.first().and_then(|first| draft(first, &events)).into_iter().collect()
    }
}

/// Returns why nobody serves it, if that is what the event says.
fn reason(event: &Event) -> Option<&str> {
    let reason = event.attributes.text(keys::REASON)?;
    let known = ["IngressClassNotFound", "IngressWithoutAddress", "IngressBackendNotFound"];
    known.contains(&reason).then_some(reason)
}

fn entity(event: &Event) -> Option<Entity> {
    let name = event.attributes.text(keys::OBJECT_NAME)?.into();
    let namespace = event.place.namespace.clone().unwrap_or_default();
    Some(Entity::Object { namespace, kind: "Ingress".into(), name })
}

/// Returns what to do, and what else.
fn cure(event: &Event) -> (&'static str, &'static str) {
    if reason(event) == Some("IngressBackendNotFound") {
        let correct = "kubectl get services, and correct the backend of the Ingress";
        return (correct, "or create the Service that it names");
    }
    let correct = "kubectl get ingressclass, and correct ingressClassName";
    (correct, "or install the controller that serves the class")
}

fn draft(first: &Event, events: &[&Event]) -> Option<Draft> {
    let subject = entity(first)?;
    let said = quote(first);
    let draft = Draft::new(subject.clone(), EvidenceClass::ObjectStatus, first, said.clone())
        .touching(&first.place)
        .rule_out("selector_mismatch", "no request comes as far as its Service", &[first])
        .advise(cure(first).0)
        .advise(cure(first).1);
    let draft = events.iter().filter_map(|event| entity(event)).fold(draft, Draft::touch);
    let draft = events.iter().fold(draft, |draft, event| draft.symptom(event, quote(event)));
    if reason(first) == Some("IngressBackendNotFound") {
        let led = first.message().split_once("leads to ").map_or("", |(_, to)| to);
        return Some(
            draft
                .title(format!("{subject} leads to nobody: {led}"))
                .because(format!("{subject} names what is not there: {said}")),
        );
    }
    if reason(first) == Some("IngressClassNotFound") {
        return Some(
            draft
                .title(format!("{subject} is served by nobody: its class is not there"))
                .because(format!("no IngressClass has the name that {subject} asks for: {said}")),
        );
    }
    Some(
        draft
            .title(format!("{subject} has no address: perhaps nobody serves its class"))
            .because(format!("no controller gave {subject} an address: {said}"))
            .missing("the classes of the cluster")
            .or(
                "cannot_start",
                "the controller of its class does not run",
                "kubectl get ingressclass: if the class is there, look at its controller's pods",
            ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_nobody_serves_are_one_draft() {
        let drafts = told!(Detector, SCENES[1].story);
        let [draft] = drafts.as_slice() else { panic!("{drafts:?}") };
        assert_eq!(
            draft.headline(),
            "Ingress shop/web is served by nobody: its class is not there"
        );
        assert!(draft.root_cause().contains("class inside"), "{}", draft.root_cause());
        assert_eq!(draft.evidence().len(), 2);
    }

    #[test]
    fn other_words_about_an_ingress_are_not_it() {
        assert_eq!(told!(Detector, SCENES[4].story), []);
        let drafts = told!(Detector, SCENES[3].story);
        assert_eq!(drafts[0].doubt().map(|doubt| doubt.alternative), Some("cannot_start"));
    }
}
