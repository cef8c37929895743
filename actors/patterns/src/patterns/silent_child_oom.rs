//! The kernel killed a child process of a container at its memory limit; the container's first
//! process lives on, so Kubernetes sees nothing.
//!
//! Evidence: the kernel's kill with constraint memcg of a process that is not the container's
//! first, as the victim's own exit says, or two kills of different processes in one container id;
//! and no end of the container after it.
//! Root: the kernel's kill.
//! Not this: `container_oom` (the container ended), an application's own error (no kernel kill).
//! First look: the worker count against the limit, and whether the first process notices that a
//! child died.

use std::time::Duration;

use tapio_engine::{Draft, Pattern, Spec, View};
use tapio_model::{Entity, Event, EvidenceClass, Kind, Severity, keys};

use crate::{
    Scene,
    witness::{
        Constraint, by_container, constraint, count, not_before, pid, process, quoted,
        same_container, spot, times, touch_victims, truth,
    },
};

/// Scenes whose cause is known.
pub(crate) const SCENES: &[Scene] = &[
    Scene::cause(
        "silent_child_oom",
        "a worker dies at the limit, its container lives, its callers get errors",
        r#"1s shop/web-5b6d7c8f9b-q7w8e/web@n1%web OomKill svc=web constraint=memcg memcg=/kubepods/burstable/podw/web pid=77 proc=gunicorn rss=180112 msg="Memory cgroup out of memory: Killed process 77 (gunicorn)"
         1s shop/web-5b6d7c8f9b-q7w8e/web@n1%web ProcessExit svc=web sev=warn signal=9 pid=77 proc=gunicorn init=false
         1200ms shop/web-5b6d7c8f9b-q7w8e/web@n1%web OomKillCounted svc=web count=1 limit=268435456
         1500ms shop/web-5b6d7c8f9b-q7w8e/web@n1%web Log svc=web sev=error msg="Worker (pid:77) was sent SIGKILL! Perhaps out of memory?"
         2s svc:shop/front Span name="GET /" status=error span_kind=server dur=900ms span=1 trace=9
         2s svc:shop/front Span name="GET web" status=error span_kind=client peer=web dur=880ms span=2 parent=1 http=502 trace=9"#,
    ),
    Scene::cause(
        "silent_child_oom",
        "one container loses two workers within a minute",
        r#"1s shop/web-5b6d7c8f9b-q7w8e/web@n1%web OomKill constraint=memcg pid=77 proc=php-fpm msg="Memory cgroup out of memory: Killed process 77 (php-fpm)"
         1200ms shop/web-5b6d7c8f9b-q7w8e/web@n1%web OomKillCounted count=1
         21s shop/web-5b6d7c8f9b-q7w8e/web@n1%web OomKill constraint=memcg pid=91 proc=php-fpm msg="Memory cgroup out of memory: Killed process 91 (php-fpm)"
         21200ms shop/web-5b6d7c8f9b-q7w8e/web@n1%web OomKillCounted count=1"#,
    ),
    Scene::cause(
        "container_oom",
        "a worker is killed, and the container ends with it",
        r#"1s shop/web-5b6d7c8f9b-q7w8e/web@n1%web OomKill constraint=memcg pid=77 proc=gunicorn msg="Memory cgroup out of memory: Killed process 77 (gunicorn)"
         1s shop/web-5b6d7c8f9b-q7w8e/web@n1%web ProcessExit sev=warn signal=9 pid=77 proc=gunicorn init=false
         2s shop/web-5b6d7c8f9b-q7w8e/web@n1%web ContainerTerminated exit=137 reason=OOMKilled
         3s shop/web-5b6d7c8f9b-q7w8e/web@n1%web ContainerStarted restarts=1 cid=5b5b"#,
    ),
    Scene::unknown(
        "silent_child_oom",
        "the counter of kills rose while the container ran on, and nobody saw the victim",
        r#"1s shop/web-5b6d7c8f9b-q7w8e/web@n1%web OomKillCounted count=1 limit=268435456
         9s shop/web-5b6d7c8f9b-q7w8e/web@n1%web Log sev=error msg="Worker (pid:77) was sent SIGKILL! Perhaps out of memory?""#,
    ),
    Scene::healthy(
        "a worker that fails by itself and is replaced",
        r#"1s shop/web-5b6d7c8f9b-q7w8e/web@n1%web ProcessExit exit=1 pid=77 proc=gunicorn init=false
         1s shop/web-5b6d7c8f9b-q7w8e/web@n1%web Log sev=error msg="Worker (pid:77) exited with code 1"
         2s shop/web-5b6d7c8f9b-q7w8e/web@n1%web ProcessStarted pid=78 proc=gunicorn init=false"#,
    ),
];

const SPEC: Spec = Spec {
    slug: "silent_child_oom",
    title: "Child process killed at the memory limit, container still running",
    wakes_on: &[Kind::OomKill],
    leads_to: &["readiness_lost", "connection_failed", "cascading_dependency", "service_abnormal"],
};

/// Two processes that the kernel kills at once die of one kill; later ones show survival.
const SURVIVED: Duration = Duration::from_secs(5);

/// Finds containers that lost a child and did not notice.
#[derive(Debug)]
pub(crate) struct Detector;

impl Pattern for Detector {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn detect(&self, view: &View<'_>) -> Vec<Draft> {
        let kills = view.of(Kind::OomKill).filter(|kill| is_child_kill(view, kill));
        by_container(kills).iter().filter_map(|kills| draft(view, kills)).collect()
    }
}

/// Says whether the kernel killed a child of a container that lives on.
pub(super) fn is_child_kill(view: &View<'_>, kill: &Event) -> bool {
    let of_cgroup = kill.kind == Kind::OomKill && constraint(kill) == Some(Constraint::Cgroup);
    let is_child = match is_init(view, kill) {
        Some(is_init) => !is_init,
        None => outlived(view, kill),
    };
    let ended = view.events().any(|event| {
        let ends = matches!(event.kind, Kind::ContainerTerminated | Kind::UnitFailed);
        ends && not_before(event, kill) && same_container(event, kill)
    });
    of_cgroup && is_child && !ended
}

/// Says whether the victim was its container's first process: the kill's own word, else that of the
/// victim's exit, which knows better than the kernel's log.
fn is_init(view: &View<'_>, kill: &Event) -> Option<bool> {
    let is_victim = |exit: &Event| {
        let is_one = pid(exit).zip(pid(kill)).is_some_and(|(one, other)| one == other);
        is_one && same_container(exit, kill)
    };
    let of_exit = || truth(view.find(Kind::ProcessExit, is_victim)?, keys::PROCESS_IS_INIT);
    truth(kill, keys::PROCESS_IS_INIT).or_else(of_exit)
}

/// Says whether the same container, by id, lost another process well before or after this one: a
/// container whose first process dies comes back under a new id.
fn outlived(view: &View<'_>, kill: &Event) -> bool {
    kill.place.container_id.is_some()
        && view.of(Kind::OomKill).any(|other| {
            other.place.container_id == kill.place.container_id
                && other.time.distance(kill.time) >= SURVIVED
                && pid(other).zip(pid(kill)).is_some_and(|(other, this)| other != this)
        })
}

fn draft(view: &View<'_>, kills: &[&Event]) -> Option<Draft> {
    let root = *kills.first()?;
    let (victim, place) = (process(root), spot(&root.place));
    let often = times(i64::try_from(kills.len()).unwrap_or(i64::MAX));
    let shown = |kill: &Event| format!("the kernel killed {}{}", process(kill), quoted(kill));
    let subject = Entity::narrowest(&root.place)?;
    let draft = Draft::new(subject, EvidenceClass::KernelProof, root, shown(root))
        .touching(&root.place)
        .title(format!(
            "{victim} was OOM-killed inside {place}, which keeps running as if nothing \
                happened{often}"
        ))
        .because(format!(
            "The kernel killed {victim}, a child in {place}, at its memory limit{}; the first \
             process lives on, so nothing restarts.",
            quoted(root)
        ))
        .advise("Lower the number of workers, or raise the memory limit.")
        .advise("Make the first process exit when a child is OOM-killed, so that the pod restarts.")
        .rule_out("container_oom", "the victim is a child and the container did not end", &[root]);
    let draft = touch_victims(draft, kills);
    let draft = kills.iter().fold(draft, |draft, kill| draft.step(kill, shown(kill)));
    Some(view.events().filter(|event| same_container(event, root)).fold(draft, |draft, event| {
        let fails = event.severity >= Severity::Error
            && matches!(event.kind, Kind::Log | Kind::Exception | Kind::Span);
        if event.kind == Kind::OomKillCounted {
            draft.step(event, format!("the oom_kill counter rose by {}", count(event)))
        } else if event.kind == Kind::MemoryLimitReached {
            draft.step(event, "the container was at its memory limit")
        } else if fails && not_before(event, root) {
            draft.symptom(event, event.message())
        } else {
            draft
        }
    }))
}

#[cfg(test)]
mod tests {
    use super::{super::container_oom, *};

    const CHILD: &str =
        "10s web/api-1/api OomKill constraint=memcg init=false pid=77 proc=gunicorn";

    #[test]
    fn holds_while_the_container_lives_and_then_container_oom_is_silent() {
        let story = format!(
            "{CHILD}; 10s web/api-1/api OomKillCounted; \
             11s web/api-1/api Log sev=error msg=\"worker 77 died\"; 12s web/api-1 PodReadiness status=true"
        );
        let [draft] = &told!(Detector, &story)[..] else { panic!("one draft") };
        assert_eq!(draft.class(), EvidenceClass::KernelProof);
        assert!(draft.headline().contains("gunicorn (pid 77)"), "{}", draft.headline());
        assert_eq!(draft.evidence().len(), 3);
        assert_eq!(draft.ruled_out().len(), 1);
        assert_eq!(told!(container_oom::Detector, &story), []);
    }

    #[test]
    fn the_exit_of_the_victim_tells_whether_it_was_the_first() {
        let kill = "1s a/b/c OomKill constraint=memcg pid=77; 1s a/b/c ProcessExit signal=9";
        let cases = [("pid=77 init=false", 1), ("pid=77 init=true", 0), ("pid=8 init=false", 0)];
        for (exit, drafts) in cases {
            let story = format!("{kill} {exit}");
            assert_eq!(told!(Detector, &story).len(), drafts, "{exit}");
            assert_eq!(told!(container_oom::Detector, &story).len(), 1 - drafts, "{exit}");
        }
    }

    #[test]
    fn two_kills_in_one_container_id_show_that_it_survived() {
        let kill =
            |at, pid, id| format!("{at}s a/b/c OomKill constraint=memcg pid={pid} cid={id}; ");
        let survived = kill(0, 7, "x") + &kill(30, 8, "x");
        assert_eq!(told!(Detector, &survived).len(), 1);
        assert_eq!(told!(container_oom::Detector, &survived), []);
        for story in [
            kill(0, 7, "x") + &kill(30, 8, "y"),
            kill(0, 7, "x") + &kill(1, 8, "x"),
            kill(0, 7, "x") + &kill(30, 7, "x"),
            kill(0, 7, "x"),
        ] {
            assert_eq!(told!(Detector, &story), [], "{story}");
            assert_eq!(told!(container_oom::Detector, &story).len(), 1, "{story}");
        }
    }

    #[test]
    fn a_container_that_ends_is_container_oom() {
        let story =
            format!("{CHILD}; 11s web/api-1/api ContainerTerminated exit=137 reason=OOMKilled");
        assert_eq!(told!(Detector, &story), []);
        assert_eq!(told!(container_oom::Detector, &story).len(), 1);
        // Kubernetes writes whole seconds: the end may seem to come first.
        let early = story.replace("11s", "9s");
        assert_eq!(told!(Detector, &early), []);
    }

    #[test]
    fn look_alikes_and_health_are_not_it() {
        for story in [
            "0s a/b/c OomKill constraint=memcg init=true pid=1",
            "0s a/b/c OomKill constraint=none init=false pid=7",
            "0s a/b/c OomKill init=false pid=7",
            "0s a/b/c Log sev=error msg=\"worker died\"",
        ] {
            assert_eq!(told!(Detector, story), [], "{story}");
        }
    }
}
