//! A container waits for a ConfigMap, a Secret or a key in one that does not exist.
//!
//! Evidence: the kubelet cannot create the container or mount the volume, and its message names an
//! object or key that was not found.
//! Root: the deletion of that object (or the change that took the key) if it was seen before, else
//! the first message of the kubelet.
//! Not this: `rbac_denied` ("forbidden", not "not found"); `volume_mount` (a volume that is not a
//! ConfigMap or Secret, or a mount that timed out and names nothing); `bad_config` (the object is
//! there and its content is wrong); `quota_refused` (a policy or security context refuses the pod).
//! First look: `kubectl describe pod POD`, then `kubectl get configmap,secret -n NAMESPACE`.

use std::collections::{BTreeMap, BTreeSet};

use tapio_engine::{Draft, Pattern, Spec, View};
use tapio_model::{Entity, Event, EvidenceClass, Kind, Text, keys};

use crate::{Scene, last_words::quote, witness::touch_services};

/// Scenes whose cause is known.
pub(crate) const SCENES: &[Scene] = &[
    Scene::cause(
        "missing_config",
        "a Secret that nobody made",
        r#"0s shop/cart-7f6b8d9c4-x2kq9@n2%cart PodScheduled
         1s shop/cart-7f6b8d9c4-x2kq9/cart@n2%cart ContainerCreateFailed reason=Failed count=2 msg="Error: secret \"db-password\" not found"
         2s shop/cart-7f6b8d9c4-x2kq9/cart@n2%cart ContainerCreateFailed reason=CreateContainerConfigError msg="secret \"db-password\" not found"
         2s svc:shop/cart%cart EndpointsChanged ready=0 not_ready=1
         4s shop/front-6d5f9c8b7-k2x4p/front@n1%front ConnectRefused addr=10.96.0.20 port=80 peer=cart error=ECONNREFUSED trace=2
         6s shop/front-6d5f9c8b7-k2x4p/front@n1%front ConnectRefused addr=10.96.0.20 port=80 peer=cart error=ECONNREFUSED trace=2"#,
    ),
    Scene::cause(
        "missing_config",
        "a ConfigMap is deleted, and the next pod cannot mount it",
        r#"0s shop/x%cart ConfigChanged okind=ConfigMap oname=cart-env change=deleted msg="ConfigMap shop/cart-env deleted"
         9s shop/cart-7f6b8d9c4-x2kq9@n2%cart PodScheduled
         10s shop/cart-7f6b8d9c4-x2kq9@n2%cart MountFailed reason=FailedMount count=4 msg="MountVolume.SetUp failed for volume \"env\" : configmap \"cart-env\" not found""#,
    ),
    Scene::cause(
        "missing_config",
        "a key is missing in a ConfigMap that two workloads read",
        r#"1s shop/cart-7f6b8d9c4-x2kq9/cart@n2%cart ContainerCreateFailed reason=Failed msg="Error: couldn't find key DB_HOST in ConfigMap shop/env"
         2s shop/cart-7f6b8d9c4-x2kq9/cart@n2%cart ContainerCreateFailed reason=CreateContainerConfigError msg="couldn't find key DB_HOST in ConfigMap shop/env"
         2s shop/pay-6d5f9c8b7-k2x4p/pay@n1%pay ContainerCreateFailed reason=Failed msg="Error: couldn't find key DB_HOST in ConfigMap shop/env" trace=2
         3s shop/pay-6d5f9c8b7-k2x4p/pay@n1%pay ContainerCreateFailed reason=CreateContainerConfigError msg="couldn't find key DB_HOST in ConfigMap shop/env" trace=2"#,
    ),
    Scene::cause(
        "cannot_start",
        "the object is there, and the variable is not in it",
        r#"0s shop/cart-7f6b8d9c4-x2kq9/cart@n2%cart ContainerStarted restarts=0
         1s shop/cart-7f6b8d9c4-x2kq9/cart@n2%cart Log sev=error msg="required env DB_HOST not found"
         1s shop/cart-7f6b8d9c4-x2kq9/cart@n2%cart ContainerTerminated exit=1 reason=Error
         1s shop/cart-7f6b8d9c4-x2kq9/cart@n2%cart ContainerWaiting reason=CrashLoopBackOff"#,
    ),
    Scene::cause(
        "image_pull",
        "it waits for an image that is not found",
        r#"1s shop/cart-7f6b8d9c4-x2kq9/cart@n2%cart ImagePullFailed reason=Failed image=shop/secret:v7 msg="Failed to pull image \"shop/secret:v7\": rpc error: code = NotFound desc = failed to resolve reference: not found"
         2s shop/cart-7f6b8d9c4-x2kq9/cart@n2%cart ImagePullFailed reason=ImagePullBackOff image=shop/secret:v7 msg="Back-off pulling image \"shop/secret:v7\"""#,
    ),
    Scene::unknown(
        "missing_config",
        "the status says that configuration is wanting, and not which",
        "1s shop/cart-7f6b8d9c4-x2kq9@n2%cart PodScheduled
         2s shop/cart-7f6b8d9c4-x2kq9/cart@n2%cart ContainerCreateFailed reason=CreateContainerConfigError",
    ),
    Scene::healthy(
        "a mount that waits for a moment for the kubelet",
        r#"0s shop/cart-7f6b8d9c4-x2kq9@n2%cart PodScheduled
         1s shop/cart-7f6b8d9c4-x2kq9@n2%cart MountFailed reason=FailedMount msg="MountVolume.SetUp failed for volume \"kube-api-access-x2kq9\" : failed to sync configmap cache: timed out waiting for the condition"
         3s shop/cart-7f6b8d9c4-x2kq9/cart@n2%cart ContainerStarted restarts=0
         9s shop/cart-7f6b8d9c4-x2kq9@n2%cart PodReadiness status=true"#,
    ),
];

const SPEC: Spec = Spec {
    slug: "missing_config",
    title: "ConfigMap or Secret missing",
    wakes_on: &[Kind::ContainerWaiting, Kind::ContainerCreateFailed, Kind::MountFailed],
    leads_to: &[
        "cannot_start",
        "readiness_lost",
        "connection_failed",
        "cascading_dependency",
        "admission_webhook",
        "init_deadlock",
        "job_failed",
        "service_abnormal",
    ],
};

/// Finds objects that containers wait for in vain.
#[derive(Debug)]
pub(crate) struct Detector;

/// What the kubelet did not find.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Missing {
    namespace: Text,
    kind: &'static str,
    name: Text,
    key: Option<Text>,
}

impl Pattern for Detector {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn detect(&self, view: &View<'_>) -> Vec<Draft> {
        let mut objects: BTreeMap<Missing, Vec<&Event>> = BTreeMap::new();
        let mut unnamed: BTreeMap<Entity, &Event> = BTreeMap::new();
        for event in view.events().filter(|event| SPEC.wakes_on.contains(&event.kind)) {
            if let Some(missing) = Missing::read(event) {
                objects.entry(missing).or_default().push(event);
            } else if may_be_config(event)
                && let Some(subject) = Entity::narrowest(&event.place)
            {
                unnamed.entry(subject).or_insert(event);
            }
        }
        // Two keys of one object are one subject: the first in order tells.
        let mut told = BTreeSet::new();
        objects.retain(|missing, _| told.insert(missing.entity()));
        let named = objects.iter().filter_map(|(missing, waits)| missing.draft(view, waits));
        let waits = || objects.values().flatten();
        let doubtful = unnamed
            .into_iter()
            .filter(|(_, event)| !waits().any(|wait| wait.place.is_same_pod(&event.place)))
            .map(|(subject, event)| doubt(subject, event));
        named.chain(doubtful).collect()
    }
}

impl Missing {
    fn read(event: &Event) -> Option<Self> {
        let message = event.message();
        let lower = message.to_ascii_lowercase();
        let is_gone = ["not found", "couldn't find key", "references non-existent"]
            .into_iter()
            .any(|mark| lower.contains(mark));
        if !is_gone || lower.contains("forbidden") {
            return None;
        }
        let said = |key| event.attributes.text(key);
        // With the space: a volume called "db-secret" is not what is missing.
        let marks = [
            ("configmap ", "ConfigMap"),
            ("configmaps ", "ConfigMap"),
            ("secret ", "Secret"),
            ("secrets ", "Secret"),
        ];
        let (kind, rest) = marks
            .into_iter()
            .filter(|(_, kind)| said(keys::OBJECT_KIND).is_none_or(|known| known == *kind))
            .find_map(|(mark, kind)| {
                Some((kind, message.get(lower.find(mark)? + mark.len()..)?))
            })?;
        let after_key =
            lower.find("find key ").and_then(|at| message.get(at + "find key ".len()..));
        let key = after_key.or_else(|| Some(rest.split_once(" key: ")?.1)).and_then(first_word);
        // `configmap "name"`, `ConfigMap namespace/name`; a volume's message has the key alone.
        let object = said(keys::OBJECT_NAME)
            .or_else(|| if rest.contains("non-existent") { None } else { first_word(rest) })?;
        let (scope, name) = object.split_once('/').map_or((None, object), |(s, n)| (Some(s), n));
        let namespace = scope.map(Text::from).or_else(|| event.place.namespace.clone());
        let (name, key) = (name.into(), key.map(Text::from));
        Some(Self { namespace: namespace.unwrap_or_default(), kind, name, key })
    }

    fn entity(&self) -> Entity {
        let Self { namespace, kind, name, .. } = self;
        let kind = Text::from(*kind);
        Entity::Object { namespace: namespace.clone(), kind, name: name.clone() }
    }

    fn draft(&self, view: &View<'_>, waits: &[&Event]) -> Option<Draft> {
        let first = waits.first()?;
        let Self { namespace, kind, name, key } = self;
        let change = self.change_before(view, first);
        let what = match key {
            Some(key) => format!("key {key} of {kind} {namespace}/{name}"),
            None => format!("{kind} {namespace}/{name}"),
        };
        let pods: BTreeSet<_> = waits.iter().filter_map(|wait| wait.place.pod.as_ref()).collect();
        let pods = match pods.len() {
            0 | 1 => first.place.label(),
            more => format!("{more} pods"),
        };
        let (root, text, why) = match change {
            Some(change) => {
                let how = change.attributes.text(keys::CHANGE).unwrap_or("changed");
                (change, format!("{kind} {name} was {how}"), format!("; it was {how} before"))
            }
            None => (*first, quote(first), String::new()),
        };
        let mut draft = Draft::new(self.entity(), EvidenceClass::EventText, root, text)
            .touching(&first.place)
            .title(format!("{what} is missing: {pods} cannot start"))
            .because(format!("the kubelet does not find {what} and waits for it{why}"))
            .advise(format!("create {what}, or correct the name that the pod refers to"))
            .rule_out("rbac_denied", "the message says not found, not forbidden", &[first]);
        for wait in waits {
            draft = draft.touching(&wait.place).symptom(wait, quote(wait));
            draft = touch_services(view, draft, &wait.place);
        }
        Some(draft)
    }

    fn change_before<'a>(&self, view: &View<'a>, first: &Event) -> Option<&'a Event> {
        view.of(Kind::ConfigChanged).rfind(|change| {
            let said = |key| change.attributes.text(key).unwrap_or_default();
            // A key goes by a modification, the whole object only by a deletion.
            let takes = said(keys::CHANGE) == "deleted"
                || (self.key.is_some() && said(keys::CHANGE) == "modified");
            let scope = change.place.namespace.as_ref();
            takes
                && change.order() < first.order()
                && (said(keys::OBJECT_KIND), said(keys::OBJECT_NAME)) == (self.kind, &*self.name)
                && scope.is_none_or(|scope| *scope == self.namespace)
        })
    }
}

/// Reads the word a text begins with, out of its quotes.
fn first_word(text: &str) -> Option<&str> {
    let is_edge = |letter: char| letter.is_whitespace() || matches!(letter, '"' | '\'' | ':' | ',');
    let word = text.trim_start_matches(is_edge).split(is_edge).next()?;
    Some(word).filter(|word| !word.is_empty() && *word != "not")
}

fn may_be_config(event: &Event) -> bool {
    let message = event.message().to_ascii_lowercase();
    let is_other = ["forbidden", "runasnonroot", "persistentvolumeclaim", "failed to sync"]
        .into_iter()
        .any(|mark| message.contains(mark));
    let names_config = message.contains("configmap") || message.contains("secret");
    let waits = event.attributes.text(keys::REASON) == Some("CreateContainerConfigError");
    let timed_out = event.kind == Kind::MountFailed && message.contains("timed out");
    !is_other && (waits || timed_out || (names_config && message.contains("non-existent")))
}

fn doubt(subject: Entity, event: &Event) -> Draft {
    let label = event.place.label();
    let draft = Draft::new(subject, EvidenceClass::EventText, event, quote(event))
        .touching(&event.place)
        .title(format!("{label} waits for a ConfigMap or Secret"))
        .because("the kubelet cannot prepare the container, and does not name what it lacks")
        .missing("the name of the object")
        .advise("read the events of the pod: kubectl describe pod");
    if event.kind == Kind::MountFailed {
        return draft.or(
            "volume_mount",
            "a volume cannot be attached or mounted",
            "kubectl describe pod: which of the unmounted volumes is a ConfigMap or Secret",
        );
    }
    draft.or(
        "quota_refused",
        "its security context forbids it to run",
        "kubectl describe pod: the message behind CreateContainerConfigError",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const GONE: &str = r#"0s shop/cart ConfigChanged okind=ConfigMap oname=cart-config change=deleted
        5s shop/cart-1/cart%cart ContainerWaiting reason=CreateContainerConfigError msg="configmap \"cart-config\" not found"
        6s shop/cart-2/cart%cart ContainerCreateFailed msg="Error: configmap \"cart-config\" not found""#;

    #[test]
    fn a_deleted_config_map_is_the_root() {
        let drafts = told!(Detector, GONE);
        let [draft] = drafts.as_slice() else { panic!("{drafts:?}") };
        assert_eq!(draft.subject().to_string(), "ConfigMap shop/cart-config");
        assert_eq!(draft.headline(), "ConfigMap shop/cart-config is missing: 2 pods cannot start");
        assert_eq!(draft.evidence()[0].text, "ConfigMap cart-config was deleted");
        assert_eq!(draft.evidence().len(), 3);
        assert!(draft.doubt().is_none());
    }

    #[test]
    fn the_object_is_read_from_every_message() {
        let cases = [
            (
                r#"MountVolume.SetUp failed for volume \"db-secret\" : configmap \"a\" not found"#,
                "ConfigMap shop/a",
                None,
            ),
            (
                r#"MountVolume.SetUp failed for volume \"configmap\" : secrets \"a\" not found"#,
                "Secret shop/a",
                None,
            ),
            (r#"Error: secret \"db\" not found"#, "Secret shop/db", None),
            (
                "Error: couldn't find key DB_HOST in ConfigMap shop/env",
                "ConfigMap shop/env",
                Some("DB_HOST"),
            ),
            (
                r#"MountVolume.SetUp failed for volume \"v\" : configmap \"app\" not found"#,
                "ConfigMap shop/app",
                None,
            ),
            ("couldn't find key tls.crt in Secret web/cert", "Secret web/cert", Some("tls.crt")),
        ];
        for (message, object, key) in cases {
            let drafts = told!(Detector, &format!("0s shop/a-1/a MountFailed msg=\"{message}\""));
            let [draft] = drafts.as_slice() else { panic!("{message}: {drafts:?}") };
            assert_eq!(draft.subject().to_string(), object);
            assert!(key.is_none_or(|key| draft.headline().contains(key)), "{}", draft.headline());
            assert!(draft.doubt().is_none());
        }
    }

    #[test]
    fn a_modified_object_may_have_lost_the_key_and_nothing_else() {
        let change = "0s shop/x ConfigChanged okind=ConfigMap oname=env change=modified\n";
        let key =
            "1s shop/a-1/a ContainerCreateFailed msg=\"couldn't find key K in ConfigMap shop/env\"";
        let whole = "1s shop/a-1/a ContainerCreateFailed msg=\"configmap \\\"env\\\" not found\"";
        for (wait, roots) in [(key, Kind::ConfigChanged), (whole, Kind::ContainerCreateFailed)] {
            let drafts = told!(Detector, &format!("{change}{wait}"));
            assert_eq!(drafts[0].evidence()[0].kind, roots, "{wait}");
        }
    }

    #[test]
    fn without_the_name_it_stays_a_doubt() {
        let cases = [
            ("MountFailed msg=\"Unable to attach or mount volumes: timed out\"", "volume_mount"),
            ("ContainerWaiting reason=CreateContainerConfigError", "quota_refused"),
        ];
        for (event, alternative) in cases {
            let drafts = told!(Detector, &format!("0s shop/a-1/a {event}"));
            let [draft] = drafts.as_slice() else { panic!("{event}: {drafts:?}") };
            assert_eq!(draft.doubt().unwrap().alternative, alternative);
        }
    }

    #[test]
    fn look_alikes_and_health_are_not_this() {
        for event in [
            "ContainerCreateFailed msg=\"secrets \\\"db\\\" is forbidden: User x cannot get\"",
            "MountFailed msg=\"persistentvolumeclaim \\\"data\\\" not found\"",
            "MountFailed msg=\"failed to sync configmap cache: timed out waiting\"",
            "ContainerWaiting reason=CreateContainerConfigError msg=\"container has runAsNonRoot\"",
            "ContainerWaiting reason=ContainerCreating",
            "ContainerStarted",
        ] {
            assert!(told!(Detector, &format!("0s shop/a-1/a {event}")).is_empty(), "{event}");
        }
    }
}
