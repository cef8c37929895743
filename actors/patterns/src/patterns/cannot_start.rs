//! A container ends by itself, soon after every start: a missing environment variable, a bad
//! argument, an executable that is not there, a permission, an image for another architecture.
//!
//! Evidence: exits with a code the process chose (1 to 127, 255) or by a crash (SIGSEGV, SIGABRT,
//! ...) soon after the start or again and again, or a runtime that could not execute the command;
//! its last log line says why.
//! Root: that last log line, else the first such exit or the runtime's refusal.
//! Not this: `container_oom` and `liveness_kill` (the container was killed: exit 137 or 143);
//! `connection_failed` and `init_deadlock` (the last line names a dependency that did not answer);
//! `api_server_overload` (it says that its lease is lost); `missing_config` (the container was
//! never created); `bad_config` (a ConfigMap or Secret changed just before); `bad_rollout` (only
//! pods of a new template fail; it then leads here).
//! First look: `kubectl logs POD -c CONTAINER --previous`, then command, arguments and environment
//! in `kubectl get pod POD -o yaml`.

mod scenes;

use std::collections::BTreeMap;

use tapio_engine::{Draft, Pattern, Spec, View};
use tapio_model::{Entity, Event, EvidenceClass, Kind, Severity, Text, keys};

pub(crate) use self::scenes::SCENES;
use super::{
    api_server_overload::is_lease_lost, connection_failed::peer_service, init_deadlock::waits_for,
};
use crate::{
    last_words::{
        START, exception, innermost, is_connection_error, is_crash, is_line, is_own_exit,
        last_words, quote, rollout_before,
    },
    witness::{same_container, touch_services},
};

const SPEC: Spec = Spec {
    slug: "cannot_start",
    title: "Container cannot start",
    wakes_on: &[Kind::ContainerTerminated, Kind::ContainerWaiting, Kind::ContainerCreateFailed],
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

/// Words of runtimes, shells and argument parsers, in lower case, with what they mean and what to
/// do; the first that fits decides.
const CAUSES: &[(&[&str], &str, &str)] = &[
    (
        &["exec format error"],
        "its image is built for another architecture",
        "build the image for the node's architecture, or select nodes by kubernetes.io/arch",
    ),
    (
        &["environ", "env var", "missing env", "required env"],
        "an environment variable is missing",
        "set the variable in env or envFrom of the container",
    ),
    (
        &[
            "flag provided but not defined",
            "unknown flag",
            "unknown shorthand flag",
            "unknown option",
            "unrecognized option",
            "unrecognized argument",
            "invalid option",
            "unexpected argument",
            "no such option",
            "required arguments",
        ],
        "it does not know one of its arguments",
        "correct args of the container: compare them with the version's own --help",
    ),
    (
        &["permission denied", "operation not permitted", "eacces"],
        "it has no permission for what it runs or opens",
        "check the file mode in the image, runAsUser, fsGroup and readOnlyRootFilesystem",
    ),
    (
        &[
            "executable file not found",
            "no such file or directory",
            "command not found",
            "cannot find module",
            "no module named",
            "could not find or load main class",
            "no command specified",
        ],
        "its executable or a file it needs is not in the image",
        "correct command of the container, or the entry point of the image",
    ),
    (
        &["error mounting", "mount a directory onto a file"],
        "what it mounts does not fit its image: a file over a directory, or the other way round",
        "correct mountPath and subPath of the volume",
    ),
    (
        &["address already in use", "eaddrinuse"],
        "its port is taken already",
        "give each container of the pod a port of its own; hostNetwork shares the node's",
    ),
    (
        &["no space left on device", "enospc"],
        "the disk that it writes to is full",
        "free or enlarge the volume: kubectl exec POD -- df -h",
    ),
    (
        &[
            "unknown directive",
            "failed to parse",
            "could not parse",
            "error parsing",
            "parse error",
            "invalid configuration",
            "invalid config",
            "cannot unmarshal",
        ],
        "it cannot read its configuration",
        "correct what the last line names, in the ConfigMap, the arguments or the image",
    ),
];

/// Finds pods whose containers exit by themselves at start.
#[derive(Debug)]
pub(crate) struct Detector;

impl Pattern for Detector {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn detect(&self, view: &View<'_>) -> Vec<Draft> {
        let mut pods: BTreeMap<Entity, Vec<&Event>> = BTreeMap::new();
        for event in view.events().filter(|event| is_failed_start(view, event)) {
            let pod = Entity::pod(&event.place).or_else(|| Entity::narrowest(&event.place));
            if let Some(pod) = pod {
                pods.entry(pod).or_default().push(event);
            }
        }
        pods.into_iter().filter_map(|(pod, starts)| draft(view, pod, &starts)).collect()
    }
}

fn draft(view: &View<'_>, pod: Entity, starts: &[&Event]) -> Option<Draft> {
    // How it ended says more than that it is waited with.
    let is_end = |start: &&&Event| start.kind != Kind::ContainerWaiting;
    let ordered = || starts.iter().filter(is_end).chain(starts.iter().filter(|it| !is_end(it)));
    let told = || ordered().map(|start| (*start, last_words(view, start)));
    let (failed, words) = told()
        .find(|(start, words)| cause(start, *words).is_some())
        .or_else(|| told().find(|(_, words)| words.is_some_and(is_loud)))
        .or_else(|| told().next())?;
    let cause = cause(failed, words);
    let is_told = words.is_some_and(|words| waits_for(words).is_some() || is_lease_lost(words));
    // A Job tries again, and says itself when it has failed.
    if is_told || (cause.is_none() && is_of_job(failed)) {
        return None;
    }
    let label = failed.place.label();
    // Who could not connect says so, and then that he gives up.
    let unconnected_by = connection_error(view, failed).filter(|_| cause.is_none());
    let words = unconnected_by.or(words);
    let root = words.filter(|words| words.order() < failed.order()).unwrap_or(failed);
    let mut draft = Draft::new(pod, EvidenceClass::ObjectStatus, root, describe(root))
        .touching(&failed.place)
        .because(because(failed, words, cause.map(|(what, _)| what)));
    draft = touch_services(view, draft, &failed.place);
    if let Some(rollout) = rollout_before(view, failed) {
        draft = draft.step(rollout, "a rollout began just before");
    }
    for start in starts {
        let is_symptom = start.kind == Kind::ContainerWaiting;
        let text = describe(start);
        draft = if is_symptom { draft.symptom(start, text) } else { draft.step(start, text) };
    }
    draft = draft.rule_out("container_oom", "no kill for memory was seen in this pod", &[]);
    if let Some(words) = words.filter(|words| is_connection_failure(words)) {
        return Some(unconnected(draft, &label, words, failed));
    }
    if let Some((what, cure)) = cause {
        let named = executable(&[words, Some(failed)]).map(|name| format!(": {name}"));
        let named = named.unwrap_or_default();
        return Some(draft.title(format!("{label} cannot start: {what}{named}")).advise(cure));
    }
    let loud = words.filter(|words| is_loud(words));
    let saying = loud.map(|words| format!(": it says {}", quote(words))).unwrap_or_default();
    let draft = draft
        .title(format!("{label} cannot start{saying}"))
        .advise("read the last lines before the exit: kubectl logs --previous");
    Some(doubt(view, draft, failed, loud, starts))
}

/// Finds the last line of a container before its end that tells of a connection which failed.
fn connection_error<'a>(view: &View<'a>, failed: &Event) -> Option<&'a Event> {
    view.events().rfind(|line| {
        is_line(line)
            && is_connection_failure(line)
            && is_loud(line)
            && line.order() < failed.order()
            && failed.time.since(line.time) <= START
            && same_container(line, failed)
    })
}

fn is_connection_failure(line: &Event) -> bool {
    matches!(line.kind, Kind::ConnectRefused | Kind::ConnectTimeout | Kind::DnsFailure)
        || is_connection_error(&said(line))
}

/// A process that ends because it cannot connect shows that something else fails, and not what: if
/// the connection's failure is seen as well, that is the story. If only its own words tell of it, and
/// it ends so time and again, what they name cannot be reached.
fn unconnected(draft: Draft, label: &str, words: &Event, failed: &Event) -> Draft {
    let draft = peer_service(words).into_iter().fold(draft, Draft::touch);
    let draft = draft
        .advise("see whether what the last line names runs, and listens")
        .missing("the failed connection itself");
    let is_told = !matches!(words.kind, Kind::Log | Kind::Exception);
    if !is_told && failed.attributes.int(keys::RESTART_COUNT) > Some(0) {
        return draft.title(format!("{label} cannot start: it cannot connect: {}", quote(words)));
    }
    draft.title(format!("{label} cannot start: it cannot connect")).or(
        "connection_failed",
        format!("what it connects to fails: {}", quote(words)),
        "connect from the pod to what the last line names: nc -vz HOST PORT",
    )
}

/// Without a cause that the words name, a loud last line of a process that died at start explains,
/// or that it crashed; anything less leaves a doubt.
fn doubt(
    view: &View<'_>,
    draft: Draft,
    failed: &Event,
    loud: Option<&Event>,
    starts: &[&Event],
) -> Draft {
    let draft = if failed.kind == Kind::ContainerWaiting {
        draft.missing("the exit code of the container")
    } else {
        draft
    };
    // Who is killed has no time to complain.
    if failed.kind == Kind::ContainerWaiting && loud.is_none() {
        return draft.or(
            "container_oom",
            "it was killed: for memory, or by a probe",
            "kubectl get pod -o yaml: lastState.terminated has reason and exit code",
        );
    }
    let changed = view.find(Kind::ConfigChanged, |change| change.order() < failed.order());
    if let Some(change) = changed {
        return draft.step(change, "a configuration object changed before").or(
            "bad_config",
            "it cannot read a ConfigMap or Secret that changed just before",
            "compare the last log line with what changed: kubectl logs --previous",
        );
    }
    let is_again = starts.len() > 1 || failed.attributes.int(keys::RESTART_COUNT) > Some(0);
    if (loud.is_some() || is_crash(failed)) && (is_again || started(view, failed).is_some()) {
        return draft;
    }
    draft.missing("a log line that says why it ended").or(
        "connection_failed",
        "a dependency failed it at start; the last log line tells",
        "kubectl logs --previous",
    )
}

fn is_failed_start(view: &View<'_>, event: &Event) -> bool {
    let reason = event.attributes.text(keys::REASON).unwrap_or_default();
    if event.kind == Kind::ContainerTerminated {
        let refused = matches!(reason, "StartError" | "ContainerCannotRun");
        return refused || (is_own_exit(event) && started(view, event) != Some(false));
    }
    if event.kind == Kind::ContainerWaiting {
        // A back-off says that it ended, not how: any word on that is better.
        let backs_off = matches!(reason, "CrashLoopBackOff" | "BackOff");
        return backs_off && !view.events().any(|other| is_kill(other, event));
    }
    event.kind == Kind::ContainerCreateFailed
        && reason != "FailedCreatePodSandBox"
        && cause(event, None).is_some()
}

fn is_kill(other: &Event, of: &Event) -> bool {
    let kills = matches!(other.kind, Kind::ContainerKilling | Kind::OomKill)
        || (other.kind == Kind::ContainerTerminated && !is_own_exit(other));
    kills && other.place.is_same_pod(&of.place)
}

/// Says whether the container ended soon after its start; `None` if the start was not seen.
fn started(view: &View<'_>, ended: &Event) -> Option<bool> {
    view.of(Kind::ContainerStarted)
        .rfind(|start| same_container(start, ended) && start.time <= ended.time)
        .map(|start| ended.time.since(start.time) <= START)
}

fn is_of_job(event: &Event) -> bool {
    event.place.workload.as_ref().is_some_and(|owner| matches!(&*owner.kind, "Job" | "CronJob"))
}

fn is_loud(line: &Event) -> bool {
    line.kind == Kind::Exception || line.severity >= Severity::Warn
}

fn cause(failed: &Event, words: Option<&Event>) -> Option<(&'static str, &'static str)> {
    let said = [words, Some(failed)].into_iter().flatten().map(said);
    let named = said.into_iter().find_map(|said| {
        CAUSES.iter().find(|(marks, ..)| marks.iter().any(|mark| said.contains(mark)))
    });
    // What a shell says when nothing else did.
    let shell = match failed.attributes.int(keys::EXIT_CODE) {
        Some(126) => CAUSES.get(3),
        Some(127) => CAUSES.get(4),
        _ => None,
    };
    named.or(shell).map(|(_, what, cure)| (*what, *cure))
}

/// Reads what a runtime could not execute: `exec: "wge": executable file not found`.
fn executable(said: &[Option<&Event>]) -> Option<String> {
    said.iter().flatten().find_map(|event| {
        let (_, rest) = event.message().split_once("exec: ")?;
        let name = rest.trim_start_matches(['\\', '"']).split(['\\', '"', ':']).next()?;
        (!name.is_empty()).then(|| name.to_owned())
    })
}

/// Returns what an event says, in lower case. Python names the variable that is missing, and not
/// what it is missing of.
fn said(event: &Event) -> String {
    let named = innermost(event).or_else(|| exception(event)).unwrap_or_default();
    let stack = event.attributes.text(keys::STACKTRACE).unwrap_or_default();
    let is_key = event.attributes.text(keys::ERROR_TYPE) == Some("KeyError");
    let environ = if is_key && stack.contains("environ") { " environ" } else { "" };
    format!("{} {named}{environ}", event.message()).to_lowercase()
}

fn describe(event: &Event) -> Text {
    if matches!(event.kind, Kind::Log | Kind::Exception) {
        return format!("last line before the end: {}", quote(event)).into();
    }
    if event.kind == Kind::ContainerWaiting {
        return "the kubelet waits before it restarts the container".into();
    }
    match event.attributes.int(keys::EXIT_CODE).filter(|_| is_own_exit(event)) {
        Some(code) => format!("ended with exit code {code}").into(),
        None => format!("could not be started: {}", quote(event)).into(),
    }
}

fn because(failed: &Event, words: Option<&Event>, what: Option<&str>) -> String {
    let code = failed.attributes.int(keys::EXIT_CODE);
    let how = code.map_or_else(
        || "its process did not stay".to_owned(),
        |code| format!("its process ended with exit code {code}"),
    );
    let what = what.map(|what| format!(": {what}")).unwrap_or_default();
    let said = match words {
        Some(words) => format!("; its last line was {}", quote(words)),
        None if failed.kind == Kind::ContainerCreateFailed => {
            format!("; the runtime said {}", quote(failed))
        }
        None => String::new(),
    };
    format!("{how}{what}{said}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const MISSING: &str = r#"0s shop/x%cart RolloutStarted hash=abc generation=4
        1s shop/cart-1/cart%cart ContainerStarted
        2s shop/cart-1/cart%cart Log msg="Environment variable DB_HOST is undefined"
        2s shop/cart-1/cart%cart ContainerTerminated exit=1 reason=Error
        12s shop/cart-1/cart%cart ContainerWaiting reason=CrashLoopBackOff"#;

    #[test]
    fn the_last_line_is_the_mechanism() {
        let draft = one!(Detector, MISSING).unwrap();
        let title = "shop/cart-1/cart cannot start: an environment variable is missing";
        assert_eq!(draft.headline(), title);
        assert!(draft.root_cause().contains("exit code 1"), "{}", draft.root_cause());
        assert!(draft.root_cause().contains("\"Environment variable DB_HOST is undefined\""));
        assert_eq!(draft.evidence()[0].kind, Kind::Log);
        assert_eq!(draft.evidence().len(), 4);
        assert!(draft.doubt().is_none());
    }

    #[test]
    fn runtimes_and_shells_name_the_cause() {
        let refused = r#"exec: \"/srv/cart\": permission denied"#;
        let cases = [
            (
                "ContainerCreateFailed msg=\"exec: \\\"cart\\\": executable file not found in $PATH\"",
                "not in the image",
            ),
            ("ContainerCreateFailed msg=\"exec /cart: exec format error\"", "another architecture"),
            (
                &*format!("ContainerTerminated reason=StartError exit=128 msg=\"{refused}\""),
                "permission",
            ),
            ("ContainerTerminated exit=126", "permission"),
            ("ContainerTerminated exit=127", "not in the image"),
            (
                "ContainerTerminated exit=2 msg=\"flag provided but not defined: -prot\"",
                "arguments",
            ),
        ];
        for (event, what) in cases {
            let draft = one!(Detector, &format!("0s shop/cart-1/cart {event}")).unwrap();
            assert!(draft.headline().contains(what), "{event}: {}", draft.headline());
            assert!(draft.doubt().is_none(), "{event}");
        }
    }

    #[test]
    fn any_loud_line_explains_a_crash_at_start() {
        let story = "0s a/b-1/b ContainerStarted; 1s a/b-1/b Log sev=error msg=\"bad licence\"; \
                     1s a/b-1/b ContainerTerminated exit=3";
        let draft = one!(Detector, story).unwrap();
        assert!(draft.doubt().is_none() && draft.root_cause().contains("\"bad licence\""));
    }

    #[test]
    fn a_crash_at_start_needs_no_words() {
        let story = "0s a/b-1/b ContainerStarted; 1s a/b-1/b ContainerTerminated exit=139";
        assert_eq!(one!(Detector, story).unwrap().doubt(), None);
        let untimed = one!(Detector, "1s a/b-1/b ContainerTerminated exit=139").unwrap();
        assert!(untimed.doubt().is_some(), "it may have run for days");
    }

    #[test]
    fn without_the_deciding_evidence_it_stays_a_doubt() {
        let loud = "1s a/b-1/b Exception msg=\"bad port\"; 1s a/b-1/b ContainerTerminated exit=1";
        let cases = [
            ("0s a/b-1/b ContainerTerminated exit=1".to_owned(), "connection_failed"),
            ("0s a/b-1/b ContainerWaiting reason=CrashLoopBackOff".to_owned(), "container_oom"),
            (
                "0s a/b-1/b Log msg=\"dial tcp 10.0.0.1:5432: connection refused\"; \
                 1s a/b-1/b ContainerTerminated exit=1"
                    .to_owned(),
                "connection_failed",
            ),
            (format!("0s a/b-1 ConfigChanged oname=env change=modified; {loud}"), "bad_config"),
        ];
        for (story, alternative) in cases {
            let draft = one!(Detector, &story).unwrap();
            assert_eq!(draft.doubt().unwrap().alternative, alternative, "{story}");
        }
    }

    #[test]
    fn look_alikes_and_health_are_not_this() {
        for story in [
            "0s a/b-1/b ContainerTerminated exit=137; 9s a/b-1/b ContainerWaiting reason=CrashLoopBackOff",
            "0s a/b-1/b ContainerTerminated exit=1 reason=OOMKilled",
            "0s a/b-1/b ContainerKilling; 5s a/b-1/b ContainerWaiting reason=CrashLoopBackOff",
            "0s a/b-1/b ContainerStarted; 2m a/b-1/b ContainerTerminated exit=1",
            "0s a/b-1/b ContainerCreateFailed msg=\"configmap \\\"env\\\" not found\"",
            "0s a/b-1/b ContainerTerminated exit=0 reason=Completed",
            "0s a/b-1/b ContainerStarted; 1s a/b-1/b Log sev=error msg=\"environment odd\"",
        ] {
            assert!(one!(Detector, story).is_none(), "{story}");
        }
    }

    #[test]
    fn a_pod_is_one_subject_however_often_it_restarts() {
        let story =
            format!("{MISSING}\n20s shop/cart-1/cart%cart ContainerTerminated exit=1 cid=new");
        assert_eq!(one!(Detector, &story).unwrap().subject().to_string(), "pod uid-shop-cart-1");
    }
}
