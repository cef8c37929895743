//! The control plane does not keep up: etcd is slow, has no leader or no room, or the API server
//! turns requests away. What runs goes on; nothing can be changed, and controllers give up.
//!
//! Evidence: the API server's or etcd's own words ("etcdserver: request timed out", "no leader",
//! "database space exceeded"), in their logs or quoted by the controllers they answer.
//! Root: etcd's lack of room, else the first time-out.
//! Not this: `node_not_ready` (one node is not heard, the others are); `disk_full` (etcd's own
//! quota is not the disk's; a disk that fails below it leads here); a controller that loses its
//! lease alone may have been slow itself; a leader that changes once is an election.
//! First look: `kubectl get --raw /readyz?verbose`, etcd's disk (`etcd_disk_wal_fsync`), and who
//! lists most: `kubectl get --raw /debug/api_priority_and_fairness/dump_priority_levels`.

use tapio_engine::{Draft, Pattern, Spec, View};
use tapio_model::{Entity, Event, EvidenceClass, Kind, Source, keys};

use crate::{
    Scene,
    last_words::{is_own_exit, last_words, quote},
    witness::{by_owner, count, spot, times},
};

/// Scenes whose cause is known.
pub(crate) const SCENES: &[Scene] = &[
    Scene::cause(
        "api_server_overload",
        "etcd times out, and controllers of two namespaces feel it",
        "0s kube-system/kube-apiserver-m1/kube-apiserver@m1 Log trace=1 sev=error impact=0.75 class=dependency reason=EtcdTimeout msg=\"Error: etcdserver: request timed out\"
        3s kube-system/kube-apiserver-m1/kube-apiserver@m1 Log trace=1 sev=error impact=0.75 class=dependency reason=EtcdTimeout msg=\"Error: etcdserver: request timed out\"
        4s shop/x%cart ObjectEvent trace=2 reason=FailedCreate sev=error msg=\"Error creating: etcdserver: request timed out\"
        9s shop/x%cart ObjectEvent trace=2 reason=FailedCreate sev=error msg=\"Error creating: etcdserver: request timed out\"
        9s ops/operator-1/operator@n2%operator Log trace=3 sev=error msg=\"leader election lost\"
        9s ops/operator-1/operator@n2%operator ContainerTerminated trace=3 exit=1 reason=Error",
    ),
    Scene::cause(
        "api_server_overload",
        "etcd has used up its own quota",
        "0s kube-system/etcd-m1/etcd@m1 StorageFull src=journal reason=EtcdNoSpace sev=error impact=0.85 msg=\"etcdserver: mvcc: database space exceeded\"
        2s kube-system/etcd-m1/etcd@m1 StorageFull src=journal reason=EtcdNoSpace sev=error impact=0.85 msg=\"etcdserver: mvcc: database space exceeded\"",
    ),
    Scene::cause(
        "disk_full",
        "the disk below fails writes",
        "0s node:n1 IoError device=sdb; 1s node:n1 FilesystemReadOnly device=sdb1",
    ),
    Scene::cause(
        "admission_webhook",
        "the API server answers, and a webhook does not",
        "0s shop/x%cart ObjectEvent reason=FailedCreate sev=error msg=\"Error creating: Internal error occurred: failed calling webhook \\\"pods.policy.example\\\": context deadline exceeded\"
        2s shop/x%cart RolloutStalled condition=ReplicaFailure status=true reason=FailedCreate msg=\"Internal error occurred: failed calling webhook \\\"pods.policy.example\\\": context deadline exceeded\"",
    ),
    Scene::unknown(
        "api_server_overload",
        "one controller loses its lease",
        "0s ops/operator-1/operator@n2%operator Log sev=error msg=\"failed to renew lease ops/operator: context deadline exceeded\"
        1s ops/operator-1/operator@n2%operator Log sev=error msg=\"leader election lost\"
        1s ops/operator-1/operator@n2%operator ContainerTerminated exit=1 reason=Error
        3s ops/operator-1/operator@n2%operator ContainerStarted cid=new",
    ),
    Scene::healthy(
        "a new leader is elected",
        "0s kube-system/etcd-m1/etcd@m1 Log sev=warn reason=EtcdLeaderChanged msg=\"etcdserver: leader changed\"
        1s kube-system/etcd-m1/etcd@m1 Log sev=info msg=\"elected leader at term 9\"",
    ),
    Scene::cause(
        "node_not_ready",
        "one node is not heard, the control plane is well",
        "0s node:n1 NodeCondition condition=Ready status=false reason=NodeStatusUnknown sev=error impact=0.8 msg=\"Kubelet stopped posting node status.\"
        1s node:n1 NodeCondition condition=Ready status=false reason=NodeNotReady sev=error impact=0.8 msg=\"Node n1 status is now: NodeNotReady\"",
    ),
];

const SPEC: Spec = Spec {
    slug: "api_server_overload",
    title: "API server or etcd overloaded",
    wakes_on: &[Kind::Log, Kind::ObjectEvent, Kind::RolloutStalled, Kind::StorageFull],
    leads_to: &[
        "blind_spot",
        "cannot_start",
        "hpa_limited",
        "job_failed",
        "node_not_ready",
        "readiness_lost",
        "unschedulable",
    ],
};

/// One answer late is a moment; the next attempt usually is not.
const SIGNS_MIN: i64 = 2;

/// Signs that are cited; the rest is only counted.
const CITED_MAX: usize = 8;

/// Reasons that collectors give to lines of etcd and of those who speak to it.
const REASONS: &[&str] = &["EtcdTimeout", "EtcdNoLeader", "EtcdNoSpace"];

/// Words by which the API server or etcd turns a controller away, as they write them.
const REFUSALS: &[&str] = &[
    "etcdserver: request timed out",
    "etcdserver: no leader",
    "etcdserver: too many requests",
    "etcdserver: mvcc: database space exceeded",
    "the server was unable to return a response in the time allotted",
    "the server has received too many requests",
];

/// Words of a controller that gave up because it could not renew its lease.
const LEASE_LOST: &[&str] =
    &["leader election lost", "leaderelection lost", "lost leader election", "lost lease"];

/// Finds a control plane that does not keep up.
#[derive(Debug)]
pub(crate) struct Detector;

impl Pattern for Detector {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn detect(&self, view: &View<'_>) -> Vec<Draft> {
        let decided: Vec<_> = by_owner(view.events().filter(|event| is_sign(event)))
            .into_iter()
            .filter_map(|(subject, signs)| draft(view, subject, &signs))
            .collect();
        if decided.is_empty() { doubts(view) } else { decided }
    }
}

/// Says whether the API server or etcd turned somebody away.
fn is_sign(event: &Event) -> bool {
    if !SPEC.wakes_on.contains(&event.kind) {
        return false;
    }
    let reason = event.attributes.text(keys::REASON);
    // Applications may write what they like, and at length: of their lines the reason decides.
    reason.is_some_and(|reason| REASONS.contains(&reason))
        || (event.source == Source::Kubernetes && turns_away(event.message()))
}

fn turns_away(message: &str) -> bool {
    REFUSALS.iter().any(|refusal| message.contains(refusal))
}

fn is_no_space(event: &Event) -> bool {
    event.message().contains("database space exceeded")
}

/// Says whether a line is the last word of a controller that lost its lease.
pub(super) fn is_lease_lost(line: &Event) -> bool {
    LEASE_LOST.iter().any(|words| line.message().contains(words))
}

/// Returns the API server as everybody in the cluster knows it: what suffers of it is one incident.
fn api_server() -> Entity {
    Entity::Service { namespace: "default".into(), name: "kubernetes".into() }
}

fn draft(view: &View<'_>, subject: Entity, signs: &[&Event]) -> Option<Draft> {
    let no_space = signs.iter().copied().find(|sign| is_no_space(sign));
    let root = no_space.or_else(|| signs.first().copied())?;
    let total: i64 = signs.iter().map(|sign| count(sign)).sum();
    if no_space.is_none() && total < SIGNS_MIN {
        return None;
    }
    let mut draft = Draft::new(subject, EvidenceClass::EventText, root, quote(root))
        .touch(api_server())
        .touching(&root.place);
    for sign in signs.iter().take(CITED_MAX) {
        draft = draft.touching(&sign.place).step(sign, quote(sign));
    }
    for lost in view.of(Kind::Log).filter(|line| is_lease_lost(line)).take(CITED_MAX) {
        draft = draft.touching(&lost.place).symptom(lost, quote(lost));
    }
    let who = spot(&root.place);
    let draft = match no_space {
        Some(_) => draft
            .title("etcd has no room left: nothing can be changed in the cluster")
            .because(format!("etcd's own quota is used up, and it refuses writes: {}", quote(root)))
            .advise("compact and defragment etcd, then disarm its alarm: etcdctl alarm disarm")
            .advise("find what fills it: events, leases, or an operator's objects")
            .rule_out("disk_full", "the quota is etcd's own: its disk may be half empty", &[root]),
        None => draft
            .title(format!("the API server or etcd does not keep up, says {who}"))
            .because(format!("{who} got no answer in time{}: {}", times(total), quote(root)))
            .advise("look at etcd's disk first: a slow fsync delays every write")
            .advise("find who asks most, and make it list less: API priority and fairness"),
    };
    Some(draft.rule_out("node_not_ready", "it is the control plane that answers so", &[root]))
}

/// A controller that loses its lease was too slow, or the API server was.
fn doubts(view: &View<'_>) -> Vec<Draft> {
    let ended = view.of(Kind::ContainerTerminated).filter(|event| is_own_exit(event));
    let lost = ended.filter_map(|end| {
        let words = last_words(view, end).filter(|words| is_lease_lost(words))?;
        let subject = Entity::pod(&end.place).or_else(|| Entity::narrowest(&end.place))?;
        let who = spot(&end.place);
        Some(
            Draft::new(subject, EvidenceClass::LogTemplate, words, quote(words))
                .touching(&end.place)
                .touch(api_server())
                .symptom(end, "the controller ended")
                .title(format!("{who} lost its lease: perhaps the API server is too slow"))
                .because(format!("{who} could not renew its lease in time: {}", quote(words)))
                .missing("what the API server or etcd said at that time")
                .advise("kubectl get --raw /readyz?verbose")
                .or(
                    "cpu_throttling",
                    "it was too slow to renew its lease itself",
                    "see whether other controllers lost theirs in the same minute: then it is the \
                     API server",
                ),
        )
    });
    lost.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LATE: &str = "0s kube-system/api-m1/api@m1 Log sev=error reason=EtcdTimeout \
        msg=\"etcdserver: request timed out\"";

    #[test]
    fn one_late_answer_is_a_moment_and_two_are_not() {
        assert_eq!(one!(Detector, LATE), None);
        let draft = one!(Detector, &format!("{LATE}; {LATE}")).unwrap();
        assert!(draft.touches().contains(&api_server()));
        assert!(draft.root_cause().contains("in time 2 times"), "{}", draft.root_cause());
        assert!(draft.doubt().is_none());
    }

    #[test]
    fn a_controller_quotes_the_answer_it_got() {
        for words in REFUSALS {
            let story =
                format!("0s a/x%b ObjectEvent reason=FailedCreate count=2 msg=\"Error: {words}\"");
            assert_eq!(
                one!(Detector, &story).unwrap().subject().to_string(),
                "Deployment a/b",
                "{words}"
            );
        }
    }

    #[test]
    fn no_room_is_certain_and_the_root() {
        let full = "5s kube-system/etcd-m1/etcd@m1 StorageFull src=journal reason=EtcdNoSpace \
             msg=\"etcdserver: mvcc: database space exceeded\"";
        let draft = one!(Detector, full).unwrap();
        assert!(draft.headline().contains("no room"), "{}", draft.headline());
        assert!(draft.ruled_out().iter().any(|it| it.pattern == "disk_full"));
    }

    #[test]
    fn a_lost_lease_alone_stays_a_doubt() {
        let lost = "1s a/op-1/op%op Log msg=\"leader election lost\"; \
             2s a/op-1/op%op ContainerTerminated exit=1";
        let draft = one!(Detector, lost).unwrap();
        assert_eq!(draft.doubt().map(|doubt| doubt.alternative), Some("cpu_throttling"));
        let answered = "0s a/x%b ObjectEvent reason=FailedCreate count=2 \
             msg=\"etcdserver: no leader\"";
        let draft = one!(Detector, &format!("{answered}; {lost}")).unwrap();
        assert!(draft.doubt().is_none() && draft.evidence().len() == 2, "the lease is a symptom");
    }

    #[test]
    fn look_alikes_and_health_are_not_it() {
        for story in [
            "0s a/b-1/b%b Log sev=error count=9 msg=\"etcdserver: request timed out\"",
            "0s a/b-1/b%b Log sev=warn count=9 reason=EtcdLeaderChanged",
            "0s node:n1 StorageFull count=9 reason=ENOSPC msg=\"no space left on device\"",
            "0s a/b-1/b%b Log msg=\"leader election lost\"",
            "0s a/x%b ObjectEvent count=9 reason=FailedCreate msg=\"exceeded quota\"",
        ] {
            assert_eq!(one!(Detector, story), None, "{story}");
        }
    }
}
