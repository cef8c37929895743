//! Pods run and are not ready, so their service sends them nothing.
//!
//! Evidence: readiness probe failures, and the pod's readiness false or the service's endpoints
//! gone; the container was not restarted. The first minute after a start is warm-up and counts only
//! if no endpoint is left.
//! Root: the first readiness failure.
//! Not this: `selector_mismatch` (pods are Ready and the endpoints are empty), `liveness_kill` and
//! `container_oom` (the container ended), `node_not_ready` (no probe failed), `connection_failed`
//! (the pod cannot reach what its probe depends on).
//! First look: the probe's answer, and the dependency that the pod's log names.

mod scenes;

use std::time::Duration;

use tapio_engine::{Draft, Pattern, Spec, View};
use tapio_model::{Entity, Event, EvidenceClass, Kind, Severity, Source, keys};

pub(crate) use self::scenes::SCENES;
use super::{liveness_kill::blames_probe, selector_mismatch::is_scaled_down};
use crate::witness::{SKEW, count, not_before, quoted, spot, times, truth};

const SPEC: Spec = Spec {
    slug: "readiness_lost",
    title: "Running and not ready",
    wakes_on: &[Kind::ProbeFailed, Kind::PodReadiness, Kind::EndpointsChanged],
    leads_to: &[
        "connection_failed",
        "dns_failure",
        "cascading_dependency",
        "admission_webhook",
        "init_deadlock",
    ],
};

/// How long a container may fail its readiness probe after its start: every rollout does.
const WARM_UP: Duration = Duration::from_secs(60);

/// A connection that fails names what the pod depends on.
const NETWORK: [Kind; 3] = [Kind::ConnectRefused, Kind::ConnectTimeout, Kind::DnsFailure];

/// Finds pods that run and are not ready.
#[derive(Debug)]
pub(crate) struct Detector;

impl Pattern for Detector {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn detect(&self, view: &View<'_>) -> Vec<Draft> {
        let mut groups: Vec<Vec<&Event>> = Vec::new();
        let mut claimed: Vec<&Event> = Vec::new();
        for event in view.of(Kind::ProbeFailed).filter(|probe| is_lost(view, probe)) {
            claimed.push(event);
            match groups.iter_mut().find(|group| group.iter().any(|one| are_peers(one, event))) {
                Some(group) => group.push(event),
                None => groups.push(vec![event]),
            }
        }
        let decided = groups.iter().filter_map(|group| decide(view, group));
        decided.chain(doubt(view)).collect()
    }
}

/// Says whether both are of one pod, or of pods of one workload.
fn are_peers(one: &Event, other: &Event) -> bool {
    one.place.is_same_pod(&other.place) || one.place.is_same_workload(&other.place)
}

fn is_readiness(probe: &Event) -> bool {
    probe.kind == Kind::ProbeFailed && probe.attributes.text(keys::PROBE) == Some("readiness")
}

fn is_unready(event: &Event) -> bool {
    event.kind == Kind::PodReadiness && truth(event, keys::STATUS) == Some(false)
}

fn ready(event: &Event) -> Option<i64> {
    event.attributes.int(keys::ENDPOINTS_READY).filter(|_| event.kind == Kind::EndpointsChanged)
}

fn is_out(event: &Event) -> bool {
    ready(event) == Some(0)
}

/// Says whether an endpoint of the service is out, or all are.
fn has_fewer(event: &Event) -> bool {
    let out = event.attributes.int(keys::ENDPOINTS_NOT_READY).is_some_and(|out| out > 0);
    is_out(event) || (ready(event).is_some() && out)
}

/// Says whether a readiness failure took a running pod out of service.
fn is_lost(view: &View<'_>, probe: &Event) -> bool {
    if !is_readiness(probe) {
        return false;
    }
    let mine = || view.events().filter(|event| event.place.is_same_pod(&probe.place));
    // What ends or kills the container explains its readiness better; an old end does not.
    let ends = || mine().filter(|event| event.kind == Kind::ContainerTerminated);
    let just_ended = |end: &Event| not_before(probe, end) && probe.time.since(end.time) < WARM_UP;
    // A pod that is asked to stop fails its probes on the way out: a drain, a rollout, a deletion.
    let stops = |kill: &Event| {
        kill.kind == Kind::ContainerKilling && (blames_probe(kill) || not_before(probe, kill))
    };
    let ended = ends().any(just_ended) || ends().count() > 1 || mine().any(stops);
    let warms_up = mine().any(|event| {
        event.kind == Kind::ContainerStarted
            && event.order() < probe.order()
            && probe.time.since(event.time) < WARM_UP
    });
    let out = view.events().any(is_out);
    let lost = out || mine().any(is_unready) || view.events().any(has_fewer);
    !ended && lost && (!warms_up || out)
}

fn decide(view: &View<'_>, group: &[&Event]) -> Option<Draft> {
    let root = *group.first()?;
    let subject = Entity::owner(&root.place)?;
    let mut pods: Vec<_> = group.iter().filter_map(|probe| probe.place.pod.clone()).collect();
    pods.sort();
    pods.dedup();
    let owner = root.place.workload.as_ref();
    let who = match owner {
        Some(owner) if pods.len() > 1 => format!("{} pods of {}", pods.len(), owner.name),
        Some(_) | None => spot(&root.place),
    };
    let (is_or_are, its) = if pods.len() > 1 { ("are", "their") } else { ("is", "its") };
    let none = if view.events().any(is_out) { "; no endpoint is left" } else { "" };
    let draft = Draft::new(subject, EvidenceClass::EventText, root, text(root))
        .title(format!("{who} {is_or_are} running and not ready{none}"))
        .because(format!(
            "The readiness probe failed{}, so {who} got no more traffic{}.",
            times(count(root)),
            quoted(root)
        ));
    let draft = group
        .iter()
        .fold(draft, |draft, probe| draft.touching(&probe.place).step(probe, text(probe)));
    let draft = view.events().fold(draft, |draft, event| {
        let mine = group.iter().any(|probe| probe.place.is_same_pod(&event.place));
        if mine && is_unready(event) {
            draft.symptom(event, format!("{} is not ready", spot(&event.place)))
        } else if has_fewer(event) {
            let ready = ready(event).unwrap_or_default();
            draft.touching(&event.place).symptom(event, format!("{ready} endpoints are ready"))
        } else {
            draft
        }
    });
    Some(blame(view, rule_out(view, draft, group), group, its))
}

fn rule_out(view: &View<'_>, draft: Draft, group: &[&Event]) -> Draft {
    let mine = |event: &Event| group.iter().any(|probe| probe.place.is_same_pod(&event.place));
    let draft = match view.find(Kind::PodReadiness, |event| is_unready(event) && mine(event)) {
        Some(unready) => {
            draft.rule_out("selector_mismatch", "the pods themselves are not Ready", &[unready])
        }
        None => draft
            .rule_out("selector_mismatch", "the pods fail their own probe", group)
            .missing("the pods' Ready condition"),
    };
    draft.rule_out("liveness_kill", "no container was restarted", &[])
}

/// Names the dependency that the pods' own events name.
fn blame(view: &View<'_>, draft: Draft, group: &[&Event], its: &str) -> Draft {
    let mine = |event: &&Event| group.iter().any(|probe| are_peers(probe, event));
    let fails = view.events().filter(mine).find(|event| {
        let log = matches!(event.kind, Kind::Log | Kind::Exception);
        event.severity >= Severity::Error
            && (NETWORK.contains(&event.kind) || (log && names_dependency(event)))
    });
    let Some(event) = fails else {
        return draft.advise(format!(
            "Read what {its} readiness probe answers: a wrong path or port, or a slow warm-up."
        ));
    };
    let peers = [keys::PEER_SERVICE, keys::PEER_ADDRESS, keys::DNS_NAME];
    let peer = peers.into_iter().find_map(|key| event.attributes.text(key));
    let peer = peer.unwrap_or("the dependency that the log names");
    let draft = draft
        .step(event, format!("a dependency fails{}", quoted(event)))
        .advise(format!("Look at {peer} first: {its} events name it."))
        .advise("Do not gate readiness on a shared dependency: all replicas leave at once.");
    // A probe asks more often than the pod connects: what it waits for may be seen to fail later,
    // and what is later cannot be its cause for the engine.
    let is_late = group.first().is_some_and(|probe| event.time > probe.time.after(SKEW));
    if event.source == Source::App || !NETWORK.contains(&event.kind) || !is_late {
        return draft;
    }
    let text = format!("{its} probe fails because {peer} cannot be reached");
    draft.or("connection_failed", text, "see whether the probe asks what it depends on")
}

fn names_dependency(log: &Event) -> bool {
    const WORDS: &[&str] = &[
        "connection refused",
        "connection reset",
        "timed out",
        "timeout",
        "no such host",
        "unavailable",
        "unreachable",
    ];
    let line = log.message().to_lowercase();
    log.attributes.text(keys::PEER_SERVICE).is_some()
        || WORDS.iter().any(|word| line.contains(word))
}

fn text(probe: &Event) -> String {
    let place = spot(&probe.place);
    format!("the readiness probe of {place} failed{}{}", times(count(probe)), quoted(probe))
}

/// No endpoint is left, and nothing seen says why.
fn doubt(view: &View<'_>) -> Option<Draft> {
    const REASONS: &[Kind] = &[
        Kind::ProbeFailed,
        Kind::ContainerTerminated,
        Kind::ContainerKilling,
        Kind::ContainerWaiting,
        Kind::ContainerCreateFailed,
        Kind::ImagePullFailed,
        Kind::MountFailed,
        Kind::PodEvicted,
        Kind::OomKill,
        Kind::OomKillCounted,
    ];
    let last = view.of(Kind::EndpointsChanged).next_back().filter(|event| is_out(event))?;
    let same = |event: &&Event| event.place.service == last.place.service;
    let root = view.of(Kind::EndpointsChanged).filter(same).find(|event| is_out(event))?;
    if view.events().any(|event| REASONS.contains(&event.kind) || is_scaled_down(event)) {
        return None;
    }
    let place = spot(&last.place);
    let draft = Draft::new(
        Entity::narrowest(&last.place)?,
        EvidenceClass::CoOccurrence,
        root,
        "no endpoint is ready",
    )
    .touching(&last.place)
    .title(format!("{place} has no ready endpoint, and no probe failure was seen"))
    .because(format!("{place} lost its last ready endpoint; nothing seen says why."))
    .missing("readiness probe failures of its pods");
    Some(match view.of(Kind::PodReadiness).find(|event| is_unready(event)) {
        // The story of its node, if there is one, tells why.
        Some(unready) => Entity::node(&unready.place)
            .into_iter()
            .fold(draft, Draft::touch)
            .step(unready, format!("{} is not ready", spot(&unready.place)))
            .rule_out("selector_mismatch", "the pods themselves are not Ready", &[unready])
            .or(
                "node_not_ready",
                "the pods' node stopped answering",
                "`kubectl get nodes` and \
                `kubectl describe pod`: Unhealthy events, or a node NotReady",
            ),
        None => draft.missing("the pods' Ready condition").or(
            "selector_mismatch",
            "the service selects no pod, or the wrong port",
            "`kubectl \
                get pods --show-labels` against the service's selector: pods Ready and not \
                selected, or pods not Ready",
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOST: &str = "10s a/b-1/c%b ProbeFailed probe=readiness msg=\"Readiness probe failed: \
        503\"; \
        11s a/b-1%b PodReadiness status=false";

    #[test]
    fn holds_from_the_probe_to_the_empty_service() {
        let story = format!("{LOST}; 12s svc:a/b EndpointsChanged ready=0 not_ready=1");
        let [draft] = &told!(Detector, &story)[..] else { panic!("one draft") };
        assert_eq!(draft.subject().to_string(), "Deployment a/b");
        assert!(draft.headline().ends_with("no endpoint is left"), "{}", draft.headline());
        assert!(draft.root_cause().contains("503"), "{}", draft.root_cause());
        assert_eq!(draft.evidence().len(), 3);
        assert_eq!(draft.ruled_out()[0].pattern, "selector_mismatch");
        assert!(
            draft.touches().contains(&Entity::Service { namespace: "a".into(), name: "b".into() })
        );
    }

    #[test]
    fn replicas_of_one_workload_are_one_draft_that_names_the_dependency() {
        let story = format!(
            "9s a/b-2/c%b Log sev=error msg=\"dial tcp: connection refused\" peer=db; {LOST}; \
             12s a/b-2/c%b ProbeFailed probe=readiness; 13s a/b-2%b PodReadiness status=false"
        );
        let [draft] = &told!(Detector, &story)[..] else { panic!("one draft") };
        assert!(draft.headline().starts_with("2 pods of b are"), "{}", draft.headline());
        assert!(draft.recommendation()[0].contains("Look at db first"));
        assert_eq!(draft.evidence().len(), 5);
    }

    #[test]
    fn a_connection_that_is_seen_to_fail_later_may_be_the_cause() {
        let cases = [
            ("40s a/b-1/c%b ConnectRefused peer=db", Some("connection_failed")),
            ("40s a/b-1/c%b ConnectRefused peer=db src=app", None),
            ("40s a/b-1/c%b DnsFailure dns=io.a.svc rcode=nxdomain sev=warn", None),
            ("9s a/b-1/c%b ConnectRefused peer=db", None),
        ];
        for (event, want) in cases {
            let [draft] = &told!(Detector, &format!("{LOST}; {event}"))[..] else {
                panic!("{event}")
            };
            assert_eq!(draft.doubt().map(|doubt| doubt.alternative), want, "{event}");
        }
    }

    #[test]
    fn an_empty_service_without_a_probe_is_unknown() {
        let cases = [
            ("", "selector_mismatch"),
            ("; 1s a/b-1%b PodReadiness status=false", "node_not_ready"),
        ];
        for (more, alternative) in cases {
            let story = format!("0s svc:a/b EndpointsChanged ready=0{more}");
            let [draft] = &told!(Detector, &story)[..] else { panic!("{story}") };
            assert_eq!(draft.doubt().map(|doubt| doubt.alternative), Some(alternative));
        }
    }

    #[test]
    fn warm_up_counts_only_when_nobody_serves() {
        let warm = format!("1s a/b-1/c%b ContainerStarted; {LOST}");
        assert_eq!(told!(Detector, &warm), []);
        assert_eq!(
            told!(Detector, &format!("{warm}; 12s svc:a/b EndpointsChanged ready=0")).len(),
            1
        );
        assert_eq!(
            told!(Detector, &format!("{warm}; 2m a/b-1/c%b ProbeFailed probe=readiness")).len(),
            1
        );
    }

    #[test]
    fn an_old_restart_explains_nothing_and_a_crash_loop_does() {
        let old = format!("0s a/b-1/c%b ContainerTerminated exit=1; {}", LOST.replace("10s", "5m"));
        assert_eq!(told!(Detector, &old).len(), 1);
        let looping = format!("{old}; 6m a/b-1/c%b ContainerTerminated exit=1");
        assert_eq!(told!(Detector, &looping), []);
    }

    #[test]
    fn look_alikes_and_health_are_not_it() {
        let ended = format!("9s a/b-1/c%b ContainerTerminated exit=1; {LOST}");
        let killed = format!(
            "{LOST}; 12s a/b-1/c%b ContainerKilling msg=\"Container c failed liveness probe\""
        );
        for story in [
            &ended,
            &killed,
            "0s a/b-1/c ProbeFailed probe=readiness",
            "0s a/b-1/c ProbeFailed probe=liveness; 1s a/b-1 PodReadiness status=false",
            "0s svc:a/b EndpointsChanged ready=0; 5s svc:a/b EndpointsChanged ready=2",
            "0s a/b-1/c OomKill constraint=memcg; 1s svc:a/b EndpointsChanged ready=0",
            "0s a/b-1 PodReadiness status=true",
        ] {
            assert_eq!(told!(Detector, story), [], "{story}");
        }
    }

    #[test]
    fn a_pod_that_is_asked_to_stop_is_not_this() {
        let stop =
            |at| format!("{LOST}; {at} a/b-1/c%b ContainerKilling msg=\"Stopping container c\"");
        assert_eq!(told!(Detector, &stop("9s")), []);
        assert_eq!(told!(Detector, &stop("40s")).len(), 1, "it was lost before");
    }
}
