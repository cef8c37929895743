//! A pod waits, before its own process begins, for something that does not answer: an init
//! container, or a start script, that asks for it again and again. Two that wait for each other
//! wait for ever.
//!
//! Evidence: a container that says over and over that it waits, or that ends saying so, in a pod
//! none of whose other containers has started since; attempts of the same container that were
//! refused, unanswered or not resolved.
//! Root: the first of these.
//! Not this: `missing_config` and `cni_failure` (the container was never created);
//! `connection_failed` (the process had begun, and lost what it had); a worker that waits for work
//! is at work.
//! First look: `kubectl logs POD -c INIT_CONTAINER`, then the same of what it waits for: it may
//! wait for this one.

use std::collections::BTreeMap;

use tapio_engine::{Draft, Pattern, Spec, View};
use tapio_model::{Entity, Event, EvidenceClass, Kind, Source, Text, keys};

use crate::{
    Scene,
    last_words::{is_connection_error, quote},
    witness::{count, same_container, touch_services, truth},
};

/// Scenes whose cause is known.
pub(crate) const SCENES: &[Scene] = &[
    Scene::cause(
        "init_deadlock",
        "two workloads wait for each other",
        "0s shop/cart-1/wait-for-db@n1%cart ContainerStarted trace=1
        1s shop/cart-1/wait-for-db@n1%cart Log trace=1 msg=\"waiting for db:5432\"
        2s shop/cart-1/wait-for-db@n1%cart ConnectRefused trace=1 src=network peer=db addr=10.0.0.7 port=5432 count=2
        3s shop/cart-1/wait-for-db@n1%cart Log trace=1 msg=\"waiting for db:5432\"
        0s shop/db-0/wait-for-cart@n2%StatefulSet/db ContainerStarted trace=2
        2s shop/db-0/wait-for-cart@n2%StatefulSet/db Log trace=2 msg=\"waiting for cart:80\"
        3s shop/db-0/wait-for-cart@n2%StatefulSet/db ConnectRefused trace=2 src=network peer=cart addr=10.0.0.8 port=80 count=2
        4s shop/db-0/wait-for-cart@n2%StatefulSet/db Log trace=2 msg=\"waiting for cart:80\"",
    ),
    Scene::cause(
        "init_deadlock",
        "an init container gives up and is begun again",
        "0s shop/cart-1/init-db@n1%cart ContainerStarted
        1s shop/cart-1/init-db@n1%cart Log msg=\"Waiting for postgres to become ready\"
        6s shop/cart-1/init-db@n1%cart Log sev=error msg=\"timed out waiting for postgres\"
        7s shop/cart-1/init-db@n1%cart ContainerTerminated exit=1 reason=Error
        8s shop/cart-1/init-db@n1%cart ContainerWaiting reason=CrashLoopBackOff restarts=3",
    ),
    Scene::cause(
        "missing_config",
        "the init container was never created",
        "0s shop/cart-1/init-db@n1%cart ContainerCreateFailed reason=CreateContainerConfigError msg=\"configmap \\\"cart-env\\\" not found\"
        5s shop/cart-1/init-db@n1%cart ContainerCreateFailed reason=Failed msg=\"Error: configmap \\\"cart-env\\\" not found\"",
    ),
    Scene::cause(
        "cni_failure",
        "the pod has no network yet",
        "0s shop/cart-1@n1%cart PodScheduled
        1s shop/cart-1@n1%cart ObjectEvent reason=FailedCreatePodSandBox sev=error count=2 msg=\"failed to setup network for sandbox: no IP addresses available in range set\"",
    ),
    Scene::cause(
        "connection_failed",
        "a process that runs loses its database",
        "0s shop/cart-1/cart@n1%cart ConnectRefused src=network peer=db addr=10.0.0.7 port=5432 count=3
        3s shop/cart-1/cart@n1%cart ConnectRefused src=network peer=db addr=10.0.0.7 port=5432 count=3",
    ),
    Scene::unknown(
        "init_deadlock",
        "an init container of any name waits, and nobody saw its attempts",
        "0s shop/cart-1/prepare@n1%cart ContainerStarted init_container=true
        1s shop/cart-1/prepare@n1%cart Log msg=\"waiting for db\"
        4s shop/cart-1/prepare@n1%cart Log msg=\"waiting for db\"
        7s shop/cart-1/prepare@n1%cart Log msg=\"waiting for db\"",
    ),
    Scene::unknown(
        "init_deadlock",
        "an init container waits, and nobody saw its attempts",
        "0s shop/cart-1/init-db@n1%cart ContainerStarted
        1s shop/cart-1/init-db@n1%cart Log msg=\"waiting for db\"
        4s shop/cart-1/init-db@n1%cart Log msg=\"waiting for db\"
        7s shop/cart-1/init-db@n1%cart Log msg=\"waiting for db\"",
    ),
    Scene::healthy(
        "what it waits for comes",
        "0s shop/cart-1/wait-for-db@n1%cart ContainerStarted
        1s shop/cart-1/wait-for-db@n1%cart Log msg=\"waiting for db:5432\"
        3s shop/cart-1/wait-for-db@n1%cart Log msg=\"waiting for db:5432\"
        5s shop/cart-1/wait-for-db@n1%cart ContainerTerminated exit=0 reason=Completed
        6s shop/cart-1/cart@n1%cart ContainerStarted",
    ),
    Scene::healthy(
        "a worker waits for work",
        "0s shop/worker-1/worker@n1%worker ContainerStarted
        1s shop/worker-1/worker@n1%worker Log msg=\"waiting for messages\"
        2s shop/worker-1@n1%worker PodReadiness status=true
        3s shop/worker-1/worker@n1%worker Log msg=\"waiting for messages\"
        5s shop/worker-1/worker@n1%worker Log msg=\"waiting for messages\"",
    ),
];

const SPEC: Spec = Spec {
    slug: "init_deadlock",
    title: "Pod waits for a dependency before it begins",
    wakes_on: &[
        Kind::ContainerStarted,
        Kind::ContainerTerminated,
        Kind::ContainerWaiting,
        Kind::ConnectRefused,
        Kind::ConnectTimeout,
        Kind::DnsFailure,
    ],
    leads_to: &[
        "connection_failed",
        "readiness_lost",
        "cannot_start",
        "cascading_dependency",
        "job_failed",
    ],
};

/// Words by which scripts say that they wait, in lower case; what follows is what for.
const WAITS: &[&str] = &[
    "timed out waiting for ",
    "timeout waiting for ",
    "still waiting for ",
    "waiting for ",
    "wait for ",
    "waiting on ",
];

/// Names that people give to containers that run before the others.
const INIT_NAMES: &[&str] = &["init", "wait", "check-", "migrate", "migration"];

/// Lines that a wait must have written to be one: the first is written by every start.
const LINES_MIN: i64 = 2;

/// Finds pods that wait for something before they begin.
#[derive(Debug)]
pub(crate) struct Detector;

impl Pattern for Detector {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn detect(&self, view: &View<'_>) -> Vec<Draft> {
        let mut pods: BTreeMap<Entity, Vec<&Event>> = BTreeMap::new();
        for line in view.events().filter(|event| waits_for(event).is_some()) {
            if let Some(pod) = Entity::pod(&line.place).filter(|_| line.place.container.is_some()) {
                pods.entry(pod).or_default().push(line);
            }
        }
        pods.into_iter().filter_map(|(pod, lines)| draft(view, pod, &lines)).collect()
    }
}

/// Reads what a line says it waits for: `waiting for db:5432 ...` waits for `db`.
pub(super) fn waits_for(line: &Event) -> Option<&str> {
    // A line that names a failed connection is told as one.
    let is_line = matches!(line.kind, Kind::Log | Kind::Exception)
        || (line.source == Source::App && is_failed_attempt(line));
    let said = line.message();
    // Most lines end here: those that go on are written out in lower case.
    if !is_line || !said.contains("ait") {
        return None;
    }
    let lower = said.to_ascii_lowercase();
    let rest = WAITS.iter().find_map(|mark| said.get(lower.find(mark)? + mark.len()..))?;
    let rest = rest.trim_start_matches("service ").trim_start_matches("the ");
    let rest = rest.split_once("://").map_or(rest, |(_, host)| host);
    let is_edge = |letter: char| letter.is_whitespace() || "\"'`:/,()".contains(letter);
    let name = rest.trim_start_matches(is_edge).split(is_edge).next()?;
    let name = name.trim_end_matches('.');
    (!name.is_empty()).then_some(name)
}

/// Says whether the name is one that people give to containers that run before the others.
fn is_init_name(event: &Event) -> bool {
    let name = event.place.container.as_deref().unwrap_or_default();
    INIT_NAMES.iter().any(|known| name.starts_with(known))
}

fn is_failed_attempt(event: &Event) -> bool {
    matches!(event.kind, Kind::ConnectRefused | Kind::ConnectTimeout | Kind::DnsFailure)
}

fn is_attempt(event: &Event) -> bool {
    is_failed_attempt(event)
        || (matches!(event.kind, Kind::Log | Kind::Exception)
            && is_connection_error(event.message()))
}

/// Says whether the pod went on: it is ready, or another of its containers started.
fn went_on(view: &View<'_>, line: &Event) -> bool {
    view.events().filter(|event| event.place.is_same_pod(&line.place)).any(|event| {
        let is_ready = event.kind == Kind::PodReadiness && truth(event, keys::STATUS) == Some(true);
        let is_next = event.kind == Kind::ContainerStarted
            && event.place.container != line.place.container
            && event.order() > line.order();
        is_ready || is_next
    })
}

fn draft(view: &View<'_>, pod: Entity, lines: &[&Event]) -> Option<Draft> {
    let (first, last) = (*lines.first()?, *lines.last()?);
    if went_on(view, last) {
        return None;
    }
    let mine = |event: &&Event| same_container(event, last);
    let attempts: Vec<_> = view.events().filter(mine).filter(|event| is_attempt(event)).collect();
    let is_bad = |end: &&Event| !matches!(end.attributes.int(keys::EXIT_CODE), Some(0) | None);
    let ends: Vec<_> = view.of(Kind::ContainerTerminated).filter(mine).filter(is_bad).collect();
    let backs_off = view.of(Kind::ContainerWaiting).rfind(mine);
    let said: i64 = lines.iter().map(|line| count(line)).sum();
    let is_said = |event: &Event| truth(event, keys::CONTAINER_IS_INIT) == Some(true);
    let is_init = is_init_name(last) || view.events().filter(mine).any(is_said);
    // Without a name that tells it, or an attempt that failed, it may be a worker without work.
    let is_shown = said >= LINES_MIN && (is_init || !attempts.is_empty());
    let gave_up = !ends.is_empty() && (is_init || is_last_word(&ends, last));
    if !is_shown && !gave_up {
        return None;
    }
    let peer = waits_for(last)?;
    let label = last.place.label();
    let root = attempts.first().copied().filter(|it| it.order() < first.order()).unwrap_or(first);
    let by_kernel = attempts.iter().any(|it| matches!(it.source, Source::Kernel | Source::Network));
    let class = if by_kernel { EvidenceClass::KernelProof } else { EvidenceClass::LogTemplate };
    let mut draft = Draft::new(pod, class, root, text(root)).touching(&last.place);
    for event in attempts.iter().chain(lines).chain(&ends) {
        draft = draft.step(event, text(event));
    }
    draft = backs_off.into_iter().fold(draft, |draft, event| draft.symptom(event, text(event)));
    let draft = touch_services(view, joined(draft, last, peer), &last.place)
        .title(format!("{label} waits for {peer}, and its pod does not begin"))
        .because(format!(
            "{label} asks for {peer} before anything else of the pod may run: {}",
            quote(last)
        ))
        .advise(format!("see what keeps {peer} from answering; it may wait for this pod"))
        .advise("wait inside the process instead, with a timeout, and let it begin without")
        .rule_out("missing_config", "the container was created and runs", &[first])
        .rule_out("cni_failure", "the pod has its network: its container runs", &[first]);
    if is_init && (!attempts.is_empty() || !ends.is_empty()) {
        return Some(draft);
    }
    Some(unsure(draft, peer, attempts.is_empty()))
}

/// Says whether the line is the last before an end: what it waited for is why it ended.
fn is_last_word(ends: &[&Event], last: &Event) -> bool {
    ends.iter().any(|end| end.order() > last.order()) && last.message().contains("waiting for")
}

/// Touches what it waits for, and itself as others know it: who waits for each other is one story.
fn joined(draft: Draft, last: &Event, peer: &str) -> Draft {
    let mut labels = peer.split('.');
    let name = labels.next().unwrap_or_default();
    let namespace = labels.next().map(Text::from).or_else(|| last.place.namespace.clone());
    let namespace = namespace.unwrap_or_default();
    let draft = draft.touch(Entity::Service { namespace, name: name.into() });
    let Some(owner) = &last.place.workload else { return draft };
    let namespace = last.place.namespace.clone().unwrap_or_default();
    let own = Entity::Service { namespace, name: owner.name.clone() };
    let edge = Entity::Edge { from: owner.name.clone(), to: name.into() };
    draft.touch(own).touch(edge)
}

fn unsure(draft: Draft, peer: &str, is_unseen: bool) -> Draft {
    let draft = if is_unseen {
        draft.missing(format!("its attempts to reach {peer}"))
    } else {
        draft.missing("whether the container is one that runs before the others")
    };
    draft.or(
        "connection_failed",
        format!("{peer} does not answer, and others besides this pod need it"),
        format!(
            "kubectl get pod: Init:0/1 means that it waits before it begins; then whether \
             {peer} answers others"
        ),
    )
}

fn text(event: &Event) -> String {
    if event.kind == Kind::ContainerTerminated {
        return "the container gave up".to_owned();
    }
    quote(event)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;

    const LINES: &str = "1s shop/cart-1/init-db%cart Log msg=\"waiting for db:5432\"; \
        4s shop/cart-1/init-db%cart Log msg=\"waiting for db:5432\"";
    const REFUSED: &str = "2s shop/cart-1/init-db%cart ConnectRefused src=network peer=db";

    #[test]
    fn what_it_waits_for_is_read() {
        let cases = [
            ("waiting for db:5432", Some("db")),
            ("Waiting for postgres to become ready...", Some("postgres")),
            ("wait-for-it: waiting for the \\\"db.shop\\\"", Some("db.shop")),
            ("timed out waiting for http://cart.shop.svc/ready", Some("cart.shop.svc")),
            ("waiting for ", None),
            ("served", None),
            ("", None),
        ];
        for (line, peer) in cases {
            let story = format!("0s a/b-1/c Log msg=\"{line}\"");
            let told = fixture::events(&story).unwrap();
            assert_eq!(waits_for(&told[0]), peer, "{line}");
        }
    }

    #[test]
    fn an_init_container_that_is_refused_is_certain() {
        let draft = one!(Detector, &format!("{LINES}; {REFUSED}")).unwrap();
        assert!(draft.doubt().is_none());
        assert_eq!(draft.class(), EvidenceClass::KernelProof);
        let service = |name: &str| Entity::Service { namespace: "shop".into(), name: name.into() };
        assert!(draft.touches().contains(&service("db")));
        assert!(draft.touches().contains(&service("cart")), "others wait for it by this name");
        assert_eq!(draft.evidence().len(), 3);
    }

    #[test]
    fn a_line_that_names_its_failed_attempt_is_both() {
        let line = "ConnectRefused src=app count=2 msg=\"waiting for db: connection refused\"";
        let draft = one!(Detector, &format!("1s shop/cart-1/init-db%cart {line}")).unwrap();
        assert!(draft.doubt().is_none() && draft.class() == EvidenceClass::LogTemplate);
    }

    #[test]
    fn what_is_not_seen_leaves_a_doubt() {
        let doubt = one!(Detector, LINES).unwrap();
        assert_eq!(doubt.doubt().map(|doubt| doubt.alternative), Some("connection_failed"));
        assert!(doubt.gaps()[0].contains("attempts"));
        let story = format!("{LINES}; {REFUSED}").replace("init-db", "cart");
        assert!(one!(Detector, &story).unwrap().gaps()[0].contains("before the others"));
    }

    #[test]
    fn look_alikes_and_health_are_not_it() {
        let next = format!("{LINES}; {REFUSED}; 9s shop/cart-1/cart%cart ContainerStarted");
        let ready = format!("{LINES}; {REFUSED}; 9s shop/cart-1%cart PodReadiness status=true");
        let worker = LINES.replace("init-db", "worker");
        for story in [
            &*next,
            &ready,
            &worker,
            LINES.split(';').next().unwrap(),
            REFUSED,
            "0s a/b-1/init%b ContainerStarted; 1s a/b-1/init%b Log msg=\"migrating\"",
        ] {
            assert_eq!(one!(Detector, story), None, "{story}");
        }
    }
}
