//! A node has no inotify watches or instances left: whoever watches files is refused, though disk
//! and descriptors are fine.
//!
//! Evidence: `inotify_add_watch` refused with ENOSPC, `inotify_init` with EMFILE, by the kernel's
//! account or in an application's own words that name the watch.
//! Root: the first refusal, the kernel's before an application's.
//! Not this: `disk_full` (ENOSPC of a write: `df` shows it), `pid_exhaustion` (EMFILE of any other
//! call: the process holds too many descriptors).
//! First look: `sysctl fs.inotify` on the node, and who holds how many:
//! `find /proc/*/fd -lname anon_inode:inotify | cut -d/ -f3 | sort | uniq -c | sort -n`.

use std::collections::BTreeMap;

use tapio_engine::{Draft, Pattern, Spec, View};
use tapio_model::{Event, EvidenceClass, Kind, Text, keys};

use crate::{
    Scene,
    node_state::{self, class, node_of},
    witness::{count, process, quoted, spot, times},
};

/// Scenes whose cause is known.
pub(crate) const SCENES: &[Scene] = &[
    Scene::cause(
        "watch_limit",
        "a program is refused a watch, and says that no space is left",
        "0s shop/docs-1/docs@n1%docs LimitReached resource=watches tapio.syscall=inotify_add_watch error=ENOSPC count=3 pid=7 proc=node msg=\"node (pid 7): inotify_add_watch failed with ENOSPC\"
         1s shop/docs-1/docs@n1%docs StorageFull count=2 msg=\"Error: ENOSPC: System limit for number of file watchers reached, watch '/app/src'\"",
    ),
    Scene::cause(
        "watch_limit",
        "two workloads of one node are refused instances",
        "0s shop/logs-1/logs@n1%DaemonSet/logs LimitReached resource=open_files tapio.syscall=inotify_init1 error=EMFILE pid=7 proc=promtail count=2 msg=\"promtail (pid 7): inotify_init1 failed with EMFILE\" trace=1
         1s shop/logs-1/logs@n1%DaemonSet/logs Log sev=error msg=\"failed to create fsnotify watcher: too many open files\" trace=1
         2s shop/web-1/web@n1%web LimitReached resource=open_files tapio.syscall=inotify_init1 error=EMFILE pid=9 proc=web count=1 trace=2
         3s shop/web-1/web@n1%web Log sev=error msg=\"cannot watch config: too many open files\" trace=2",
    ),
    Scene::cause(
        "watch_limit",
        "an application's word names the watch",
        "0s shop/docs-1/docs@n1%docs StorageFull count=1 msg=\"inotify_add_watch /etc/config: no space left on device\"
         9s shop/docs-1/docs@n1%docs StorageFull count=1 msg=\"inotify_add_watch /etc/config: no space left on device\"",
    ),
    Scene::unknown(
        "watch_limit",
        "no space is left, and nobody says for what",
        "0s shop/docs-1/docs@n1%docs StorageFull count=2 msg=\"Error: ENOSPC\"
         9s shop/docs-1/docs@n1%docs StorageFull count=2 msg=\"Error: ENOSPC\"",
    ),
    Scene::cause(
        "disk_full",
        "a write is refused, not a watch",
        "0s data/db-0/db@n1%StatefulSet/db StorageFull src=kernel path=/var/lib/db msg=\"postgres (pid 7): write failed with ENOSPC\"
         1s data/db-0/db@n1%StatefulSet/db StorageFull msg=\"could not extend file: No space left on device\"",
    ),
    Scene::cause(
        "pid_exhaustion",
        "descriptors of any other call",
        "0s shop/web-1/web@n1%web LimitReached resource=open_files tapio.syscall=accept4 error=EMFILE count=90 pid=9 proc=nginx
         1s shop/web-1/web@n1%web Log sev=error msg=\"accept4() failed (24: Too many open files)\"",
    ),
    Scene::healthy(
        "one refusal that a program lives with",
        "0s shop/docs-1/docs@n1%docs StorageFull count=1 msg=\"watcher: inotify_add_watch: no space left on device, polling instead\"
         1s shop/docs-1/docs@n1%docs Log msg=\"polling\"",
    ),
];

const SPEC: Spec = Spec {
    slug: "watch_limit",
    title: "Out of inotify watches",
    wakes_on: &[Kind::LimitReached, Kind::StorageFull],
    leads_to: &[
        "cannot_start",
        "readiness_lost",
        "connection_failed",
        "cascading_dependency",
        "service_abnormal",
    ],
};

/// Calls that make a watch or an instance; the kernel's half names those it knows by number: 253 and
/// 294 on x86, 26 on ARM.
const CALLS: &[&str] = &[
    "inotify_add_watch",
    "inotify_init",
    "inotify_init1",
    "syscall 253",
    "syscall 294",
    "syscall 26",
];

/// How applications call what they were refused, in lower case.
const WORDS: &[&str] = &["inotify", "fsnotify", "file watchers", "max_user_watches", "filewatcher"];

/// One line of an application may quote somebody else, or be of a program that goes on without.
const APP_LINES_MIN: i64 = 2;

/// Finds nodes without watches.
#[derive(Debug)]
pub(crate) struct Detector;

impl Pattern for Detector {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn detect(&self, view: &View<'_>) -> Vec<Draft> {
        let mut nodes: BTreeMap<Option<&Text>, Vec<&Event>> = BTreeMap::new();
        for event in view.events().filter(|event| is_watch(event)) {
            nodes.entry(node_of(view, event)).or_default().push(event);
        }
        nodes.into_iter().filter_map(|(node, refused)| draft(node, &refused)).collect()
    }
}

/// Says whether a refusal is of an inotify watch or instance.
pub(super) fn is_watch(event: &Event) -> bool {
    let is_limit = event.kind == Kind::LimitReached;
    if !is_limit && event.kind != Kind::StorageFull {
        return false;
    }
    let text = |key| event.attributes.text(key).unwrap_or_default();
    let by_call = CALLS.contains(&text(keys::SYSCALL)) || text(keys::RESOURCE) == "watches";
    let worded = || {
        let said = event.message().to_ascii_lowercase();
        WORDS.iter().any(|word| said.contains(word))
    };
    (is_limit && by_call) || worded()
}

fn draft(node: Option<&Text>, refused: &[&Event]) -> Option<Draft> {
    let of_kernel =
        refused.iter().copied().find(|event| class(event) == EvidenceClass::KernelProof);
    let lines: i64 = refused.iter().map(|event| count(event)).sum();
    if of_kernel.is_none() && lines < APP_LINES_MIN {
        return None;
    }
    let root = of_kernel.or_else(|| refused.first().copied())?;
    let (what, setting) = if is_instance(root) {
        ("inotify instances", "fs.inotify.max_user_instances")
    } else {
        ("inotify watches", "fs.inotify.max_user_watches")
    };
    let name = node_state::name(node);
    let draft = Draft::new(node_state::subject(node, root)?, class(root), root, text(root))
        .title(format!("{name} has no {what} left: {} is refused", spot(&root.place)))
        .because(format!(
            "A user of {name} holds as many {what} as {setting} allows, so {} gets none{}.",
            who(root),
            quoted(root)
        ))
        .advise(format!("Raise it on the node: `sysctl -w {setting}=...`, and in its image."))
        .advise(
            "Find who holds most: `find /proc/*/fd -lname anon_inode:inotify | cut -d/ -f3 | sort | \
             uniq -c | sort -n`; the limit is of a user, over all containers of the node.",
        )
        .rule_out("disk_full", "a watch was refused, not a write", &[root])
        .rule_out("pid_exhaustion", "a watch was refused, not a descriptor", &[root]);
    let draft = refused
        .iter()
        .fold(draft, |draft, event| draft.touching(&event.place).step(event, text(event)));
    Some(if of_kernel.is_none() {
        draft.missing("the call that the kernel refused")
    } else {
        draft
    })
}

/// Says whether it is the instance that was refused: EMFILE, where a watch has ENOSPC.
fn is_instance(event: &Event) -> bool {
    let call = event.attributes.text(keys::SYSCALL).unwrap_or_default();
    event.kind == Kind::LimitReached
        && (event.attributes.text(keys::ERROR_TYPE) == Some("EMFILE")
            || call.starts_with("inotify_init"))
}

fn who(event: &Event) -> String {
    let is_known = event.attributes.text(keys::PROCESS_NAME).is_some();
    if is_known { process(event) } else { spot(&event.place) }
}

fn text(event: &Event) -> String {
    let what = if is_instance(event) { "an inotify instance" } else { "an inotify watch" };
    format!("{} was refused {what}{}{}", who(event), times(count(event)), quoted(event))
}

#[cfg(test)]
mod tests {
    use tapio_model::Entity;

    use super::*;

    #[test]
    fn the_kernel_tells_watches_from_instances() {
        let cases = [
            ("resource=watches tapio.syscall=inotify_add_watch error=ENOSPC", "watches"),
            ("resource=open_files tapio.syscall=inotify_init1 error=EMFILE", "instances"),
            ("resource=open_files tapio.syscall=\"syscall 294\" error=EMFILE", "instances"),
        ];
        for (words, want) in cases {
            let story = format!("0s a/b/c@n1 LimitReached {words} pid=7 proc=node");
            let [draft] = &told!(Detector, &story)[..] else { panic!("{story}") };
            assert!(draft.headline().contains(want), "{}", draft.headline());
            assert_eq!(draft.subject(), &Entity::Node { name: "n1".into() });
            assert_eq!(draft.class(), EvidenceClass::KernelProof);
        }
    }

    #[test]
    fn an_applications_word_must_be_said_twice() {
        let line = "0s a/b/c@n1 StorageFull msg=\"ENOSPC: System limit for number of file watchers \
            reached\"";
        assert_eq!(told!(Detector, line), []);
        let [draft] = &told!(Detector, &format!("{line}; {line}"))[..] else { panic!("one node") };
        assert_eq!((draft.class(), draft.gaps().len()), (EvidenceClass::LogTemplate, 1));
    }

    #[test]
    fn all_of_a_node_are_one_draft() {
        let story = "0s a/b/c@n1 LimitReached resource=watches; 1s x/y/z@n1 LimitReached \
            resource=watches; 2s x/y/w@n2 LimitReached resource=watches";
        let drafts = told!(Detector, story);
        assert_eq!(drafts.len(), 2);
        assert_eq!(drafts[0].evidence().len(), 2);
    }

    #[test]
    fn look_alikes_and_health_are_not_it() {
        for story in [
            "0s a/b/c@n1 LimitReached resource=open_files tapio.syscall=openat error=EMFILE",
            "0s a/b/c@n1 LimitReached resource=processes tapio.syscall=clone error=EAGAIN",
            "0s a/b/c@n1 StorageFull count=9 msg=\"write /data: no space left on device\"",
            "0s a/b/c@n1 Log sev=error msg=\"inotify: no space left on device\"",
        ] {
            assert_eq!(told!(Detector, story), [], "{story}");
        }
    }
}
