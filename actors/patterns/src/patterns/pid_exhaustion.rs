//! A limit other than memory and disk is reached: process ids, open files, local ports. Each errno
//! names its own resource.
//!
//! Evidence: calls that the kernel refuses with EAGAIN (fork), EMFILE or ENFILE, EADDRNOTAVAIL
//! (connect); its word that a cgroup's fork was rejected or a table of the node is full; the node's
//! condition `PIDPressure` and pods evicted for it.
//! Root: the first refusal, the kernel's before an application's.
//! Not this: `conntrack_full` (new connections of the whole node are dropped, and no call fails),
//! `watch_limit` (EMFILE or ENOSPC of inotify), `container_oom` (fork fails for memory with ENOMEM).
//! First look: for the process `ls /proc/PID/fd | wc -l` against `grep 'open files'
//! /proc/PID/limits`; `cat pids.current pids.max` of its cgroup; `ss -s` for ports.

use std::collections::BTreeMap;

use tapio_engine::{Draft, Pattern, Spec, View};
use tapio_model::{Entity, Event, EvidenceClass, Kind, keys};

use super::watch_limit::is_watch;
use crate::{
    Scene,
    node_state::{Eviction, class},
    shortage::{Resource, Shortage},
    witness::{
        by_container, count, ending, not_before, process, quoted, same_container, spot, times,
    },
};

/// Scenes whose cause is known.
pub(crate) const SCENES: &[Scene] = &[
    Scene::cause(
        "pid_exhaustion",
        "a server that never closes its files",
        "0s shop/web-1/web@n1%web LimitReached resource=open_files tapio.syscall=accept4 error=EMFILE count=40 pid=9 proc=nginx msg=\"nginx (pid 9): accept4 failed with EMFILE\"
         2s shop/web-1/web@n1%web ProbeFailed probe=readiness count=3 msg=\"Readiness probe failed: context deadline exceeded\"
         3s shop/web-1@n1%web PodReadiness status=false
         3s svc:shop/web%web EndpointsChanged ready=0 not_ready=1",
    ),
    Scene::cause(
        "pid_exhaustion",
        "a container forks up to its cgroup's limit",
        "0s shop/ci-1/ci@n1%ci LimitReached resource=processes error=EAGAIN path=/kubepods/podx/ci msg=\"cgroup: fork rejected by pids controller in /kubepods/podx/ci\"
         1s shop/ci-1/ci@n1%ci LimitReached src=kernel resource=processes tapio.syscall=clone error=EAGAIN count=12 pid=7 proc=sh",
    ),
    Scene::cause(
        "pid_exhaustion",
        "a client without a pool uses up its ports",
        "0s shop/api-1/api@n2%api LimitReached resource=ports tapio.syscall=connect error=EADDRNOTAVAIL count=400 pid=3 proc=api
         1s shop/api-1/api@n2%api Log sev=error msg=\"dial tcp 10.0.0.7:80: connect: cannot assign requested address\"",
    ),
    Scene::cause(
        "pid_exhaustion",
        "a node without process ids evicts",
        "0s node:n1 NodeCondition condition=PIDPressure status=true reason=KubeletHasInsufficientPID trace=1
         0s node:n1 NodeCondition condition=PIDPressure status=true reason=NodeHasInsufficientPID count=1 trace=1
         1s shop/ci-1@n1%ci PodEvicted reason=Evicted msg=\"The node was low on resource: pids. Threshold quantity: 1000, available: 12.\" trace=2
         2s shop/ci-1/ci@n1%ci ContainerTerminated exit=137 reason=Error trace=2",
    ),
    Scene::unknown(
        "pid_exhaustion",
        "too many open files, and nobody says which call",
        "0s shop/logs-1/logs@n1%logs LimitReached src=app resource=open_files error=EMFILE count=2 msg=\"too many open files\"
         5s shop/logs-1/logs@n1%logs LimitReached src=app resource=open_files error=EMFILE count=2 msg=\"too many open files\"",
    ),
    Scene::cause(
        "conntrack_full",
        "connections of the whole node are dropped and no call fails",
        "0s node:n1 ConntrackFull count=40 msg=\"nf_conntrack: nf_conntrack: table full, dropping packet\" trace=1
         1s node:n1 ConntrackFull count=90 msg=\"nf_conntrack: nf_conntrack: table full, dropping packet\" trace=1
         2s shop/api-1/api@n1%api SynRetransmit peer=db addr=10.0.0.7 port=5432 count=3 trace=2
         9s shop/api-1/api@n1%api ConnectTimeout peer=db addr=10.0.0.7 port=5432 trace=2",
    ),
    Scene::cause(
        "watch_limit",
        "it is the watches that are used up",
        "0s shop/docs-1/docs@n1%docs LimitReached resource=watches tapio.syscall=inotify_add_watch error=ENOSPC count=3 pid=7 proc=node
         1s shop/docs-1/docs@n1%docs LimitReached resource=watches tapio.syscall=inotify_add_watch error=ENOSPC count=1 pid=7 proc=node",
    ),
    Scene::healthy(
        "a client that tries an address family it does not have",
        "0s shop/api-1/api@n2%api LimitReached resource=ports tapio.syscall=connect error=EADDRNOTAVAIL count=1 pid=3 proc=curl
         1s shop/api-1/api@n2%api LimitReached resource=ports tapio.syscall=connect error=EADDRNOTAVAIL count=1 pid=3 proc=curl",
    ),
];

const SPEC: Spec = Spec {
    slug: "pid_exhaustion",
    title: "Processes, files or ports used up",
    wakes_on: &[Kind::LimitReached, Kind::NodeCondition, Kind::PodEvicted],
    leads_to: &[
        "node_not_ready",
        "liveness_kill",
        "readiness_lost",
        "connection_failed",
        "cascading_dependency",
        "service_abnormal",
    ],
};

const PIDS: Resource = Resource {
    condition: "PIDPressure",
    eviction: Eviction::Processes,
    name: "process ids",
    attempts: &["EvictionThresholdMet"],
};

/// What is known of a limit.
struct Limit {
    /// Its name in an event.
    resource: &'static str,
    /// In words.
    words: &'static str,
    /// What is refused.
    refused: &'static str,
    /// Fewer refusals are everyday: a client tries an address family that it does not have.
    refusals_min: i64,
    cures: &'static [&'static str],
}

const LIMITS: &[Limit] = &[
    Limit {
        resource: "processes",
        words: "process ids",
        refused: "no new process or thread",
        refusals_min: 1,
        cures: &[
            "Count its threads (`ps -eLf | grep NAME | wc -l`) against pids.max of its cgroup, `ulimit -u` \
             and kernel.pid_max.",
            "Fix what forks or starts threads without end; then raise the pod's pids limit.",
        ],
    },
    Limit {
        resource: "open_files",
        words: "open files",
        refused: "no file and no connection",
        refusals_min: 2,
        cures: &[
            "Compare `ls /proc/PID/fd | wc -l` with `grep 'open files' /proc/PID/limits`; `ls -l \
             /proc/PID/fd` shows what leaks.",
            "Close what is opened, keep connections alive; then raise LimitNOFILE or the ulimit.",
        ],
    },
    Limit {
        resource: "ports",
        words: "local ports",
        refused: "no new connection",
        refusals_min: 10,
        cures: &[
            "`ss -s` in its network: many in TIME-WAIT mean connections that are not kept alive.",
            "Reuse connections with a pool; then widen net.ipv4.ip_local_port_range.",
        ],
    },
    Limit {
        resource: "neighbours",
        words: "neighbour entries",
        refused: "no new peer on its network",
        refusals_min: 1,
        cures: &["Raise net.ipv4.neigh.default.gc_thresh1 to 3 on the node."],
    },
    Limit {
        resource: "tcp_memory",
        words: "memory for TCP",
        refused: "no data on its connections",
        refusals_min: 1,
        cures: &["`ss -m` shows who holds the buffers; then raise net.ipv4.tcp_mem on the node."],
    },
];

/// What an application's line names beside EMFILE when it is no watch.
const CALLS: &[&str] = &["accept", "open /", "open(", "socket", "dial", "connect", "pipe", "epoll"];

/// Finds processes, containers and nodes at a limit.
#[derive(Debug)]
pub(crate) struct Detector;

impl Pattern for Detector {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn detect(&self, view: &View<'_>) -> Vec<Draft> {
        let short = Shortage::find(view, &PIDS);
        let nodes = short.iter().filter_map(|shortage| of_node(view, shortage));
        let mut limits: BTreeMap<&str, Vec<&Event>> = BTreeMap::new();
        for event in view.of(Kind::LimitReached).filter(|event| !is_watch(event)) {
            if let Some(limit) = limit(event) {
                limits.entry(limit.resource).or_default().push(event);
            }
        }
        let own = limits.into_values().flat_map(by_holder);
        nodes.chain(own.filter_map(|refusals| draft(view, &refusals))).collect()
    }
}

/// Returns the refusals of one container each, and those of one node that name nobody.
fn by_holder(refusals: Vec<&Event>) -> Vec<Vec<&Event>> {
    let is_bare =
        |event: &Event| matches!(Entity::narrowest(&event.place), Some(Entity::Node { .. }));
    let (of_nodes, named): (Vec<_>, Vec<_>) =
        refusals.into_iter().partition(|event| is_bare(event));
    let mut nodes: BTreeMap<_, Vec<&Event>> = BTreeMap::new();
    for event in of_nodes {
        nodes.entry(&event.place.node).or_default().push(event);
    }
    let mut groups = by_container(named);
    groups.extend(nodes.into_values());
    groups
}

/// Returns the limit that an event tells of: by its resource, else by its errno.
fn limit(event: &Event) -> Option<&'static Limit> {
    let by_error = || match event.attributes.text(keys::ERROR_TYPE)? {
        "EAGAIN" => Some("processes"),
        "EMFILE" | "ENFILE" => Some("open_files"),
        "EADDRNOTAVAIL" => Some("ports"),
        _ => None,
    };
    let resource = event.attributes.text(keys::RESOURCE).or_else(by_error)?;
    LIMITS.iter().find(|limit| limit.resource == resource)
}

fn of_node(view: &View<'_>, shortage: &Shortage<'_>) -> Option<Draft> {
    let draft = shortage
        .draft(view, &PIDS)?
        .advise("On the node: `ps -eLo user,comm | sort | uniq -c | sort -n | tail`: who has most?")
        .advise("Set the kubelet's podPidsLimit, so that one pod cannot take them all.")
        .rule_out("memory_eviction", "the kubelet names process ids", &shortage.evicted);
    Some(view.of(Kind::LimitReached).fold(draft, |draft, event| {
        let is_fork = limit(event).is_some_and(|limit| limit.resource == "processes");
        if is_fork { draft.touching(&event.place).step(event, text(event)) } else { draft }
    }))
}

fn draft(view: &View<'_>, refusals: &[&Event]) -> Option<Draft> {
    let of_kernel =
        refusals.iter().copied().find(|event| class(event) == EvidenceClass::KernelProof);
    let root = of_kernel.or_else(|| refusals.first().copied())?;
    let limit = limit(root)?;
    let total: i64 = refusals.iter().map(|event| count(event)).sum();
    // One line of an application may quote somebody else.
    let refusals_min = if of_kernel.is_some() { 1 } else { 2 };
    if total < limit.refusals_min.max(refusals_min) {
        return None;
    }
    let (place, words) = (spot(&root.place), limit.words);
    let subject = Entity::narrowest(&root.place)?;
    let draft = Draft::new(subject, class(root), root, text(root))
        .title(format!("{place} has no {words} left: it gets {}", limit.refused))
        .because(format!(
            "{} reached its limit of {words} and was refused{}{}.",
            who(root),
            times(total),
            quoted(root)
        ));
    let draft = limit.cures.iter().fold(draft, |draft, cure| draft.advise(*cure));
    let draft = refusals
        .iter()
        .fold(draft, |draft, event| draft.touching(&event.place).step(event, text(event)));
    Some(judge(cite_around(view, draft, root), root, of_kernel.is_some(), limit))
}

fn cite_around(view: &View<'_>, draft: Draft, root: &Event) -> Draft {
    let mine = |event: &&Event| same_container(event, root) && not_before(event, root);
    view.events().filter(mine).fold(draft, |draft, event| {
        if event.kind == Kind::ProbeFailed {
            draft
                .symptom(event, format!("its probe failed{}{}", times(count(event)), quoted(event)))
        } else if event.kind == Kind::ContainerTerminated {
            draft.symptom(event, format!("the container ended: {}", ending(event)))
        } else {
            draft
        }
    })
}

fn judge(draft: Draft, root: &Event, is_seen: bool, limit: &Limit) -> Draft {
    let because = "a call failed with an errno of its own; a full table drops in silence";
    let draft = draft.rule_out("conntrack_full", because, &[root]);
    let said = root.message();
    let is_open = limit.resource == "open_files" && !is_seen;
    if is_open && !CALLS.iter().any(|call| said.contains(call)) {
        return draft.missing("which call was refused").or(
            "watch_limit",
            "it is an inotify instance that was refused",
            "`sysctl fs.inotify.max_user_instances` against the inotify descriptors in /proc/*/fd; \
             `ls /proc/PID/fd | wc -l` against the process's own limit",
        );
    }
    if limit.resource == "open_files" {
        return draft.rule_out("watch_limit", "the call that was refused is no watch", &[root]);
    }
    draft
}

fn who(event: &Event) -> String {
    let is_known = event.attributes.text(keys::PROCESS_NAME).is_some();
    if is_known { process(event) } else { spot(&event.place) }
}

fn text(event: &Event) -> String {
    let words = limit(event).map_or("something", |limit| limit.words);
    format!("{} was refused {words}{}{}", who(event), times(count(event)), quoted(event))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_errno_names_its_own_resource() {
        let cases = [
            ("resource=processes", "has no process ids left"),
            ("error=EAGAIN", "has no process ids left"),
            ("error=EMFILE count=2", "has no open files left"),
            ("error=EADDRNOTAVAIL count=10", "has no local ports left"),
            ("resource=neighbours", "has no neighbour entries left"),
        ];
        for (words, want) in cases {
            let story = format!("0s a/b/c@n1 LimitReached {words}");
            let [draft] = &told!(Detector, &story)[..] else { panic!("{story}") };
            assert!(draft.headline().contains(want), "{}", draft.headline());
            assert_eq!(draft.class(), EvidenceClass::KernelProof);
            assert!(!draft.recommendation().is_empty() && draft.doubt().is_none());
        }
    }

    #[test]
    fn an_application_must_name_the_call() {
        let story = |said| {
            format!("0s a/b/c@n1 LimitReached src=app resource=open_files count=3 msg=\"{said}\"")
        };
        let named = told!(Detector, &story("accept4: too many open files"));
        assert!(named[0].doubt().is_none());
        let bare = told!(Detector, &story("too many open files"));
        assert_eq!(bare[0].doubt().map(|doubt| doubt.alternative), Some("watch_limit"));
    }

    #[test]
    fn a_nodes_own_limit_touches_the_node() {
        let story = "0s node:n1 LimitReached resource=open_files error=ENFILE \
            msg=\"VFS: file-max limit 9000 reached\"; 9s node:n1 LimitReached \
            resource=open_files error=ENFILE";
        let [draft] = &told!(Detector, story)[..] else { panic!("one node") };
        assert!(draft.touches().contains(&Entity::Node { name: "n1".into() }));
        let own = told!(Detector, "0s a/b/c@n1 LimitReached resource=processes");
        assert!(!own[0].touches().contains(&Entity::Node { name: "n1".into() }));
    }

    #[test]
    fn pressure_of_the_node_is_told_with_whom_it_evicts() {
        let story = "0s node:n1 NodeCondition condition=PIDPressure status=true; \
            1s a/b@n1 PodEvicted reason=Evicted msg=\"The node was low on resource: pids.\"";
        let [draft] = &told!(Detector, story)[..] else { panic!("one node") };
        assert!(draft.headline().ends_with("process ids: the kubelet evicted a/b"));
    }

    #[test]
    fn look_alikes_and_health_are_not_it() {
        for story in [
            "0s a/b/c@n1 LimitReached resource=watches",
            "0s a/b/c@n1 LimitReached resource=open_files tapio.syscall=inotify_init1 count=9",
            "0s a/b/c@n1 LimitReached resource=open_files count=1",
            "0s a/b/c@n1 LimitReached resource=ports count=9",
            "0s a/b/c@n1 LimitReached src=app resource=processes count=1",
            "0s node:n1 NodeCondition condition=PIDPressure status=false",
            "0s node:n1 ConntrackFull",
        ] {
            assert_eq!(told!(Detector, story), [], "{story}");
        }
    }
}
