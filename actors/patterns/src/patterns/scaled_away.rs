//! Somebody scaled a workload to zero or deleted it, and others still call it.
//!
//! Evidence: a workload was scaled to no pod or wants none, or all its pods were stopped and its service has no
//! endpoint left, no version of it came instead, and callers are refused, get no answer or find no
//! name only since. The change alone is no evidence: nobody may need it any more.
//! Root: the word of the controller that scaled it, else the first pod that was stopped.
//! Not this: `bad_rollout` (another version runs instead); `readiness_lost` (the pods are there and
//! not ready); `selector_mismatch` (the pods work on, and the Service takes none of them);
//! `node_drain` and `memory_eviction` (a node took the pods); `connection_failed` (callers were
//! refused before).
//! First look: `kubectl get deployment WORKLOAD`, then who scaled it: `kubectl describe` it, its
//! autoscaler and the audit log.

use std::time::Duration;

use tapio_engine::{Draft, Pattern, Spec, View};
use tapio_model::{Entity, Event, EvidenceClass, Kind, keys};

use crate::{
    Scene,
    last_words::quote,
    witness::{SKEW, touch_services, truth},
};

/// Scenes whose cause is known.
pub(crate) const SCENES: &[Scene] = &[
    Scene::cause(
        "scaled_away",
        "scaled to zero, and a client is refused by its service",
        r#"0s shop/x%cart ObjectEvent reason=ScalingReplicaSet msg="Scaled down replica set cart-7f6b8d9c4 from 2 to 0" trace=1
         1s shop/cart-7f6b8d9c4-x2kq9/cart@n1%cart ContainerKilling sev=info reason=Killing msg="Stopping container cart" trace=1
         1s svc:shop/cart%cart EndpointsChanged sev=info impact=0.0 ready=0 not_ready=0 trace=1
         4s shop/checkout-1/checkout@n1%checkout ConnectRefused addr=10.96.0.12 port=8080 peer=cart trace=2
         5s shop/checkout-1/checkout@n1%checkout ConnectRefused addr=10.96.0.12 port=8080 peer=cart trace=2
         9s shop/checkout-1/checkout@n1%checkout ConnectRefused addr=10.96.0.12 port=8080 peer=cart trace=2"#,
    ),
    Scene::cause(
        "scaled_away",
        "deleted, and a client gets no answer from the address it kept",
        r#"0s shop/cart-7f6b8d9c4-x2kq9/cart@n1%cart ContainerKilling sev=info reason=Killing msg="Stopping container cart" trace=1
         1s svc:shop/cart%cart EndpointsChanged sev=info impact=0.0 ready=0 not_ready=0 trace=1
         3s shop/cart-7f6b8d9c4-x2kq9/cart@n1%cart ContainerTerminated sev=info exit=143 reason=Error trace=1
         4s shop/checkout-1/checkout@n1%checkout SynRetransmit addr=10.42.0.9 port=8080 peer=cart count=3 trace=2
         9s shop/checkout-1/checkout@n1%checkout ConnectTimeout addr=10.42.0.9 port=8080 peer=cart trace=2"#,
    ),
    Scene::cause(
        "scaled_away",
        "a StatefulSet wants no pod any more, of which no controller says that it scales",
        r#"0s shop/x%StatefulSet/db ObjectEvent sev=info reason=ScaledToZero tapio.desired=0 msg="StatefulSet db was scaled from 1 replicas to 0" trace=1
         4s shop/checkout-1/checkout@n1%checkout ConnectRefused addr=10.96.0.12 port=5432 peer=db trace=2
         5s shop/checkout-1/checkout@n1%checkout ConnectRefused addr=10.96.0.12 port=5432 peer=db trace=2
         9s shop/checkout-1/checkout@n1%checkout ConnectRefused addr=10.96.0.12 port=5432 peer=db trace=2"#,
    ),
    Scene::cause(
        "connection_failed",
        "a client was refused long before a StatefulSet wants no pod any more",
        r#"0s shop/checkout-1/checkout@n1%checkout ConnectRefused addr=10.96.0.12 port=5432 peer=db trace=2
         9s shop/checkout-1/checkout@n1%checkout ConnectRefused addr=10.96.0.12 port=5432 peer=db trace=2
         9s shop/x%StatefulSet/db ObjectEvent sev=info reason=ScaledToZero tapio.desired=0 msg="StatefulSet db was scaled from 1 replicas to 0" trace=1
         14s shop/checkout-1/checkout@n1%checkout ConnectRefused addr=10.96.0.12 port=5432 peer=db trace=2"#,
    ),
    Scene::healthy(
        "at zero for long, and nobody needs it",
        r#"0s shop/x%StatefulSet/db ObjectEvent sev=info reason=ScaledToZero tapio.desired=0 msg="StatefulSet db is scaled to 0 replicas""#,
    ),
    Scene::cause(
        "connection_failed",
        "a client was refused long before",
        r#"0s shop/checkout-1/checkout@n1%checkout ConnectRefused addr=10.96.0.12 port=8080 peer=cart trace=2
         9s shop/checkout-1/checkout@n1%checkout ConnectRefused addr=10.96.0.12 port=8080 peer=cart trace=2
         9s shop/x%cart ObjectEvent reason=ScalingReplicaSet msg="Scaled down replica set cart-7f6b8d9c4 from 2 to 0" trace=1
         10s shop/cart-7f6b8d9c4-x2kq9/cart@n1%cart ContainerKilling sev=info reason=Killing msg="Stopping container cart" trace=1
         14s shop/checkout-1/checkout@n1%checkout ConnectRefused addr=10.96.0.12 port=8080 peer=cart trace=2"#,
    ),
    Scene::cause(
        "connection_failed",
        "another workload was scaled to zero",
        r#"0s shop/x%mail ObjectEvent reason=ScalingReplicaSet msg="Scaled down replica set mail-7f6b8d9c4 from 2 to 0" trace=1
         1s shop/mail-7f6b8d9c4-x2kq9/mail@n1%mail ContainerKilling sev=info reason=Killing msg="Stopping container mail" trace=1
         4s shop/checkout-1/checkout@n1%checkout ConnectRefused addr=10.96.0.12 port=8080 peer=cart trace=2
         9s shop/checkout-1/checkout@n1%checkout ConnectRefused addr=10.96.0.12 port=8080 peer=cart trace=2"#,
    ),
    Scene::cause(
        "container_oom",
        "the peer was killed at its limit before somebody scaled it to zero",
        r#"0s shop/cart-7f6b8d9c4-x2kq9/cart@n1%cart OomKill svc=cart constraint=memcg pid=42 proc=java msg="Memory cgroup out of memory: Killed process 42 (java)" trace=1
         1s shop/cart-7f6b8d9c4-x2kq9/cart@n1%cart ContainerTerminated exit=137 reason=OOMKilled trace=1
         2s shop/checkout-1/checkout@n1%checkout ConnectRefused addr=10.96.0.12 port=8080 peer=cart trace=2
         9s shop/x%cart ObjectEvent reason=ScalingReplicaSet msg="Scaled down replica set cart-7f6b8d9c4 from 2 to 0" trace=1
         14s shop/checkout-1/checkout@n1%checkout ConnectRefused addr=10.96.0.12 port=8080 peer=cart trace=2"#,
    ),
    Scene::unknown(
        "connection_failed",
        "only the application says that it gets no answer, and nobody says from whom",
        r#"0s shop/x%cart ObjectEvent reason=ScalingReplicaSet msg="Scaled down replica set cart-7f6b8d9c4 from 2 to 0" trace=1
         4s shop/checkout-1/checkout@n1%checkout ConnectTimeout src=app addr=10.96.0.12 port=8080 msg="i/o timeout" trace=2
         9s shop/checkout-1/checkout@n1%checkout ConnectTimeout src=app addr=10.96.0.12 port=8080 msg="i/o timeout" trace=2"#,
    ),
    Scene::healthy(
        "scaled to zero, and nobody needs it",
        r#"0s shop/x%cart ObjectEvent reason=ScalingReplicaSet msg="Scaled down replica set cart-7f6b8d9c4 from 2 to 0"
         1s shop/cart-7f6b8d9c4-x2kq9/cart@n1%cart ContainerKilling sev=info reason=Killing msg="Stopping container cart"
         1s svc:shop/cart%cart EndpointsChanged sev=info impact=0.0 ready=0 not_ready=0"#,
    ),
];

const SPEC: Spec = Spec {
    slug: "scaled_away",
    title: "Scaled to zero or deleted while it is called",
    wakes_on: &[Kind::ObjectEvent, Kind::ContainerKilling],
    leads_to: EFFECTS,
};

/// What those notice who still call it.
const EFFECTS: &[&str] = &["connection_failed", "cascading_dependency"];

/// How long its absence may be blamed by those who call it anew.
const LATELY: Duration = Duration::from_secs(120);

/// Changes that are looked at; a workload of a thousand pods stops a thousand times.
const CHANGES_MAX: usize = 32;

/// Finds workloads that were taken away.
#[derive(Debug)]
pub(crate) struct Detector;

impl Pattern for Detector {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn detect(&self, view: &View<'_>) -> Vec<Draft> {
        let mut drafts: Vec<Draft> = Vec::new();
        let is_change = |event: &&Event| is_scaled_to_zero(event) || is_stopped(view, event);
        for change in view.events().filter(is_change).take(CHANGES_MAX) {
            let is_known = |workload: &Entity| drafts.iter().any(|it| it.subject() == workload);
            let workload = Entity::workload(&change.place).filter(|it| !is_known(it));
            if let Some(workload) = workload.filter(|_| is_gone(view, change)) {
                drafts.push(draft(view, &workload, change));
            }
        }
        drafts
    }
}

/// Says whether a workload wants no pod, or a controller lets none of a template run. Of a rollout it
/// says so too.
fn is_scaled_to_zero(event: &Event) -> bool {
    let said = event.message();
    // The count before stands before or behind, by the controller's version.
    let is_said = || {
        said.starts_with("Scaled down") && (said.ends_with(" to 0") || said.contains(" to 0 from "))
    };
    event.kind == Kind::ObjectEvent && (is_emptied(event) || is_said())
}

/// Says whether the workload itself says that it is to have no pod: no version of it runs, then.
fn is_emptied(event: &Event) -> bool {
    event.attributes.text(keys::REASON) == Some("ScaledToZero")
}

fn is_scaled_up(event: &Event) -> bool {
    event.message().starts_with("Scaled up")
}

/// Says whether a pod was asked to stop, and no endpoint is left of its workload since.
fn is_stopped(view: &View<'_>, event: &Event) -> bool {
    let none = |change: &Event, key| change.attributes.int(key) == Some(0);
    event.kind == Kind::ContainerKilling
        && event.message().starts_with("Stopping container")
        && view.of(Kind::EndpointsChanged).any(|change| {
            change.place.is_same_workload(&event.place)
                && change.time.after(SKEW) >= event.time
                && none(change, keys::ENDPOINTS_READY)
                && none(change, keys::ENDPOINTS_NOT_READY)
        })
}

/// Says whether nothing came instead and nothing but somebody's wish ended it.
fn is_gone(view: &View<'_>, change: &Event) -> bool {
    let mine = view.events().filter(|event| event.place.is_same_workload(&change.place));
    let is_other = |event: &Event| {
        let is_after = event.time.after(SKEW) >= change.time;
        let is_ready = || truth(event, keys::STATUS) == Some(true);
        let hash = event.attributes.text(keys::TEMPLATE_HASH);
        let is_new = || hash.is_none_or(|hash| !change.message().contains(hash));
        let begins = matches!(event.kind, Kind::ContainerStarted | Kind::PodScheduled)
            || (event.kind == Kind::PodReadiness && is_ready());
        let is_in_its_place = || is_new() && (is_after || !is_emptied(change));
        (event.kind == Kind::RolloutStarted && is_in_its_place())
            || (event.kind == Kind::ObjectEvent && is_after && is_scaled_up(event))
            || (begins && event.time > change.time)
            || matches!(event.kind, Kind::PodEvicted | Kind::OomKill | Kind::ContainerWaiting)
    };
    view.now().since(change.time) <= LATELY && !mine.into_iter().any(is_other)
}

fn draft(view: &View<'_>, workload: &Entity, change: &Event) -> Draft {
    let is_said = change.kind == Kind::ObjectEvent;
    let (what, class) = if is_emptied(change) {
        ("is scaled to zero", EvidenceClass::ObjectStatus)
    } else if is_said {
        ("was scaled to zero", EvidenceClass::EventText)
    } else {
        ("was stopped, and nothing came instead", EvidenceClass::ObjectStatus)
    };
    let draft = Draft::new(workload.clone(), class, change, quote(change))
        .touching(&change.place)
        .title(format!("{workload} {what}, and others still call it"))
        .because(format!("{workload} {what}: {}; its callers reach nobody since", quote(change)))
        .advise("scale it up again, or take its callers' address of it away")
        .advise("see who scaled or deleted it: its autoscaler, a pipeline, the audit log")
        .rule_out("bad_rollout", "no other version of it began", &[]);
    let stopped = view.of(Kind::ContainerKilling).find(|event| {
        event.place.is_same_workload(&change.place) && event.time.after(SKEW) >= change.time
    });
    let draft = match stopped {
        Some(stopped) => draft.step(stopped, quote(stopped)),
        None => draft,
    };
    touch_services(view, draft, &change.place).candidate(EFFECTS)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ZERO: &str = "1s shop/x%cart ObjectEvent reason=ScalingReplicaSet msg=\"Scaled down replica set cart-old to 0\"\n";
    const STOP: &str =
        "1s shop/cart-1/cart%cart ContainerKilling sev=info msg=\"Stopping container cart\"\n";
    const EMPTY: &str = "2s svc:shop/basket%cart EndpointsChanged ready=0 not_ready=0\n";

    #[test]
    fn a_workload_without_pods_waits_for_whoever_calls_it() {
        for (story, service) in [
            (ZERO.to_owned(), "service cart"),
            ([ZERO, STOP, EMPTY].concat(), "service basket"),
            ([STOP, EMPTY].concat(), "service basket"),
        ] {
            let draft = one!(Detector, &story).unwrap();
            assert!(draft.is_candidate(), "{story}");
            assert!(draft.touches().iter().any(|it| it.to_string() == service), "{draft:?}");
        }
        assert!(one!(Detector, ZERO).unwrap().headline().contains("was scaled to zero"));
    }

    #[test]
    fn what_came_instead_or_took_it_is_another_story() {
        let cases = [
            "0s shop/x%cart RolloutStarted hash=newer",
            "0s shop/x%cart RolloutStarted generation=7",
            "1s shop/x%cart ObjectEvent msg=\"Scaled up replica set cart-new to 1\"",
            "3s shop/cart-2/cart%cart ContainerStarted",
            "3s shop/cart-2%cart PodReadiness status=true",
            "0s shop/cart-1%cart PodEvicted",
            "200s shop/cart-1/cart%cart Log msg=bye",
        ];
        for other in cases {
            assert_eq!(one!(Detector, &[ZERO, other].concat()), None, "{other}");
        }
        assert!(
            one!(Detector, &[ZERO, "0s shop/x%cart RolloutStarted hash=old"].concat()).is_some()
        );
        let emptied = "30s shop/x%cart ObjectEvent reason=ScaledToZero msg=\"it is scaled to 0\"\n";
        for (other, is_it) in [
            ("0s shop/x%cart RolloutStarted hash=newer", true),
            ("33s shop/x%cart RolloutStarted hash=newer", false),
            ("33s shop/cart-2/cart%cart ContainerStarted", false),
        ] {
            assert_eq!(one!(Detector, &[emptied, other].concat()).is_some(), is_it, "{other}");
        }
        assert!(one!(Detector, &ZERO.replace("to 0", "to 0 from 2")).is_some());
        assert_eq!(one!(Detector, STOP), None, "a pod that stops is everyday");
        assert_eq!(one!(Detector, &ZERO.replace("to 0", "to 1")), None);
    }
}
