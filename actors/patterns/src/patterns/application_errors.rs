//! An application writes the same errors again and again, and nothing else explains them.
//!
//! Evidence: the log at hand as a whole: of so many lines so many are errors of a few templates, up
//! to its end; or some of it name what no further attempt heals (a key that expired, a quota that is
//! used up, data that are damaged). What a stream brings is no evidence, but that data are damaged:
//! errors are everyday there, and what is not is learnt, and told by `service_abnormal`.
//! Root: the last line of what lasts, else of the most frequent error. What is tried again with
//! success counts only where there is hardly anything else.
//! Not this: `cannot_start` and `job_failed` (the process ends of it), `connection_failed`,
//! `certificate_expired`, `pool_exhaustion`, `rbac_denied` (the lines say what is wrong by
//! themselves); some errors among many lines.
//! First look: `kubectl logs POD | grep -m1 -B20 LINE`: what came before the first of them.

use std::{cmp::Reverse, collections::BTreeMap};

use tapio_engine::{Draft, Pattern, Spec, View};
use tapio_model::{Entity, Event, EvidenceClass, Kind, Severity, Source, keys};

use super::{
    certificate_expired, connection_failed::workload_name, pool_exhaustion, rbac_denied,
    stale_credentials,
};
use crate::{
    Gravity, Scene,
    gravity::{gravity, is_damage, quote_gravest},
    last_words::quote,
    witness::{by_owner, count, times},
    wording::line,
};

/// Scenes whose cause is known.
pub(crate) const SCENES: &[Scene] = &[
    Scene::cause(
        "application_errors",
        "two kinds of errors in every third line",
        r#"0s shop/cart-1/cart@n1%cart Log sev=error tapio.sampled=90 log.template=a msg="order 7 is lost: division by zero"
         1s shop/cart-1/cart@n1%cart Log sev=error tapio.sampled=90 log.template=b msg="query failed: syntax error"
         7s shop/cart-1/cart@n1%cart Log sev=error tapio.sampled=90 log.template=a count=19 msg="order 9 is lost: division by zero"
         8s shop/cart-1/cart@n1%cart Log sev=error tapio.sampled=90 log.template=b count=9 msg="query failed: syntax error""#,
    ),
    Scene::cause(
        "application_errors",
        "a few lines, and all of them are errors",
        r#"0s shop/pay-1/pay@n1%pay Log sev=error tapio.sampled=4 msg="the database does not answer"
         0s shop/pay-1/pay@n1%pay Log sev=error tapio.sampled=4 msg="the other database neither"
         1s shop/pay-1/pay@n1%pay Log sev=error tapio.sampled=4 msg="payments cannot be taken""#,
    ),
    Scene::cause(
        "application_errors",
        "hardly anything but warnings",
        r#"0s shop/edge-1/edge@n1%edge Log sev=warn tapio.sampled=30 log.template=a msg="token rejected: used before issued"
         7s shop/edge-1/edge@n1%edge Log sev=warn tapio.sampled=30 log.template=a count=23 msg="token rejected: used before issued""#,
    ),
    Scene::cause(
        "application_errors",
        "a key expired, among errors that the next attempt heals",
        r#"0s shop/pay-1/pay@n1%pay Log sev=error tapio.sampled=700 log.template=a msg="webhook failed with 503, retrying"
         1s shop/pay-1/pay@n1%pay Log sev=error tapio.sampled=700 log.template=b msg="AuthenticationError: Expired API Key provided"
         8s shop/pay-1/pay@n1%pay Log sev=error tapio.sampled=700 log.template=b count=2 msg="AuthenticationError: Expired API Key provided"
         9s shop/pay-1/pay@n1%pay Log sev=error tapio.sampled=700 log.template=a count=46 msg="webhook failed with 503, retrying""#,
    ),
    Scene::cause(
        "application_errors",
        "a stream brings one line of damage, and errors of every day",
        r#"0s shop/ledger-0/ledger@n1%ledger Log sev=error log.template=a msg="rejected: no funds"
         1s shop/ledger-0/ledger@n1%ledger Log sev=error log.template=b msg="checksum mismatch in 000417.seg"
         1s shop/ledger-0/ledger@n1%ledger Log sev=error log.template=c msg="applier halted, refusing to apply past corrupt record"
         9s shop/ledger-0/ledger@n1%ledger Log sev=error log.template=a msg="rejected: no funds""#,
    ),
    Scene::healthy(
        "a stream warns of damage that may come, that others did, or that is read elsewhere",
        r#"0s shop/a-0/a@n1%a Log sev=warn msg="This filesystem is not supported and may lead to data corruption and data loss"
         1s shop/a-0/a@n1%a Log sev=warn msg="Found Checksum error for blk_1 from 10.0.0.7:50010, trying another replica"
         2s shop/a-0/a@n1%a Log sev=error msg="upload rejected: checksum mismatch"
         3s shop/a-0/a@n1%a Log sev=error msg="upload rejected: checksum mismatch"
         4s shop/a-0/a@n1%a Log sev=warn msg="refusing to start nightly: previous run still active"
         5s shop/a-0/a@n1%a Log sev=warn msg="[pool www] server reached pm.max_children setting (5)""#,
    ),
    Scene::healthy(
        "a stream brings a part that was damaged on its way and is fetched again",
        r#"0s shop/sync-0/sync@n1%sync Log sev=warn log.template=a msg="checksum mismatch of part 3, retrying"
         9s shop/sync-0/sync@n1%sync Log sev=warn log.template=a msg="checksum mismatch of part 9, retrying""#,
    ),
    Scene::healthy(
        "errors that the next attempt heals, among many lines",
        r#"0s shop/pay-1/pay@n1%pay Log sev=error tapio.sampled=700 log.template=a msg="webhook failed with 503, retrying"
         9s shop/pay-1/pay@n1%pay Log sev=error tapio.sampled=700 log.template=a count=46 msg="webhook failed with 503, retrying""#,
    ),
    Scene::cause(
        "cannot_start",
        "its process ends of the error",
        r#"0s shop/cart-1/cart@n1%cart Log sev=error tapio.sampled=9 log.template=a msg="bad licence"
         1s shop/cart-1/cart@n1%cart Log sev=error tapio.sampled=9 log.template=a count=8 msg="bad licence"
         1s shop/cart-1/cart@n1%cart ContainerTerminated exit=1 reason=Error restarts=4
         1s shop/cart-1/cart@n1%cart ContainerWaiting reason=CrashLoopBackOff restarts=4"#,
    ),
    Scene::cause(
        "certificate_expired",
        "the errors say that a certificate is expired",
        r#"0s shop/cart-1/cart@n1%cart Log sev=error tapio.sampled=90 log.template=a msg="x509: certificate has expired or is not yet valid"
         1s shop/cart-1/cart@n1%cart Log sev=error tapio.sampled=90 log.template=a count=40 msg="x509: certificate has expired or is not yet valid""#,
    ),
    Scene::healthy(
        "errors of a stream, of which nobody knows how much else there was",
        r#"0s shop/cart-1/cart@n1%cart Log sev=error log.template=a msg="order 7 is lost"
         1s shop/cart-1/cart@n1%cart Log sev=error log.template=a msg="order 8 is lost"
         2s shop/cart-1/cart@n1%cart Log sev=error log.template=a count=30 msg="order 9 is lost""#,
    ),
    Scene::healthy(
        "some errors among many lines",
        r#"0s shop/cart-1/cart@n1%cart Log sev=error tapio.sampled=900 log.template=a msg="order 7 is lost"
         1s shop/cart-1/cart@n1%cart Log sev=error tapio.sampled=900 log.template=a count=8 msg="order 8 is lost""#,
    ),
];

const SPEC: Spec = Spec {
    slug: "application_errors",
    title: "Application writes errors again and again",
    wakes_on: &[Kind::Log, Kind::Exception],
    leads_to: &["cascading_dependency"],
};

/// Errors of one template that make a habit.
const ALIKE_MIN: i64 = 5;

/// Lines of which one is such an error, at most.
const LINES_PER_ERROR_MAX: i64 = 20;

/// Errors that are a habit whatever they say, if they are half of what is said.
const ERRORS_MIN: i64 = 3;

/// How sure it may be that these errors are what is wrong: nobody knows what its log says on a good
/// day.
const SURE: f64 = 0.75;

/// What nobody's next attempt heals is told sooner; once may be somebody's mistake.
const LASTING_MIN: i64 = 2;

/// Lines of damage that a stream must bring.
const DAMAGES_MIN: i64 = 2;

/// Kinds of errors that a story names.
const NAMED_MAX: usize = 5;

/// Finds applications that write errors again and again.
#[derive(Debug)]
pub(crate) struct Detector;

impl Pattern for Detector {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn detect(&self, view: &View<'_>) -> Vec<Draft> {
        let owners = by_owner(view.events().filter(|event| is_told(event)));
        let open = owners.into_iter().filter(|(_, errors)| !is_explained(view, errors));
        open.filter_map(|(owner, errors)| draft(owner, &errors, &others(view, &errors))).collect()
    }
}

fn is_error(event: &Event) -> bool {
    event.severity >= Severity::Error || event.kind == Kind::Exception
}

/// Says whether it is an error, or a warning, of a log that is at hand as a whole, and says nothing that another
/// pattern knows.
fn is_told(event: &Event) -> bool {
    is_line(event) && !is_known(event)
}

/// Says whether it is a line of which another pattern tells.
fn is_known(event: &Event) -> bool {
    certificate_expired::is_complaint(event)
        || rbac_denied::is_denial(event)
        || pool_exhaustion::is_told(event)
        || stale_credentials::is_refused(event)
}

/// Names what the log says beside its errors that another pattern would tell of, were it said again.
fn others(view: &View<'_>, errors: &[&Event]) -> String {
    let is_other = |event: &&Event| {
        is_line(event) && is_known(event) && errors.first().is_some_and(|own| of_owner(event, own))
    };
    let kinds: Vec<_> = kinds(view.events().filter(is_other)).into_values().collect();
    if kinds.is_empty() { String::new() } else { format!("; it says as well: {}", named(&kinds)) }
}

fn is_line(event: &Event) -> bool {
    matches!(event.kind, Kind::Log | Kind::Exception)
        && event.source == Source::App
        && (event.severity >= Severity::Warn || event.kind == Kind::Exception)
        // That calls are slow is another story.
        && event.attributes.int(keys::DURATION).is_none()
        && (event.attributes.int(keys::SAMPLED).is_some()
            || (is_error(event) && is_damage(&line(event))))
}

/// Names what a log at hand says again and again beside what another pattern tells of it: whoever
/// reads it wants to know of all.
pub(super) fn beside(view: &View<'_>, own: &Event) -> String {
    let is_of_log = |event: &&Event| is_told(event) && is_error(event) && of_owner(event, own);
    let kinds = kinds(view.events().filter(is_of_log));
    let mut kinds: Vec<_> =
        kinds.into_values().filter(|(number, _)| *number >= ALIKE_MIN).collect();
    kinds.sort_by_key(|(number, last)| (Reverse(*number), last.order()));
    if kinds.is_empty() || own.attributes.int(keys::SAMPLED).is_none() {
        return String::new();
    }
    format!("; its log says as well: {}", named(&kinds))
}

fn of_owner(event: &Event, other: &Event) -> bool {
    event.place.is_same_pod(&other.place) || event.place.is_same_workload(&other.place)
}

/// Returns how often each kind of error came, and its last line.
fn kinds<'a>(errors: impl Iterator<Item = &'a Event>) -> BTreeMap<&'a str, (i64, &'a Event)> {
    let mut kinds: BTreeMap<&str, (i64, &Event)> = BTreeMap::new();
    for error in errors {
        let template = error.attributes.text(keys::TEMPLATE).unwrap_or_else(|| error.message());
        let (number, last) = kinds.entry(template).or_insert((0, error));
        *number = number.saturating_add(count(error));
        *last = error;
    }
    kinds
}

fn named(kinds: &[(i64, &Event)]) -> String {
    let named = kinds.iter().take(NAMED_MAX);
    let named = named.map(|(number, last)| format!("{}{}", quote_gravest(last), times(*number)));
    named.collect::<Vec<_>>().join("; ")
}

/// Says whether the process ended, or waits to be begun again: that is the story, and the lines are
/// its last words.
fn is_explained(view: &View<'_>, errors: &[&Event]) -> bool {
    let ends = [
        Kind::ContainerTerminated,
        Kind::ContainerWaiting,
        Kind::ContainerKilling,
        Kind::JobFailed,
    ];
    view.events().filter(|event| ends.contains(&event.kind)).any(|end| {
        let of_end = |error: &&Event| {
            end.place.is_same_pod(&error.place) || end.place.is_same_workload(&error.place)
        };
        errors.iter().any(of_end)
    })
}

fn draft(owner: Entity, errors: &[&Event], others: &str) -> Option<Draft> {
    // Of a stream nobody knows how much else there was.
    let lines = errors.iter().filter_map(|error| error.attributes.int(keys::SAMPLED)).max();
    let kinds = kinds(errors.iter().copied());
    let total: i64 = kinds.values().map(|(number, _)| *number).sum();
    // Warnings are everyday; a log of hardly anything else is not.
    let is_enough = total >= ALIKE_MIN || errors.iter().any(|error| is_error(error));
    let is_one_in =
        |number: i64, of: i64| lines.is_some_and(|all| number.saturating_mul(of) >= all);
    let is_most = is_enough && total >= ERRORS_MIN && is_one_in(total, 2);
    let is_habit = |number: i64| number >= ALIKE_MIN && is_one_in(number, LINES_PER_ERROR_MAX);
    if lines.is_none() && total < DAMAGES_MIN {
        return None;
    }
    let mut kinds: Vec<_> = kinds.into_values().collect();
    kinds.retain(|(number, last)| {
        is_most
            || match gravity(last) {
                Gravity::Final => true,
                Gravity::Lasting => *number >= LASTING_MIN,
                Gravity::Plain | Gravity::Felt => is_error(last) && is_habit(*number),
                Gravity::Passing => false,
            }
    });
    // An exception says more than the line about it, and of as many the last: it is what the others
    // came to.
    let weight = |(number, last): &(i64, &Event)| {
        let about_as_many = number.max(&1).ilog2();
        (gravity(last), about_as_many, last.kind == Kind::Exception, *number, last.order())
    };
    kinds.sort_by_key(|kind| Reverse(weight(kind)));
    let (_, root) = *kinds.first()?;
    let who = workload_name(&root.place);
    let writes = match gravity(root) {
        Gravity::Final | Gravity::Lasting => "writes of what will not pass by itself",
        Gravity::Plain | Gravity::Felt | Gravity::Passing => "writes errors again and again",
    };
    let share = lines.map_or_else(
        || format!("{total} of the lines that its log brings"),
        |lines| format!("{total} of {lines} lines of its log"),
    );
    let draft = Draft::new(owner, EvidenceClass::CoOccurrence, root, quote(root))
        .touching(&root.place)
        .sure(SURE)
        .title(format!("{who} {writes}: {}", quote_gravest(root)))
        .because(format!("{share} are errors: {}{others}", named(&kinds)))
        .advise("read what its log said before the first of them: kubectl logs POD")
        .advise("compare its version and configuration with those before: kubectl rollout history")
        .missing("what its log said on a good day")
        .rule_out("cannot_start", "its process was not seen to end", &[]);
    Some(errors.iter().fold(draft, |draft, error| draft.symptom(error, quote(error))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_error_is_named_with_its_number_the_most_frequent_first() {
        let draft = one!(Detector, SCENES[0].story).unwrap();
        assert_eq!(
            draft.headline(),
            "cart writes errors again and again: \"order 9 is lost: division by zero\""
        );
        let cause = draft.root_cause();
        assert!(cause.starts_with("30 of 90 lines of its log are errors"), "{cause}");
        assert!(cause.contains("\"query failed: syntax error\" 10 times"), "{cause}");
        assert_eq!((draft.class(), draft.evidence().len()), (EvidenceClass::CoOccurrence, 4));
        assert_eq!(draft.subject().to_string(), "Deployment shop/cart");
    }

    #[test]
    fn what_lasts_is_told_before_what_is_frequent() {
        let line = |words: &str| format!("0s a/b-1/b%b Log sev=error tapio.sampled=300 {words}; ");
        let story = [
            line("log.template=a count=40 msg=\"order is lost\""),
            line("log.template=b msg=\"checksum mismatch in 7.seg\""),
            line("log.template=c count=39 msg=\"deadlock detected, retrying\""),
        ];
        let draft = one!(Detector, &story.concat()).unwrap();
        let want = "b writes of what will not pass by itself: \"checksum mismatch in 7.seg\"";
        assert_eq!(draft.headline(), want);
        assert!(!draft.root_cause().contains("deadlock"), "{}", draft.root_cause());
        assert_eq!(one!(Detector, &story[2]), None);
    }

    #[test]
    fn an_exception_says_more_than_the_line_about_it() {
        let story = "0s a/b-1/b%b Exception tapio.sampled=90 log.template=a count=40 msg=\"E: why\"
            1s a/b-1/b%b Log sev=error tapio.sampled=90 log.template=b count=42 msg=\"order 9 failed\"";
        assert!(one!(Detector, story).unwrap().headline().ends_with("\"E: why\""));
    }

    #[test]
    fn what_another_pattern_would_tell_of_is_named_beside_the_errors() {
        let line = |words: &str| format!("0s a/b-1/b%b Log sev=error tapio.sampled=9 {words}");
        let (expired, bad) = (line("msg=\"certificate expired\""), line("count=6 msg=bad"));
        let draft = one!(Detector, &format!("{expired}; {bad}")).unwrap();
        let cause = draft.root_cause();
        assert!(
            cause.ends_with("\"bad\" 6 times; it says as well: \"certificate expired\""),
            "{cause}"
        );
        assert_eq!(draft.evidence().len(), 1);
    }

    #[test]
    fn what_a_log_says_beside_another_trouble_is_named() {
        let line = |words: &str| format!("0s a/b-1/b%b Log sev=error tapio.sampled=99 {words}");
        let expired = line("count=40 msg=\"certificate has expired\"");
        let story = format!(
            "{expired}; {}; {}",
            line("log.template=a count=9 msg=\"bad query\""),
            line("msg=once")
        );
        let told = crate::fixture::events(&story).unwrap();
        let told: Vec<_> = told.into_iter().map(std::sync::Arc::new).collect();
        let view = View::new(&told, tapio_model::Timestamp::ZERO);
        assert_eq!(beside(&view, &told[0]), "; its log says as well: \"bad query\" 9 times");
        assert_eq!(beside(&View::new(&told[..1], tapio_model::Timestamp::ZERO), &told[0]), "");
    }

    #[test]
    fn what_is_rare_calm_or_explained_is_not_it() {
        let line = |words: &str| format!("0s a/b-1/b%b Log {words}");
        for story in [
            line("sev=error tapio.sampled=9 count=3 msg=x"),
            line("sev=warn tapio.sampled=99 count=9 msg=x"),
            line("sev=warn tapio.sampled=5 count=4 msg=x"),
            line("sev=error count=9 msg=x"),
            line("sev=error tapio.sampled=9 count=9 msg=\"certificate has expired\""),
            format!(
                "{}; 1s a/b-1/b%b ContainerWaiting reason=CrashLoopBackOff",
                line("sev=error tapio.sampled=9 count=9 msg=x")
            ),
        ] {
            assert_eq!(one!(Detector, &story), None, "{story}");
        }
        assert!(one!(Detector, &line("sev=error tapio.sampled=9 count=9 msg=x")).is_some());
    }
}
