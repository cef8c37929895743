//! The kubelet killed a container because its liveness (or startup) probe failed.
//!
//! Evidence: the kubelet's Killing event that names the failed probe; around it the probe's
//! failures, the end with exit code 137 or 143, and the restart.
//! Root: the first failure of the probe; without one, the Killing event.
//! Not this: `container_oom` (the kernel killed: there is a kill, a counter or `OOMKilled`),
//! `readiness_lost` (probes fail and nobody kills), `node_drain` (a stop without a failed probe).
//! First look: what made the probe slow: CPU throttling, pressure, garbage collection, a
//! dependency inside the probe. Only then timeout and threshold.

use tapio_engine::{Draft, Pattern, Spec, View};
use tapio_model::{Entity, Event, EvidenceClass, Kind, keys};

use crate::{
    Scene,
    witness::{
        beside, by_container, count, ending, not_before, quoted, same_container, says_oom, spot,
        times, touch_services, was_asked_to_stop,
    },
};

/// Scenes whose cause is known.
pub(crate) const SCENES: &[Scene] = &[
    Scene::cause(
        "liveness_kill",
        "a slow answer is a kill, again and again, and callers are refused",
        r#"0s shop/cart-7f6b8d9c4-x2kq9/cart@n2%cart ProbeFailed probe=liveness reason=Unhealthy count=3 msg="Liveness probe failed: Get \"http://10.42.0.9/live\": context deadline exceeded"
         0s shop/cart-7f6b8d9c4-x2kq9/cart@n2%cart ContainerKilling probe=liveness reason=Killing msg="Container cart failed liveness probe, will be restarted"
         10s shop/cart-7f6b8d9c4-x2kq9/cart@n2%cart ContainerTerminated exit=137 reason=Error hash=7f6b8d9c4
         10s shop/cart-7f6b8d9c4-x2kq9@n2%cart PodReadiness status=false reason=ContainersNotReady
         10s svc:shop/cart%cart EndpointsChanged ready=0 not_ready=1
         11s shop/cart-7f6b8d9c4-x2kq9/cart@n2%cart ContainerStarted restarts=1 cid=5b5b
         11s shop/cart-7f6b8d9c4-x2kq9/cart@n2%cart ProbeFailed probe=readiness reason=Unhealthy msg="Readiness probe failed: dial tcp 10.42.0.9:8080: connect: connection refused"
         12s shop/front-6d5f9c8b7-k2x4p/front@n1%front ConnectRefused addr=10.42.0.9 port=8080 peer=cart error=ECONNREFUSED trace=2
         13s shop/front-6d5f9c8b7-k2x4p/front@n1%front ConnectRefused addr=10.42.0.9 port=8080 peer=cart error=ECONNREFUSED trace=2"#,
    ),
    Scene::cause(
        "liveness_kill",
        "a slow start is killed by its startup probe",
        r#"0s shop/cart-7f6b8d9c4-x2kq9/cart@n2%cart ContainerStarted restarts=0
         9s shop/cart-7f6b8d9c4-x2kq9/cart@n2%cart ProbeFailed probe=startup reason=Unhealthy count=3 msg="Startup probe failed: HTTP probe failed with statuscode: 503"
         9s shop/cart-7f6b8d9c4-x2kq9/cart@n2%cart ContainerKilling probe=startup reason=Killing msg="Container cart failed startup probe, will be restarted"
         10s shop/cart-7f6b8d9c4-x2kq9/cart@n2%cart ContainerTerminated exit=143 reason=Error
         11s shop/cart-7f6b8d9c4-x2kq9/cart@n2%cart ContainerStarted restarts=1 cid=5b5b"#,
    ),
    Scene::cause(
        "container_oom",
        "its probe fails because the kernel killed it",
        r#"0s shop/cart-7f6b8d9c4-x2kq9/cart@n2%cart ProbeFailed probe=liveness reason=Unhealthy msg="Liveness probe failed: Get \"http://10.42.0.9/live\": EOF"
         500ms shop/cart-7f6b8d9c4-x2kq9/cart@n2%cart OomKill constraint=memcg pid=4242 proc=java msg="Memory cgroup out of memory: Killed process 4242 (java)"
         2s shop/cart-7f6b8d9c4-x2kq9/cart@n2%cart ContainerTerminated exit=137 reason=OOMKilled
         3s shop/cart-7f6b8d9c4-x2kq9/cart@n2%cart ContainerStarted restarts=1 cid=5b5b"#,
    ),
    Scene::cause(
        "readiness_lost",
        "liveness fails once, readiness goes on failing, and nobody kills",
        r#"0s shop/cart-7f6b8d9c4-x2kq9/cart@n2%cart ProbeFailed probe=liveness reason=Unhealthy msg="Liveness probe failed: HTTP probe failed with statuscode: 503"
         1s shop/cart-7f6b8d9c4-x2kq9/cart@n2%cart ProbeFailed probe=readiness reason=Unhealthy count=3 msg="Readiness probe failed: HTTP probe failed with statuscode: 503"
         2s shop/cart-7f6b8d9c4-x2kq9@n2%cart PodReadiness status=false reason=ContainersNotReady
         2s svc:shop/cart%cart EndpointsChanged ready=1 not_ready=1"#,
    ),
    Scene::unknown(
        "liveness_kill",
        "the probe fails, and a SIGKILL that nobody saw sent",
        r#"0s shop/cart-7f6b8d9c4-x2kq9/cart@n2%cart ProbeFailed probe=liveness reason=Unhealthy count=3 msg="Liveness probe failed: HTTP probe failed with statuscode: 500"
         3s shop/cart-7f6b8d9c4-x2kq9/cart@n2%cart ContainerTerminated exit=137 reason=Error
         4s shop/cart-7f6b8d9c4-x2kq9/cart@n2%cart ContainerStarted restarts=1 cid=5b5b"#,
    ),
    Scene::healthy(
        "a probe that fails once",
        r#"0s shop/cart-7f6b8d9c4-x2kq9/cart@n2%cart ProbeFailed probe=liveness reason=Unhealthy msg="Liveness probe failed: Get \"http://10.42.0.9/live\": context deadline exceeded"
         9s shop/cart-7f6b8d9c4-x2kq9/cart@n2%cart Log msg="GET /cart 200""#,
    ),
    Scene::healthy(
        "a pod that is deleted fails its probes on the way out",
        r#"0s shop/cart-7f6b8d9c4-x2kq9/cart@n2%cart ContainerKilling reason=Killing msg="Stopping container cart"
         2s shop/cart-7f6b8d9c4-x2kq9/cart@n2%cart ProbeFailed probe=liveness reason=Unhealthy msg="Liveness probe failed: dial tcp 10.42.0.9:8080: connect: connection refused"
         30s shop/cart-7f6b8d9c4-x2kq9/cart@n2%cart ContainerTerminated sev=info exit=137 reason=Error
         31s svc:shop/cart%cart EndpointsChanged ready=1 not_ready=0"#,
    ),
];

const SPEC: Spec = Spec {
    slug: "liveness_kill",
    title: "Killed by the liveness probe",
    wakes_on: &[Kind::ContainerKilling, Kind::ProbeFailed],
    leads_to: &[
        "readiness_lost",
        "connection_failed",
        "dns_failure",
        "cascading_dependency",
        "admission_webhook",
        "init_deadlock",
        "job_failed",
        "service_abnormal",
    ],
};

/// Finds containers that the kubelet killed over a failed probe.
#[derive(Debug)]
pub(crate) struct Detector;

impl Pattern for Detector {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn detect(&self, view: &View<'_>) -> Vec<Draft> {
        let killings = by_container(view.of(Kind::ContainerKilling).filter(|e| blames_probe(e)));
        let ends = by_container(view.of(Kind::ContainerTerminated).filter(|e| is_untold(view, e)));
        let decided = killings.iter().filter_map(|group| decide(view, group));
        decided.chain(ends.iter().filter_map(|group| doubt(view, group))).collect()
    }
}

/// Says whether the kubelet blames a probe: it writes `Container x failed liveness probe, will be
/// restarted`.
pub(super) fn blames_probe(killing: &Event) -> bool {
    let blamed = killing.message().contains("failed liveness probe")
        || killing.message().contains("failed startup probe");
    killing.kind == Kind::ContainerKilling
        && (blamed || killing.attributes.text(keys::PROBE).is_some_and(kills))
}

/// Says whether failing this probe gets a container killed.
fn kills(probe: &str) -> bool {
    matches!(probe, "liveness" | "startup")
}

fn is_deadly(probe: &Event) -> bool {
    probe.kind == Kind::ProbeFailed && probe.attributes.text(keys::PROBE).is_some_and(kills)
}

/// Says whether the kernel killed in this container for want of memory.
fn is_oom(view: &View<'_>, event: &Event) -> bool {
    beside(view, event, &[Kind::OomKill, Kind::OomKillCounted]).is_some()
        || view.events().any(|other| says_oom(other) && same_container(other, event))
}

fn decide(view: &View<'_>, killings: &[&Event]) -> Option<Draft> {
    let killing = *killings.first()?;
    if is_oom(view, killing) {
        return None;
    }
    let mine = || view.events().filter(|event| same_container(event, killing));
    let before = || mine().find(|event| is_deadly(event) && not_before(killing, event));
    // An account of several failures bears the time of the last.
    let failed = before().or_else(|| mine().find(|event| is_deadly(event) && count(event) > 1));
    let (root, place) = (failed.unwrap_or(killing), spot(&killing.place));
    let probe = match failed.and_then(|failed| failed.attributes.text(keys::PROBE)) {
        Some("startup") => "startup",
        Some(_) => "liveness",
        None if killing.message().contains("startup") => "startup",
        None => "liveness",
    };
    let again = times(i64::try_from(killings.len()).unwrap_or(i64::MAX));
    let failures: i64 = mine().filter(|event| is_deadly(event)).map(count).max().unwrap_or(0);
    let failures = times(failures);
    let subject = Entity::narrowest(&killing.place)?;
    let words = deadlock(view, killing);
    let why = words.map_or("", |_| ": its threads wait for each other (a deadlock)");
    let draft = Draft::new(subject, EvidenceClass::EventText, root, text(root))
        .touching(&killing.place)
        .title(format!(
            "The kubelet killed {place}{again}: its {probe} probe failed{failures}{why}"
        ))
        .because(format!(
            "The {probe} probe of {place} failed{failures}, so the kubelet killed and restarted \
                it{}{why}.",
            quoted(root)
        ));
    let draft = match words {
        Some(words) => draft.step(words, "its runtime found a deadlock").advise(
            "Read the stacks below the line: two places take the same locks in two orders.",
        ),
        None => draft,
    };
    let draft = touch_services(view, draft, &killing.place);
    let draft = mine().fold(draft, |draft, event| cite(draft, event, killing));
    let draft = slowed(view, draft, killing);
    let end = mine().find(|e| e.kind == Kind::ContainerTerminated && not_before(e, killing));
    let draft = match end {
        Some(end) => {
            let because =
                format!("the kernel killed nobody here, and it ended with {}", ending(end));
            draft.rule_out("container_oom", because, &[killing, end])
        }
        None => draft
            .rule_out("container_oom", "the kernel killed nobody here", &[killing])
            .missing("the container's end (exit code 137 or 143)"),
    };
    let draft = if failed.is_none() { draft.missing("the probe's own failures") } else { draft };
    Some(draft.advise(format!(
        "Raise timeout and failureThreshold of the {probe} probe; a slow start wants a \
            startupProbe."
    )))
}

/// Finds what a runtime says of threads that wait for each other. It prints them when it is asked
/// to, as the container is still up or on its way out.
fn deadlock<'a>(view: &View<'a>, killing: &Event) -> Option<&'a Event> {
    view.find(Kind::Log, |line| {
        line.attributes.text(keys::REASON) == Some("Deadlock") && same_container(line, killing)
    })
}

fn cite(draft: Draft, event: &Event, killing: &Event) -> Draft {
    if is_deadly(event) || event.kind == Kind::ContainerKilling {
        return draft.step(event, text(event));
    }
    if !not_before(event, killing) {
        return draft;
    }
    if event.kind == Kind::ContainerTerminated {
        draft.symptom(event, format!("the container ended: {}", ending(event)))
    } else if event.kind == Kind::ContainerStarted && event.order() > killing.order() {
        draft.symptom(event, "the container started again")
    } else if event.kind == Kind::ContainerWaiting {
        let reason = event.attributes.text(keys::REASON).unwrap_or("a restart");
        draft.symptom(event, format!("the container waits: {reason}"))
    } else {
        draft
    }
}

/// Cites what made the container slow before it was killed, and says to look there first.
fn slowed(view: &View<'_>, draft: Draft, killing: &Event) -> Draft {
    let before = |event: &Event| event.order() < killing.order();
    let throttled = |event: &Event| before(event) && same_container(event, killing);
    let here = |event: &Event| {
        let node = event.place.pod.is_none() && event.place.node == killing.place.node;
        before(event) && (same_container(event, killing) || node)
    };
    let draft = match view.find(Kind::CpuThrottled, throttled) {
        Some(event) => draft
            .step(event, "the container was throttled at its CPU limit before the probe failed")
            .advise(
                "Look at CPU throttling first: it slows the probe. Raise or remove the CPU limit.",
            ),
        None => draft,
    };
    match view.find(Kind::Pressure, here) {
        Some(event) => {
            let resource = event.attributes.text(keys::RESOURCE).unwrap_or("some resource");
            draft
                .step(event, format!("tasks stalled on {resource} before the probe failed"))
                .advise(format!("Look at {resource} pressure first: it slows the probe."))
        }
        None => draft,
    }
}

fn text(event: &Event) -> String {
    if event.kind == Kind::ContainerKilling {
        return format!("the kubelet kills {}{}", spot(&event.place), quoted(event));
    }
    let probe = event.attributes.text(keys::PROBE).unwrap_or("liveness");
    format!("the {probe} probe failed{}{}", times(count(event)), quoted(event))
}

/// Says whether a container ended by a signal after its probe failed, and nobody saw who sent it.
fn is_untold(view: &View<'_>, end: &Event) -> bool {
    const SENDERS: &[Kind] = &[Kind::ContainerKilling, Kind::PodEvicted];
    matches!(end.attributes.int(keys::EXIT_CODE), Some(137 | 143))
        && !is_oom(view, end)
        && !was_asked_to_stop(end)
        && beside(view, end, SENDERS).is_none()
        && failure_before(view, end).is_some()
}

fn failure_before<'a>(view: &View<'a>, end: &Event) -> Option<&'a Event> {
    let deadly = |probe: &Event| is_deadly(probe) && same_container(probe, end);
    view.find(Kind::ProbeFailed, |probe| deadly(probe) && not_before(end, probe))
}

fn doubt(view: &View<'_>, ends: &[&Event]) -> Option<Draft> {
    let end = *ends.first()?;
    let root = failure_before(view, end)?;
    let place = spot(&end.place);
    let draft =
        Draft::new(Entity::narrowest(&end.place)?, EvidenceClass::CoOccurrence, root, text(root))
            .touching(&end.place)
            .title(format!("{place} ended by a signal after its probe failed"))
            .because(format!(
                "The probe of {place} failed and then a signal ended it; nothing seen \
            says that the kubelet sent it."
            ))
            .advise("Find out who sent the signal before changing the probe.")
            .missing("the kubelet's Killing event");
    let draft = ends.iter().fold(draft, |draft, end| {
        draft.symptom(end, format!("the container ended: {}", ending(end)))
    });
    let check = "`kubectl describe pod`: Killing names the probe; `dmesg | grep -i oom` and \
        memory.events: a count says OOM";
    Some(if end.attributes.int(keys::EXIT_CODE) == Some(137) {
        draft.or("container_oom", "the kernel killed it at its memory limit", check)
    } else {
        draft.or("node_drain", "it was asked to stop: a drain, a rollout or a deletion", check)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const KILLED: &str = "10s a/b/c@n1 ProbeFailed probe=liveness count=3 msg=\"Liveness probe \
        failed: timeout\"; \
        11s a/b/c@n1 ContainerKilling msg=\"Container c failed liveness probe, will be restarted\"";

    #[test]
    fn holds_from_the_failed_probe_to_the_restart() {
        let story = format!(
            "{KILLED}; 41s a/b/c@n1 ContainerTerminated exit=137 reason=Error; \
             42s a/b/c@n1 ContainerStarted cid=new"
        );
        let [draft] = &told!(Detector, &story)[..] else { panic!("one draft") };
        assert!(
            draft.headline().ends_with("its liveness probe failed 3 times"),
            "{}",
            draft.headline()
        );
        assert!(draft.root_cause().contains("timeout"), "{}", draft.root_cause());
        assert_eq!(draft.evidence().len(), 4);
        assert_eq!(draft.evidence()[0].kind, Kind::ProbeFailed);
        assert_eq!(draft.ruled_out()[0].events.len(), 2);
        assert!(draft.doubt().is_none() && draft.gaps().is_empty(), "{:?}", draft.gaps());
    }

    #[test]
    fn what_slowed_the_container_is_looked_at_first() {
        let story = format!(
            "1s a/b/c@n1 CpuThrottled ratio=0.8; 2s node:n1 Pressure resource=io; \
             3s x/y/z@n1 CpuThrottled; {KILLED}"
        );
        let [draft] = &told!(Detector, &story)[..] else { panic!("one draft") };
        assert_eq!(draft.evidence().len(), 4, "the neighbour's throttling is not ours");
        assert!(draft.recommendation()[0].contains("CPU throttling first"));
        assert!(draft.recommendation()[1].contains("io pressure first"));
    }

    #[test]
    fn the_killing_alone_holds_and_says_what_is_missing() {
        let (_, killing) = KILLED.split_once("; ").unwrap();
        let [draft] = &told!(Detector, killing)[..] else { panic!("one draft") };
        assert_eq!(draft.gaps().len(), 2);
        assert_eq!(draft.evidence()[0].kind, Kind::ContainerKilling);
    }

    #[test]
    fn an_end_by_signal_without_the_killing_is_unknown() {
        for (exit, alternative) in [(137, "container_oom"), (143, "node_drain")] {
            let story = format!(
                "0s a/b/c ProbeFailed probe=liveness; 9s a/b/c ContainerTerminated exit={exit}"
            );
            let [draft] = &told!(Detector, &story)[..] else { panic!("{story}") };
            assert_eq!(draft.doubt().map(|doubt| doubt.alternative), Some(alternative));
        }
    }

    #[test]
    fn look_alikes_and_health_are_not_it() {
        let oom = format!("9s a/b/c@n1 OomKill constraint=memcg; {KILLED}");
        let status =
            format!("{KILLED}; 12s a/b/c@n1 ContainerTerminated reason=OOMKilled exit=137");
        for story in [
            &oom,
            &status,
            "0s a/b/c ProbeFailed probe=liveness",
            "0s a/b/c ProbeFailed probe=readiness; 9s a/b/c ContainerTerminated exit=137",
            "0s a/b/c ContainerKilling msg=\"Stopping container c\"; 9s a/b/c \
                ContainerTerminated exit=143",
            "0s a/b/c ProbeFailed probe=liveness; 1s a/b/c ContainerKilling msg=\"Stopping \
                container c\"; 9s a/b/c ContainerTerminated exit=143",
            "0s a/b/c ContainerTerminated exit=137",
        ] {
            assert_eq!(told!(Detector, story), [], "{story}");
        }
    }
}
