use std::time::Duration;

use proptest::prelude::*;
use tapio_model::{Ledger, Level, Outcome, ShedReason};

use super::*;
use crate::label::{CommitResult, Label, Loss, RequestOp};

/// A sample as Prometheus reads it: name, labels, value.
type Sample = (String, BTreeMap<String, String>, f64);

/// Reads Prometheus text the way its documentation describes; `None` where it is not such text.
fn parse(text: &str) -> Option<Vec<Sample>> {
    let mut samples = Vec::new();
    let mut typed = BTreeMap::new();
    for line in text.split_terminator('\n') {
        if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ')?;
            // A second TYPE of a name, or one after its samples, is an error of the format.
            let is_first = typed.insert(name.to_owned(), kind.to_owned()).is_none();
            let is_before = !samples.iter().any(|(sample, ..): &Sample| sample == name);
            (is_first && is_before).then_some(())?;
        } else if !line.starts_with("# HELP ") {
            samples.push(sample(line)?);
        }
    }
    let family = |name: &str| {
        let stems = ["_bucket", "_sum", "_count"].map(|end| name.strip_suffix(end));
        let histogram = stems
            .into_iter()
            .flatten()
            .any(|stem| typed.get(stem).is_some_and(|kind| kind == "histogram"));
        histogram || typed.contains_key(name)
    };
    samples.iter().all(|(name, ..)| family(name)).then_some(samples)
}

fn sample(line: &str) -> Option<Sample> {
    let (head, value) = line.rsplit_once(' ')?;
    let (name, mut rest) = head.split_at(head.find('{').unwrap_or(head.len()));
    let mut labels = BTreeMap::new();
    if !rest.is_empty() {
        rest = rest.strip_prefix('{')?.strip_suffix('}')?;
        while !rest.is_empty() {
            let (key, quoted) = rest.split_once("=\"")?;
            let mut value = String::new();
            let mut letters = quoted.char_indices();
            let end = loop {
                match letters.next()? {
                    (at, '"') => break at,
                    (_, '\\') => value.push(match letters.next()?.1 {
                        'n' => '\n',
                        letter @ ('\\' | '"') => letter,
                        _ => return None,
                    }),
                    (_, letter) => value.push(letter),
                }
            };
            labels.insert(key.to_owned(), value).is_none().then_some(())?;
            rest = quoted.get(end + 1..)?;
            rest = rest.strip_prefix(',').unwrap_or(rest);
        }
    }
    Some((name.to_owned(), labels, value.parse().ok()?))
}

fn value(samples: &[Sample], name: &str, labels: &[(&str, &str)]) -> Option<f64> {
    let same = |sample: &&Sample| {
        let (its, theirs, _) = sample;
        its == name
            && theirs.len() == labels.len()
            && labels.iter().all(|(key, value)| theirs.get(*key).is_some_and(|its| its == value))
    };
    samples.iter().find(same).map(|(.., value)| *value)
}

#[test]
fn a_page_is_what_prometheus_reads() {
    let meters = Meters::new();
    let version = Label::Version("1.0 \"beta\"\\\n");
    meters.observe(Metric::BuildInfo, version, || 1).keep();
    meters.observe(Metric::LogLag, (), || Duration::from_millis(1_500)).keep();
    meters.counter(Metric::Commits, Label::Commit(CommitResult::Lost)).add(3);
    let histogram = meters.histogram(Metric::RequestDuration, Label::Op(RequestOp::Query));
    for micros in [250, 251, 9_999_999, 10_000_001] {
        histogram.record(Duration::from_micros(micros));
    }
    let text = meters.prometheus();
    insta::assert_snapshot!(text);
    let samples = parse(&text).expect("text that Prometheus reads");
    let of = |name: &str, labels: &[(&str, &str)]| value(&samples, name, labels);
    assert_eq!(of("tapio_build_info", &[("version", "1.0 \"beta\"\\\n")]), Some(1.0));
    assert_eq!(of("tapio_log_lag_seconds", &[]), Some(1.5));
    assert_eq!(of("tapio_commits_total", &[("result", "lost")]), Some(3.0));
    let duration = "tapio_request_duration_seconds";
    for (bound, count) in [("0.00025", 1.0), ("0.0005", 2.0), ("10", 3.0), ("+Inf", 4.0)] {
        let labels = [("op", "query"), ("le", bound)];
        assert_eq!(of(&format!("{duration}_bucket"), &labels), Some(count), "{bound}");
    }
    assert_eq!(of(&format!("{duration}_count"), &[("op", "query")]), Some(4.0));
    assert_eq!(of(&format!("{duration}_sum"), &[("op", "query")]), Some(20.000_501));
}

#[test]
fn every_event_of_a_ledger_is_on_the_page() {
    let meters = Meters::new();
    let mut ledger = Ledger::default();
    let mut outcomes = vec![Outcome::Story, Outcome::Open, Outcome::Expired, Outcome::Late];
    outcomes.extend([Outcome::Duplicate, Outcome::DeadLetter]);
    outcomes.extend(ShedReason::ALL.map(Outcome::Shed));
    for (times, outcome) in (1_u64..).zip(outcomes) {
        (0..times).for_each(|_| ledger.receive(outcome));
    }
    let shards = [0; 2].map(|_| meters.observe_all(move |sheet| sheet.set_ledger(&ledger)));
    let samples = parse(&meters.prometheus()).unwrap();
    let sum = |name: &str| -> f64 {
        samples.iter().filter(|(its, ..)| its == name).map(|(.., value)| value).sum()
    };
    let received = f64::from(u32::try_from(ledger.received * 2).unwrap());
    assert!((sum("tapio_outcome_events") - received).abs() < 0.5, "in = the seven outcomes");
    let shed = value(&samples, "tapio_outcome_events", &[("outcome", "shed")]);
    assert_eq!(shed, Some(sum("tapio_shed_events")));
    assert_eq!(samples.len(), 7 + ShedReason::ALL.len());
    drop(shards);
    assert_eq!(meters.prometheus(), "");
}

#[test]
fn sums_are_added_and_peaks_are_not() {
    let meters = Meters::new();
    let observers = [3_u64, 5, 4].map(|figure| {
        meters.observe_all(move |sheet| {
            sheet.set(Metric::LiveTraces, (), figure);
            sheet.set(Metric::Claims, (), figure);
            sheet.set(Metric::LogLag, (), Duration::from_secs(figure));
        })
    });
    meters.counter(Metric::Claims, ()).add(1);
    meters.counter(Metric::Claims, ()).add(1);
    let samples = parse(&meters.prometheus()).unwrap();
    let of = |name| value(&samples, name, &[]);
    assert_eq!(of("tapio_live_traces"), Some(12.0));
    assert_eq!(of("tapio_claims_total"), Some(14.0));
    assert_eq!(of("tapio_log_lag_seconds"), Some(5.0));
    drop(observers);
}

#[test]
fn an_observer_may_use_the_meters() {
    let meters = Meters::new();
    let inner = meters.clone();
    let read = move || {
        inner.counter(Metric::Claims, ()).add(1);
        1_u64
    };
    meters.observe(Metric::OwnedShards, (), read).keep();
    assert!(meters.prometheus().contains("tapio_claims_total 1\n"));
}

#[test]
#[cfg(debug_assertions)]
#[should_panic(expected = "LostEvents has the labels [Reason]")]
fn a_label_that_a_metric_does_not_list_is_our_bug() {
    drop(Meters::new().counter(Metric::LostEvents, Label::Level(Level::High)));
}

proptest! {
    #[test]
    fn any_figures_read_back(lost in any::<[u32; 3]>(), times in any::<[u32; 8]>()) {
        let meters = Meters::new();
        for (loss, lost) in Loss::ALL.iter().zip(lost) {
            meters.counter(Metric::LostEvents, Label::Loss(*loss)).add(lost.into());
        }
        let histogram = meters.histogram(Metric::CommitDuration, ());
        times.iter().for_each(|time| histogram.record(Duration::from_micros((*time).into())));
        let samples = parse(&meters.prometheus()).expect("text that Prometheus reads");
        for (loss, lost) in Loss::ALL.iter().zip(lost) {
            let read = value(&samples, "tapio_lost_events_total", &[("reason", loss.name())]);
            prop_assert_eq!(read, Some(f64::from(lost)));
        }
        let buckets: Vec<_> = samples.iter().filter(|(name, ..)| name.ends_with("_bucket")).collect();
        prop_assert!(buckets.is_sorted_by(|(.., a), (.., b)| a <= b));
        prop_assert_eq!(buckets.last().map(|(.., count)| *count), Some(8.0));
    }
}
