//! The node ran out of memory, and the kernel picked victims by score: whoever died is not
//! whoever is to blame.
//!
//! Evidence: the kernel's kill with constraint none (or cpuset, or a memory policy); else the
//! kubelet's `SystemOOM`.
//! Root: the first such kill on the node; without one, the kubelet's report.
//! Not this: `container_oom` (constraint memcg: the victim's own limit), `memory_eviction` (the
//! kubelet evicted, the kernel did not kill); what a kubelet that has just started reports of the
//! past, for it reads the kernel's log from its beginning.
//! First look: the largest resident process on the node that is not the victim.

use std::{collections::BTreeMap, time::Duration};

use tapio_engine::{Draft, Pattern, Spec, View};
use tapio_model::{Entity, Event, EvidenceClass, Kind, Text, keys};

use crate::{
    Scene,
    witness::{
        Constraint, constraint, ending, may_share_node, not_before, pid, process, quoted,
        same_container, says_oom, spot, touch_services, touch_victims, truth,
    },
};

/// Scenes whose cause is known.
pub(crate) const SCENES: &[Scene] = &[
    Scene::cause(
        "node_oom",
        "pods of three workloads die by the kernel on one node",
        r#"1s shop/a-6d5f9c8b7-aaaaa/a@n1%a OomKill constraint=none pid=11 proc=a msg="Out of memory: Killed process 11 (a) anon-rss:90112kB"
         2s shop/a-6d5f9c8b7-aaaaa/a@n1%a ContainerTerminated exit=137 reason=OOMKilled
         2s shop/b-7f6b8d9c4-bbbbb/b@n1%b OomKill constraint=none pid=22 proc=b msg="Out of memory: Killed process 22 (b) anon-rss:80112kB" trace=2
         3s shop/b-7f6b8d9c4-bbbbb/b@n1%b ContainerTerminated exit=137 reason=Error trace=2
         3s svc:shop/b%b EndpointsChanged ready=0 not_ready=1 trace=2
         4s shop/front-6d5f9c8b7-k2x4p/front@n2%front ConnectRefused addr=10.96.0.21 port=80 peer=b error=ECONNREFUSED trace=5
         5s shop/front-6d5f9c8b7-k2x4p/front@n2%front ConnectRefused addr=10.96.0.21 port=80 peer=b error=ECONNREFUSED trace=5
         3s data/c-0/c@n1%StatefulSet/c OomKill constraint=none pid=33 proc=c msg="Out of memory: Killed process 33 (c) anon-rss:70112kB" trace=3
         4s data/c-0/c@n1%StatefulSet/c ContainerTerminated exit=137 reason=OOMKilled trace=3
         2s node:n1 NodeOom reason=SystemOOM pid=11 proc=a msg="System OOM encountered, victim process: a, pid: 11" trace=4
         4s node:n1 NodeCondition condition=MemoryPressure status=true reason=KubeletHasInsufficientMemory trace=4"#,
    ),
    Scene::cause(
        "node_oom",
        "the kubelet alone tells of it",
        r#"1s node:n1 NodeOom reason=SystemOOM pid=11 proc=java msg="System OOM encountered, victim process: java, pid: 11"
         2s node:n1 NodeOom reason=SystemOOM pid=12 proc=java msg="System OOM encountered, victim process: java, pid: 12"
         3s node:n1 ObjectEvent reason=OOMKilling sev=warn msg="Out of memory: Killed process 11 (java)""#,
    ),
    Scene::cause(
        "container_oom",
        "a limit is reached on a node that is short of memory as well",
        r#"0s node:n1 NodeCondition condition=MemoryPressure status=true reason=KubeletHasInsufficientMemory trace=2
         0s node:n1 Pressure resource=memory ratio=0.4 trace=2
         1s shop/db-0/db@n1%StatefulSet/db OomKill constraint=memcg memcg=/kubepods/burstable/podd0/db pid=4242 proc=postgres msg="Memory cgroup out of memory: Killed process 4242 (postgres)"
         2s shop/db-0/db@n1%StatefulSet/db ContainerTerminated exit=137 reason=OOMKilled limit=268435456"#,
    ),
    Scene::unknown(
        "node_oom",
        "a kill whose constraint nobody saw",
        r#"1s shop/db-0/db@n1%StatefulSet/db OomKill pid=4242 proc=postgres msg="Killed process 4242 (postgres) total-vm:942264kB, anon-rss:732384kB"
         2s shop/db-0/db@n1%StatefulSet/db ContainerTerminated exit=137 reason=OOMKilled"#,
    ),
    Scene::healthy(
        "a kubelet starts, and reports what the kernel did hours ago",
        r#"1s node:n1 ObjectEvent reason=Starting count=1 msg="Starting kubelet."
         1s node:n1 NodeOom reason=SystemOOM pid=11 proc=tail msg="System OOM encountered, victim process: tail, pid: 11"
         1s node:n1 NodeOom reason=SystemOOM pid=12 proc=java msg="System OOM encountered, victim process: java, pid: 12"
         2s node:n1 NodeCondition condition=Ready status=true reason=KubeletReady"#,
    ),
    Scene::healthy(
        "memory is short for a moment, and nobody dies",
        "0s node:n1 NodeCondition condition=MemoryPressure status=true reason=KubeletHasInsufficientMemory
         1s node:n1 Pressure resource=memory ratio=0.4
         20s node:n1 NodeCondition condition=MemoryPressure status=false reason=KubeletHasSufficientMemory",
    ),
];

const SPEC: Spec = Spec {
    slug: "node_oom",
    title: "Node out of memory",
    wakes_on: &[Kind::OomKill, Kind::NodeOom],
    leads_to: &[
        "memory_eviction",
        "node_not_ready",
        "readiness_lost",
        "connection_failed",
        "cascading_dependency",
        "job_failed",
        "service_abnormal",
    ],
};

/// How far the kubelet's report may be from the kill that it does not name.
const SAME_KILL: Duration = Duration::from_secs(10);

/// How long a kubelet that starts may read what the kernel said before.
const READS_THE_PAST: Duration = Duration::from_secs(10);

/// Finds nodes that ran out of memory.
#[derive(Debug)]
pub(crate) struct Detector;

impl Pattern for Detector {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn detect(&self, view: &View<'_>) -> Vec<Draft> {
        let mut nodes: BTreeMap<Option<&Text>, Vec<&Event>> = BTreeMap::new();
        for event in view.events().filter(|event| shows_node(view, event)) {
            nodes.entry(event.place.node.as_ref()).or_default().push(event);
        }
        let decided = nodes.values().filter_map(|group| decide(view, group));
        let unknown = view
            .of(Kind::OomKill)
            .filter(|kill| constraint(kill).is_none() && !shows_node(view, kill));
        decided.chain(unknown.filter_map(|kill| doubt(view, kill))).collect()
    }
}

/// Says whether an event shows that the node, and not a cgroup, ran out.
fn shows_node(view: &View<'_>, event: &Event) -> bool {
    let told = |other: &Event| is_same_kill(other, event);
    match (event.kind == Kind::OomKill).then(|| constraint(event)) {
        Some(Some(constraint)) => constraint == Constraint::Node,
        Some(None) => view.find(Kind::NodeOom, told).is_some(),
        // Some kubelets report a cgroup's kill as the system's.
        None => {
            let of_cgroup =
                |kill: &Event| constraint(kill) == Some(Constraint::Cgroup) && told(kill);
            event.kind == Kind::NodeOom
                && view.find(Kind::OomKill, of_cgroup).is_none()
                && !is_of_the_past(view, event)
        }
    }
}

/// Says whether a kubelet tells of a kill while it starts: it reads the kernel's log from its
/// beginning, and gives all that it finds there the time of its reading.
fn is_of_the_past(view: &View<'_>, report: &Event) -> bool {
    let starts = |event: &Event| {
        event.attributes.text(keys::REASON) == Some("Starting")
            && event.attributes.text(keys::MESSAGE).is_some_and(|said| said.contains("kubelet"))
            && may_share_node(event, report)
            && event.time.distance(report.time) <= READS_THE_PAST
    };
    view.find(Kind::ObjectEvent, starts).is_some()
}

/// Says whether both speak of one kill: by the process, else by node and time.
fn is_same_kill(one: &Event, other: &Event) -> bool {
    let near = one.place.node.is_some() && one.time.distance(other.time) <= SAME_KILL;
    may_share_node(one, other) && pid(one).zip(pid(other)).map_or(near, |(one, other)| one == other)
}

fn decide(view: &View<'_>, group: &[&Event]) -> Option<Draft> {
    let kill = group.iter().copied().find(|event| event.kind == Kind::OomKill);
    let root = kill.or_else(|| group.first().copied())?;
    let class = if kill.is_some() { EvidenceClass::KernelProof } else { EvidenceClass::EventText };
    let node = root.place.node.as_ref();
    let name = node.map_or_else(|| "The node".to_owned(), |node| format!("Node {node}"));
    let subject = Entity::Node { name: node.cloned().unwrap_or_default() };
    let mut victims: Vec<String> = Vec::new();
    for event in group {
        let victim = process(event);
        if pid(event).is_none()
            || !group.iter().any(|e| e.order() < event.order() && pid(e) == pid(event))
        {
            victims.push(victim);
        }
    }
    let (first, more) = (process(root), victims.len().saturating_sub(1));
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let limit = match root.attributes.text(keys::OOM_CONSTRAINT) {
        Some("cpuset") => "the memory its cpuset allows ran out",
        Some("memory_policy") => "the memory its policy allows ran out",
        Some(_) | None => "the memory of the whole node ran out",
    };
    let draft = Draft::new(subject, class, root, text(root))
        .touching(&root.place)
        .title(format!("{name} ran out of memory: the kernel killed {first}{more}"))
        .because(format!(
            "{name}: {limit}, and the kernel killed {}{}.",
            victims.join(", "),
            quoted(root)
        ))
        .advise(
            "Find the largest resident process on the node that is not the victim: the \
            kernel kills by score, not by blame.",
        )
        .advise("Give critical pods requests equal to limits, and reserve memory for the system.");
    let draft = match kill {
        Some(kill) => {
            let because = "the constraint is not memcg: no limit of the victim's own was reached";
            draft.rule_out("container_oom", because, &[kill])
        }
        None => draft.missing("the kernel's line with victim and constraint"),
    };
    let draft = draft.rule_out(
        "memory_eviction",
        "the kernel killed; the kubelet evicts by itself",
        &[root],
    );
    let draft = touch_victims(draft, group);
    let draft = group
        .iter()
        .fold(draft, |draft, event| draft.touching(&event.place).step(event, text(event)));
    let draft = group.iter().fold(draft, |draft, event| touch_services(view, draft, &event.place));
    Some(cite_around(view, draft, root, group))
}

fn cite_around(view: &View<'_>, draft: Draft, root: &Event, group: &[&Event]) -> Draft {
    let here = |event: &&Event| event.place.node.is_none() || event.place.node == root.place.node;
    view.events().filter(here).fold(draft, |draft, event| {
        let a = &event.attributes;
        let pressed = event.kind == Kind::NodeCondition
            && a.text(keys::CONDITION) == Some("MemoryPressure")
            && truth(event, keys::STATUS) != Some(false);
        let stalled = event.kind == Kind::Pressure && a.text(keys::RESOURCE) == Some("memory");
        let killed = event.kind == Kind::ContainerTerminated
            && (says_oom(event) || a.int(keys::EXIT_CODE) == Some(137))
            && not_before(event, root);
        let victim = group.iter().any(|kill| same_container(kill, event));
        if pressed || stalled {
            draft.step(event, "memory was short on the node")
        } else if killed && (victim || event.place.node.is_some()) {
            let text = format!("{} ended: {}", spot(&event.place), ending(event));
            draft.touching(&event.place).symptom(event, text)
        } else {
            draft
        }
    })
}

fn text(event: &Event) -> String {
    let who = if event.kind == Kind::OomKill {
        "the kernel killed"
    } else {
        "the kubelet says that the system killed"
    };
    format!("{who} {} in {}{}", process(event), spot(&event.place), quoted(event))
}

fn doubt(view: &View<'_>, kill: &Event) -> Option<Draft> {
    let (victim, place) = (process(kill), spot(&kill.place));
    let subject = Entity::narrowest(&kill.place)?;
    let draft = Draft::new(subject, EvidenceClass::KernelProof, kill, text(kill))
        .touching(&kill.place)
        .title(format!("{victim} was OOM-killed in {place}, perhaps because the node ran out"))
        .because(format!(
            "The kernel killed {victim} for want of memory; whose memory is not known{}.",
            quoted(kill)
        ))
        .advise("Learn the constraint first: a higher limit does not help a full node.")
        .missing("the constraint of the kill");
    let ends = view.events().filter(|event| says_oom(event) && same_container(event, kill));
    let draft = ends
        .fold(draft, |draft, end| draft.symptom(end, format!("{place} ended: {}", ending(end))));
    Some(draft.or(
        "container_oom",
        format!("{place} reached its own memory limit"),
        "`dmesg | grep oom-kill`: constraint=CONSTRAINT_MEMCG is the container's limit, \
            CONSTRAINT_NONE the node's memory",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KILLS: &str = "10s shop/db-1/db@n1 OomKill constraint=none pid=7 proc=postgres \
        msg=\"Out of memory: Killed process 7 (postgres)\"; \
        12s web/api-1/api@n1 OomKill constraint=none pid=8 proc=java";

    #[test]
    fn holds_for_a_node_with_all_its_victims() {
        let story = format!(
            "5s node:n1 Pressure resource=memory ratio=0.6; {KILLS}; 10s node:n1 NodeOom pid=7; \
             13s shop/db-1/db@n1 ContainerTerminated exit=137 reason=OOMKilled"
        );
        let [draft] = &told!(Detector, &story)[..] else { panic!("one node") };
        assert_eq!(draft.subject(), &Entity::Node { name: "n1".into() });
        assert_eq!(draft.class(), EvidenceClass::KernelProof);
        assert_eq!(
            draft.headline(),
            "Node n1 ran out of memory: the kernel killed postgres (pid 7) and 1 more"
        );
        for id in ["cid-shop-db-1-db", "cid-web-api-1-api"] {
            assert!(draft.touches().contains(&Entity::Container { id: id.into() }), "{id}");
        }
        assert_eq!(draft.evidence().len(), 5);
        assert_eq!(draft.ruled_out().first().map(|out| &*out.pattern), Some("container_oom"));
    }

    #[test]
    fn the_kubelets_report_alone_is_weaker() {
        let story = "0s node:n1 NodeOom msg=\"System OOM encountered, victim process: db, pid: 7\"";
        let [draft] = &told!(Detector, story)[..] else { panic!("one node") };
        assert_eq!(draft.class(), EvidenceClass::EventText);
        assert!(draft.headline().ends_with("process 7") && draft.gaps().len() == 1);
    }

    #[test]
    fn two_nodes_are_two_drafts() {
        let story = format!("{KILLS}; 13s a/b/c@n2 OomKill constraint=cpuset pid=9");
        let drafts = told!(Detector, &story);
        assert_eq!(drafts.len(), 2);
        assert!(drafts[1].root_cause().contains("cpuset"), "{}", drafts[1].root_cause());
    }

    #[test]
    fn an_unknown_constraint_is_unknown_until_the_kubelet_speaks() {
        let kill = "0s a/b/c@n1 OomKill pid=7; 1s a/b/c@n1 ContainerTerminated reason=OOMKilled";
        let [draft] = &told!(Detector, kill)[..] else { panic!("one draft") };
        let doubt = draft.doubt().expect("the constraint is missing");
        assert_eq!(doubt.alternative, "container_oom");
        assert!(doubt.check.contains("CONSTRAINT_MEMCG"));
        let [draft] = &told!(Detector, &format!("{kill}; 1s node:n1 NodeOom pid=7"))[..] else {
            panic!("one draft")
        };
        assert!(draft.doubt().is_none());
    }

    #[test]
    fn look_alikes_and_health_are_not_it() {
        for story in [
            "0s a/b/c@n1 OomKill constraint=memcg pid=7",
            "0s a/b/c@n1 OomKill constraint=memcg pid=7; 0s node:n1 NodeOom pid=7",
            "0s a/b/c@n1 OomKill constraint=memcg pid=7; 1s node:n1 NodeOom",
            "0s a/b/c@n1 PodEvicted; 0s node:n1 NodeCondition condition=MemoryPressure status=true",
            "0s a/b/c@n1 ContainerTerminated exit=137",
        ] {
            assert_eq!(told!(Detector, story), [], "{story}");
        }
    }
}
