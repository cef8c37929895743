//! An object of the API stands still: its controller says that it is not ready, a deletion waits
//! for a finalizer, a budget lets no pod go while its node is to be emptied, a schedule of Jobs is
//! suspended or has missed its times.
//!
//! Evidence: the object's own condition or fields, told twice or counted; what the controller of
//! schedules says of missed times. Recordings tell of the former: such objects are not watched.
//! Root: the first such word.
//! Not this: `certificate_expired` (a Certificate whose time is over); `job_failed` (the schedule
//! starts Jobs, and they fail); `node_drain` (the pods did leave, and nobody else served);
//! `ingress_unserved` (an Ingress); a deletion or a resource that takes a moment.
//! First look: `kubectl describe` of the object: conditions, finalizers, `spec.suspend`; then the
//! log of its controller.

use std::collections::BTreeMap;

use tapio_engine::{Draft, Pattern, Spec, View};
use tapio_model::{Entity, Event, EvidenceClass, Kind, keys};

use crate::{Scene, last_words::quote, witness::count};

/// Scenes whose cause is known.
pub(crate) const SCENES: &[Scene] = &[
    Scene::cause(
        "object_stuck",
        "a secret that is to come from outside does not",
        r#"0s shop/x ObjectEvent sev=warn okind=ExternalSecret oname=db reason=NotReady msg="SecretSyncedError: could not get secret data from provider"
         1s shop/x ObjectEvent sev=warn okind=ExternalSecret oname=db reason=NotReady msg="SecretSyncedError: could not get secret data from provider""#,
    ),
    Scene::cause(
        "object_stuck",
        "a namespace that is to be deleted waits for a finalizer",
        r#"0s old/x ObjectEvent sev=warn okind=Namespace oname=old reason=DeletionStuck msg="it is to be deleted and has finalizers: a.io/f in 1 resource instances"
         1s old/x ObjectEvent sev=warn okind=Namespace oname=old reason=DeletionStuck msg="it is to be deleted and has finalizers: a.io/f in 1 resource instances""#,
    ),
    Scene::cause(
        "object_stuck",
        "a CronJob has missed too many times",
        r#"0s shop/x ObjectEvent sev=warn okind=CronJob oname=sync reason=TooManyMissedTimes count=59 msg="too many missed start times: 132. Set or decrease .spec.startingDeadlineSeconds or check clock skew"
         9s shop/x ObjectEvent sev=warn okind=CronJob oname=sync reason=TooManyMissedTimes count=1 msg="too many missed start times: 133. Set or decrease .spec.startingDeadlineSeconds or check clock skew""#,
    ),
    Scene::cause(
        "object_stuck",
        "a run that does not end keeps the next ones from starting",
        r#"0s shop/x ObjectEvent sev=warn okind=CronJob oname=sync reason=JobAlreadyActive msg="sync-29 goes on since Friday, and no two may run at once"
         1s shop/x ObjectEvent sev=warn okind=CronJob oname=sync reason=JobAlreadyActive msg="sync-29 goes on since Friday, and no two may run at once""#,
    ),
    Scene::cause(
        "job_failed",
        "the CronJob starts Jobs, and they fail",
        r#"0s shop/sync-1%Job/sync ContainerTerminated exit=1 reason=Error
         1s shop/x%Job/sync JobFailed oname=sync status=true reason=BackoffLimitExceeded
         2s shop/x ObjectEvent okind=CronJob oname=sync reason=SawCompletedJob msg="Saw completed job: sync-1""#,
    ),
    Scene::healthy(
        "a lone word of a resource that begins",
        r#"0s shop/x ObjectEvent sev=warn okind=ExternalSecret oname=db reason=NotReady msg="pending""#,
    ),
    Scene::healthy(
        "a time that was missed once",
        r#"0s shop/x ObjectEvent sev=warn okind=CronJob oname=sync reason=MissSchedule msg="Missed scheduled time to start a job""#,
    ),
];

const SPEC: Spec = Spec {
    slug: "object_stuck",
    title: "Object stands still",
    wakes_on: &[Kind::ObjectEvent],
    leads_to: &["missing_config", "cascading_dependency", "node_drain"],
};

/// Once may be a moment.
const WORDS_MIN: i64 = 2;

/// Why objects stand still, by the reason of the event: what is wrong, and what to do.
const REASONS: &[(&str, &str, &str)] = &[
    (
        "NotReady",
        "is not ready",
        "read the log of its controller, and correct what the condition names",
    ),
    (
        "CertificateNotReady",
        "is not ready",
        "follow its CertificateRequest, Order and Challenge: kubectl describe each",
    ),
    (
        "DeletionStuck",
        "cannot be deleted",
        "bring back the controller that owns the finalizer; take the finalizer away only if it is \
         gone for good",
    ),
    (
        "DisruptionNotAllowed",
        "lets no pod go: the drain waits",
        "add a replica or bring the missing ones back, or lower minAvailable of the budget",
    ),
    ("Suspended", "starts no Jobs", "set spec.suspend to false, if nobody means it to stand still"),
    (
        "TooManyMissedTimes",
        "starts no Jobs: it missed too many times",
        "set startingDeadlineSeconds, or create the CronJob anew; compare the clocks",
    ),
    (
        "FailedNeedsStart",
        "starts no Jobs: it missed too many times",
        "set startingDeadlineSeconds, or create the CronJob anew; compare the clocks",
    ),
    (
        "JobAlreadyActive",
        "starts no further Jobs: an earlier run still goes on",
        "see what the run waits for: kubectl logs job/JOB; set activeDeadlineSeconds",
    ),
    (
        "MissSchedule",
        "starts its Jobs too late",
        "see what the controller manager was short of, and whether concurrencyPolicy forbids",
    ),
];

/// Finds objects that stand still.
#[derive(Debug)]
pub(crate) struct Detector;

impl Pattern for Detector {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn detect(&self, view: &View<'_>) -> Vec<Draft> {
        let mut objects: BTreeMap<Entity, Vec<&Event>> = BTreeMap::new();
        for event in view.of(Kind::ObjectEvent).filter(|event| why(event).is_some()) {
            if let Some(object) = object(event) {
                objects.entry(object).or_default().push(event);
            }
        }
        objects.into_iter().filter_map(|(object, events)| draft(&object, &events)).collect()
    }
}

/// Returns what is wrong and what to do. That a certificate's time is over is another story.
fn why(event: &Event) -> Option<(&'static str, &'static str)> {
    let reason = event.attributes.text(keys::REASON)?;
    let (_, what, cure) = REASONS.iter().find(|(known, ..)| *known == reason)?;
    let is_own = !is_expired(event);
    // Probes and other controllers have the same word for what is no object of theirs.
    (is_own && event.attributes.text(keys::OBJECT_KIND).is_some()).then_some((*what, *cure))
}

/// Says whether a Certificate says that its time is over.
pub(super) fn is_expired(event: &Event) -> bool {
    event.kind == Kind::ObjectEvent
        && event.attributes.text(keys::REASON) == Some("CertificateNotReady")
        && event.message().to_ascii_lowercase().contains("expired")
}

/// Returns the object that an event is about.
pub(super) fn object(event: &Event) -> Option<Entity> {
    let kind = event.attributes.text(keys::OBJECT_KIND)?.into();
    let name = event.attributes.text(keys::OBJECT_NAME)?.into();
    let namespace = event.place.namespace.clone().unwrap_or_default();
    Some(Entity::Object { namespace, kind, name })
}

fn draft(object: &Entity, events: &[&Event]) -> Option<Draft> {
    let root = *events.first()?;
    let words: i64 = events.iter().map(|event| count(event)).sum();
    if words < WORDS_MIN {
        return None;
    }
    let (what, cure) = why(root)?;
    let said = quote(root);
    let draft = Draft::new(object.clone(), EvidenceClass::ObjectStatus, root, said.clone())
        .touching(&root.place)
        .title(format!("{object} {what}: {said}"))
        .because(format!("{object} {what}: {said}"))
        .advise(cure)
        .rule_out("job_failed", "no Job was seen to fail", &[]);
    let draft = secret(object).into_iter().fold(draft, Draft::touch);
    Some(events.iter().fold(draft, |draft, event| draft.symptom(event, quote(event))))
}

/// Returns the Secret that an object makes, which bears its name as a rule.
fn secret(object: &Entity) -> Option<Entity> {
    let Entity::Object { namespace, kind, name } = object else { return None };
    let is_maker = matches!(&**kind, "ExternalSecret" | "SealedSecret" | "Certificate");
    is_maker.then(|| Entity::Object {
        namespace: namespace.clone(),
        kind: "Secret".into(),
        name: name.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_that_stands_still_is_told_with_what_it_says() {
        for (scene, want) in [
            (&SCENES[0], "ExternalSecret shop/db is not ready: \"SecretSyncedError: could not get"),
            (&SCENES[1], "Namespace old/old cannot be deleted: \"it is to be deleted and has"),
            (&SCENES[2], "CronJob shop/sync starts no Jobs: it missed too many times: \"too many"),
        ] {
            let drafts = told!(Detector, scene.story);
            let [draft] = drafts.as_slice() else { panic!("{drafts:?}") };
            assert!(draft.headline().starts_with(want), "{}", draft.headline());
        }
    }

    #[test]
    fn what_is_said_once_or_of_somebody_else_is_none() {
        for words in [
            "okind=ExternalSecret oname=db reason=NotReady msg=x",
            "okind=Certificate oname=tls count=9 reason=CertificateNotReady msg=\"Expired: it is\"",
            "okind=Widget oname=db count=9 reason=Created msg=x",
            "count=9 reason=NotReady msg=x",
        ] {
            let drafts = told!(Detector, &format!("0s shop/x ObjectEvent sev=warn {words}"));
            assert_eq!(drafts, [], "{words}");
        }
    }
}
