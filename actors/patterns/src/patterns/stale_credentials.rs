//! A credential was changed, and somebody still uses the old one.
//!
//! Evidence: a Secret of the workload was changed, and afterwards a database, broker or API refuses
//! what the workload's processes bring, which began before the change; nothing was refused before.
//! Root: the change of the Secret.
//! Not this: `bad_config` (processes that began after the change are refused as well: the new
//! credential is wrong); `certificate_expired` (the refusal is about a certificate); users of the
//! application who mistype a password, which no Secret precedes.
//! First look: `kubectl rollout restart` of the workload; then whether it reads the Secret from its
//! environment, which never changes in a running process, or from a mounted file.

use tapio_engine::{Draft, Pattern, Spec, View};
use tapio_model::{Entity, Event, EvidenceClass, Kind, keys};

use super::{
    application_errors::beside,
    connection_failed::{peer_service, workload_name},
};
use crate::{
    Scene,
    last_words::quote,
    witness::{count, same_container, times},
    wording::{bears, complaints, is_complaint, line, says},
};

/// Scenes whose cause is known.
pub(crate) const SCENES: &[Scene] = &[
    Scene::cause(
        "stale_credentials",
        "a password was rotated, and the pods were not restarted",
        "0s shop/x%cart ConfigChanged okind=Secret oname=db-password change=modified tapio.changed=password
         6s shop/cart-1/cart@n1%cart Exception msg=\"FATAL: password authentication failed for user cart\"
         9s shop/cart-2/cart@n2%cart Exception msg=\"FATAL: password authentication failed for user cart\"
         12s shop/cart-1@n1%cart ProbeFailed probe=readiness count=3
         13s shop/cart-1@n1%cart PodReadiness status=false",
    ),
    Scene::cause(
        "bad_config",
        "pods that began after the rotation are refused as well",
        "0s shop/x%cart ConfigChanged okind=Secret oname=db-password change=modified tapio.changed=password
         4s shop/cart-1/cart@n1%cart ContainerStarted
         6s shop/cart-1/cart@n1%cart Exception msg=\"FATAL: password authentication failed for user cart\"
         9s shop/cart-1/cart@n1%cart Exception msg=\"FATAL: password authentication failed for user cart\"",
    ),
    Scene::unknown(
        "stale_credentials",
        "a database refuses a service, and no change was seen",
        "0s shop/cart-1/cart@n1%cart Exception msg=\"pq: password authentication failed for user cart\"
         2s shop/cart-1/cart@n1%cart Exception msg=\"pq: password authentication failed for user cart\"
         4s shop/cart-1/cart@n1%cart Exception msg=\"pq: password authentication failed for user cart\"",
    ),
    Scene::healthy(
        "a rotation with a restart, and users who mistype",
        "0s shop/x%cart ConfigChanged okind=Secret oname=db-password change=modified tapio.changed=password
         4s shop/cart-1/cart@n1%cart ContainerStarted
         6s shop/cart-1@n1%cart PodReadiness status=true
         9s shop/web-1/web@n1%web Log sev=warn msg=\"login of bob: authentication failed\" trace=2
         11s shop/web-1/web@n1%web Log sev=warn msg=\"login of eve: authentication failed\" trace=2
         12s shop/web-1/web@n1%web Log sev=warn msg=\"login of eve: authentication failed\" trace=2",
    ),
];

const SPEC: Spec = Spec {
    slug: "stale_credentials",
    title: "Old credentials in use",
    wakes_on: &[Kind::ConfigChanged, Kind::Exception, Kind::Log],
    leads_to: &[
        "connection_failed",
        "cascading_dependency",
        "readiness_lost",
        "liveness_kill",
        "service_abnormal",
        "job_failed",
    ],
};

/// By what a server refuses a credential, in lower case.
const REFUSALS: &[&str] = &[
    "password authentication failed",
    "authentication failed",
    "access denied for user",
    "login failed for user",
    "invalid username-password pair",
    "wrongpass",
    "noauth",
    "access_refused",
    "ora-01017",
    "sasl authentication",
    "401 unauthorized",
    "status code 401",
    "invalidaccesskeyid",
    "signaturedoesnotmatch",
    "expiredtoken",
    "invalid api key",
];

/// By what a line shows that its writer is the one who was refused, in lower case: drivers and
/// clients, not servers that tell of their users.
const CLIENTS: &[&str] = &[
    "pq: ",
    "pgx",
    "psycopg",
    "postgresql",
    "sqlstate",
    "sqlalchemy",
    "jdbc",
    "sqlexception",
    "error 1045",
    "mongoservererror",
    "wrongpass",
    "noauth",
    "access_refused",
    "ora-01017",
    "invalidaccesskeyid",
    "signaturedoesnotmatch",
    "expiredtoken",
];

/// How the logs of databases tell whom they refused: it is not they who have the old credential.
const OF_SERVERS: &[&str] = &["] fatal:", "] log:", "[note] access", "[warning] access"];

/// One refusal may be of an attempt that the next one made good.
const REFUSALS_MIN: i64 = 2;

/// Without a change only a client that does not get in at all is worth a word.
const UNCHANGED_MIN: i64 = 3;

/// Finds workloads whose credentials are no longer accepted.
#[derive(Debug)]
pub(crate) struct Detector;

impl Pattern for Detector {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn detect(&self, view: &View<'_>) -> Vec<Draft> {
        let refusals: Vec<_> = complaints(view).filter(|event| is_refusal(event)).collect();
        let Some(first) = refusals.first() else { return Vec::new() };
        let change = view.of(Kind::ConfigChanged).rfind(|change| {
            change.attributes.text(keys::OBJECT_KIND) == Some("Secret")
                && change.attributes.text(keys::CHANGE) == Some("modified")
                && !is_certificate(change)
                && change.order() < first.order()
        });
        let found = match change {
            Some(change) => decide(view, change, &refusals),
            None => doubt(view, &refusals),
        };
        found.into_iter().collect()
    }
}

/// Says whether somebody complains that a credential was refused.
pub(super) fn is_refused(event: &Event) -> bool {
    is_complaint(event) && is_refusal(event)
}

fn is_refusal(event: &Event) -> bool {
    let line = line(event);
    bears(&line, REFUSALS) && !(event.kind == Kind::Log && bears(&line, OF_SERVERS))
}

/// Says whether the container of an event began after the change, and so uses what it brought.
pub(super) fn began_after(view: &View<'_>, event: &Event, change: &Event) -> bool {
    view.of(Kind::ContainerStarted).any(|start| {
        start.order() > change.order()
            && start.order() < event.order()
            && same_container(start, event)
    })
}

/// Says whether only a certificate and its key changed, as they do every other month.
fn is_certificate(change: &Event) -> bool {
    let changed = change.attributes.text(keys::CHANGED).unwrap_or_default();
    !changed.is_empty() && changed.split(", ").all(|key| key.ends_with(".crt") || key == "tls.key")
}

fn decide(view: &View<'_>, change: &Event, refusals: &[&Event]) -> Option<Draft> {
    let mine = |event: &&&Event| {
        change.place.workload.is_none() || event.place.is_same_workload(&change.place)
    };
    let refusals: Vec<&Event> = refusals.iter().filter(mine).copied().collect();
    let first = *refusals.first()?;
    let total: i64 = refusals.iter().map(|event| count(event)).sum();
    // The new credential itself is refused: that is its content's story.
    if total < REFUSALS_MIN || refusals.iter().any(|event| began_after(view, event, change)) {
        return None;
    }
    let name = change.attributes.text(keys::OBJECT_NAME).unwrap_or("a Secret");
    let namespace = change.place.namespace.clone().unwrap_or_default();
    let (kind, namespace_of) = ("Secret".into(), namespace.clone());
    let secret = Entity::Object { namespace: namespace_of, kind, name: name.into() };
    let subject = Entity::owner(&first.place)?;
    let draft = Draft::new(
        subject.clone(),
        EvidenceClass::LogTemplate,
        change,
        format!("Secret {name} changed"),
    )
    .touching(&change.place)
    .touch(secret)
    .title(format!("{subject} still uses the old credential of Secret {name}"))
    .because(format!(
        "Secret {namespace}/{name} changed, and since then processes that began before it are \
             refused{}: {}",
        times(total),
        quote(first)
    ))
    .advise(format!("restart what uses it: kubectl rollout restart of {subject}"))
    .advise("mount the Secret as a file and read it again when it changes")
    .rule_out("bad_config", "no process that began after the change is refused", &[])
    .rule_out("certificate_expired", "the refusal names a credential", &[first]);
    Some(cite(draft, &refusals))
}

/// A client is refused, and no change was seen: the pool may have kept old connections for hours.
fn doubt(view: &View<'_>, refusals: &[&Event]) -> Option<Draft> {
    let is_client = |event: &&&Event| says(event, CLIENTS);
    let refusals: Vec<&Event> = refusals.iter().filter(is_client).copied().collect();
    let first = *refusals.first()?;
    let total: i64 = refusals.iter().map(|event| count(event)).sum();
    // What was just started has never been let in: nothing got old there.
    let is_new = view.of(Kind::ContainerStarted).any(|start| same_container(start, first));
    if total < UNCHANGED_MIN || is_new {
        return None;
    }
    let subject = Entity::owner(&first.place)?;
    let who = workload_name(&first.place);
    let draft = Draft::new(subject, EvidenceClass::LogTemplate, first, quote(first))
        .touching(&first.place)
        .title(format!("the credential of {who} is refused"))
        .because(format!(
            "{who} is refused{}: {}{}",
            times(total),
            quote(first),
            beside(view, first)
        ))
        .missing("a change of the Secret that holds the credential");
    // Who reads a log at hand sees that it is refused; nobody asks since when.
    if first.attributes.int(keys::SAMPLED).is_some() {
        let advice = "compare the Secret with what the server knows, then restart what uses it";
        return Some(cite(draft.advise(advice), &refusals));
    }
    let draft = draft.or(
        "bad_config",
        "the credential that it was given is wrong",
        "compare the times of the Secret's last change and of the pods' start: pods that \
             began before it need a restart",
    );
    Some(cite(draft, &refusals))
}

fn cite(draft: Draft, refusals: &[&Event]) -> Draft {
    refusals.iter().fold(draft, |draft, event| {
        let draft = draft.symptom(event, quote(event)).touching(&event.place);
        peer_service(event).into_iter().fold(draft, Draft::touch)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHANGE: &str = "0s shop/x%cart ConfigChanged okind=Secret oname=db change=modified\n";

    fn refusals(message: &str, times: u32) -> String {
        let line = |at| format!("{at}s shop/cart-1/cart%cart Exception msg=\"{message}\"\n");
        (5..5 + times).map(line).collect()
    }

    #[test]
    fn refusals_after_the_rotation_are_of_the_old_credential() {
        let draft =
            one!(Detector, &[CHANGE, &refusals("Access denied for user 'cart'", 2)].concat())
                .unwrap();
        let title = "Deployment shop/cart still uses the old credential of Secret db";
        assert_eq!(draft.headline(), title);
        assert_eq!(draft.evidence()[0].kind, Kind::ConfigChanged);
        assert!(draft.touches().iter().any(|it| it.to_string() == "Secret shop/db"));
        assert_eq!(draft.ruled_out()[0].pattern, "bad_config");
        assert!(draft.root_cause().contains("2 times"), "{}", draft.root_cause());
    }

    #[test]
    fn without_the_change_only_a_client_is_believed_and_stays_a_doubt() {
        let client = refusals("MongoServerError: Authentication failed.", 3);
        assert_eq!(one!(Detector, &client).unwrap().doubt().unwrap().alternative, "bad_config");
        assert_eq!(one!(Detector, &refusals("authentication failed for bob", 9)), None);
        assert_eq!(one!(Detector, &refusals("MongoServerError: Authentication failed.", 2)), None);
        let fresh = format!("1s shop/cart-1/cart%cart ContainerStarted\n{client}");
        assert_eq!(one!(Detector, &fresh), None);
    }

    #[test]
    fn look_alikes_and_health_are_not_it() {
        let refused = refusals("password authentication failed", 3);
        let started = "4s shop/cart-1/cart%cart ContainerStarted\n";
        for story in [
            CHANGE.to_owned(),
            [CHANGE, &refusals("password authentication failed", 1)].concat(),
            [CHANGE, started, &refused].concat(),
            [&CHANGE.replace("0s", "9s"), &*refused].concat(),
            [&CHANGE.replace("Secret", "ConfigMap"), &*refused].concat(),
            [CHANGE, &refused.replace("%cart", "%pay")].concat(),
            [CHANGE, &refusals("[7] FATAL: password authentication failed", 3)]
                .concat()
                .replace("Exception", "Log sev=error"),
            [&*CHANGE.replace("modified", "modified tapio.changed=\"tls.crt, tls.key\""), &refused]
                .concat(),
            [CHANGE, &refusals("x509: certificate has expired", 3)].concat(),
        ] {
            assert_eq!(one!(Detector, &story), None, "{story}");
        }
    }
}
