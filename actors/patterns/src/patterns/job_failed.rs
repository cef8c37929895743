//! A Job failed for good, or took longer than it may.
//!
//! Evidence: the Job's Failed condition or the controller's Event; the ends and last lines of its
//! pods say why.
//! Root: the last line before the last end of a pod, else that end, else the failure itself.
//! Not this: `cannot_start`, `container_oom`, `image_pull`, `missing_config`, `unschedulable` and
//! `connection_failed` have stories of their own, and lead here; one attempt that failed is none.
//! First look: `kubectl logs job/JOB --previous`, and for a deadline `kubectl describe job JOB`.

use std::collections::BTreeMap;

use tapio_engine::{Draft, Pattern, Spec, View};
use tapio_model::{Entity, Event, EvidenceClass, Kind, Severity, keys};

use crate::{
    Scene,
    last_words::{is_connection_error, is_line, is_own_exit, last_words, quote},
    witness::{ending, not_before},
};

/// Scenes whose cause is known.
pub(crate) const SCENES: &[Scene] = &[
    Scene::cause(
        "job_failed",
        "every attempt ends with an error of its own",
        "0s ops/backup-29000000-a/backup@n1%CronJob/backup ContainerStarted
        2s ops/backup-29000000-a/backup@n1%CronJob/backup Exception msg=\"ValueError: row 17 has no date\"
        3s ops/backup-29000000-a/backup@n1%CronJob/backup ContainerTerminated exit=1 reason=Error
        5s ops/x%CronJob/backup JobFailed condition=Failed status=true reason=BackoffLimitExceeded okind=Job oname=backup-29000000 count=1 msg=\"Job has reached the specified backoff limit\"
        5s ops/x%CronJob/backup JobFailed reason=BackoffLimitExceeded okind=Job oname=backup-29000000 msg=\"Job has reached the specified backoff limit\"",
    ),
    Scene::cause(
        "job_failed",
        "it runs and does not come to its end in time",
        "0s ops/import-a/import@n1%Job/import ContainerStarted
        9s ops/x%Job/import JobFailed condition=Failed status=true reason=DeadlineExceeded okind=Job oname=import msg=\"Job was active longer than specified deadline\"",
    ),
    Scene::cause(
        "cannot_start",
        "a Job whose command lacks a variable",
        "0s ops/backup-29000000-a/backup@n1%CronJob/backup ContainerStarted
        1s ops/backup-29000000-a/backup@n1%CronJob/backup Log sev=error msg=\"Environment variable BUCKET is undefined\"
        2s ops/backup-29000000-a/backup@n1%CronJob/backup ContainerTerminated exit=1 reason=Error
        4s ops/x%CronJob/backup JobFailed condition=Failed status=true reason=BackoffLimitExceeded okind=Job oname=backup-29000000 msg=\"Job has reached the specified backoff limit\"",
    ),
    Scene::cause(
        "container_oom",
        "a Job that is killed at its memory limit",
        "0s ops/backup-29000000-a/backup@n1%CronJob/backup OomKill constraint=memcg pid=7 proc=tar
        1s ops/backup-29000000-a/backup@n1%CronJob/backup ContainerTerminated exit=137 reason=OOMKilled
        4s ops/x%CronJob/backup JobFailed condition=Failed status=true reason=BackoffLimitExceeded okind=Job oname=backup-29000000",
    ),
    Scene::cause(
        "connection_failed",
        "a Job whose database refuses it",
        "0s ops/backup-29000000-a/backup@n1%CronJob/backup ConnectRefused peer=db addr=10.0.0.7 port=5432 count=3
        1s ops/backup-29000000-a/backup@n1%CronJob/backup ContainerTerminated exit=1 reason=Error
        4s ops/x%CronJob/backup JobFailed condition=Failed status=true reason=BackoffLimitExceeded okind=Job oname=backup-29000000",
    ),
    Scene::unknown(
        "job_failed",
        "the deadline passed, and nobody saw a pod of it",
        "0s ops/x%Job/import JobFailed condition=Failed status=true reason=DeadlineExceeded okind=Job oname=import
        0s ops/x%Job/import JobFailed reason=DeadlineExceeded okind=Job oname=import msg=\"Job was active longer than specified deadline\"",
    ),
    Scene::unknown(
        "job_failed",
        "its last line names somebody else",
        "0s ops/backup-29000000-a/backup@n1%CronJob/backup Log sev=error msg=\"could not connect to server db\"
        1s ops/backup-29000000-a/backup@n1%CronJob/backup ContainerTerminated exit=1 reason=Error
        4s ops/x%CronJob/backup JobFailed condition=Failed status=true reason=BackoffLimitExceeded okind=Job oname=backup-29000000",
    ),
    Scene::healthy(
        "the second attempt succeeds",
        "0s ops/backup-29000000-a/backup@n1%CronJob/backup ContainerStarted
        3s ops/backup-29000000-a/backup@n1%CronJob/backup ContainerTerminated exit=1 reason=Error
        5s ops/backup-29000000-b/backup@n1%CronJob/backup ContainerStarted
        9s ops/backup-29000000-b/backup@n1%CronJob/backup ContainerTerminated exit=0 reason=Completed",
    ),
    Scene::cause(
        "dns_failure",
        "a Job whose names the name service fails",
        r#"0s ops/backup-29000000-a/backup@n1%CronJob/backup DnsFailure dns=db.shop.svc.cluster.local rcode=servfail
         5s ops/backup-29000000-a/backup@n1%CronJob/backup DnsFailure dns=db.shop.svc.cluster.local rcode=servfail
         8s ops/backup-29000000-a/backup@n1%CronJob/backup ContainerTerminated exit=1 reason=Error
         9s ops/x%CronJob/backup JobFailed condition=Failed status=true reason=BackoffLimitExceeded okind=Job oname=backup-29000000"#,
    ),
    Scene::cause(
        "pool_exhaustion",
        "a Job that gets no connection to its database",
        r#"0s ops/backup-29000000-a/backup@n1%CronJob/backup Exception msg="FATAL: sorry, too many clients already"
         4s ops/backup-29000000-a/backup@n1%CronJob/backup Exception msg="FATAL: sorry, too many clients already"
         8s ops/backup-29000000-a/backup@n1%CronJob/backup ContainerTerminated exit=1 reason=Error
         9s ops/x%CronJob/backup JobFailed condition=Failed status=true reason=BackoffLimitExceeded okind=Job oname=backup-29000000"#,
    ),
    Scene::cause(
        "stale_credentials",
        "a Job that began before its password was rotated",
        r#"0s ops/backup-29000000-a/backup@n1%CronJob/backup Log msg="backup begins"
         1s ops/x%CronJob/backup ConfigChanged okind=Secret oname=db-password change=modified tapio.changed=password
         4s ops/backup-29000000-a/backup@n1%CronJob/backup Exception msg="FATAL: password authentication failed for user backup"
         6s ops/backup-29000000-a/backup@n1%CronJob/backup Exception msg="FATAL: password authentication failed for user backup"
         8s ops/backup-29000000-a/backup@n1%CronJob/backup ContainerTerminated exit=1 reason=Error
         9s ops/x%CronJob/backup JobFailed condition=Failed status=true reason=BackoffLimitExceeded okind=Job oname=backup-29000000"#,
    ),
];

const SPEC: Spec = Spec {
    slug: "job_failed",
    title: "Job failed",
    wakes_on: &[Kind::JobFailed],
    leads_to: &["cascading_dependency"],
};

/// Finds Jobs that failed.
#[derive(Debug)]
pub(crate) struct Detector;

impl Pattern for Detector {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn detect(&self, view: &View<'_>) -> Vec<Draft> {
        let mut jobs: BTreeMap<Entity, Vec<&Event>> = BTreeMap::new();
        for failure in view.of(Kind::JobFailed) {
            let subject = Entity::workload(&failure.place).or_else(|| job(failure));
            if let Some(subject) = subject.or_else(|| Entity::narrowest(&failure.place)) {
                jobs.entry(subject).or_default().push(failure);
            }
        }
        jobs.into_iter().filter_map(|(subject, failures)| draft(view, subject, &failures)).collect()
    }
}

/// Returns the Job itself: the runs of a schedule share one workload.
fn job(failure: &Event) -> Option<Entity> {
    let name = failure.attributes.text(keys::OBJECT_NAME)?.into();
    let namespace = failure.place.namespace.clone().unwrap_or_default();
    Some(Entity::Object { namespace, kind: "Job".into(), name })
}

fn is_late(failure: &Event) -> bool {
    failure.attributes.text(keys::REASON) == Some("DeadlineExceeded")
}

fn draft(view: &View<'_>, subject: Entity, failures: &[&Event]) -> Option<Draft> {
    let first = *failures.first()?;
    let of_job =
        |event: &&Event| event.place.is_same_workload(&first.place) && not_before(first, event);
    let is_bad = |end: &&Event| end.attributes.int(keys::EXIT_CODE) != Some(0);
    let ends: Vec<_> = view.of(Kind::ContainerTerminated).filter(of_job).filter(is_bad).collect();
    let end = ends.last().copied();
    let complaint =
        |line: &&Event| is_line(line) && of_job(line) && line.severity >= Severity::Error;
    // Of pods that are gone nobody tells how they ended; what was kept of their logs still does.
    let words = match end {
        Some(end) => last_words(view, end),
        None => view.events().rfind(complaint),
    };
    let root = words.or(end).unwrap_or(first);
    let by_status = failures.iter().any(|failure| failure.attributes.get(keys::STATUS).is_some());
    let class = if by_status { EvidenceClass::ObjectStatus } else { EvidenceClass::EventText };
    let mut draft = Draft::new(subject.clone(), class, root, text(root));
    for end in &ends {
        draft = draft.touching(&end.place).step(end, text(end));
    }
    for failure in failures {
        draft = draft.touching(&failure.place).symptom(failure, text(failure));
        draft = job(failure).into_iter().fold(draft, Draft::touch);
    }
    let name = job(first).unwrap_or(subject);
    let draft = match end {
        Some(end) => draft.rule_out("image_pull", "a pod of it ran: it had its image", &[end]),
        None => draft,
    };
    let draft = match end.filter(|end| is_own_exit(end)) {
        Some(end) => draft.rule_out("container_oom", "its last pod ended by itself", &[end]),
        None => draft,
    };
    if is_late(first) {
        let ran = view.events().filter(of_job).find(|event| is_at_work(event));
        let made = view.events().filter(of_job).find(|event| is_made(event));
        // What keeps a pod from running says so.
        let is_kept = view
            .events()
            .filter(of_job)
            .any(|event| event.severity >= Severity::Warn && event.kind != Kind::JobFailed);
        let draft = match made {
            Some(made) => draft.step(made, "a pod of it was made"),
            None => draft,
        };
        return Some(told_late(draft, &name, ran.or_else(|| made.filter(|_| !is_kept))));
    }
    let how = end.map(|end| format!(": its last pod ended with {}", ending(end)));
    let said = words.map(|words| format!("; it said {}", quote(words))).unwrap_or_default();
    let how = how.unwrap_or_default();
    let mut draft = draft
        .title(format!("{name} failed for good{how}"))
        .because(format!("every attempt of {name} failed{how}{said}"))
        .advise("read the last lines of its pods: kubectl logs --previous")
        .advise("correct it and run it again; keep failed pods (ttlSecondsAfterFinished)");
    if end.is_none() {
        draft = draft.missing("how its pods ended");
    }
    if words.is_none() {
        draft = draft.missing("the last line of its pods");
    }
    let dependency = view.events().filter(of_job).find(|event| names_dependency(event));
    Some(match dependency {
        Some(event) => draft.step(event, text(event)).or(
            "connection_failed",
            "something that it needs did not answer",
            "see whether what its last lines name is up, and answers others",
        ),
        None => draft,
    })
}

fn told_late(draft: Draft, name: &Entity, ran: Option<&Event>) -> Draft {
    let draft = draft.title(format!("{name} took longer than it may"));
    match ran {
        Some(event) if is_made(event) => draft
            .because(format!("{name} was not done when its deadline passed"))
            .missing("a pod of it that ran")
            .advise("find what made it slow, or raise activeDeadlineSeconds")
            .rule_out("unschedulable", "a pod of it was made, and nothing kept it", &[event]),
        Some(event) => draft
            .step(event, "a pod of it ran")
            .because(format!("{name} ran, and was not done when its deadline passed"))
            .advise("find what made it slow, or raise activeDeadlineSeconds")
            .rule_out("unschedulable", "a pod of it ran", &[event]),
        None => draft
            .because(format!("the deadline of {name} passed; no pod of it was seen to run"))
            .missing("a pod of it that ran")
            .advise("kubectl describe job: see when its pods were created and started")
            .or(
                "unschedulable",
                "its pods found no node in time",
                "kubectl get pods of the Job: Pending means that they never ran",
            ),
    }
}

fn is_made(event: &Event) -> bool {
    event.attributes.text(keys::REASON) == Some("SuccessfulCreate")
}

fn is_at_work(event: &Event) -> bool {
    matches!(
        event.kind,
        Kind::ContainerStarted | Kind::ContainerTerminated | Kind::Log | Kind::Exception
    )
}

fn names_dependency(event: &Event) -> bool {
    let is_line = matches!(event.kind, Kind::Log | Kind::Exception);
    matches!(event.kind, Kind::ConnectRefused | Kind::ConnectTimeout | Kind::DnsFailure)
        || (is_line && is_connection_error(event.message()))
}

fn text(event: &Event) -> String {
    if event.kind == Kind::ContainerTerminated {
        return format!("a pod of it ended: {}", ending(event));
    }
    if event.kind == Kind::JobFailed {
        return format!("the Job failed: {}", quote(event));
    }
    quote(event)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAILED: &str = "9s ops/x%CronJob/backup JobFailed condition=Failed status=true \
        reason=BackoffLimitExceeded okind=Job oname=backup-29";
    const ENDED: &str = "3s ops/backup-29-a/b%CronJob/backup ContainerTerminated exit=3";

    #[test]
    fn the_last_words_are_the_root() {
        let words = "2s ops/backup-29-a/b%CronJob/backup Log msg=\"row 17 has no date\"";
        let draft = one!(Detector, &format!("{words}; {ENDED}; {FAILED}")).unwrap();
        assert_eq!(
            draft.headline(),
            "Job ops/backup-29 failed for good: its last pod ended with exit code 3"
        );
        assert_eq!(draft.evidence()[0].kind, Kind::Log);
        assert!(draft.root_cause().contains("row 17"), "{}", draft.root_cause());
        assert!(draft.gaps().is_empty() && draft.doubt().is_none());
        assert_eq!(draft.subject().to_string(), "CronJob ops/backup");
        assert_eq!(draft.class(), EvidenceClass::ObjectStatus);
    }

    #[test]
    fn what_was_not_seen_is_named() {
        let draft = one!(Detector, FAILED).unwrap();
        assert!(draft.doubt().is_none() && draft.gaps().len() == 2);
        assert_eq!(one!(Detector, &format!("{ENDED}; {FAILED}")).unwrap().gaps().len(), 1);
        let other = "3s ops/db-0/db%db ContainerTerminated exit=3";
        assert_eq!(one!(Detector, &format!("{other}; {FAILED}")).unwrap().gaps().len(), 2);
    }

    #[test]
    fn somebody_else_may_be_to_blame() {
        for event in ["ConnectRefused peer=db", "Log sev=error msg=\"dial tcp: no route to host\""]
        {
            let story = format!("1s ops/backup-29-a/b%CronJob/backup {event}; {ENDED}; {FAILED}");
            let draft = one!(Detector, &story).unwrap();
            assert_eq!(draft.doubt().map(|doubt| doubt.alternative), Some("connection_failed"));
        }
    }

    #[test]
    fn a_deadline_means_slow_if_it_ran() {
        let late = FAILED.replace("BackoffLimitExceeded", "DeadlineExceeded");
        let draft = one!(Detector, &late).unwrap();
        assert_eq!(draft.doubt().map(|doubt| doubt.alternative), Some("unschedulable"));
        let ran = "0s ops/backup-29-a/b%CronJob/backup ContainerStarted";
        let draft = one!(Detector, &format!("{ran}; {late}")).unwrap();
        assert!(draft.doubt().is_none() && draft.root_cause().contains("was not done"));
        let made =
            "0s ops/x%CronJob/backup ObjectEvent reason=SuccessfulCreate okind=Job oname=backup-29";
        let draft = one!(Detector, &format!("{made}; {late}")).unwrap();
        assert!(draft.doubt().is_none() && draft.root_cause().contains("was not done"));
        let kept = "1s ops/b%CronJob/backup ObjectEvent reason=FailedScheduling sev=warn";
        assert!(one!(Detector, &format!("{made}; {kept}; {late}")).unwrap().doubt().is_some());
    }

    #[test]
    fn look_alikes_and_health_are_not_it() {
        for story in [ENDED, "0s a/b-1/b%Job/b ContainerTerminated exit=0 reason=Completed"] {
            assert_eq!(one!(Detector, story), None, "{story}");
        }
    }
}
