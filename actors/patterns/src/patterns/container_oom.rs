//! A container (or a systemd unit) reached its own memory limit and the kernel killed a process of
//! it.
//!
//! Evidence: the kernel's kill with constraint memcg; else the status `OOMKilled`, the unit result
//! `oom-kill`, or the cgroup's `oom_kill` counter, which alone may have counted a child. Exit code
//! 137 alone is not evidence: it is any SIGKILL.
//! Root: the kernel's kill; without it the first witness of it.
//! Not this: `node_oom` (constraint none: the node itself ran out), `liveness_kill` (the kubelet
//! killed it, the kernel did not), `silent_child_oom` (a child died and the container lives on),
//! `memory_eviction` (the kubelet evicted the pod).
//! First look: the working set against the limit; a step asks for a higher limit, a steady slope
//! since a rollout is a leak.

mod scenes;

use std::collections::BTreeSet;

use tapio_engine::{Draft, Pattern, Spec, View};
use tapio_model::{Entity, Event, EvidenceClass, Kind, keys};

pub(crate) use self::scenes::SCENES;
use super::silent_child_oom::is_child_kill;
use crate::witness::{
    Constraint, beside, by_container, constraint, count, ending, may_share_node, not_before, pid,
    process, quoted, same_container, says_oom, spot, times, touch_services, touch_victims, truth,
    was_asked_to_stop,
};

const SPEC: Spec = Spec {
    slug: "container_oom",
    title: "Container killed at its memory limit",
    wakes_on: &[Kind::OomKill, Kind::OomKillCounted, Kind::ContainerTerminated, Kind::UnitFailed],
    leads_to: &[
        "cannot_start",
        "node_not_ready",
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

/// Finds containers and units that died at their memory limit.
#[derive(Debug)]
pub(crate) struct Detector;

impl Pattern for Detector {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn detect(&self, view: &View<'_>) -> Vec<Draft> {
        let witnesses = view.events().filter(|event| {
            event.kind == Kind::OomKill || event.kind == Kind::OomKillCounted || says_oom(event)
        });
        let killed = by_container(witnesses);
        let unexplained = view.of(Kind::ContainerTerminated).filter(|end| is_bare_kill(view, end));
        let drafts = killed.iter().filter_map(|group| decide(view, group));
        drafts.chain(by_container(unexplained).iter().filter_map(|group| doubt(group))).collect()
    }
}

fn decide(view: &View<'_>, group: &[&Event]) -> Option<Draft> {
    let of_kernel = || group.iter().copied().filter(|event| event.kind == Kind::OomKill);
    let kill = of_kernel()
        .find(|kill| constraint(kill) == Some(Constraint::Cgroup) && !is_child_kill(view, kill));
    let (root, class) = match kill {
        Some(kill) => (kill, EvidenceClass::KernelProof),
        // A kill that is a child's, the node's or of unknown constraint has a pattern of its own,
        // and counter and status say no more than that there was one.
        None if of_kernel().next().is_some() => return None,
        None => (*group.first()?, EvidenceClass::ObjectStatus),
    };
    if kill.is_none() && view.find(Kind::NodeOom, |event| may_share_node(event, root)).is_some() {
        return None;
    }
    let draft = Draft::new(subject(root, group)?, class, root, text(root));
    let draft = touch_services(view, draft, &root.place);
    let draft = touch_victims(draft, group);
    let draft = group
        .iter()
        .fold(draft, |draft, witness| draft.touching(&witness.place).step(witness, text(witness)));
    let mut mine = view.events().filter(|event| same_container(event, root));
    let bytes = mine.find_map(|event| event.attributes.int(keys::MEMORY_LIMIT));
    let limit = bytes.map(|bytes| format!(" of {} MiB", bytes / 1_048_576)).unwrap_or_default();
    let draft = tell(cite_around(view, draft, root), root, group, &limit);
    Some(rule_out(view, draft, root, kill))
}

fn subject(root: &Event, group: &[&Event]) -> Option<Entity> {
    let mut places = std::iter::once(root).chain(group.iter().copied()).map(|event| &*event.place);
    places.clone().find_map(Entity::container).or_else(|| places.find_map(Entity::narrowest))
}

fn cite_around(view: &View<'_>, draft: Draft, root: &Event) -> Draft {
    view.events().filter(|event| same_container(event, root)).fold(draft, |draft, event| {
        let unready = event.kind == Kind::PodReadiness && truth(event, keys::STATUS) == Some(false);
        if event.kind == Kind::MemoryLimitReached {
            let hits = times(count(event));
            draft.step(event, format!("{} was at its memory limit{hits}", spot(&event.place)))
        } else if !not_before(event, root) {
            draft
        } else if event.kind == Kind::ContainerStarted && event.order() > root.order() {
            draft.symptom(event, "the container started again")
        } else if event.kind == Kind::ContainerWaiting {
            let reason = event.attributes.text(keys::REASON).unwrap_or("a restart");
            draft.symptom(event, format!("the container waits: {reason}"))
        } else if unready {
            draft.symptom(event, "the pod is not ready")
        } else if event.kind == Kind::ContainerTerminated {
            draft.symptom(event, format!("the container ended: {}", ending(event)))
        } else {
            draft
        }
    })
}

/// Counts the kills. The kernel's log and a probe in it both tell of one: a victim dies once.
fn kills(root: &Event, group: &[&Event]) -> usize {
    let alike = group.iter().filter(|event| event.kind == root.kind);
    let victims: BTreeSet<_> =
        alike.clone().filter_map(|event| event.attributes.int(keys::PROCESS_PID)).collect();
    let nameless = alike.filter(|event| event.attributes.int(keys::PROCESS_PID).is_none()).count();
    victims.len() + nameless
}

fn tell(draft: Draft, root: &Event, group: &[&Event], limit: &str) -> Draft {
    let place = spot(&root.place);
    let often = times(i64::try_from(kills(root, group)).unwrap_or(i64::MAX));
    let cgroup = root.attributes.text(keys::OOM_CGROUP).or(root.place.cgroup.as_deref());
    let cgroup = cgroup.map_or_else(|| format!("the cgroup of {place}"), |c| format!("cgroup {c}"));
    let because = if root.kind == Kind::OomKill {
        let (victim, line) = (process(root), quoted(root));
        let held = root.attributes.int(keys::OOM_ANON_RSS_KIB);
        let held = held.map(|kib| format!(", which held {} MiB,", kib / 1024)).unwrap_or_default();
        format!(
            "The kernel killed {victim}{held} because {cgroup} reached its memory \
                limit{limit}{line}."
        )
    } else {
        format!(
            "A process of {place} was killed for want of memory in {cgroup}, presumably at its \
             limit{limit}: {}.",
            text(root)
        )
    };
    let who = if root.kind == Kind::OomKill { process(root) } else { "A process".to_owned() };
    draft
        .title(format!("{who} was OOM-killed in {place} at its memory limit{limit}{often}"))
        .because(because)
        .advise(format!(
            "Compare the working set of {place} with its limit{limit}: after a step up raise the \
             limit, a steady slope is a leak."
        ))
}

fn rule_out(view: &View<'_>, draft: Draft, root: &Event, kill: Option<&Event>) -> Draft {
    let draft = match kill {
        Some(kill) => {
            let because =
                "the kernel names a cgroup's limit as the constraint, not the node's memory";
            draft.rule_out("node_oom", because, &[kill]).rule_out(
                "liveness_kill",
                format!("the kernel sent the kill to {}, not the kubelet", process(kill)),
                &[kill],
            )
        }
        None => draft
            .rule_out(
                "liveness_kill",
                "the witness says OOM, and a probe's kill would not",
                &[root],
            )
            .missing("the kernel's line with victim and constraint"),
    };
    let draft = match view.find(Kind::RolloutStarted, |change| change.order() < root.order()) {
        Some(change) => draft
            .step(change, "a rollout began before the kill")
            .advise("A rollout came before: if memory rose with it, roll it back."),
        None => draft,
    };
    let ended = beside(view, root, &[Kind::ContainerTerminated, Kind::UnitFailed]).is_some();
    if root.place.pod.is_none() || ended {
        return draft;
    }
    let draft = draft.missing("the container's end: only a child process may have died");
    if kill.is_some() {
        return draft;
    }
    draft.or(
        "silent_child_oom",
        "a child process was killed, and its container runs on",
        "kubectl get pod: a restart says that the container ended; `dmesg | grep -i oom` names the \
            victim",
    )
}

fn text(witness: &Event) -> String {
    let place = spot(&witness.place);
    if witness.kind == Kind::OomKill {
        let victim = process(witness);
        return format!("the kernel killed {victim} in {place}{}", quoted(witness));
    }
    if witness.kind == Kind::OomKillCounted {
        return format!("the oom_kill counter of {place} rose by {}", count(witness));
    }
    if witness.kind == Kind::UnitFailed {
        return format!("systemd says that {place} failed with result oom-kill");
    }
    format!("the status of {place} says {}", ending(witness))
}

/// Says whether a container ended by SIGKILL and nothing says who sent it.
fn is_bare_kill(view: &View<'_>, end: &Event) -> bool {
    const SENDERS: &[Kind] =
        &[Kind::OomKill, Kind::OomKillCounted, Kind::ContainerKilling, Kind::PodEvicted];
    end.attributes.int(keys::EXIT_CODE) == Some(137)
        && !says_oom(end)
        && !was_asked_to_stop(end)
        && beside(view, end, SENDERS).is_none()
        && !view.events().any(|event| says_oom(event) && same_container(event, end))
}

fn doubt(group: &[&Event]) -> Option<Draft> {
    let end = *group.first()?;
    let place = spot(&end.place);
    let shown = format!("{place} ended by SIGKILL: {}", ending(end));
    let draft = Draft::new(Entity::narrowest(&end.place)?, EvidenceClass::CoOccurrence, end, shown)
        .touching(&end.place)
        .title(format!("{place} was killed (exit code 137), perhaps at its memory limit"))
        .because(format!("A SIGKILL ended {place}; nothing seen says who sent it."))
        .advise("Find out who sent the SIGKILL before changing a limit.")
        .missing("the kernel's OOM line, the cgroup's oom_kill counter or the reason OOMKilled")
        .missing("the kubelet's Killing event");
    let check = format!(
        "oom_kill in the cgroup's memory.events and `dmesg | grep -i oom`{}: a count says OOM; \
         `kubectl describe pod`: Killing says that the kubelet did it",
        pid(end).map(|pid| format!(" for pid {pid}")).unwrap_or_default()
    );
    let text = "the kubelet killed it: a failed liveness probe, or a stop that took too long";
    Some(
        group
            .iter()
            .skip(1)
            .fold(draft, |draft, again| {
                draft.step(again, format!("ended again: {}", ending(again)))
            })
            .or("liveness_kill", text, check),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const KILL: &str = "10s shop/db-1/db@n1%db OomKill constraint=memcg pid=4242 proc=postgres \
        memcg=/kubepods/pod1/db msg=\"Memory cgroup out of memory: Killed process 4242 (postgres)\"";

    #[test]
    fn holds_on_the_kernels_word_and_gathers_every_witness() {
        let story = format!(
            "5s shop/db-1/db@n1%db MemoryLimitReached count=9 limit=536870912; {KILL}; \
             10s shop/db-1/db@n1%db OomKillCounted; \
             11s shop/db-1/db@n1%db ContainerTerminated reason=OOMKilled exit=137; \
             12s shop/db-1/db@n1%db ContainerStarted cid=new; \
             40s shop/db-1/db@n1%db ContainerWaiting reason=CrashLoopBackOff cid=new"
        );
        let [draft] = &told!(Detector, &story)[..] else { panic!("one container") };
        assert_eq!(draft.class(), EvidenceClass::KernelProof);
        assert_eq!(draft.evidence().len(), 6);
        assert!(draft.headline().contains("postgres (pid 4242)"), "{}", draft.headline());
        for words in [
            "postgres (pid 4242)",
            "/kubepods/pod1/db",
            "512 MiB",
            "Memory cgroup out \
            of",
        ] {
            assert!(draft.root_cause().contains(words), "{}", draft.root_cause());
        }
        assert!(draft.doubt().is_none() && draft.gaps().is_empty(), "{:?}", draft.gaps());
        assert_eq!(draft.subject().to_string(), "container cid-shop-db-1-db");
    }

    #[test]
    fn any_witness_alone_makes_one_weaker_draft() {
        let cases = [
            "0s shop/db-1/db ContainerTerminated reason=OOMKilled exit=137",
            "0s unit:db@n1 UnitFailed result=oom-kill; 1s unit:db@n1 OomKillCounted",
            "0s a/b/c OomKillCounted; 1s a/b/c ContainerTerminated reason=OOMKilled cid=z",
        ];
        for story in cases {
            let [draft] = &told!(Detector, story)[..] else { panic!("{story}") };
            assert_eq!(draft.class(), EvidenceClass::ObjectStatus, "{story}");
            assert!(draft.doubt().is_none() && !draft.gaps().is_empty(), "{story}");
        }
    }

    #[test]
    fn the_counter_alone_may_have_counted_a_child() {
        let [draft] = &told!(Detector, "0s shop/db-1/db OomKillCounted count=1")[..] else {
            panic!("one draft")
        };
        assert_eq!(draft.doubt().map(|doubt| doubt.alternative), Some("silent_child_oom"));
        let unit = "0s unit:db@n1 OomKillCounted count=1; 1s unit:db@n1 Log msg=x";
        assert_eq!(told!(Detector, unit)[0].doubt(), None, "a unit has no child that is silent");
    }

    #[test]
    fn two_containers_are_two_drafts_and_restarts_are_one() {
        let story = format!(
            "{KILL}; 60s shop/db-1/db@n1%db OomKill constraint=memcg pid=4300 cid=new; \
             61s shop/db-2/db OomKill constraint=memcg"
        );
        let drafts = told!(Detector, &story);
        assert_eq!(drafts.len(), 2);
        assert!(drafts[0].headline().ends_with("2 times"), "{}", drafts[0].headline());
    }

    #[test]
    fn a_kill_that_two_witnesses_in_the_kernel_tell_of_is_one() {
        let drafts = told!(Detector, &format!("{KILL}; {KILL}"));
        assert!(!drafts[0].headline().contains("times"), "{}", drafts[0].headline());
    }

    #[test]
    fn exit_137_alone_is_unknown() {
        let [draft] = &told!(Detector, "0s a/b/c ContainerTerminated exit=137 reason=Error")[..]
        else {
            panic!("one draft")
        };
        let doubt = draft.doubt().expect("nobody saw the sender");
        assert_eq!(doubt.alternative, "liveness_kill");
        assert!(doubt.check.contains("memory.events"));
    }

    #[test]
    fn look_alikes_and_health_are_not_it() {
        let cases = [
            "0s a/b/c OomKill constraint=none pid=7; 1s a/b/c ContainerTerminated reason=OOMKilled",
            "0s a/b/c@n1 OomKill pid=7; 0s node:n1 NodeOom pid=7",
            "0s node:n1 NodeOom pid=7; 1s a/b/c@n1 ContainerTerminated reason=OOMKilled exit=137",
            "0s a/b/c OomKill constraint=memcg init=false pid=7",
            "0s a/b/c ContainerKilling; 1s a/b/c ContainerTerminated exit=137",
            "0s a/b PodEvicted; 1s a/b/c ContainerTerminated exit=137",
            "0s a/b/c ContainerTerminated exit=0 reason=Completed",
            "0s a/b/c ContainerTerminated exit=137 reason=Error sev=info",
            "0s a/b/c ProcessExit signal=9 pid=7",
            "0s unit:db UnitFailed result=exit-code",
            "0s a/b/c MemoryLimitReached",
        ];
        for story in cases {
            assert_eq!(told!(Detector, story), [], "{story}");
        }
    }

    #[test]
    fn a_kill_rules_out_the_node_and_the_kubelet() {
        let [draft] = &told!(Detector, &format!("0s shop/db-1%db RolloutStarted; {KILL}"))[..]
        else {
            panic!("one draft")
        };
        let dropped: Vec<_> = draft.ruled_out().iter().map(|out| &*out.pattern).collect();
        assert_eq!(dropped, ["node_oom", "liveness_kill"]);
        assert_eq!(draft.gaps().len(), 1, "the container's end was not seen");
        assert_eq!(draft.recommendation().len(), 2, "the rollout is named");
    }
}
