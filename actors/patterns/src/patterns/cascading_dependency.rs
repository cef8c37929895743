//! One service fails and takes its callers with it.
//!
//! Evidence: failed spans of at least two services on one path of a trace; the deepest of them has
//! no failed child. A call without any span of the callee never reached it; a callee that works on
//! after its caller gave up is too slow.
//! Root: the deepest failed span, the call that was never answered, or the slow callee's span.
//! Not this: `connection_failed` (why a callee was never reached, if the network saw it);
//! `pool_exhaustion` (the caller waits for its own pool, and the callee is well); `traffic_surge`
//! (every service slows down together); a callee's 4xx is its caller's mistake; a service that
//! fails while all it called is well has itself to blame; a caller that goes on has survived.
//! First look: the logs of the deepest failed service at the time of the trace, then its own
//! restarts: `kubectl get pods -l app=SERVICE`.

mod scenes;

use std::collections::{BTreeMap, BTreeSet};

use tapio_engine::{Draft, Pattern, Spec, View};
use tapio_model::{Entity, Event, EvidenceClass, Kind, SpanId, Text, keys};

pub(crate) use self::scenes::SCENES;
use crate::last_words::{is_connection_error, quote};

const SPEC: Spec = Spec {
    slug: "cascading_dependency",
    title: "Cascading dependency failure",
    wakes_on: &[Kind::Span],
    leads_to: &["readiness_lost", "job_failed"],
};

/// Spans on a path that are looked at; real ones have some dozen, and a forged ring has no end.
const DEPTH_MAX: usize = 128;

/// Attempts that are cited of one leaf; the rest is only counted.
const ATTEMPTS_MAX: usize = 8;

/// Finds the deepest failed service of a trace.
#[derive(Debug)]
pub(crate) struct Detector;

impl Pattern for Detector {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn detect(&self, view: &View<'_>) -> Vec<Draft> {
        let tree = Tree::new(view);
        let mut leaves: BTreeMap<Text, Vec<Leaf<'_>>> = BTreeMap::new();
        for leaf in tree.leaves() {
            leaves.entry(leaf.service.clone()).or_default().push(leaf);
        }
        // A leaf that another leaf took down has an excuse: it may fail in ways of its own by then.
        let taken = leaves.values().flatten().flat_map(|leaf| &leaf.callers);
        let taken: BTreeSet<_> = taken.map(|(name, _)| name.clone()).collect();
        let (excused, mut groups): (Vec<_>, Vec<_>) =
            leaves.into_iter().partition(|(name, _)| taken.contains(name));
        if groups.is_empty() {
            groups = excused;
        }
        let mut groups: Vec<_> = groups.into_iter().map(|(_, leaves)| leaves).collect();
        // First in time first; the groups are in order of name, and the sort is stable.
        groups.sort_by_key(|leaves| leaves.first().map(|leaf| leaf.span.order()));
        let Some((first, rest)) = groups.split_first() else { return Vec::new() };
        draft(view, first, rest).into_iter().collect()
    }
}

/// The spans of a trace by id and by parent.
#[derive(Debug)]
struct Tree<'a> {
    spans: BTreeMap<SpanId, &'a Event>,
    children: BTreeMap<SpanId, Vec<&'a Event>>,
    failed: Vec<&'a Event>,
    /// The failed span that nobody called: the edge of the system.
    outermost: Option<&'a Event>,
}

/// How a leaf failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    Itself,
    Unseen,
    Slow,
}

/// A failed span below which nothing failed.
#[derive(Debug)]
struct Leaf<'a> {
    service: Text,
    how: How,
    /// What shows it: the leaf's own span, or the call it never answered.
    span: &'a Event,
    /// Failed spans above, nearest first, with the services they are of.
    callers: Vec<(Text, &'a Event)>,
    /// A parent that was named and never seen.
    gap: Option<SpanId>,
}

impl<'a> Tree<'a> {
    fn new(view: &View<'a>) -> Self {
        let (mut spans, mut failed) = (BTreeMap::new(), Vec::new());
        let mut children: BTreeMap<SpanId, Vec<&Event>> = BTreeMap::new();
        for span in view.of(Kind::Span) {
            let Some(id) = span.trace.span_id else { continue };
            spans.entry(id).or_insert(span);
            if let Some(parent) = span.trace.parent_span_id {
                children.entry(parent).or_default().push(span);
            }
            if fails(span) {
                failed.push(span);
            }
        }
        let outermost = failed.iter().copied().find(|span| span.trace.parent_span_id.is_none());
        Self { spans, children, failed, outermost }
    }

    fn leaves(&self) -> impl Iterator<Item = Leaf<'a>> {
        let is_leaf = |span: &&Event| !self.children(span).iter().any(|child| fails(child));
        self.failed.iter().copied().filter(is_leaf).filter_map(|span| self.leaf(span))
    }

    fn leaf(&self, span: &'a Event) -> Option<Leaf<'a>> {
        let own = service(span)?;
        let (service, how, shows) = if is_client(span) {
            let slow = self.slow_callee(span);
            match (slow, callee(span)) {
                (Some((name, slow)), _) => (name, How::Slow, slow),
                (None, Some(peer)) if peer != own && !self.is_answered(span, &own) => {
                    (peer, How::Unseen, span)
                }
                (None, _) => (own.clone(), How::Itself, span),
            }
        } else {
            (own.clone(), How::Itself, span)
        };
        let (mut callers, gap) = self.callers(span, &service);
        // The call itself is the last that is known of its caller.
        if how != How::Itself && self.parent(span).is_none() {
            callers.insert(0, (own, span));
        }
        // The same service above and below is one service, and takes nobody with it.
        callers.retain(|(name, _)| *name != service);
        (!callers.is_empty()).then_some(Leaf { service, how, span: shows, callers, gap })
    }

    /// Walks up from a failed span as long as callers fail too.
    fn callers(&self, leaf: &'a Event, service: &Text) -> (Vec<(Text, &'a Event)>, Option<SpanId>) {
        let mut callers: Vec<(Text, &Event)> = Vec::new();
        let mut at = leaf;
        for _ in 0..DEPTH_MAX {
            let above = self.parent(at).filter(|above| fails(above));
            let Some(above) = above else { break };
            at = above;
            // A failed call alone does not fail the caller: it may go on without.
            let is_down = !is_client(at) || self.parent(at).is_none();
            if let Some(name) = self::service(at).filter(|_| is_down)
                && callers.iter().all(|(known, _)| *known != name)
            {
                callers.push((name, at));
            }
        }
        let gap = at.trace.parent_span_id.filter(|parent| !self.spans.contains_key(parent));
        // A hole in the path: what fails around it at the edge of the system did call, somehow.
        if let Some(outer) = self.outermost.filter(|_| gap.is_some())
            && let Some(name) = self::service(outer).filter(|name| name != service)
            && begin(outer) <= begin(leaf)
            && leaf.time <= outer.time
            && callers.iter().all(|(known, _)| *known != name)
        {
            callers.push((name, outer));
        }
        (callers, gap)
    }

    /// Finds the deepest span of another service that outlasted the patience of the call.
    ///
    /// Durations are compared, not ends: the clocks of two nodes differ.
    fn slow_callee(&self, call: &'a Event) -> Option<(Text, &'a Event)> {
        let (own, patience) = (service(call)?, duration(call)?);
        let mut at = call;
        let mut slow = None;
        for _ in 0..DEPTH_MAX {
            let longest = self.children(at).iter().max_by_key(|child| duration(child));
            let Some(next) = longest.filter(|child| duration(child) > Some(patience)) else {
                break;
            };
            at = next;
            slow = service(at).filter(|name| *name != own).map(|name| (name, at)).or(slow);
        }
        slow
    }

    fn is_answered(&self, call: &Event, own: &Text) -> bool {
        self.children(call).iter().any(|child| service(child).is_some_and(|name| name != *own))
    }

    fn parent(&self, span: &Event) -> Option<&'a Event> {
        self.spans.get(&span.trace.parent_span_id?).copied()
    }

    fn children(&self, span: &Event) -> &[&'a Event] {
        let children = span.trace.span_id.and_then(|id| self.children.get(&id));
        children.map(Vec::as_slice).unwrap_or_default()
    }
}

fn draft(view: &View<'_>, leaves: &[Leaf<'_>], others: &[Vec<Leaf<'_>>]) -> Option<Draft> {
    let leaf = leaves.first()?;
    let Leaf { service, how, span, .. } = leaf;
    let mut taken: Vec<&(Text, &Event)> = Vec::new();
    for caller in leaves.iter().flat_map(|leaf| &leaf.callers) {
        if taken.iter().all(|(known, _)| *known != caller.0) {
            taken.push(caller);
        }
    }
    let names: Vec<_> = taken.iter().map(|(name, _)| name.as_str()).collect();
    let names = names.join(" and ");
    let words = words(view, span);
    let (title, why) = match how {
        How::Itself => ("fails", format!("{service} fails by itself: nothing it called failed")),
        How::Unseen => unseen(span, service, &words),
        How::Slow => ("is too slow", format!("{service} works on after its callers gave up")),
    };
    let namespace = span.place.namespace.clone().unwrap_or_default();
    let subject = Entity::Service { namespace, name: service.clone() };
    let root = format!("{service} {title}: {words}");
    let mut draft = Draft::new(subject, EvidenceClass::ObjectStatus, span, root)
        .title(format!("{service} {title} and takes {names} with it"))
        .because(format!("{why}; {words}"))
        .advise(format!("look at {service} first: its logs, restarts and resources"))
        .advise(format!("shield its callers: timeouts below their own, breakers before {service}"))
        .rule_out("traffic_surge", "the failure is deepest in one service", &[span]);
    if *how == How::Unseen {
        draft = draft.missing(format!("a span of {service} for the call"));
    } else {
        draft = draft.touching(&span.place);
    }
    for attempt in leaves.iter().skip(1).take(ATTEMPTS_MAX) {
        draft = draft.step(attempt.span, format!("{service} {title} again"));
    }
    if let Some(gap) = leaves.iter().find_map(|leaf| leaf.gap) {
        draft = draft.missing(format!("parent span {gap}"));
    }
    if let Some((caller, _)) = leaf.callers.first() {
        draft = draft.touch(Entity::Edge { from: caller.clone(), to: service.clone() });
    }
    for (name, at) in taken {
        draft = draft.symptom(at, format!("{name} fails with it: {}", span_name(at)));
    }
    Some(or_another(draft, service, &names, others))
}

/// Two leaves in one trace: one of them may be the other's bad luck, or both may have one cause.
fn or_another(mut draft: Draft, service: &str, names: &str, others: &[Vec<Leaf<'_>>]) -> Draft {
    let others: Vec<_> = others.iter().filter_map(|leaves| leaves.first()).collect();
    if others.is_empty() {
        return draft;
    }
    let named: BTreeSet<_> = others.iter().map(|leaf| leaf.service.as_str()).collect();
    let named = named.into_iter().collect::<Vec<_>>().join(" or ");
    for other in others.iter().take(ATTEMPTS_MAX) {
        draft = draft.step(other.span, format!("{} fails too", other.service));
    }
    draft.title(format!("{service} or {named} fails and takes {names} with it")).or(
        "network_loss",
        format!("{service} and {named} fail for one cause below both"),
        format!("see whether {service} and {named} share a node, network or name server"),
    )
}

/// Tells a callee that was never reached from one that answered and sends no spans.
fn unseen(call: &Event, service: &str, words: &str) -> (&'static str, String) {
    if let Some(code) = call.attributes.int(keys::HTTP_STATUS) {
        return ("fails", format!("{service} answered {code} and sends no spans"));
    }
    let is_silent = call.attributes.text(keys::MESSAGE).is_none();
    if is_silent || is_connection_error(words) {
        return ("is not reached", format!("{service} was never reached: there is no span of it"));
    }
    let why = format!("{service} answered with an error and sends no spans, or was never reached");
    ("fails or is not reached", why)
}

/// Says whether a span failed. A 4xx is the caller's mistake, whatever its status says.
fn fails(span: &Event) -> bool {
    match span.attributes.int(keys::HTTP_STATUS) {
        Some(400..=499) => false,
        Some(code) if code >= 500 => true,
        _ => span.attributes.text(keys::SPAN_STATUS) == Some("error"),
    }
}

fn is_client(span: &Event) -> bool {
    matches!(span.attributes.text(keys::SPAN_KIND), Some("client" | "producer"))
}

fn service(span: &Event) -> Option<Text> {
    span.place.service_name().cloned()
}

fn callee(call: &Event) -> Option<Text> {
    let text = |key| call.attributes.text(key).map(Text::from);
    text(keys::PEER_SERVICE).or_else(|| text(keys::PEER_ADDRESS))
}

fn duration(span: &Event) -> Option<i64> {
    span.attributes.int(keys::DURATION)
}

fn begin(span: &Event) -> i64 {
    span.time.as_nanos().saturating_sub(duration(span).unwrap_or_default())
}

fn span_name(span: &Event) -> &str {
    span.attributes.text(keys::SPAN_NAME).unwrap_or("a span without name")
}

/// Quotes what is known of a failure: the exception of its span, its message, its error class.
fn words(view: &View<'_>, span: &Event) -> String {
    let in_span = |event: &Event| event.trace.span_id == span.trace.span_id;
    if let Some(exception) = view.find(Kind::Exception, in_span) {
        return quote(exception);
    }
    if span.attributes.text(keys::MESSAGE).is_some() {
        return quote(span);
    }
    let name = span_name(span);
    let error = span.attributes.get(keys::ERROR_TYPE).map(ToString::to_string);
    let status = span.attributes.int(keys::HTTP_STATUS).map(|code| format!("status {code}"));
    let told = error.or(status).map(|told| format!(" with {told}")).unwrap_or_default();
    format!("{name} ended{told}")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Frontend calls checkout.
    const CALLERS: &str = "9s svc:shop/frontend Span trace=1 span=1 status=error name=GET dur=9s
        8s svc:shop/frontend Span trace=1 span=2 parent=1 status=error span_kind=client dur=8s
        8s svc:shop/checkout Span trace=1 span=3 parent=2 http=502 span_kind=server dur=7s\n";
    /// Checkout calls payments, which fails by itself.
    const LEAF: &str =
        "7s svc:shop/checkout Span trace=1 span=4 parent=3 status=error span_kind=client
        6s svc:shop/payments Span trace=1 span=5 parent=4 status=error span_kind=server
        6s svc:shop/payments Exception trace=1 span=5 msg=\"no such account\"\n";

    #[test]
    fn the_deepest_failed_service_is_to_blame() {
        let draft = one!(Detector, &[CALLERS, LEAF].concat()).unwrap();
        assert_eq!(draft.headline(), "payments fails and takes checkout and frontend with it");
        assert_eq!(draft.subject().to_string(), "service payments");
        let text: Vec<_> = draft.evidence().iter().map(|evidence| &*evidence.text).collect();
        assert_eq!(text[0], "payments fails: \"no such account\"");
        assert_eq!(text.len(), 3);
        assert!(draft.doubt().is_none() && draft.gaps().is_empty());
        let edge = Entity::Edge { from: "checkout".into(), to: "payments".into() };
        assert!(draft.touches().contains(&edge));
    }

    #[test]
    fn attempts_are_one_leaf() {
        let retry = "6s svc:shop/payments Span trace=1 span=9 parent=4 status=error";
        let draft = one!(Detector, &[CALLERS, LEAF, retry].concat()).unwrap();
        assert!(draft.doubt().is_none());
        assert_eq!(draft.evidence().len(), 4);
    }

    #[test]
    fn a_call_without_a_span_of_the_callee_did_not_reach_it() {
        let call = "7s svc:shop/checkout Span trace=1 span=4 parent=3 status=error span_kind=client \
                    peer=payments ";
        let cases = [
            ("error=ECONNREFUSED", "payments is not reached", "never reached"),
            ("msg=\"dial tcp: connection refused\"", "payments is not reached", "never reached"),
            ("msg=\"duplicate key\"", "payments fails or is not", "sends no spans, or was"),
            ("http=503", "payments fails and takes", "answered 503"),
        ];
        for (words, title, why) in cases {
            let draft = one!(Detector, &[CALLERS, call, words].concat()).unwrap();
            assert!(draft.headline().starts_with(title), "{}", draft.headline());
            assert!(draft.root_cause().contains(why), "{}", draft.root_cause());
            assert_eq!(draft.gaps(), ["a span of payments for the call"].map(Text::from));
        }
        let only = one!(Detector, &[call.replace(" parent=3", "").as_str()].concat()).unwrap();
        assert_eq!(only.headline(), "payments is not reached and takes checkout with it");
    }

    #[test]
    fn a_callee_that_outlasts_its_caller_is_slow() {
        let slow =
            "7s svc:shop/checkout Span trace=1 span=4 parent=3 status=error span_kind=client dur=2s
            20s svc:shop/payments Span trace=1 span=5 parent=4 span_kind=server dur=15s
            5s svc:shop/audit Span trace=1 span=6 parent=5 span_kind=server dur=10ms";
        let draft = one!(Detector, &[CALLERS, slow].concat()).unwrap();
        let title = "payments is too slow and takes checkout and frontend with it";
        assert_eq!(draft.headline(), title);
        assert_eq!(draft.evidence().iter().filter(|e| e.place == "payments").count(), 1);
    }

    #[test]
    fn two_leaves_stay_a_doubt_that_names_both() {
        let other = "5s svc:shop/stock Span trace=1 span=7 parent=3 status=error span_kind=server";
        let draft = one!(Detector, &[CALLERS, LEAF, other].concat()).unwrap();
        let doubt = draft.doubt().unwrap();
        assert!(draft.headline().starts_with("stock or payments fails"), "{}", draft.headline());
        assert!(doubt.text.contains("stock") && doubt.text.contains("payments"));
    }

    #[test]
    fn a_caller_that_also_fails_by_itself_is_excused() {
        let excuse = "8s svc:shop/checkout Span trace=1 span=8 parent=3 status=error name=render";
        let draft = one!(Detector, &[CALLERS, LEAF, excuse].concat()).unwrap();
        assert!(draft.headline().starts_with("payments fails and"), "{}", draft.headline());
        assert!(draft.doubt().is_none());
    }

    #[test]
    fn a_parent_that_was_not_seen_is_named() {
        let story = "9s svc:frontend Span trace=1 span=1 status=error dur=9s; \
                     6s svc:payments Span trace=1 span=5 parent=4 status=error dur=1s";
        let draft = one!(Detector, story).unwrap();
        assert_eq!(draft.headline(), "payments fails and takes frontend with it");
        assert_eq!(draft.gaps(), [Text::from("parent span 0000000000000004")]);
    }

    #[test]
    fn look_alikes_and_health_are_not_this() {
        let mistake = "6s svc:shop/payments Span trace=1 span=5 parent=3 status=error http=404";
        let survived = LEAF.to_owned() + "8s svc:shop/checkout Span trace=1 span=3 http=200";
        let own = "5s svc:a Span trace=1 span=1 status=error; 4s svc:a Span trace=1 span=2 parent=1 \
                   status=error; 3s svc:b Span trace=1 span=3 parent=2 status=ok";
        let ring = "1s svc:a Span trace=1 span=1 parent=2 status=error; \
                    2s svc:b Span trace=1 span=2 parent=1 status=error";
        for story in [
            CALLERS.lines().next().unwrap(),
            mistake,
            &survived,
            own,
            ring,
            "1s svc:a Span trace=1 span=1 status=ok; 1s svc:b Span trace=1 span=2 parent=1",
        ] {
            assert!(one!(Detector, story).is_none(), "{story}");
        }
        // The 404 leaves checkout as the deepest failure.
        let draft = one!(Detector, &[CALLERS, mistake].concat()).unwrap();
        assert_eq!(draft.headline(), "checkout fails and takes frontend with it");
    }
}
