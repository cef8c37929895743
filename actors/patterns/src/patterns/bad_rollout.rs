//! A new version fails where the old one works.
//!
//! Evidence: a rollout, then failures only in pods of the new template (by template hash), with old
//! pods at work beside them, or new pods that end by themselves; or more requests that fail by
//! themselves than ever before, of which nobody says to which pods they went; or new pods that run,
//! and callers who are refused only since. A change alone is no evidence.
//! Root: the start of the rollout.
//! Not this: `bad_config` (a ConfigMap or Secret changed too, and the image did not);
//! `cascading_dependency` and `connection_failed` (old and new pods are equally bad, or failed
//! before); `cannot_start` (it is the workload's first version); `container_oom` and
//! `liveness_kill` (the new pods were killed: a kill has its own story); `image_pull` and
//! `missing_config` (the new pods never ran); unschedulable (nor were they placed).
//! First look: `kubectl rollout history` and `kubectl rollout undo`; compare
//! `kubectl logs -l pod-template-hash=NEW` with the old hash.

mod deaf;
mod scenes;

use std::collections::{BTreeMap, BTreeSet};

use tapio_engine::{Draft, Pattern, Spec, View};
use tapio_model::{Entity, Event, EvidenceClass, Kind, Severity, keys};

pub(crate) use self::scenes::SCENES;
use super::liveness_kill::blames_probe;
use crate::{
    last_words::{is_connection_error, is_own_exit, last_words, quote},
    slowness::has_risen,
    witness::{count, ending, touch_services},
};

const SPEC: Spec = Spec {
    slug: "bad_rollout",
    title: "Bad rollout",
    wakes_on: &[Kind::RolloutStarted],
    leads_to: &[
        "cannot_start",
        "readiness_lost",
        "connection_failed",
        "cascading_dependency",
        "rbac_denied",
        "job_failed",
        "service_abnormal",
    ],
};

/// One error line is an everyday thing; pods that warm up write it too.
const ERRORS_MIN: i64 = 2;

/// Finds workloads whose new pods fail and whose old ones do not.
#[derive(Debug)]
pub(crate) struct Detector;

/// Which template a pod is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Age {
    New,
    Old,
    Unknown,
}

/// What was seen of a workload since its rollout began.
#[derive(Debug, Default)]
struct Seen<'a> {
    crashes: Vec<&'a Event>,
    errors: Vec<&'a Event>,
    stalls: Vec<&'a Event>,
    unknown: Vec<&'a Event>,
    /// Anomalies, each of which speaks for many requests.
    unlike: Vec<&'a Event>,
    old_at_work: Option<&'a Event>,
    never_ran: bool,
    life: deaf::Life<'a>,
}

impl Pattern for Detector {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn detect(&self, view: &View<'_>) -> Vec<Draft> {
        let mut rollouts: BTreeMap<Entity, &Event> = BTreeMap::new();
        for rollout in view.of(Kind::RolloutStarted) {
            if let Some(workload) = Entity::workload(&rollout.place) {
                // The last one is what runs now; an event without a hash only repeats one that has.
                let known = rollouts.entry(workload).or_insert(rollout);
                if rollout.attributes.text(keys::TEMPLATE_HASH).is_some() {
                    *known = rollout;
                }
            }
        }
        rollouts
            .into_iter()
            .filter_map(|(workload, rollout)| {
                let seen = Seen::since(view, rollout)?;
                draft(view, &workload, rollout, &seen)
            })
            .collect()
    }
}

impl<'a> Seen<'a> {
    /// Collects what the workload did; `None` if it failed before the rollout, if its old pods
    /// fail too, if there is no version before it, or if the template is not new (a change of scale
    /// is a rollout without one).
    fn since(view: &View<'a>, rollout: &Event) -> Option<Self> {
        let mut seen = Self::default();
        let of_workload = |event: &&Event| event.place.is_same_workload(&rollout.place);
        for event in view.events().filter(of_workload) {
            if is_first_version(event) {
                return None;
            }
            if event.id == rollout.id {
                seen.life.note(event, Age::Unknown);
                continue;
            }
            let age = age(event, rollout);
            seen.life.note(event, age);
            let is_before = event.order() < rollout.order();
            let is_crash = is_own_exit(event);
            let is_unlike = has_risen(event, "error_rate");
            let fails = ((is_crash || is_error(event)) && !is_killed(view, event)) || is_unlike;
            if is_before && event.kind != Kind::RolloutStarted && (fails || age == Age::New) {
                return None;
            }
            seen.never_ran |= never_ran(event);
            if event.kind == Kind::RolloutStalled {
                seen.stalls.push(event);
            } else if !fails {
                let works = age == Age::Old && !is_before && !is_going(event);
                seen.old_at_work = seen.old_at_work.or(works.then_some(event));
            } else if age == Age::Old {
                return None;
            } else if is_unlike {
                seen.unlike.push(event);
            } else if age == Age::Unknown {
                seen.unknown.push(event);
            } else if is_crash {
                seen.crashes.push(event);
            } else {
                seen.errors.push(event);
            }
        }
        Some(seen)
    }

    /// Says whether there is enough to speak of failure. What processes merely say counts where
    /// something shows that it is more than they say every day.
    fn fails(&self) -> bool {
        let is_comparable = self.old_at_work.is_some() || !self.stalls.is_empty();
        let counts =
            |event: &&&Event| is_comparable || !matches!(event.kind, Kind::Log | Kind::Exception);
        let errors = self.errors.iter().chain(&self.unknown).filter(counts);
        let errors: i64 = errors.map(|event| count(event)).sum();
        let enough = if self.stalls.is_empty() { ERRORS_MIN } else { 1 };
        let is_telling = !self.crashes.is_empty() || !self.unlike.is_empty();
        is_telling || errors >= enough || self.unknown.iter().any(|e| is_own_exit(e))
    }
}

fn draft(view: &View<'_>, workload: &Entity, rollout: &Event, seen: &Seen<'_>) -> Option<Draft> {
    let hash = rollout.attributes.text(keys::TEMPLATE_HASH);
    let generation = rollout.attributes.int(keys::GENERATION);
    let version = match (generation, hash) {
        (Some(generation), _) => format!("generation {generation}"),
        (None, Some(hash)) => format!("template {hash}"),
        (None, None) => "the new version".to_owned(),
    };
    let image = rollout.attributes.text(keys::IMAGE);
    let image = image.map(|image| format!(" with image {image}")).unwrap_or_default();
    let mut draft = Draft::new(
        workload.clone(),
        EvidenceClass::ObjectStatus,
        rollout,
        format!("rollout of {version} began{image}"),
    )
    .touching(&rollout.place);
    draft = touch_services(view, draft, &rollout.place);
    for stall in &seen.stalls {
        draft = draft.symptom(stall, format!("rollout stalled: {}", quote(stall)));
    }
    if !seen.fails() {
        // A stall without a failing process: another pattern knows, or the pods were never placed.
        let is_open = !seen.stalls.is_empty() && !seen.never_ran;
        if is_open {
            return Some(stalled(draft, workload, &version));
        }
        return deaf::candidate(view, draft, (workload, &version), rollout, seen);
    }
    let failures =
        || seen.crashes.iter().chain(&seen.errors).chain(&seen.unknown).chain(&seen.unlike);
    let pods: BTreeSet<_> = failures().filter_map(|event| event.place.pod.as_ref()).collect();
    let first = failures().min_by_key(|event| event.order())?;
    let said = last_words(view, first).unwrap_or(first);
    for event in failures() {
        draft = draft.symptom(event, describe(event)).touching(&event.place);
    }
    let who = if pods.is_empty() { "requests" } else { "its new pods" };
    let title = match pods.len() {
        0 => format!("{workload}: requests fail since the rollout of {version}"),
        pods => format!("{workload}: {version} fails in {pods} of its pods"),
    };
    draft = draft
        .title(title)
        .because(format!("since the rollout began, {who} fail: {}", quote(said)))
        .advise(format!("roll back: kubectl rollout undo {}", name(rollout)))
        .advise("hold further rollouts until the cause is known");
    if let Some(old) = seen.old_at_work {
        draft = draft.rule_out("cascading_dependency", "pods of the old template work", &[old]);
    }
    Some(judge(view, draft, rollout, seen))
}

/// Says what keeps the change from being a verdict.
fn judge(view: &View<'_>, draft: Draft, rollout: &Event, seen: &Seen<'_>) -> Draft {
    if seen.crashes.is_empty() && seen.errors.is_empty() && seen.unknown.is_empty() {
        return draft.missing("the template hash of the pods whose requests fail").or(
            "service_abnormal",
            "it fails for another reason, and the rollout only came before",
            "compare failures by pod: kubectl get pods -L pod-template-hash",
        );
    }
    if seen.crashes.is_empty() && seen.errors.is_empty() {
        return draft.missing("the template hash of the failing pods").or(
            "cascading_dependency",
            "something that old and new pods need fails both",
            "compare failures by pod: kubectl get pods -L pod-template-hash",
        );
    }
    let is_config = |change: &Event| change.place.namespace == rollout.place.namespace;
    if let Some(change) = view.find(Kind::ConfigChanged, is_config)
        && !has_new_image(view, rollout)
    {
        let name = change.attributes.text(keys::OBJECT_NAME).unwrap_or("a configuration object");
        return draft.step(change, format!("{name} changed")).or(
            "bad_config",
            format!("the content of {name} changed, not the image"),
            "compare what changed in it with the first error of a new pod",
        );
    }
    if seen.old_at_work.is_some() {
        return draft;
    }
    let draft = draft.missing("pods of the old template to compare with");
    let said = seen.crashes.iter().map(|crash| last_words(view, crash).unwrap_or(crash));
    if seen.crashes.is_empty() || said.into_iter().any(|said| is_connection_error(said.message())) {
        return draft.or(
            "cascading_dependency",
            "a dependency fails every version",
            "see whether pods of the old template, or other callers of it, fail as well",
        );
    }
    draft
}

fn stalled(draft: Draft, workload: &Entity, version: &str) -> Draft {
    draft
        .title(format!("{workload}: {version} makes no progress"))
        .because("the rollout stalled, and no pod of it was seen to fail")
        .missing("a failure in a new pod")
        .advise("kubectl get pods -L pod-template-hash, and describe those that are not ready")
        .or(
            "unschedulable",
            "the new pods find no node",
            "kubectl describe pod of a new pod: FailedScheduling names what is lacking",
        )
}

/// Says whether a workload was made just now: there is nothing to go back to.
fn is_first_version(event: &Event) -> bool {
    event.kind == Kind::RolloutStarted && event.attributes.int(keys::GENERATION) == Some(1)
}

/// Tells a pod's template: by its hash, else by its name, which a ReplicaSet makes of
/// workload, hash and five letters.
fn age(event: &Event, rollout: &Event) -> Age {
    let Some(new) = rollout.attributes.text(keys::TEMPLATE_HASH) else { return Age::Unknown };
    let of_name = || {
        let place = &event.place;
        let owner = place.workload.as_ref().filter(|owner| &*owner.kind == "Deployment")?;
        let rest = place.pod.as_deref()?.strip_prefix(&*owner.name)?.strip_prefix('-')?;
        let (hash, letters) = rest.rsplit_once('-')?;
        (letters.len() == 5 && !hash.contains('-')).then_some(hash)
    };
    match event.attributes.text(keys::TEMPLATE_HASH).or_else(of_name) {
        Some(hash) if hash == new => Age::New,
        Some(_) => Age::Old,
        None => Age::Unknown,
    }
}

fn is_error(event: &Event) -> bool {
    let is = |key, word| event.attributes.text(key) == Some(word);
    event.kind == Kind::Exception
        || (event.kind == Kind::Log && event.severity >= Severity::Error)
        || (event.kind == Kind::Span && is(keys::SPAN_STATUS, "error"))
        // Not being ready yet is how every pod begins.
        || (event.kind == Kind::ProbeFailed && !is(keys::PROBE, "readiness"))
}

/// Says whether an event is a part of the kill of a pod over its probe, which has a story of its
/// own.
fn is_killed(view: &View<'_>, event: &Event) -> bool {
    let is_over = |kill: &Event| blames_probe(kill) && kill.place.is_same_pod(&event.place);
    matches!(event.kind, Kind::ProbeFailed | Kind::ContainerTerminated)
        && view.find(Kind::ContainerKilling, is_over).is_some()
}

/// Says whether a pod waits for something without which its process cannot even begin.
fn never_ran(event: &Event) -> bool {
    let waits = ["ErrImagePull", "ImagePullBackOff", "CreateContainerConfigError"];
    let reason = event.attributes.text(keys::REASON).unwrap_or_default();
    matches!(event.kind, Kind::ImagePullFailed | Kind::MountFailed | Kind::ContainerCreateFailed)
        || (event.kind == Kind::ContainerWaiting && waits.contains(&reason))
}

/// Says whether an event is of a pod on its way out, which proves no work.
fn is_going(event: &Event) -> bool {
    matches!(event.kind, Kind::ContainerKilling | Kind::ContainerTerminated | Kind::PodEvicted)
        || matches!(event.kind, Kind::RolloutStarted | Kind::RolloutStalled)
}

pub(super) fn has_new_image(view: &View<'_>, rollout: &Event) -> bool {
    let images: BTreeSet<_> = view
        .events()
        .filter(|event| event.place.is_same_workload(&rollout.place))
        .filter_map(|event| event.attributes.text(keys::IMAGE))
        .collect();
    images.len() > 1
}

fn describe(event: &Event) -> String {
    if event.kind == Kind::ContainerTerminated {
        return format!("a new pod ended: {}", ending(event));
    }
    quote(event)
}

/// Names the workload as kubectl takes it: `deployment/cart -n shop`.
fn name(rollout: &Event) -> String {
    let place = &rollout.place;
    let owner = place.workload.as_ref();
    let owner = owner.map(|owner| format!("{}/{}", owner.kind.to_lowercase(), owner.name));
    let scope = place.namespace.as_ref().map(|scope| format!(" -n {scope}"));
    format!("{}{}", owner.unwrap_or_default(), scope.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROLLOUT: &str =
        "1s shop/x%cart RolloutStarted hash=newer generation=7 image=shop/cart:v7\n";
    const OLD: &str = "2s shop/cart-older-aaaaa/cart%cart Log msg=\"served\"\n";
    const ERRORS: &str = "3s shop/cart-newer-bbbbb/cart%cart Exception msg=\"NullPointerException\"
        4s shop/cart-newer-ccccc/cart%cart Exception msg=\"NullPointerException\"\n";
    const CRASH: &str = "3s shop/cart-newer-bbbbb/cart%cart Log msg=\"panic: nil map\"
        4s shop/cart-newer-bbbbb/cart%cart ContainerTerminated exit=2 hash=newer\n";

    const FAILING: &str = "9s svc:shop/cart%cart Anomaly anomaly=error_rate how=rose was=0.0 is=0.3 msg=\"30 % fail\"\n";

    #[test]
    fn new_pods_fail_where_old_ones_work() {
        let draft = one!(Detector, &[ROLLOUT, OLD, ERRORS].concat()).unwrap();
        let title = "Deployment shop/cart: generation 7 fails in 2 of its pods";
        assert_eq!(draft.headline(), title);
        assert_eq!(
            draft.evidence()[0].text,
            "rollout of generation 7 began with image shop/cart:v7"
        );
        assert_eq!(draft.evidence().len(), 3);
        assert!(draft.doubt().is_none() && draft.gaps().is_empty());
        assert!(draft.root_cause().contains("NullPointerException"));
        assert_eq!(
            draft.recommendation()[0],
            "roll back: kubectl rollout undo deployment/cart -n shop"
        );
        assert_eq!(draft.ruled_out()[0].pattern, "cascading_dependency");
    }

    #[test]
    fn a_new_pod_that_ends_by_itself_needs_no_comparison() {
        let draft = one!(Detector, &[ROLLOUT, CRASH].concat()).unwrap();
        assert!(draft.doubt().is_none());
        assert!(draft.root_cause().contains("panic: nil map"));
        assert_eq!(draft.gaps().len(), 1, "and says that none was seen");
    }

    #[test]
    fn without_the_deciding_evidence_it_stays_a_doubt() {
        let config = "0s shop/x ConfigChanged okind=ConfigMap oname=env change=modified\n";
        let stall = "9s shop/x%cart RolloutStalled msg=\"exceeded its progress deadline\"\n";
        let nameless =
            "3s svc:shop/cart%cart Span status=error; 4s svc:shop/cart%cart Span status=error";
        let refused = CRASH.replace("panic: nil map", "dial tcp: connection refused");
        let cases = [
            ([ROLLOUT, nameless].concat(), "cascading_dependency"),
            ([ROLLOUT, &refused].concat(), "cascading_dependency"),
            ([ROLLOUT, FAILING].concat(), "service_abnormal"),
            ([config, ROLLOUT, OLD, ERRORS].concat(), "bad_config"),
            ([ROLLOUT, stall].concat(), "unschedulable"),
        ];
        for (story, alternative) in cases {
            let draft = one!(Detector, &story).unwrap();
            assert_eq!(draft.doubt().unwrap().alternative, alternative, "{story}");
        }
    }

    #[test]
    fn a_new_image_speaks_against_the_configuration() {
        let config = "0s shop/x ConfigChanged okind=ConfigMap oname=env change=modified\n";
        let image = "0s shop/cart-older-aaaaa/cart%cart ContainerStarted image=shop/cart:v6\n";
        assert!(
            one!(Detector, &[config, image, ROLLOUT, OLD, ERRORS].concat())
                .unwrap()
                .doubt()
                .is_none()
        );
    }

    #[test]
    fn look_alikes_and_health_are_not_this() {
        let old_error = "3s shop/cart-older-aaaaa/cart%cart Exception msg=\"timeout\"\n";
        let before = "0s shop/cart-older-aaaaa/cart%cart Log sev=error msg=\"timeout\"\n";
        let scaled = "0s shop/cart-newer-ddddd/cart%cart ContainerStarted\n";
        let oom =
            "4s shop/cart-newer-bbbbb/cart%cart ContainerTerminated exit=137 reason=OOMKilled";
        let unready = "3s shop/cart-newer-bbbbb/cart%cart ProbeFailed probe=readiness count=5\n";
        let pull = "3s shop/cart-newer-bbbbb/cart%cart ImagePullFailed\n";
        let stall = "9s shop/x%cart RolloutStalled\n";
        let first = ROLLOUT.replace("generation=7", "generation=1");
        let killed = "2s shop/cart-newer-bbbbb/cart%cart ProbeFailed probe=liveness count=3
            3s shop/cart-newer-bbbbb/cart%cart ContainerKilling probe=liveness
            4s shop/cart-newer-bbbbb/cart%cart ContainerTerminated exit=1\n";
        let other =
            "3s shop/db-newer-bbbbb/db%db Exception; 4s shop/db-newer-bbbbb/db%db Exception";
        for story in [
            [ROLLOUT, OLD].concat(),
            [ROLLOUT, OLD, ERRORS, old_error].concat(),
            [before, ROLLOUT, ERRORS].concat(),
            [scaled, ROLLOUT, ERRORS].concat(),
            [ROLLOUT, ERRORS].concat(),
            [ROLLOUT, OLD, oom].concat(),
            [ROLLOUT, OLD, unready].concat(),
            [ROLLOUT, OLD, killed].concat(),
            [&first, CRASH].concat(),
            [ROLLOUT, OLD, pull, stall].concat(),
            [ROLLOUT, OLD, ERRORS.lines().next().unwrap()].concat(),
            [ROLLOUT, other].concat(),
            [ROLLOUT, &FAILING.replace("cart", "pay")].concat(),
            [&FAILING.replace("9s", "0s"), ROLLOUT].concat(),
            [ROLLOUT, &FAILING.replace("error_rate", "request_rate")].concat(),
            [OLD, ERRORS].concat(),
        ] {
            assert!(one!(Detector, &story).is_none(), "{story}");
        }
    }
}
