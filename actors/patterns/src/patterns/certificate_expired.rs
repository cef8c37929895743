//! A certificate is expired, not yet valid or not trusted, and nobody who checks it goes on.
//!
//! Evidence: complaints of TLS libraries about a certificate's time or issuer, more than once; the
//! onset is exact, and as a rule nothing was changed.
//! Root: the first such complaint; a certificate or CA that was changed just before, if the issuer
//! is not trusted.
//! Not this: `stale_credentials` (a password or token is refused, the handshake went well);
//! `connection_failed` (no connection at all); `image_pull` and `admission_webhook` (Kubernetes says
//! it of a registry or a webhook); a clock that is wrong: only one node complains, and of "not yet
//! valid".
//! First look: `openssl s_client -connect HOST:PORT </dev/null | openssl x509 -noout -dates -issuer`,
//! then `kubectl get certificate -A` where cert-manager runs.

use std::collections::{BTreeMap, BTreeSet};

use tapio_engine::{Draft, Pattern, Spec, View};
use tapio_model::{Entity, Event, EvidenceClass, Kind, Place, Severity, Text, keys};

use super::{
    application_errors::beside,
    connection_failed::caller,
    object_stuck::{is_expired, object},
};
use crate::{
    Scene,
    last_words::quote,
    witness::{count, times},
    wording::{bears, complaints, line},
};

/// Scenes whose cause is known.
pub(crate) const SCENES: &[Scene] = &[
    Scene::cause(
        "certificate_expired",
        "a Certificate says itself that it was not renewed in time",
        r#"0s web/x ObjectEvent sev=warn okind=Certificate oname=site reason=CertificateNotReady msg="Expired: Certificate expired on Mon, 13 Oct 2025"
         1s web/x ObjectEvent sev=warn okind=Certificate oname=site reason=CertificateNotReady msg="Expired: Certificate expired on Mon, 13 Oct 2025""#,
    ),
    Scene::cause(
        "certificate_expired",
        "two callers of one service, and what fails with them",
        "0s shop/cart-1/cart@n1%cart Log sev=error trace=1 msg=\"Post \\\"https://pay.shop.svc:8443/charge\\\": \
            tls: failed to verify certificate: x509: certificate has expired or is not yet valid: \
            current time 2026-03-01T00:00:01Z is after 2026-03-01T00:00:00Z\"
         1s shop/cart-1/cart@n1%cart Log sev=error trace=1 msg=\"Post \\\"https://pay.shop.svc:8443/charge\\\": \
            tls: failed to verify certificate: x509: certificate has expired or is not yet valid: \
            current time 2026-03-01T00:00:02Z is after 2026-03-01T00:00:00Z\"
         1s shop/web-1/web@n2%web Exception trace=2 msg=\"javax.net.ssl.SSLHandshakeException: PKIX path \
            validation failed: CertificateExpiredException: NotAfter, https://pay.shop.svc:8443\"
         2s shop/web-1/web@n2%web Exception trace=2 msg=\"javax.net.ssl.SSLHandshakeException: PKIX path \
            validation failed: CertificateExpiredException: NotAfter, https://pay.shop.svc:8443\"",
    ),
    Scene::cause(
        "certificate_expired",
        "in a request's own trace",
        "1s svc:shop/cart Exception trace=7 span=2 msg=\"x509: certificate signed by unknown authority, \
            https://pay:8443\"
         1s svc:shop/cart Span trace=7 span=2 parent=1 status=error span_kind=client peer=pay dur=9ms
         2s svc:shop/web Span trace=7 span=1 status=error span_kind=server http=502 dur=90ms",
    ),
    Scene::cause(
        "stale_credentials",
        "a password is refused",
        "0s shop/x%cart ConfigChanged okind=Secret oname=db change=modified tapio.changed=password
         6s shop/cart-1/cart@n1%cart Exception msg=\"FATAL: password authentication failed for user cart\"
         9s shop/cart-2/cart@n2%cart Exception msg=\"FATAL: password authentication failed for user cart\"",
    ),
    Scene::cause(
        "connection_failed",
        "nobody listens on the port of TLS",
        "0s shop/cart-1/cart@n1%cart ConnectRefused addr=10.0.0.7 port=8443
         1s shop/cart-1/cart@n1%cart Log sev=error msg=\"Post https://pay:8443: connection refused\"",
    ),
    Scene::healthy(
        "one scanner that trusts nobody, and a card that expired",
        "0s shop/pay-1/pay@n1%pay Log sev=warn msg=\"http: TLS handshake error from 10.0.0.9:33: remote error: tls: bad certificate\"
         1s shop/pay-1/pay@n1%pay Log sev=warn msg=\"http: TLS handshake error from 10.0.0.9:34: remote error: tls: unknown certificate authority\"
         2s shop/pay-1/pay@n1%pay Log sev=error msg=\"order 17 was rejected: card expired\"
         3s shop/pay-1/pay@n1%pay Log sev=error msg=\"order 18 was rejected: card expired\"",
    ),
];

const SPEC: Spec = Spec {
    slug: "certificate_expired",
    title: "Certificate not accepted",
    wakes_on: &[Kind::Log, Kind::Exception, Kind::ObjectEvent],
    leads_to: &[
        "connection_failed",
        "cascading_dependency",
        "readiness_lost",
        "liveness_kill",
        "cannot_start",
        "image_pull",
        "admission_webhook",
        "node_not_ready",
        "service_abnormal",
    ],
};

/// By what TLS libraries say that a certificate's time is over, in lower case.
const EXPIRED: &[&str] = &[
    "certificate has expired",
    "certificate expired",
    "expired certificate",
    "certificateexpiredexception",
    "cert_has_expired",
];

/// By what they say that its time has not come.
const EARLY: &[&str] =
    &["certificate is not yet valid", "certificatenotyetvalidexception", "cert_not_yet_valid"];

/// By what they say that nobody they trust has signed it.
const UNTRUSTED: &[&str] = &[
    "signed by unknown authority",
    "unable to get local issuer certificate",
    "unable to get issuer certificate",
    "unable to verify the first certificate",
    "self-signed certificate",
    "self signed certificate",
    "pkix path building failed",
    "alert unknown ca",
    "certificate verify failed",
];

/// Parts of keys and names under which certificates are kept, in lower case.
const KEPT_IN: &[&str] = &["ca.", "ca-", "crt", "cert", "pem", "tls", "trust"];

/// What a cloud's API says of a refusal, with the names of who asked and of what.
const REASON_CHARS_MAX: usize = 640;

/// One complaint may be of an attempt that the next one made good.
const COMPLAINTS_MIN: i64 = 2;

/// Finds certificates that are not accepted.
#[derive(Debug)]
pub(crate) struct Detector;

/// What is wrong with a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Flaw {
    Expired,
    Early,
    Untrusted,
}

impl Pattern for Detector {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn detect(&self, view: &View<'_>) -> Vec<Draft> {
        let mut groups: BTreeMap<(Entity, Flaw), Vec<&Event>> = BTreeMap::new();
        for event in complaints(view) {
            if let Some((flaw, subject)) = flaw(event).zip(subject(event)) {
                groups.entry((subject, flaw)).or_default().push(event);
            }
        }
        let found = groups.into_iter();
        let of_calls =
            found.filter_map(|((subject, flaw), events)| draft(view, subject, flaw, &events));
        of_calls.chain(of_objects(view)).collect()
    }
}

/// Tells of Certificates that say themselves that their time is over.
fn of_objects(view: &View<'_>) -> Vec<Draft> {
    let mut objects: BTreeMap<Entity, Vec<&Event>> = BTreeMap::new();
    for event in view.of(Kind::ObjectEvent).filter(|event| is_expired(event)) {
        if let Some(object) = object(event) {
            objects.entry(object).or_default().push(event);
        }
    }
    let draft = |(object, events): (Entity, Vec<&Event>)| {
        let root = *events.first()?;
        let draft = Draft::new(object.clone(), EvidenceClass::ObjectStatus, root, quote(root))
            .touching(&root.place)
            .title(format!("{object} is expired"))
            .because(format!("{object} says that its time is over: {}", whole(root)))
            .advise("see why it was not renewed: kubectl describe its CertificateRequest and Order")
            .rule_out("object_stuck", "it was there, and its time is over", &[root]);
        Some(events.iter().fold(draft, |draft, event| draft.symptom(event, quote(event))))
    };
    objects.into_iter().filter_map(draft).collect()
}

/// Quotes what an object says, and what was to renew it: why it could not stands in the middle of
/// that, between who asked and what was asked for.
fn whole(event: &Event) -> String {
    let said = event.message().lines().next().unwrap_or_default();
    match said.rsplit_once("; ") {
        Some((made, own)) if said.chars().count() <= REASON_CHARS_MAX => {
            format!("\"{own}\"; it was not renewed: \"{made}\"")
        }
        Some(_) | None => quote(event),
    }
}

fn flaw(event: &Event) -> Option<Flaw> {
    let line = line(event);
    // Go has one sentence for both ends of a certificate's time, and the comparison behind it.
    if bears(&line, EARLY) || (line.contains("is not yet valid") && line.contains(" is before ")) {
        return Some(Flaw::Early);
    }
    if bears(&line, EXPIRED) {
        return Some(Flaw::Expired);
    }
    // Who only warns that he trusts nobody goes on without trust.
    let is_error = event.kind == Kind::Exception || event.severity >= Severity::Error;
    (is_error && bears(&line, UNTRUSTED)).then_some(Flaw::Untrusted)
}

/// Says whether a line complains of a certificate.
pub(super) fn is_complaint(event: &Event) -> bool {
    flaw(event).is_some()
}

/// Returns the edge to who was called, if the line says it, else who complains.
fn subject(event: &Event) -> Option<Entity> {
    match host(event) {
        Some(to) => Some(Entity::Edge { from: caller(&event.place), to }),
        None => Entity::owner(&event.place),
    }
}

/// Returns who was called: by the attributes, else by the first address in the line.
fn host(event: &Event) -> Option<Text> {
    let text = |key| event.attributes.text(key).map(Text::from);
    let in_line = || {
        let rest = event.message().split_once("https://")?.1;
        let is_end = |letter: char| !(letter.is_alphanumeric() || "-._".contains(letter));
        rest.split(is_end).next().filter(|host| !host.is_empty()).map(Text::from)
    };
    text(keys::PEER_SERVICE).or_else(|| text(keys::PEER_ADDRESS)).or_else(in_line)
}

/// Returns the service of a host's name: `pay`, `pay.shop`, `pay.shop.svc.cluster.local`.
fn service(host: &str, place: &Place) -> Option<Entity> {
    let mut labels = host.split('.');
    let (name, namespace, rest) = (labels.next()?, labels.next(), labels.next());
    let is_of_cluster = rest.is_none_or(|rest| rest == "svc");
    let namespace = namespace.map(Text::from).or_else(|| place.namespace.clone());
    let is_address = name.chars().all(|letter| letter.is_ascii_digit());
    (is_of_cluster && !is_address)
        .then(|| Entity::Service { namespace: namespace.unwrap_or_default(), name: name.into() })
}

fn draft(view: &View<'_>, subject: Entity, flaw: Flaw, events: &[&Event]) -> Option<Draft> {
    let first = *events.first()?;
    // A complaint that belongs to a request failed that request.
    let weight = |event: &&Event| count(event) + i64::from(event.trace.span_id.is_some());
    let total: i64 = events.iter().map(weight).sum();
    if total < COMPLAINTS_MIN {
        return None;
    }
    let who = caller(&first.place);
    let host = host(first);
    let whose = host
        .as_ref()
        .map_or_else(|| "a certificate".to_owned(), |host| format!("the certificate of {host}"));
    let (what, cure) = match flaw {
        Flaw::Expired => ("is expired", "renew it, then restart what holds the old one in memory"),
        Flaw::Early => ("is not yet valid", "compare the clocks of both ends: chronyc tracking"),
        Flaw::Untrusted => ("is not trusted", "give the callers the CA that signed it"),
    };
    let change = (flaw == Flaw::Untrusted).then(|| change_before(view, first)).flatten();
    let root = change.unwrap_or(first);
    let text = if change.is_some() { "a certificate or CA changed".into() } else { quote(first) };
    let since = if change.is_some() { "since its Secret or CA changed, " } else { "" };
    let mut draft = Draft::new(subject, EvidenceClass::LogTemplate, root, text)
        .title(format!("{who} does not accept {whose}: it {what}"))
        .because(format!(
            "{since}{whose} {what}{}: {}{}",
            times(total),
            quote(first),
            beside(view, first)
        ))
        .advise(cure)
        .advise("watch the days that are left: cert-manager, or an alert on notAfter")
        .rule_out(
            "stale_credentials",
            "the handshake failed, no credential was asked for",
            &[first],
        )
        .rule_out("connection_failed", "the peer answered with its certificate", &[first]);
    for event in events {
        draft = draft.symptom(event, quote(event)).touching(&event.place);
        draft = match event.trace.span_id.and_then(|id| view.span(id)) {
            Some(span) => draft.symptom(span, "the request that it happened in"),
            None => draft,
        };
        draft = node_of_unit(&event.place).into_iter().fold(draft, Draft::touch);
    }
    if let Some(service) = host.as_deref().and_then(|host| service(host, &first.place)) {
        draft = draft.touch(service);
    }
    let nodes: BTreeSet<_> = events.iter().filter_map(|event| event.place.node.clone()).collect();
    Some(match (flaw, nodes.first()) {
        (Flaw::Early, Some(node)) if nodes.len() == 1 => {
            draft.missing(format!("what other nodes than {node} say of it: its clock may be slow"))
        }
        _ => draft,
    })
}

/// Returns the node of a host's own service: without its certificate the kubelet is lost.
fn node_of_unit(place: &Place) -> Option<Entity> {
    let owner = place.workload.as_ref()?;
    (&*owner.kind == "Unit").then(|| Entity::node(place)).flatten()
}

/// Finds the last change of something that holds certificates before the event.
fn change_before<'a>(view: &View<'a>, event: &Event) -> Option<&'a Event> {
    view.of(Kind::ConfigChanged).rfind(|change| {
        let text = |key| change.attributes.text(key).unwrap_or_default().to_ascii_lowercase();
        let (changed, name) = (text(keys::CHANGED), text(keys::OBJECT_NAME));
        change.order() < event.order()
            && KEPT_IN.iter().any(|part| changed.contains(part) || name.contains(part))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(message: &str) -> String {
        format!("5s shop/cart-1/cart@n1%cart Log sev=error count=3 msg=\"{message}\"")
    }

    #[test]
    fn each_flaw_is_told_in_its_words() {
        let go = "https://pay.shop.svc:8443: x509: certificate has expired or is not yet valid: \
                  current time 2026-01-02T00:00:00Z is";
        let cases = [
            (format!("{go} after 2026-01-01T00:00:00Z"), "pay.shop.svc: it is expired"),
            (format!("{go} before 2026-01-03T00:00:00Z"), "pay.shop.svc: it is not yet valid"),
            ("Error: CERT_HAS_EXPIRED".into(), "a certificate: it is expired"),
            ("SSL: CERTIFICATE_VERIFY_FAILED".into(), ""),
            ("x509: certificate signed by unknown authority".into(), "it is not trusted"),
        ];
        for (message, want) in cases {
            let draft = one!(Detector, &line(&message));
            let title = draft.as_ref().map(Draft::headline).unwrap_or_default();
            assert!(title.ends_with(want) && draft.is_some() != want.is_empty(), "{title}");
        }
    }

    #[test]
    fn why_a_certificate_was_not_renewed_is_quoted_whole() {
        let why = format!("Challenge tls-1: pending: {} denied: AccessDenied", "a".repeat(300));
        let story = |said: &str| {
            format!(
                "0s shop/x ObjectEvent reason=CertificateNotReady okind=Certificate oname=tls \
                 msg=\"{said}\""
            )
        };
        let draft = one!(Detector, &story(&format!("{why}; Expired: it expired"))).unwrap();
        let want = format!("over: \"Expired: it expired\"; it was not renewed: \"{why}\"");
        assert!(draft.root_cause().ends_with(&want), "{}", draft.root_cause());
        let draft = one!(Detector, &story("Expired: it expired")).unwrap();
        assert!(draft.root_cause().ends_with("over: \"Expired: it expired\""));
    }

    #[test]
    fn the_host_gives_the_edge_and_the_service() {
        let draft =
            one!(Detector, &line("https://pay.shop.svc:8443: certificate has expired")).unwrap();
        assert_eq!(draft.subject().to_string(), "cart -> pay.shop.svc");
        let service = Entity::Service { namespace: "shop".into(), name: "pay".into() };
        assert!(draft.touches().contains(&service));
        let foreign =
            one!(Detector, &line("https://api.pay.io/x: certificate has expired")).unwrap();
        assert_eq!(foreign.subject().to_string(), "cart -> api.pay.io");
        assert!(!foreign.touches().iter().any(|it| it.to_string().starts_with("service")));
    }

    #[test]
    fn a_changed_authority_is_the_root_of_lost_trust_only() {
        let change =
            "0s shop/x%cart ConfigChanged okind=ConfigMap oname=ca-bundle change=modified\n";
        let draft = |said: &str| one!(Detector, &[change, &line(said)].concat()).unwrap();
        let untrusted = draft("x509: certificate signed by unknown authority");
        assert_eq!(untrusted.evidence()[0].kind, Kind::ConfigChanged);
        assert_eq!(draft("certificate has expired").evidence()[0].kind, Kind::Log);
    }

    #[test]
    fn a_slow_clock_is_named_where_one_node_alone_complains() {
        let draft = one!(Detector, &line("certificate is not yet valid")).unwrap();
        assert!(draft.gaps()[0].contains("n1"), "{:?}", draft.gaps());
        let kubelet = "0s unit:kubelet.service@n1 Log sev=error count=2 msg=\"x509: certificate has \
                       expired or is not yet valid\"";
        let node = Entity::Node { name: "n1".into() };
        assert!(one!(Detector, kubelet).unwrap().touches().contains(&node));
    }

    #[test]
    fn look_alikes_and_health_are_not_it() {
        let calm = line("certificate has expired").replace("sev=error", "sev=info");
        let once = line("certificate has expired").replace("count=3", "");
        let warned = line("self-signed certificate").replace("sev=error", "sev=warn");
        for story in [calm, once, warned, line("card expired"), line("connection refused")] {
            assert_eq!(one!(Detector, &story), None, "{story}");
        }
    }
}
