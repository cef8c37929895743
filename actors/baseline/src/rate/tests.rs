//! Rates of services, segment by segment.

use std::sync::Arc;

use tapio_model::{
    Attributes, Binding, Class, EventId, Impact, Place, Severity, Source, SpanId, TraceContext,
    TraceId, Value,
};

use super::*;
use crate::level::{Direction, KNOWN_MIN};

/// Requests of one service in one segment: how many, and of those how many fail.
type Seen = (&'static str, u32, u32);

fn span(service: &str, number: u32, at: Timestamp, attributes: Vec<(Text, Value)>) -> Event {
    let id = u128::from(number).to_be_bytes();
    Event {
        id: EventId::from_bytes(id),
        time: at,
        source: Source::Otlp,
        kind: Kind::Span,
        trace: TraceContext {
            trace_id: TraceId::from_bytes(id),
            span_id: Some(SpanId::from_bytes(u64::from(number).to_be_bytes())),
            parent_span_id: None,
            binding: Binding::Explicit,
        },
        place: Arc::new(Place { service: Some(service.into()), ..Place::default() }),
        severity: Severity::Info,
        impact: Impact::NONE,
        class: Class::Other,
        attributes: Attributes::new(attributes),
    }
}

/// Shows rates one segment after another, and returns what was told: which segment, whose, what.
fn told(segments: impl IntoIterator<Item = Vec<Seen>>) -> Vec<(usize, String, Signal, Direction)> {
    let (mut rates, limits) = (Rates::default(), BaselineLimits::default());
    let mut told = Vec::new();
    let mut number = 0;
    for (segment, seen) in segments.into_iter().enumerate() {
        let begin = Timestamp::from_secs(i64::try_from(segment * 15).unwrap());
        let end = begin.after(limits.step);
        for (service, requests, failed) in seen {
            for request in 0..requests {
                number += 1;
                let status = if request < failed { "error" } else { "unset" };
                let attributes = vec![
                    (keys::SPAN_NAME.into(), "GET".into()),
                    (keys::SPAN_KIND.into(), "server".into()),
                    (keys::SPAN_STATUS.into(), status.into()),
                ];
                rates.take(&span(service, number, begin, attributes), &limits);
            }
        }
        let steps = rates.look(end, &limits).into_iter();
        told.extend(
            steps.map(|step| (segment, step.service.to_string(), step.signal, step.step.direction)),
        );
        assert!(rates.is_quiet());
    }
    told
}

/// Segments of a minute and until something may be told, the first of which is heard in part.
const KNOWN: usize = 4 * KNOWN_MIN + 1;

#[test]
fn a_surge_of_requests_is_told_of_whoever_gets_it() {
    let seen = |segment: usize| {
        let web = if segment < 80 { 50 } else { 400 };
        vec![("web", web, 0), ("db", 50, 0)]
    };
    let told = told((0..90).map(seen));
    // Two segments of four are three times as many requests as usual.
    let first = told.first().map(|(segment, service, signal, direction)| {
        (*segment, service.as_str(), *signal, *direction)
    });
    assert_eq!(first, Some((80, "web", Signal::Requests, Direction::Rose)), "{told:?}");
    assert!(told.iter().all(|(_, service, ..)| service == "web"));
}

#[test]
fn requests_that_stay_away_are_told_while_others_come() {
    let one = |segment: usize| vec![("web", if segment < 80 { 50 } else { 0 }, 0), ("db", 90, 0)];
    let fallen = told((0..90).map(one));
    assert!(fallen.iter().any(|(_, service, signal, direction)| {
        service == "web" && *signal == Signal::Requests && *direction == Direction::Fell
    }));
    // If nobody is heard, it may be the telemetry; nor is anything told when all come back.
    let all = |segment: usize| match segment {
        80..90 => vec![("web", 1, 0), ("db", 1, 0)],
        90..95 => vec![],
        _ => vec![("web", 50, 0), ("db", 90, 0)],
    };
    assert_eq!(told((0..120).map(all)), []);
}

#[test]
fn failures_are_told_of_the_service_whose_own_they_are() {
    let seen = |segment: usize| vec![("web", 50, if segment < 80 { 0 } else { 20 })];
    let told = told((0..90).map(seen));
    assert_eq!(told.first(), Some(&(80, "web".to_owned(), Signal::Errors, Direction::Rose)));
    assert!(told.iter().all(|(_, _, signal, _)| *signal == Signal::Errors));
}

#[test]
fn a_few_failures_as_ever_are_nothing() {
    let always = |segment: usize| vec![("web", 50, u32::from(segment.is_multiple_of(3)))];
    assert_eq!(told((0..200).map(always)), []);
    let few = |segment: usize| vec![("web", 50, u32::from(segment == 80))];
    assert_eq!(told((0..100).map(few)), []);
}

#[test]
fn nothing_is_told_before_ten_minutes_are_known() {
    let seen = |from: usize| {
        move |segment: usize| {
            let (requests, failed) = if segment < from { (50, 0) } else { (500, 400) };
            vec![("web", requests, failed)]
        }
    };
    assert_eq!(told((0..KNOWN).map(seen(KNOWN - 4))), []);
    assert_ne!(told((0..KNOWN + 4).map(seen(KNOWN))), []);
}

#[test]
fn a_gap_begins_the_minute_anew_and_a_backlog_is_no_surge() {
    let seen = |segment: usize| match segment {
        80..84 => vec![],
        // The second half of a segment is heard.
        84 => vec![("web", 25, 0)],
        _ => vec![("web", 50, 0)],
    };
    assert_eq!(told((0..120).map(seen)), []);
    let (mut rates, limits) = (Rates::default(), BaselineLimits::default());
    rates.look(Timestamp::from_secs(600), &limits);
    rates.take(&span("web", 1, Timestamp::from_secs(500), vec![]), &limits);
    assert!(rates.is_quiet(), "it is of a minute that is long over");
    rates.take(&span("web", 1, Timestamp::from_secs(590), vec![]), &limits);
    assert!(!rates.is_quiet(), "it is a little late");
}

#[test]
fn what_fails_is_said_by_status_http_or_grpc() {
    let cases: [(&str, Value, bool); 7] = [
        (keys::SPAN_STATUS, "error".into(), true),
        (keys::SPAN_STATUS, "ok".into(), false),
        (keys::HTTP_STATUS, 503.into(), true),
        (keys::HTTP_STATUS, 404.into(), false),
        ("rpc.grpc.status_code", 14.into(), true),
        ("rpc.grpc.status_code", "13".into(), true),
        ("rpc.grpc.status_code", 5.into(), false),
    ];
    for (key, value, want) in cases {
        let attributes = vec![(key.into(), value.clone())];
        assert_eq!(is_failed(&span("web", 1, Timestamp::ZERO, attributes)), want, "{key} {value}");
    }
}

#[test]
fn rates_take_no_more_bytes_than_they_may() {
    let limits = BaselineLimits { rates_bytes_max: 64 << 10, ..BaselineLimits::default() };
    let mut rates = Rates::default();
    for segment in 1..200_u32 {
        let begin = Timestamp::from_secs(i64::from(segment * 15));
        for number in 0..50 {
            let name = format!("service-{}", segment * 10 + number);
            let attributes = vec![(keys::SPAN_NAME.into(), format!("GET /{number}").into())];
            rates.take(&span(&name, number, begin, attributes), &limits);
        }
        rates.look(begin.after(limits.step), &limits);
        // What came last is held until it is known what is older.
        assert!(rates.bytes() < 2 * limits.rates_bytes_max, "{segment}: {}", rates.bytes());
    }
    assert!(rates.bytes() > limits.rates_bytes_max / 2);
}
