//! Calls take seconds, says the log of who makes or serves them.
//!
//! Evidence: the log at hand as a whole: of so many calls alike so many took seconds, by the lines'
//! own account. What a stream brings of it is learnt, and told by `service_abnormal`.
//! Root: the slow call to something else, if the log tells of one, else the slow request.
//! Not this: `connection_failed` (no call gets through, or others of the same log do not), `cpu_throttling` (everything the process
//! does is slow, by the kernel's account), `cascading_dependency` (spans say whom it waited for);
//! one slow call among many.
//! First look: what the line names, asked directly: for a database its slow queries and locks.

use tapio_engine::{Draft, Pattern, Spec, View};
use tapio_model::{Entity, Event, EvidenceClass, Kind, Source, keys};

use super::connection_failed::workload_name;
use crate::{
    Scene,
    last_words::quote,
    witness::{by_owner, count},
    wording::says,
};

/// Scenes whose cause is known.
pub(crate) const SCENES: &[Scene] = &[
    Scene::cause(
        "slow_call",
        "its database calls take seconds, and its pages with them",
        r#"0s shop/cart-1/cart@n1%cart Log msg="request for /cart"
         8s shop/cart-1/cart@n1%cart Log sev=warn count=6 tapio.sampled=7 dur=8010ms msg="database call completed in 8.01 seconds"
         8s shop/cart-1/cart@n1%cart Log sev=warn count=6 tapio.sampled=7 dur=8020ms msg="page rendered in 8.02 seconds""#,
    ),
    Scene::cause(
        "slow_call",
        "a query takes seconds each time",
        r#"0s shop/pay-1/pay@n1%pay Log sev=warn dur=5100ms msg="slow query, took 5.1 s: select * from orders"
         9s shop/pay-1/pay@n1%pay Log sev=warn count=40 tapio.sampled=44 dur=5012ms msg="slow query, took 5.0 s: select * from orders""#,
    ),
    Scene::unknown(
        "slow_call",
        "its requests take seconds, and nothing is said of what it waits for",
        r#"0s shop/cart-1/cart@n1%cart Log msg="incoming request"
         4s shop/cart-1/cart@n1%cart Log sev=warn count=9 tapio.sampled=12 dur=4200ms msg="request completed""#,
    ),
    Scene::cause(
        "connection_failed",
        "the database is not slow: nobody listens there",
        r#"0s shop/cart-1/cart@n1%cart ConnectRefused src=app tapio.sampled=9 addr=db port=5432 msg="dial tcp db:5432: connect: connection refused"
         4s shop/cart-1/cart@n1%cart ConnectRefused src=app tapio.sampled=9 count=6 addr=db port=5432 msg="dial tcp db:5432: connect: connection refused""#,
    ),
    Scene::cause(
        "connection_failed",
        "its database is slow now and then, and its queue has no such name",
        r#"0s shop/pay-1/pay@n1%pay DnsFailure src=app tapio.sampled=90 rcode=nxdomain dns=kafka.queues msg="lookup kafka.queues: no such host"
         1s shop/pay-1/pay@n1%pay Log sev=warn tapio.sampled=28 count=10 dur=2200ms msg="slow query"
         2s shop/pay-1/pay@n1%pay DnsFailure src=app tapio.sampled=90 count=60 rcode=nxdomain dns=kafka.queues msg="lookup kafka.queues: no such host""#,
    ),
    Scene::healthy(
        "a line of a stream, of which nobody knows how others alike went",
        r#"0s shop/cart-1/cart@n1%cart Log msg="incoming request"
         8s shop/cart-1/cart@n1%cart Log msg="database call completed in 8.01 seconds"
         9s shop/cart-1/cart@n1%cart Log msg="database call completed in 8.02 seconds""#,
    ),
];

const SPEC: Spec = Spec {
    slug: "slow_call",
    title: "Calls take seconds",
    wakes_on: &[Kind::Log],
    leads_to: &["cascading_dependency"],
};

/// How sure it may be: nobody knows how long such calls take on a good day.
const SURE: f64 = 0.8;

/// Words by which a line tells of a call to something else, in lower case.
const DEPENDENCIES: &[&str] = &[
    "database",
    "db ",
    "db.",
    "query",
    "queries",
    "sql",
    "select ",
    "insert into",
    "delete from",
    "procedure",
    "postgres",
    "mongo",
    "redis",
    "cassandra",
    "kafka",
    "elastic",
    "downstream",
    "upstream",
    "external",
    "calling",
    // Who serves writes the path, who calls the whole address.
    " http://",
    " https://",
    "remote",
];

/// Finds workloads whose calls take seconds.
#[derive(Debug)]
pub(crate) struct Detector;

impl Pattern for Detector {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn detect(&self, view: &View<'_>) -> Vec<Draft> {
        let owners = by_owner(view.of(Kind::Log).filter(|line| took(line).is_some()));
        let open = owners.into_iter().filter(|(_, slow)| !is_cut_off(view, slow));
        open.filter_map(|(owner, slow)| draft(owner, &slow)).collect()
    }
}

/// Says whether other calls of the same log do not get through at all: that is worse than slow.
fn is_cut_off(view: &View<'_>, slow: &[&Event]) -> bool {
    let fails = [Kind::ConnectRefused, Kind::ConnectTimeout, Kind::DnsFailure];
    let failed = fails.iter().flat_map(|kind| view.of(*kind));
    let mut often = failed.filter(|event| event.source == Source::App && count(event) > 1);
    often.any(|event| slow.iter().any(|line| line.place.is_same_pod(&event.place)))
}

/// Returns in seconds how long the calls took that a line of a log at hand as a whole stands for.
fn took(line: &Event) -> Option<String> {
    const TENTH: i64 = 100_000_000;
    line.attributes.int(keys::SAMPLED)?;
    let tenths = line.attributes.int(keys::DURATION)? / TENTH;
    Some(format!("{}.{} s", tenths / 10, tenths % 10))
}

fn is_of_dependency(line: &Event) -> bool {
    says(line, DEPENDENCIES)
}

fn draft(owner: Entity, slow: &[&Event]) -> Option<Draft> {
    let dependency = slow.iter().copied().find(|line| is_of_dependency(line));
    let root = dependency.or_else(|| slow.first().copied())?;
    let who = workload_name(&root.place);
    let alike = root.attributes.int(keys::SAMPLED)?;
    let (number, took) = (count(root), took(root)?);
    let said = quote(root);
    let draft = Draft::new(owner, EvidenceClass::LogTemplate, root, describe(root))
        .touching(&root.place)
        .sure(SURE)
        .missing("how long such calls take on a good day")
        .rule_out("connection_failed", "the calls come to their end", &[root]);
    let draft = slow.iter().fold(draft, |draft, line| draft.symptom(line, describe(line)));
    let numbers = format!("{number} of {alike} such calls took {took} or about that");
    if dependency.is_some() {
        return Some(
            draft
                .title(format!("{who} waits {took} for what it calls: {said}"))
                .because(format!("what {who} calls is slow: {numbers}; the last line was {said}"))
                .advise("look at what the line names: for a database its slow queries and locks")
                .advise("give the call a timeout, and what can be kept a cache"),
        );
    }
    Some(
        draft
            .title(format!("{who} is slow: {took}, says {said}"))
            .because(format!("requests to {who} are slow: {numbers}"))
            .advise("find what it waits for: a trace of one slow request, or its calls' durations")
            .or(
                "cascading_dependency",
                format!("{who} waits for something that it calls"),
                "compare the durations of what it calls in the same seconds",
            ),
    )
}

fn describe(line: &Event) -> String {
    format!("{}: {}", took(line).unwrap_or_default(), quote(line))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_call_to_something_else_is_the_root_of_the_request_around_it() {
        let draft = one!(Detector, SCENES[0].story).unwrap();
        assert_eq!(
            draft.headline(),
            "cart waits 8.0 s for what it calls: \"database call completed in 8.01 seconds\""
        );
        assert!(draft.root_cause().contains("6 of 7 such calls"), "{}", draft.root_cause());
        assert_eq!((draft.evidence().len(), draft.doubt()), (2, None));
    }

    #[test]
    fn a_request_alone_does_not_say_what_it_waits_for() {
        let draft = one!(Detector, SCENES[2].story).unwrap();
        assert_eq!(draft.headline(), "cart is slow: 4.2 s, says \"request completed\"");
        assert_eq!(draft.doubt().map(|doubt| doubt.alternative), Some("cascading_dependency"));
    }

    #[test]
    fn a_line_without_its_numbers_is_not_it() {
        for words in ["dur=8s", "count=6 tapio.sampled=7", "msg=\"query took 8 s\""] {
            assert_eq!(one!(Detector, &format!("0s a/b-1/b%b Log {words}")), None, "{words}");
        }
    }
}
