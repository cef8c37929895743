//! One thing cannot connect to another: refused, unanswered, or its name does not resolve.
//!
//! Evidence: refused attempts (an RST came back); attempts without an answer and SYNs sent again
//! without an RST; failed questions for a name. Each kind of failure is told apart.
//! Root: the first failure.
//! Not this: `selector_mismatch` and the peer's own crash lie behind a refusal, `network_policy`
//! and `conntrack_full` behind silence; one SYN sent again and then answered is nothing;
//! `cascading_dependency` (the connection stands, and the peer answers with errors or too late);
//! `dns_failure` (the name service itself is down, for everybody).
//! First look: `kubectl get endpointslices -l kubernetes.io/service-name=PEER`, then from the
//! caller's pod `nc -vz PEER PORT` and `nslookup PEER`.

mod fatal;
mod names;
mod scenes;
mod search;

use std::{collections::BTreeMap, time::Duration};

use tapio_engine::{Draft, Pattern, Spec, View};
use tapio_model::{Entity, Event, EvidenceClass, Kind, Place, Source, Text, keys};

pub(super) use self::names::{peer, peer_service, subject};
pub(crate) use self::scenes::SCENES;
use self::{
    fatal::{Restarted, is_all_it_says, is_fatal},
    names::Names,
    search::is_search_guess,
};
use super::{conntrack_full::is_full, dns_failure};
use crate::witness::{count, may_share_node, quoted, times};

const SPEC: Spec = Spec {
    slug: "connection_failed",
    title: "Connection refused, dropped or not resolved",
    wakes_on: &[Kind::ConnectRefused, Kind::ConnectTimeout, Kind::SynRetransmit, Kind::DnsFailure],
    leads_to: &[
        "cascading_dependency",
        "readiness_lost",
        "admission_webhook",
        "job_failed",
        "application_errors",
    ],
};

/// SYNs go again after 1, 3 and 7 s: three without an answer are seven seconds of silence, and no
/// single loss.
const SYN_RETRANSMITS_MIN: i64 = 3;

/// A caller that is refused so soon after it began was never answered.
const FIRST_MOMENT: Duration = Duration::from_secs(5);

/// Why silence is nothing that a process brings about which does not listen.
const NOBODY_REFUSES: &str = "no RST came back: where nobody listens, callers are refused";

/// What an attempt came to; a question for a name says it itself.
const WORDS: &[(Kind, &str)] = &[
    (Kind::ConnectRefused, "refused"),
    (Kind::ConnectTimeout, "no answer"),
    (Kind::SynRetransmit, "SYN sent again"),
    (Kind::TcpReset, "connection reset"),
];

/// Finds pairs that cannot connect.
#[derive(Debug)]
pub(crate) struct Detector;

impl Pattern for Detector {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn detect(&self, view: &View<'_>) -> Vec<Draft> {
        let mut edges: BTreeMap<Entity, Vec<&Event>> = BTreeMap::new();
        let woken = |event: &&Event| SPEC.wakes_on.contains(&event.kind);
        let names = Names::of(view, SPEC.wakes_on);
        // The name service's own failure is one story, however many ask it.
        let no_names = dns_failure::holds(view);
        for event in view.events().filter(|event| woken(event) || event.kind == Kind::TcpReset) {
            let is_others =
                is_search_guess(view, event) || (no_names && dns_failure::is_asked(event));
            if let Some(subject) = names.subject(event).filter(|_| !is_others) {
                edges.entry(subject).or_default().push(event);
            }
        }
        let edges = edges.into_iter();
        edges.filter_map(|(subject, events)| draft((view, &names), subject, &events)).collect()
    }
}

fn draft<'a>(
    (view, names): (&View<'a>, &Names<'a>),
    subject: Entity,
    events: &[&'a Event],
) -> Option<Draft> {
    let of = |kind| events.iter().copied().filter(move |event| event.kind == kind);
    let shown = |kind| {
        let events: Vec<_> = of(kind).collect();
        if is_shown(view, &events) { events } else { Vec::new() }
    };
    let refused = shown(Kind::ConnectRefused);
    let is_silent =
        |event: &&Event| matches!(event.kind, Kind::ConnectTimeout | Kind::SynRetransmit);
    let silent: Vec<_> = events.iter().copied().filter(is_silent).collect();
    let mut unnamed = shown(Kind::DnsFailure);
    // That a name does not exist is an answer; that nobody answered once is a packet lost.
    let is_answer = |event: &&Event| event.attributes.text(keys::DNS_RCODE) == Some("nxdomain");
    if unnamed.iter().map(|event| count(event)).sum::<i64>() < 2 {
        unnamed.retain(is_answer);
    }
    let again: i64 = of(Kind::SynRetransmit).map(count).sum();
    // An RST proves that packets pass, whatever else timed out.
    if let Some(first) = refused.first() {
        let draft = begin(names, subject, &refused, "was refused")?;
        return Some(told_refused((view, names), draft, first, &silent));
    }
    if let Some(first) = unnamed.first() {
        return Some(told_unnamed(begin(names, subject, &unnamed, "did not resolve")?, first));
    }
    let gave_up = silent.iter().any(|event| event.kind == Kind::ConnectTimeout);
    if !(gave_up || again >= SYN_RETRANSMITS_MIN) || !is_shown(view, &silent) {
        return None;
    }
    let reset = of(Kind::TcpReset).next();
    told_silent((view, names), subject, &silent, reset)
}

/// Says whether there is more than one line of an application: one may quote somebody else, or be
/// of an attempt that the next one made good. Who dies of it again and again quotes nobody.
fn is_shown(view: &View<'_>, events: &[&Event]) -> bool {
    let lines: i64 = events.iter().map(|event| count(event)).sum();
    let is_seen = |event: &&Event| event.source != Source::App;
    lines > 1
        || events.iter().any(is_seen)
        || events.iter().any(|event| is_fatal(view, event, Restarted::Again))
}

/// Begins a draft in the words all its kinds share.
fn begin<'a>(names: &Names<'a>, subject: Entity, events: &[&'a Event], how: &str) -> Option<Draft> {
    let root = *events.first()?;
    let class = match root.source {
        Source::Kernel | Source::Network => EvidenceClass::KernelProof,
        Source::Kubernetes | Source::Journal | Source::Cgroup => EvidenceClass::EventText,
        Source::Otlp | Source::Metrics => EvidenceClass::ObjectStatus,
        Source::App => EvidenceClass::LogTemplate,
    };
    let total: i64 = events.iter().map(|event| count(event)).sum();
    let peer = names.peer(root);
    let caller = caller(&root.place);
    let mut draft = Draft::new(subject, class, root, attempt_at(root, &peer))
        .touching(&root.place)
        .because(format!("{caller} to {peer} {how}{}{}", times(total), quoted(root)));
    // What was told of the address before its name was known is told anew by name.
    let known = names.entity(root).into_iter().chain(self::subject(root));
    draft = known.fold(draft, Draft::touch);
    for event in events {
        let told = attempt_at(event, &names.peer(event));
        draft = draft.symptom(event, told).touching(&event.place);
    }
    Some(draft)
}

fn told_refused<'a>(
    (view, names): (&View<'a>, &Names<'a>),
    draft: Draft,
    root: &'a Event,
    silent: &[&Event],
) -> Draft {
    let (caller, peer) = (caller(&root.place), names.peer(root));
    let mut draft = draft
        .title(format!("{caller} is refused by {peer}: nobody listens there"))
        .advise(format!(
            "check that {peer} runs and listens on that port: kubectl get endpointslices"
        ))
        .advise("compare targetPort and selector of the service with the pods")
        .rule_out("network_policy", "an answer came back; a policy drops in silence", &[root]);
    for event in silent {
        draft = draft.symptom(event, attempt(event));
    }
    let empty = view.find(Kind::EndpointsChanged, |change| {
        change.attributes.int(keys::ENDPOINTS_READY) == Some(0)
            && change.place.service.as_deref() == names.service(root)
    });
    if let Some(own) = view.events().rfind(|event| is_beginning(event, root)) {
        // Whoever never reached a peer does not know that others did.
        let because = "the caller was refused from its first moment on";
        draft = draft.rule_out("bad_rollout", because, &[own]);
        draft = draft.rule_out("bad_config", because, &[own]);
    }
    match empty {
        Some(change) => draft.step(change, format!("{peer} has no ready endpoint")),
        None => draft,
    }
}

/// Says whether the caller began, as a new version or for the first time, just before it was refused.
fn is_beginning(event: &Event, refused: &Event) -> bool {
    let is_start = event.kind == Kind::RolloutStarted
        || (event.kind == Kind::ContainerStarted
            && event.attributes.int(keys::RESTART_COUNT).unwrap_or_default() == 0);
    let is_its_own =
        event.place.is_same_workload(&refused.place) || event.place.is_same_pod(&refused.place);
    is_start
        && is_its_own
        && event.order() < refused.order()
        && refused.time.since(event.time) <= FIRST_MOMENT
}

fn told_unnamed(draft: Draft, root: &Event) -> Draft {
    let (caller, name) = (caller(&root.place), peer(root));
    let (what, cure) = match root.attributes.text(keys::DNS_RCODE) {
        Some("nxdomain") => (
            "the name does not exist",
            "check the name, its namespace and the pod's search list (ndots, dnsPolicy)",
        ),
        Some("servfail") => {
            ("the name server fails", "check the upstream servers in CoreDNS' Corefile and its log")
        }
        Some("timeout") => (
            "the name server does not answer",
            "check that CoreDNS runs and that egress to port 53 is allowed",
        ),
        Some(_) | None => ("its name does not resolve", "ask from the pod: nslookup NAME"),
    };
    let draft = draft.title(format!("{caller} cannot resolve {name}: {what}")).advise(cure);
    if what == "the name does not exist" {
        let named = root.attributes.text(keys::DNS_NAME).map(|name| names::service(name, root));
        let draft = named.into_iter().fold(draft, Draft::touch);
        return draft.rule_out("dns_failure", "the name server answered", &[root]);
    }
    // A node that drops packets loses its questions first: its story tells why.
    let is_silent = root.attributes.text(keys::DNS_RCODE) == Some("timeout");
    let node = Entity::node(&root.place).filter(|_| is_silent);
    let draft = node.into_iter().fold(draft, Draft::touch);
    // Everybody who asks that server belongs to one incident.
    draft.touch(Entity::Service { namespace: "kube-system".into(), name: "kube-dns".into() })
}

fn told_silent<'a>(
    (view, names): (&View<'a>, &Names<'a>),
    subject: Entity,
    silent: &[&'a Event],
    reset: Option<&Event>,
) -> Option<Draft> {
    let (first, last) = (silent.first()?, silent.last()?);
    // The node drops them all: that is a story of its own.
    let is_cause = |full: &&Event| is_full(full) && full.order() < last.order();
    if view.events().any(|full| is_cause(&full) && may_share_node(full, first)) {
        return None;
    }
    let (caller, peer) = (caller(&first.place), names.peer(first));
    let draft = begin(names, subject, silent, "got no answer")?
        .rule_out("bad_rollout", NOBODY_REFUSES, &[])
        .rule_out("bad_config", NOBODY_REFUSES, &[]);
    // If the node drops packets, or the network does around it, its story tells why.
    let draft = Entity::node(&first.place).into_iter().fold(draft, Draft::touch);
    if let Some(reset) = reset {
        let draft = draft
            .step(reset, attempt(reset))
            .title(format!("{caller} is cut off from {peer}: resets beside silence"))
            .advise(format!("check whether {peer} restarts, and proxies and balancers before it"));
        return Some(draft.or(
            "network_loss",
            "some packets pass and others are lost",
            "nstat -az TcpRetransSegs on both nodes: losses to other peers as well mean the network",
        ));
    }
    let draft = draft
        .title(format!("{caller} gets no answer from {peer}: packets are dropped"))
        .advise("check NetworkPolicies of both sides: hubble observe --verdict DROPPED")
        .advise(format!("check the route, and that the node of {peer} is up"));
    let is_seen = |event: &&Event| {
        event.kind == Kind::SynRetransmit
            || matches!(event.source, Source::Kernel | Source::Network)
    };
    if !silent.iter().any(is_seen) {
        let decides = |line: &&Event| is_all_it_says(line) || is_fatal(view, line, Restarted::Any);
        if silent.iter().any(decides) {
            return Some(
                draft
                    .title(format!("{caller} cannot reach {peer}: no attempt gets an answer"))
                    .missing("what the kernel saw of the connection")
                    .rule_out(
                        "cascading_dependency",
                        "whoever is only slow is reached now and then",
                        &[first],
                    ),
            );
        }
        return Some(draft.missing("what the kernel saw of the connection").or(
            "cascading_dependency",
            format!("{peer} is reached and answers too slowly"),
            "ss -tn state syn-sent in the caller's pod: empty means that the peer is slow",
        ));
    }
    Some(draft.rule_out("selector_mismatch", "no RST came back: nobody refuses", &[]))
}

/// Returns the name of the workload at a place, or what else there is.
pub(super) fn workload_name(place: &Place) -> Text {
    place.workload.as_ref().map_or_else(|| caller(place), |workload| workload.name.clone())
}

pub(super) fn caller(place: &Place) -> Text {
    place.service_name().cloned().unwrap_or_else(|| place.label().into())
}

pub(super) fn attempt(event: &Event) -> String {
    attempt_at(event, &peer(event))
}

/// Says what became of an attempt to reach `peer`.
fn attempt_at(event: &Event, peer: &str) -> String {
    let again = times(count(event));
    let what = WORDS.iter().find_map(|(kind, what)| (*kind == event.kind).then_some(*what));
    let what = what.or_else(|| event.attributes.text(keys::DNS_RCODE)).unwrap_or("not resolved");
    format!("{what}{again}: {peer}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::events;

    const REFUSED: &str = "1s shop/cart-1/cart%cart ConnectRefused peer=db addr=10.0.0.7 port=5432";
    const SILENT: &str = "0s shop/cart-1/cart@n1%cart SynRetransmit peer=db addr=10.0.0.7 port=5432
        4s shop/cart-1/cart@n1%cart ConnectTimeout peer=db addr=10.0.0.7 port=5432";

    #[test]
    fn a_refusal_means_that_nobody_listens() {
        let draft = one!(Detector, &format!("{REFUSED} count=3")).unwrap();
        let title = "cart is refused by db (10.0.0.7:5432): nobody listens there";
        assert_eq!(draft.headline(), title);
        assert_eq!(draft.subject().to_string(), "cart -> db");
        assert_eq!(draft.class(), EvidenceClass::KernelProof);
        assert!(draft.root_cause().contains("3 times"), "{}", draft.root_cause());
        let db = Entity::Service { namespace: "shop".into(), name: "db".into() };
        assert!(draft.touches().contains(&db), "the peer's own incident joins");
    }

    #[test]
    fn a_peer_that_is_called_by_name_is_its_service() {
        let cases = [
            ("peer=db addr=10.0.0.7", Some(("shop", "db"))),
            ("addr=db port=5432", Some(("shop", "db"))),
            ("addr=db.data port=5432", Some(("data", "db"))),
            ("addr=db.data.svc.cluster.local", Some(("data", "db"))),
            ("addr=10.0.0.7", None),
            ("addr=fd00::1", None),
            ("addr=localhost", None),
        ];
        for (words, want) in cases {
            let told = events(&format!("0s shop/cart-1/cart ConnectRefused {words}")).unwrap();
            let service = |(namespace, name): (&str, &str)| Entity::Service {
                namespace: namespace.into(),
                name: name.into(),
            };
            assert_eq!(peer_service(&told[0]), want.map(service), "{words}");
        }
    }

    #[test]
    fn a_refusal_outweighs_silence_on_the_same_edge() {
        let draft = one!(Detector, &format!("{SILENT}\n{REFUSED}")).unwrap();
        assert!(draft.headline().contains("refused"));
        assert_eq!(draft.evidence().len(), 3);
        let empty = "0s svc:shop/db EndpointsChanged ready=0";
        assert_eq!(one!(Detector, &format!("{empty}\n{REFUSED}")).unwrap().evidence().len(), 2);
    }

    #[test]
    fn silence_means_that_packets_are_dropped() {
        let draft = one!(Detector, SILENT).unwrap();
        assert!(draft.headline().ends_with("packets are dropped"), "{}", draft.headline());
        let ruled_out = draft.ruled_out().iter().map(|it| it.pattern.as_str());
        assert_eq!(
            ruled_out.collect::<Vec<_>>(),
            ["bad_rollout", "bad_config", "selector_mismatch"]
        );
        assert!(draft.touches().contains(&Entity::Node { name: "n1".into() }));
        let reset = "5s shop/cart-1/cart@n1%cart TcpReset peer=db addr=10.0.0.7 port=5432";
        let draft = one!(Detector, &format!("{SILENT}\n{reset}")).unwrap();
        assert_eq!(draft.doubt().unwrap().alternative, "network_loss");
    }

    #[test]
    fn a_full_table_of_the_same_node_tells_it_itself() {
        let full = |node| format!("0s node:{node} ConntrackFull\n{SILENT}");
        assert_eq!(one!(Detector, &full("n1")), None);
        let draft = one!(Detector, &full("n2")).unwrap();
        assert!(draft.touches().contains(&Entity::Node { name: "n1".into() }));
    }

    #[test]
    fn without_the_kernels_word_silence_may_be_slowness() {
        let story = "0s svc:cart ConnectTimeout src=app peer=db count=2 msg=timeout";
        let draft = one!(Detector, story).unwrap();
        assert_eq!(draft.doubt().unwrap().alternative, "cascading_dependency");
        assert_eq!(draft.class(), EvidenceClass::LogTemplate);
    }

    #[test]
    fn names_fail_in_three_ways() {
        let cases = [
            ("nxdomain", "does not exist", false),
            ("servfail", "server fails", true),
            ("timeout", "does not answer", true),
            ("refused", "does not resolve", true),
        ];
        for (rcode, what, shared) in cases {
            let story = format!("0s svc:cart DnsFailure dns=api.pay.io rcode={rcode} count=2");
            let draft = one!(Detector, &story).unwrap();
            assert!(draft.headline().contains(what), "{}", draft.headline());
            let dns = |entity: &Entity| entity.to_string() == "service kube-dns";
            assert_eq!(draft.touches().iter().any(dns), shared, "{rcode}");
        }
    }

    #[test]
    fn what_the_name_service_fails_is_its_own_story() {
        let story = "0s svc:cart DnsFailure dns=db.shop.svc.cluster.local rcode=servfail; \
                     1s svc:cart ConnectTimeout addr=10.96.0.10 port=53 count=3";
        assert_eq!(one!(Detector, story), None);
    }

    #[test]
    fn each_peer_is_a_subject_of_its_own() {
        let story = format!("{REFUSED}\n2s shop/cart-1/cart%cart ConnectRefused addr=10.0.0.8");
        assert_eq!(told!(Detector, &story).len(), 2);
        let unknown = one!(Detector, "0s shop/cart-1/cart%cart ConnectRefused").unwrap();
        assert_eq!(unknown.subject().kind(), "container");
    }

    #[test]
    fn everyday_traffic_is_nothing() {
        for story in [
            "0s shop/cart-1/cart SynRetransmit peer=db",
            "0s shop/cart-1/cart SynRetransmit peer=db; 1s shop/cart-1/cart TcpReset peer=db",
            "0s shop/cart-1/cart TcpReset peer=db",
            "0s svc:cart DnsFailure dns=api.io.shop.svc.cluster.local rcode=nxdomain",
            "0s svc:cart DnsFailure dns=api.io.cluster.local. rcode=nxdomain",
            "0s node:n1 ConntrackFull",
            "0s svc:cart DnsFailure dns=api.pay.io rcode=timeout",
            "0s shop/cart-1/cart Log msg=\"connection refused\"",
        ] {
            assert!(one!(Detector, story).is_none(), "{story}");
        }
    }

    #[test]
    fn one_line_of_an_application_is_no_failure() {
        for failure in
            ["ConnectRefused peer=db", "ConnectTimeout peer=db", "DnsFailure dns=db rcode=nxdomain"]
        {
            let story = format!("0s a/b/c {failure} src=app");
            assert_eq!(one!(Detector, &story), None, "{story}");
            assert!(
                one!(Detector, &format!("{story}; 9s a/b/c {failure} src=app")).is_some(),
                "{story}"
            );
        }
    }

    #[test]
    fn a_walk_through_the_search_list_is_no_failure() {
        let asked = |names: &[&str]| {
            let ask = |name| format!("0s a/b/c DnsFailure dns={name} rcode=nxdomain;");
            told!(Detector, &names.iter().map(ask).collect::<String>()).len()
        };
        let own = "db.a.svc.cluster.local";
        let github = ["github.com.a.svc.cluster.local", "github.com.svc.cluster.local"];
        let single = ["db.a.svc.cluster.local", "db.svc.cluster.local."];
        let whole = "db.a.svc.cluster.local.a.svc.cluster.local";
        let (scoped, twice) = ("db.a.svc.a.svc.cluster.local", "db.a.svc.svc.cluster.local");
        let cases: &[(&[&str], usize)] = &[
            (&github, 0),
            (&single, 0),
            (&[whole], 0),
            (&[scoped, twice], 0),
            (&[own], 1),
            (&[whole, own], 1),
            (&[scoped, own], 1),
            (&["github.com.a.svc.cluster.local", "github.com"], 1),
        ];
        for (names, failures) in cases {
            assert_eq!(asked(names), *failures, "{names:?}");
        }
    }
}
