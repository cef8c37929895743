//! The name service itself fails, and with it everybody who asks it.
//!
//! Evidence: questions that a resolver refuses, fails or leaves without an answer (SERVFAIL,
//! REFUSED, timeout): for a name of the cluster or for several names; the resolver's own questions
//! to the servers above it that nobody answers; a node that reports `DNSUnreachable`.
//! Root: the first such question; in the resolver's own trace its first question in vain.
//! Not this: `connection_failed` (NXDOMAIN: the service answered, and the name is wrong; or one
//! foreign name fails alone: its own servers are to blame); `network_policy` (no answer since a
//! policy changed, for the selected pods only); `conntrack_full` (other new connections of the node
//! fail as well); what killed the resolver has its own story and leads here.
//! First look: `kubectl -n kube-system get pods -l k8s-app=kube-dns`, their log, and the Corefile:
//! `kubectl -n kube-system get configmap coredns -o yaml`.

mod scenes;

use std::collections::BTreeSet;

use tapio_engine::{Draft, Pattern, Spec, View};
use tapio_model::{Entity, Event, EvidenceClass, Kind, Source, keys};

pub(crate) use self::scenes::SCENES;
use crate::{
    last_words::quote,
    witness::{count, spot, times},
};

const SPEC: Spec = Spec {
    slug: "dns_failure",
    title: "Name service fails",
    wakes_on: &[
        Kind::DnsFailure,
        Kind::ConnectTimeout,
        Kind::ConnectRefused,
        Kind::SynRetransmit,
        Kind::ObjectEvent,
    ],
    leads_to: &[
        "connection_failed",
        "cascading_dependency",
        "readiness_lost",
        "liveness_kill",
        "cannot_start",
        "image_pull",
        "service_abnormal",
        "job_failed",
    ],
};

/// Where names are asked for.
const PORT: i64 = 53;

/// One question in vain may be made good by the next attempt.
const QUESTIONS_MIN: i64 = 2;

/// The word of node-problem-detector, whose check asks for `kubernetes.default`.
const UNREACHABLE: &str = "DNSUnreachable";

/// Finds name services that fail.
#[derive(Debug)]
pub(crate) struct Detector;

/// What was asked in vain.
#[derive(Debug)]
struct Asked<'a> {
    /// Questions that were failed or never answered.
    questions: Vec<&'a Event>,
    /// Connections to a name server that failed: a resolver asks the one above it.
    upstream: Vec<&'a Event>,
    /// Nodes that report it.
    reports: Vec<&'a Event>,
}

impl Pattern for Detector {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn detect(&self, view: &View<'_>) -> Vec<Draft> {
        let asked = Asked::of(view);
        let Some(is_decided) = asked.is_decided(view) else { return Vec::new() };
        draft(&asked, is_decided).into_iter().collect()
    }
}

/// Says whether the name service, rather than one name, is to blame.
pub(super) fn holds(view: &View<'_>) -> bool {
    Asked::of(view).is_decided(view).is_some()
}

/// Says whether the event is a question that the name service failed.
pub(super) fn is_asked(event: &Event) -> bool {
    is_question(event) || is_upstream(event)
}

impl<'a> Asked<'a> {
    fn of(view: &View<'a>) -> Self {
        let (mut questions, mut upstream, mut reports) = (Vec::new(), Vec::new(), Vec::new());
        for event in view.events() {
            if is_question(event) {
                questions.push(event);
            } else if is_upstream(event) {
                upstream.push(event);
            } else if is_report(event) {
                reports.push(event);
            }
        }
        Self { questions, upstream, reports }
    }

    fn events(&self) -> impl Iterator<Item = &'a Event> {
        self.reports.iter().chain(&self.upstream).chain(&self.questions).copied()
    }

    /// Says whether the evidence decides; `None` if this is no failure of the name service.
    fn is_decided(&self, view: &View<'_>) -> Option<bool> {
        if !self.reports.is_empty() {
            return Some(true);
        }
        let total: i64 = self.events().map(count).sum();
        let is_seen = self.events().any(|event| event.source != Source::App);
        // A packet is lost every day, and one line of an application may quote somebody.
        if total < QUESTIONS_MIN || self.is_cut_off(view) {
            return None;
        }
        let names: BTreeSet<_> = self.questions.iter().map(|event| name(event)).collect();
        let is_general = names.len() > 1 || names.iter().any(|name| is_of_cluster(name));
        match (is_general || !self.upstream.is_empty(), is_seen) {
            (true, _) => Some(true),
            // Somebody's own servers fail his name: the resolver only passes it on.
            (false, true) => None,
            (false, false) => Some(false),
        }
    }

    /// Says whether a policy explains that there was no answer at all.
    fn is_cut_off(&self, view: &View<'_>) -> bool {
        let first = self.events().map(Event::order).min();
        self.events().all(is_silent)
            && first
                .is_some_and(|first| super::network_policy::change_before(view, first).is_some())
    }
}

/// Says whether nothing at all came back.
fn is_silent(event: &Event) -> bool {
    matches!(event.kind, Kind::ConnectTimeout | Kind::SynRetransmit)
        || event.attributes.text(keys::DNS_RCODE) == Some("timeout")
}

/// Says whether a question failed for the resolver's sake. That a name does not exist is an answer.
fn is_question(event: &Event) -> bool {
    event.kind == Kind::DnsFailure && event.attributes.text(keys::DNS_RCODE) != Some("nxdomain")
}

fn is_upstream(event: &Event) -> bool {
    matches!(event.kind, Kind::ConnectTimeout | Kind::ConnectRefused | Kind::SynRetransmit)
        && event.attributes.int(keys::PEER_PORT) == Some(PORT)
}

fn is_report(event: &Event) -> bool {
    event.kind == Kind::ObjectEvent && event.attributes.text(keys::REASON) == Some(UNREACHABLE)
}

fn name(event: &Event) -> &str {
    event.attributes.text(keys::DNS_NAME).unwrap_or("a name").trim_end_matches('.')
}

/// Says whether the cluster's own resolver answers for the name: no server outside has a part in it.
fn is_of_cluster(name: &str) -> bool {
    name.ends_with(".cluster.local") || name.ends_with(".svc") || !name.contains('.')
}

/// Returns the cluster's name service, and the workload that is it nearly everywhere.
fn service_of_cluster() -> [Entity; 2] {
    let scope = "kube-system";
    let service = Entity::Service { namespace: scope.into(), name: "kube-dns".into() };
    let (kind, name) = ("Deployment".into(), "coredns".into());
    [service, Entity::Workload { scope: scope.into(), kind, name }]
}

fn draft(asked: &Asked<'_>, is_decided: bool) -> Option<Draft> {
    let root = asked.events().min_by_key(|event| event.order())?;
    let [service, workload] = service_of_cluster();
    let is_host = asked.events().all(|event| {
        let server = event.attributes.text(keys::DNS_SERVER).unwrap_or_default();
        let place = &event.place;
        let is_inside = place.namespace.is_some() || place.service.is_some() || is_report(event);
        server.starts_with("127.") || !is_inside
    });
    // A host's own resolver is nobody else's.
    let subject = if is_host { Entity::narrowest(&root.place)? } else { service };
    let class = match root.source {
        Source::Kernel | Source::Network => EvidenceClass::KernelProof,
        Source::Kubernetes | Source::Journal | Source::Cgroup => EvidenceClass::EventText,
        Source::Otlp | Source::Metrics | Source::App => EvidenceClass::LogTemplate,
    };
    let (title, why, cure) = words(asked, root);
    let mut draft = Draft::new(subject, class, root, describe(root)).title(title).because(why);
    if !is_host {
        draft = draft.touch(workload);
    }
    for event in asked.events() {
        draft = draft.symptom(event, describe(event)).touching(&event.place);
    }
    // A node that drops packets loses its questions first: its story tells why.
    let silent = asked.events().filter(|event| is_report(event) || is_silent(event));
    draft = silent.filter_map(|it| Entity::node(&it.place)).fold(draft, Draft::touch);
    draft = draft
        .advise(cure)
        .advise("read what the resolver says: kubectl -n kube-system logs -l k8s-app=kube-dns");
    if !is_decided {
        return Some(draft.missing("what the wire saw of the questions").or(
            "connection_failed",
            "only this name fails: its own servers are to blame",
            "nslookup kubernetes.default from the same pod: an answer means that the name's own \
             servers fail",
        ));
    }
    Some(rule_out(draft, asked))
}

/// Says what fails, why, and what to do.
fn words(asked: &Asked<'_>, root: &Event) -> (String, String, &'static str) {
    let names: BTreeSet<_> = asked.questions.iter().map(|event| name(event)).collect();
    let total: i64 = asked.questions.iter().map(|event| count(event)).sum();
    let who = spot(&root.place);
    if let Some(report) = asked.reports.first() {
        let title = format!("{} cannot reach the name service", spot(&report.place));
        let why = format!("the node reports {UNREACHABLE}: {}", quote(report));
        return (title, why, "check the node's way to CoreDNS: its network, policies, conntrack");
    }
    if let Some(upstream) = asked.upstream.first() {
        let peer = upstream.attributes.text(keys::PEER_ADDRESS).unwrap_or("the server above");
        let how = answer(upstream);
        let title = format!("{who} gets {how} from the name server {peer}");
        let why = format!("whoever asks for foreign names depends on {peer}: {}", quote(upstream));
        return (title, why, "check the servers that the Corefile forwards to, and the way there");
    }
    let rcode = root.attributes.text(keys::DNS_RCODE).unwrap_or("no answer");
    let example = names.first().copied().unwrap_or("a name");
    let others = names.len().saturating_sub(1);
    let more = if others > 0 { format!(" and {others} more") } else { String::new() };
    let title = format!("the name service fails {who}: {rcode} for {example}{more}");
    let why = format!("{who} asked{} in vain for {example}{more}: {rcode}", times(total));
    let cure = if rcode == "timeout" {
        "check that CoreDNS runs, and that egress to port 53 is allowed"
    } else {
        "check the Corefile, what CoreDNS forwards to, and its way to the API server"
    };
    (title, why, cure)
}

fn rule_out(draft: Draft, asked: &Asked<'_>) -> Draft {
    let answered = |event: &&&Event| event.attributes.text(keys::DNS_RCODE) != Some("timeout");
    let answers: Vec<_> = asked.questions.iter().filter(answered).copied().collect();
    let draft = match answers.first() {
        Some(answer) => draft.rule_out("network_policy", "an answer came back", &[answer]),
        None if asked.reports.is_empty() => {
            draft.rule_out("network_policy", "no policy was seen to change", &[])
        }
        None => draft,
    };
    let first: Vec<_> = asked.questions.iter().take(2).copied().collect();
    draft.rule_out("connection_failed", "nobody answered that the name does not exist", &first)
}

fn describe(event: &Event) -> String {
    let again = times(count(event));
    if event.kind == Kind::DnsFailure {
        let rcode = event.attributes.text(keys::DNS_RCODE).unwrap_or("no answer");
        return format!("{rcode}{again} for {}", name(event));
    }
    let server = event.attributes.text(keys::PEER_ADDRESS).unwrap_or("a name server");
    match event.kind == Kind::ObjectEvent {
        true => format!("the node reports {UNREACHABLE}"),
        false => format!("{}{again} from the name server {server}", answer(event)),
    }
}

fn answer(event: &Event) -> &'static str {
    if event.kind == Kind::ConnectRefused { "a refusal" } else { "no answer" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_of_the_cluster_is_the_name_services_own() {
        let story = "0s a/b-1/b%b DnsFailure dns=db.a.svc.cluster.local rcode=servfail count=3";
        let draft = one!(Detector, story).unwrap();
        assert_eq!(draft.subject().to_string(), "service kube-dns");
        assert_eq!(
            draft.headline(),
            "the name service fails container a/b-1/b: servfail for db.a.svc.cluster.local"
        );
        assert!(draft.root_cause().contains("3 times"), "{}", draft.root_cause());
        assert_eq!(draft.class(), EvidenceClass::KernelProof);
        assert_eq!(draft.ruled_out()[0].pattern, "network_policy");
        let touched: Vec<_> = draft.touches().iter().map(ToString::to_string).collect();
        assert!(touched.contains(&"Deployment kube-system/coredns".to_owned()), "{touched:?}");
        assert!(touched.contains(&"Deployment a/b".to_owned()), "what the asker suffers joins");
    }

    #[test]
    fn several_foreign_names_are_no_ones_own_servers() {
        let ask = |name: &str| format!("0s a/b-1/b%b DnsFailure dns={name} rcode=timeout;");
        assert_eq!(one!(Detector, &[ask("x.io"), ask("x.io")].concat()), None);
        let draft = one!(Detector, &[ask("x.io"), ask("y.io")].concat()).unwrap();
        assert!(draft.doubt().is_none());
        assert!(draft.headline().ends_with("timeout for x.io and 1 more"), "{}", draft.headline());
        assert!(draft.recommendation()[0].contains("port 53"));
    }

    #[test]
    fn silence_may_be_the_nodes_and_an_answer_is_not() {
        for (rcode, is_of_node) in [("timeout", true), ("servfail", false)] {
            let story = format!(
                "0s a/b-1/b@n1%b DnsFailure dns=db.a.svc.cluster.local rcode={rcode} count=3"
            );
            let node = Entity::Node { name: "n1".into() };
            assert_eq!(
                one!(Detector, &story).unwrap().touches().contains(&node),
                is_of_node,
                "{rcode}"
            );
        }
    }

    #[test]
    fn the_resolvers_own_silence_is_the_root() {
        let story = "0s kube-system/coredns-1/c%coredns ConnectTimeout src=app addr=9.9.9.9 \
                     port=53 count=2; 1s a/b-1/b%b DnsFailure dns=x.io rcode=servfail";
        let draft = one!(Detector, story).unwrap();
        assert_eq!(draft.evidence()[0].kind, Kind::ConnectTimeout);
        assert!(draft.headline().contains("name server 9.9.9.9"), "{}", draft.headline());
        assert_eq!(draft.class(), EvidenceClass::LogTemplate);
        let refused = one!(Detector, &story.replace("ConnectTimeout", "ConnectRefused")).unwrap();
        assert!(refused.headline().contains("a refusal from"), "{}", refused.headline());
    }

    #[test]
    fn a_hosts_own_resolver_is_not_the_clusters() {
        let story = "0s unit:app.service@n1 DnsFailure dns=db rcode=servfail count=2";
        let draft = one!(Detector, story).unwrap();
        assert_eq!(draft.subject().kind(), "workload");
        assert!(draft.touches().iter().all(|it| it.to_string() != "service kube-dns"));
    }

    #[test]
    fn look_alikes_and_health_are_not_it() {
        for story in [
            "0s a/b-1/b%b DnsFailure dns=db.a.svc.cluster.local rcode=nxdomain count=9",
            "0s a/b-1/b%b DnsFailure dns=x.io rcode=servfail count=9",
            "0s a/b-1/b%b DnsFailure dns=db rcode=timeout src=app",
            "0s a/b-1/b%b DnsFailure dns=db.a.svc.cluster.local rcode=timeout",
            "0s a/b-1/b%b ConnectTimeout addr=10.0.0.7 port=5432 count=9",
            "0s node:n1 ObjectEvent reason=NTPIsDown",
            "0s a/x%b PolicyChanged okind=NetworkPolicy oname=deny change=added; \
             2s a/b-1/b%b DnsFailure dns=db.a.svc.cluster.local rcode=timeout count=9",
        ] {
            assert_eq!(one!(Detector, story), None, "{story}");
        }
    }
}
