//! The tests of [`super`].

use super::*;
use crate::{fixture, scene::Answer};

const BROKEN: &str = "15s svc:shop/pay Anomaly anomaly=log_template how=appeared score=90.0 name=charge msg=\"charge writes Pay#7\"; \
     15s svc:shop/web Anomaly anomaly=log_template how=vanished score=20.0 name=buy msg=\"buy no longer writes Web#3\"; \
     30s svc:shop/pay Anomaly anomaly=log_template how=appeared score=108.0 name=charge msg=\"charge writes Pay#7 still\"; ";

#[test]
fn the_service_that_explains_the_most_is_the_root() {
    let draft = one!(Detector, BROKEN).unwrap();
    assert_eq!(draft.subject().to_string(), "service pay");
    assert!(draft.doubt().is_none());
    assert_eq!(draft.evidence().len(), 3);
    assert_eq!(draft.ruled_out().len(), 1);
    assert!(draft.headline().ends_with("Pay#7 still"), "{}", draft.headline());
}

#[test]
fn who_was_named_before_is_touched_as_explained() {
    let draft = one!(Detector, BROKEN).unwrap();
    let touched: Vec<_> = draft.touches().iter().map(ToString::to_string).collect();
    assert!(touched.iter().any(|entity| entity == "service web"), "{touched:?}");
}

#[test]
fn two_that_are_close_are_both_named() {
    let close = "45s svc:shop/web Anomaly anomaly=self_time how=rose score=80.0 msg=slow";
    let draft = one!(Detector, &[BROKEN, close].concat()).unwrap();
    assert_eq!(draft.subject().to_string(), "service pay");
    assert!(draft.doubt().is_some_and(|doubt| doubt.text.contains("web")));
}

/// How sure it is of the first service of a story.
fn sure(story: &str) -> f64 {
    let events = fixture::events(story).unwrap();
    let score = |event| number(event, keys::ANOMALY_SCORE);
    let sign = |first| Sign { first, latest: first, score: score(first) };
    let mut suspects: Vec<Suspect<'_>> = Vec::new();
    for event in &events {
        let service = event.place.service.as_deref().unwrap();
        match suspects.iter_mut().find(|suspect| suspect.service == service) {
            Some(suspect) => suspect.signs.push(sign(event)),
            None => suspects.push(Suspect {
                service,
                signs: vec![sign(event)],
                apart: BTreeSet::new(),
                has_more_work: false,
            }),
        }
    }
    let (first, others) = suspects.split_first().unwrap();
    first.sure(&others.iter().collect::<Vec<_>>())
}

#[test]
fn thin_evidence_close_rivals_and_time_alone_are_less_sure() {
    let sign = |service: &str, signal: &str, score: f64| {
        format!("15s svc:shop/{service} Anomaly anomaly={signal} how=changed score={score:.1}; ")
    };
    let [thick, thin] = [200.0, 15.0].map(|score| sure(&sign("pay", "log_template", score)));
    assert!(thick > 0.96 && thick <= SURE && thin < thick - 0.03, "{thick} {thin}");
    let pay = sign("pay", "log_template", 200.0);
    let rival = sure(&[pay.clone(), sign("web", "call", 100.0)].concat());
    assert!(rival < thick - 0.1, "{rival}");
    let slow = sign("pay", "self_time", 200.0);
    assert!(sure(&slow) < thick - 0.01, "{}", sure(&slow));
    assert!(sure(&[slow.clone(), pay].concat()) > thick, "two kinds agree");
    // What it may wait for is named, which lowers it further.
    assert_eq!(one!(Detector, &slow).unwrap().gaps().len(), 1);
}

#[test]
fn rates_single_ways_and_what_is_held_back_are_others_stories() {
    let slow = "svc:shop/web%web Anomaly anomaly=self_time how=rose score=80.0 msg=slow";
    let wait = |kind| format!("4s shop/web-1/web@n1%web {kind} resource=cpu; 9s {slow}");
    for story in [
        "0s svc:shop/web Anomaly anomaly=request_rate how=rose score=80.0 msg=more",
        "0s svc:shop/web Anomaly anomaly=log_template how=appeared score=80.0 tapio.anomaly.of=a msg=new",
        "0s svc:shop/web Anomaly anomaly=edge_latency how=rose score=80.0 peer=db msg=slow",
        &wait("CpuThrottled"),
        &wait("CpuDelayed"),
        &wait("Pressure"),
    ] {
        assert_eq!(one!(Detector, story), None, "{story}");
    }
    assert!(
        one!(Detector, &format!("4s shop/db-1/db@n1%db Pressure resource=cpu; 9s {slow}"))
            .is_some()
    );
}

#[test]
fn failing_requests_are_its_own_unless_somebody_brought_them_about() {
    let failing = "9s svc:shop/web%web Anomaly anomaly=error_rate how=rose score=40.0 msg=fail";
    let draft = one!(Detector, failing).unwrap();
    assert!(draft.root_cause().contains("nothing that it called did"));
    assert_eq!(draft.doubt().unwrap().alternative, "cascading_dependency");
    let other = "9s svc:shop/web%web Anomaly anomaly=log_template how=appeared score=20.0 msg=x";
    assert!(one!(Detector, &format!("{failing}; {other}")).unwrap().doubt().is_none());
    for brought in [
        "0s svc:shop/web%web Anomaly anomaly=request_rate how=rose",
        "0s shop/x%web RolloutStarted hash=b",
        "0s shop/x%web ConfigChanged oname=env",
    ] {
        assert_eq!(one!(Detector, &format!("{brought}; {failing}")), None, "{brought}");
    }
    let elsewhere = "0s svc:shop/pay%pay Anomaly anomaly=request_rate how=rose";
    assert!(one!(Detector, &format!("{elsewhere}; {failing}")).is_some());
}

#[test]
fn a_repeat_is_no_further_evidence() {
    let story = BROKEN.repeat(3);
    let draft = one!(Detector, &story).unwrap();
    assert!(draft.ruled_out()[0].because.contains("20 against 108"), "{:?}", draft.ruled_out());
}
/// Two that are held apart, of which a third suffers.
const APART: &str = "15s svc:shop/pay%pay Anomaly anomaly=log_template how=appeared score=90.0 name=charge msg=\"charge writes Pay#7\" tapio.anomaly.apart=\"stock, shelf\"; \
     15s svc:shop/stock%stock Anomaly anomaly=log_template how=appeared score=60.0 name=count msg=\"count writes Stock#1\" tapio.anomaly.apart=pay; \
     15s svc:shop/shelf%shelf Anomaly anomaly=log_template how=vanished score=20.0 name=look msg=\"look no longer writes Shelf#2\" tapio.anomaly.apart=pay; ";

#[test]
fn two_that_are_apart_are_two_stories_each_with_its_own() {
    let drafts = told!(Detector, APART);
    let subjects: Vec<_> = drafts.iter().map(|it| it.subject().to_string()).collect();
    assert_eq!(subjects, ["service pay", "service stock"]);
    let ruled_out = |draft: &Draft| {
        let because = draft.ruled_out().iter().map(|it| it.because.to_string());
        because.collect::<Vec<_>>().join("; ")
    };
    let (pay, stock) = (&drafts[0], &drafts[1]);
    assert!(ruled_out(pay).contains("stock is unlike itself too"), "{}", ruled_out(pay));
    assert!(!ruled_out(pay).contains("shelf"), "{}", ruled_out(pay));
    assert!(ruled_out(stock).contains("pay is unlike itself too"), "{}", ruled_out(stock));
    assert!(ruled_out(stock).contains("20 against 60"), "{}", ruled_out(stock));
    assert_eq!((pay.evidence().len(), stock.evidence().len()), (1, 2));
    assert!(pay.touches().iter().all(|entity| !stock.touches().contains(entity)));
    assert!(drafts.iter().all(|draft| draft.doubt().is_none()));
}

#[test]
fn two_that_are_apart_stay_two_stories_on_their_way_through_the_engine() {
    let answer = crate::scene::play(APART, &crate::patterns()).unwrap();
    assert_eq!(answer, Answer::Several(vec![SPEC.slug.into(), SPEC.slug.into()]));
    // What was apart, and is seen to have to do with each other after all, is one again.
    let after_all = "30s svc:shop/pay%pay Anomaly anomaly=log_template how=appeared score=95.0 name=charge msg=\"charge writes Pay#7\"";
    let answer = crate::scene::play(&[APART, after_all].concat(), &crate::patterns()).unwrap();
    assert_eq!(answer, Answer::Cause(SPEC.slug.into()));
}

#[test]
fn what_may_have_one_cause_is_one_story() {
    let two = "15s svc:shop/pay%pay Anomaly anomaly=self_time how=rose score=90.0 msg=slow tapio.anomaly.apart=stock; \
         15s svc:shop/stock%stock Anomaly anomaly=log_template how=appeared score=30.0 msg=x tapio.anomaly.apart=pay; ";
    assert_eq!(told!(Detector, two).len(), 2);
    let more = |service: &str| {
        format!("9s svc:shop/{service}%{service} Anomaly anomaly=request_rate how=rose; ")
    };
    assert_eq!(told!(Detector, &[two, &more("pay")].concat()).len(), 2);
    // Both are asked for more.
    assert!(one!(Detector, &[two, &more("pay"), &more("stock")].concat()).is_some());
    // Only one of them is said to be apart.
    assert!(one!(Detector, &two.replace(" tapio.anomaly.apart=pay", "")).is_some());
    // Failing alone does not say from whom.
    let failing = "30s svc:shop/pay%pay Anomaly anomaly=error_rate how=rose score=20.0 msg=fail";
    assert_eq!(told!(Detector, &[two, failing].concat()).len(), 2);
    // So many at once have a cause that nobody sees.
    let names = ["a", "b", "c", "d"];
    let all = |names: &[&str]| {
        let event = |name: &&str| {
            let others: Vec<_> = names.iter().filter(|it| *it != name).copied().collect();
            format!(
                "15s svc:shop/{name}%{name} Anomaly anomaly=call how=vanished score=40.0 msg=x \
                 tapio.anomaly.apart=\"{}\"; ",
                others.join(", ")
            )
        };
        names.iter().map(event).collect::<String>()
    };
    assert_eq!(told!(Detector, &all(&names[..3])).len(), 3);
    assert!(one!(Detector, &all(&names)).is_some());
}
