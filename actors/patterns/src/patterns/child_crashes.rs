//! Child processes of a container crash again and again, and its first process lives on, so Kubernetes
//! sees nothing.
//!
//! Evidence: the kernel ended three processes or more of one program in one container by a signal of
//! their own fault (SIGSEGV, SIGABRT, SIGBUS, SIGILL, SIGFPE, SIGTRAP or SIGSYS), none of them the
//! container's first, and the container did not end.
//! Root: the first of these crashes.
//! Not this: `silent_child_oom` (the kernel killed them for want of memory); `cannot_start` (the first
//! process crashes, and the container ends with it); workers that are asked to stop, or exit with a
//! code of their choice; one crash.
//! First look: a core dump of the program (`coredumpctl`, or `ulimit -c` in the image), then what
//! changed in it or in the libraries it loads.

use std::collections::BTreeMap;

use tapio_engine::{Draft, Pattern, Spec, View};
use tapio_model::{Entity, Event, EvidenceClass, Kind, Source, keys};

use crate::{
    Scene,
    witness::{by_container, count, not_before, process, quoted, same_container, spot, truth},
};

/// Scenes whose cause is known.
pub(crate) const SCENES: &[Scene] = &[
    Scene::cause(
        "child_crashes",
        "workers crash one after the other, and callers get errors",
        r#"1s shop/web-5b6d7c8f9b-q7w8e/web@n1%web ProcessExit svc=web sev=warn signal=11 pid=77 proc=php-fpm init=false msg="php-fpm (pid 77) was ended by SIGSEGV"
         4s shop/web-5b6d7c8f9b-q7w8e/web@n1%web ProcessExit svc=web sev=warn signal=11 pid=78 proc=php-fpm init=false msg="php-fpm (pid 78) was ended by SIGSEGV"
         5s shop/web-5b6d7c8f9b-q7w8e/web@n1%web ProcessExit svc=web sev=warn signal=11 pid=79 proc=php-fpm init=false msg="php-fpm (pid 79) was ended by SIGSEGV"
         5s svc:shop/front Span name="GET /" status=error span_kind=server dur=900ms span=1 trace=9
         5s svc:shop/front Span name="GET web" status=error span_kind=client peer=web dur=880ms span=2 parent=1 http=502 trace=9"#,
    ),
    Scene::cause(
        "child_crashes",
        "workers abort, are begun anew, and the pod is not ready any more",
        r#"1s shop/web-1/web@n1%web ProcessExit svc=web sev=warn signal=6 pid=77 proc=worker init=false msg="worker (pid 77) was ended by SIGABRT"
         2s shop/web-1/web@n1%web ProcessStarted pid=78 proc=worker init=false
         3s shop/web-1/web@n1%web ProcessExit svc=web sev=warn signal=6 pid=78 proc=worker init=false msg="worker (pid 78) was ended by SIGABRT"
         6s shop/web-1/web@n1%web ProcessExit svc=web sev=warn signal=6 pid=79 proc=worker init=false msg="worker (pid 79) was ended by SIGABRT"
         9s shop/web-1/web@n1%web ProbeFailed probe=readiness reason=Unhealthy count=3 msg="Readiness probe failed: HTTP probe failed with statuscode: 503"
         10s shop/web-1@n1%web PodReadiness status=false reason=ContainersNotReady"#,
    ),
    Scene::cause(
        "silent_child_oom",
        "workers are killed at the limit",
        r#"1s shop/web-5b6d7c8f9b-q7w8e/web@n1%web OomKill constraint=memcg pid=77 proc=php-fpm msg="Memory cgroup out of memory: Killed process 77 (php-fpm)"
         1s shop/web-5b6d7c8f9b-q7w8e/web@n1%web ProcessExit sev=warn signal=9 pid=77 proc=php-fpm init=false
         9s shop/web-5b6d7c8f9b-q7w8e/web@n1%web OomKill constraint=memcg pid=78 proc=php-fpm msg="Memory cgroup out of memory: Killed process 78 (php-fpm)"
         9s shop/web-5b6d7c8f9b-q7w8e/web@n1%web ProcessExit sev=warn signal=9 pid=78 proc=php-fpm init=false"#,
    ),
    Scene::cause(
        "cannot_start",
        "the first process crashes, and the container ends with it",
        r#"1s shop/web-1/web@n1%web ContainerStarted cid=a
         2s shop/web-1/web@n1%web ProcessExit sev=warn signal=11 pid=77 proc=web init=true cid=a
         2s shop/web-1/web@n1%web ContainerTerminated exit=139 reason=Error cid=a
         9s shop/web-1/web@n1%web ContainerStarted cid=b restarts=1
         10s shop/web-1/web@n1%web ProcessExit sev=warn signal=11 pid=78 proc=web init=true cid=b
         10s shop/web-1/web@n1%web ContainerTerminated exit=139 reason=Error cid=b
         11s shop/web-1/web@n1%web ContainerWaiting reason=CrashLoopBackOff"#,
    ),
    Scene::unknown(
        "child_crashes",
        "processes crash, and nobody says whether they are the container's first",
        r#"1s shop/web-1/web@n1%web ProcessExit sev=warn signal=6 pid=77 proc=web
         4s shop/web-1/web@n1%web ProcessExit sev=warn signal=6 pid=78 proc=web
         9s shop/web-1/web@n1%web ProcessExit sev=warn signal=6 pid=79 proc=web"#,
    ),
    Scene::healthy(
        "workers that are asked to stop, one that crashes, and a shell that fails",
        r#"1s shop/web-1/web@n1%web ProcessExit signal=15 pid=77 proc=php-fpm init=false
         1s shop/web-1/web@n1%web ProcessExit signal=15 pid=78 proc=php-fpm init=false
         2s shop/web-1/web@n1%web ProcessExit sev=warn signal=11 pid=79 proc=php-fpm init=false
         3s shop/web-1/web@n1%web ProcessExit exit=1 pid=80 proc=sh init=false
         4s shop/web-1/web@n1%web ProcessExit sev=warn signal=9 pid=81 proc=php-fpm init=false"#,
    ),
];

const SPEC: Spec = Spec {
    slug: "child_crashes",
    title: "Child processes crash, container still running",
    wakes_on: &[Kind::ProcessExit],
    leads_to: &[
        "readiness_lost",
        "liveness_kill",
        "connection_failed",
        "cascading_dependency",
        "service_abnormal",
    ],
};

/// One crash may be one bad request; the second one, too.
const CRASHES_MIN: i64 = 3;

/// Signals by which a process dies of its own fault: ILL, TRAP, ABRT, BUS, FPE, SEGV and SYS.
const FAULTS: [i64; 7] = [4, 5, 6, 7, 8, 11, 31];

/// Finds containers whose children crash.
#[derive(Debug)]
pub(crate) struct Detector;

impl Pattern for Detector {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn detect(&self, view: &View<'_>) -> Vec<Draft> {
        let crashes = view.of(Kind::ProcessExit).filter(|exit| is_child_crash(exit));
        let mut programs: BTreeMap<&str, Vec<&Event>> = BTreeMap::new();
        for crash in crashes {
            let program = crash.attributes.text(keys::PROCESS_NAME).unwrap_or_default();
            programs.entry(program).or_default().push(crash);
        }
        let containers = programs.into_values().flat_map(by_container);
        containers.filter_map(|crashes| draft(view, &crashes)).collect()
    }
}

/// Says whether a process of a container crashed that is not known to be its first.
fn is_child_crash(exit: &Event) -> bool {
    let signal = exit.attributes.int(keys::EXIT_SIGNAL);
    signal.is_some_and(|signal| FAULTS.contains(&signal))
        && truth(exit, keys::PROCESS_IS_INIT) != Some(true)
        && (exit.place.pod.is_some() || exit.place.container_id.is_some())
}

fn draft(view: &View<'_>, crashes: &[&Event]) -> Option<Draft> {
    let root = *crashes.first()?;
    let total: i64 = crashes.iter().map(|crash| count(crash)).sum();
    let is_end = |event: &Event| {
        let ends = matches!(event.kind, Kind::ContainerTerminated | Kind::ContainerKilling);
        ends && not_before(event, root) && same_container(event, root)
    };
    if total < CRASHES_MIN || view.events().any(is_end) {
        return None;
    }
    let place = spot(&root.place);
    let program = root.attributes.text(keys::PROCESS_NAME).unwrap_or("a program");
    let class = match root.source {
        Source::Kernel => EvidenceClass::KernelProof,
        Source::Network | Source::Kubernetes | Source::Journal | Source::Cgroup => {
            EvidenceClass::EventText
        }
        Source::Otlp | Source::Metrics | Source::App => EvidenceClass::LogTemplate,
    };
    let subject = Entity::narrowest(&root.place)?;
    let mut draft = Draft::new(subject, class, root, format!("{} crashed", process(root)))
        .touching(&root.place)
        .title(format!("{program} crashes again and again in {place}, which lives on"))
        .because(format!(
            "{total} processes of {program} died of their own fault, and nothing restarts {place}{}",
            quoted(root)
        ))
        .advise(format!("get a core dump of {program}, and see what changed in it or its libraries"))
        .advise("let the first process end when its children crash, so that Kubernetes sees it")
        .rule_out("container_oom", "the container did not end", &[])
        .rule_out("silent_child_oom", "a fault of their own ended them, no kill", &[root]);
    for crash in crashes {
        draft = draft.step(crash, format!("{} crashed", process(crash)));
    }
    if crashes.iter().all(|crash| truth(crash, keys::PROCESS_IS_INIT).is_some()) {
        return Some(draft);
    }
    Some(draft.missing("whether the process is the container's first").or(
        "cannot_start",
        "the container's first process crashes, and the container with it",
        "kubectl get pod: a restart count that grows means the first process",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns three crashes, each with these words.
    fn crashes(words: &str) -> String {
        let crash = |at, pid| {
            format!("{at}s a/b-1/c@n1%b ProcessExit sev=warn pid={pid} proc=web {words}\n")
        };
        [crash(1, 77), crash(2, 78), crash(9, 79)].concat()
    }

    #[test]
    fn three_crashes_of_children_are_told() {
        let drafts = told!(Detector, &crashes("signal=11 init=false src=kernel"));
        let [draft] = drafts.as_slice() else { panic!("{drafts:?}") };
        assert_eq!(
            draft.headline(),
            "web crashes again and again in container a/b-1/c, which lives on"
        );
        assert_eq!((draft.evidence().len(), draft.class()), (3, EvidenceClass::KernelProof));
        assert!(draft.doubt().is_none());
    }

    #[test]
    fn what_is_no_repeated_fault_of_a_child_is_not_it() {
        let fault = "signal=11 init=false";
        for story in [
            crashes("signal=15 init=false"),
            crashes("signal=9 init=false"),
            crashes("exit=1 init=false"),
            crashes("signal=11 init=true"),
            crashes(fault).lines().take(2).collect::<Vec<_>>().join("\n"),
            crashes(fault).replace("a/b-1/c@n1%b", "cgroup:/user.slice@n1"),
            format!("{}9s a/b-1/c@n1%b ContainerTerminated exit=139", crashes(fault)),
            crashes(fault).replacen("proc=web", "proc=sh", 1),
        ] {
            assert_eq!(told!(Detector, &story), [], "{story}");
        }
    }
}
