//! Signs that something is slower than it was: what makes a shortage of processor time matter.

use tapio_model::{Event, Kind, Place, keys};

use crate::witness::quoted;

/// How probes and clients say that there was no answer in time, in lower case.
const LATE: &[&str] = &["deadline exceeded", "timeout", "timed out"];

/// Says whether an event tells of something at `place` that answers too slowly.
pub(crate) fn is_slow(event: &Event, place: &Place) -> bool {
    if event.kind == Kind::Anomaly {
        return has_risen(event, "self_time") && may_be_of(&event.place, place);
    }
    event.kind == Kind::ProbeFailed && event.place.is_same_pod(place) && {
        let said = event.message().to_ascii_lowercase();
        LATE.iter().any(|words| said.contains(words))
    }
}

/// Says whether an event tells of more work for what is at `place`.
pub(crate) fn is_more_work(event: &Event, place: &Place) -> bool {
    has_risen(event, "request_rate") && may_be_of(&event.place, place)
}

/// Says whether a signal rose above what was learnt of it.
pub(crate) fn has_risen(event: &Event, signal: &str) -> bool {
    event.kind == Kind::Anomaly
        && event.attributes.text(keys::ANOMALY_SIGNAL) == Some(signal)
        && event.attributes.text(keys::ANOMALY_CHANGE) == Some("rose")
}

/// Says whether telemetry of `one` may be of what is at `place`: of the same pod or workload, or of
/// a service that nothing says is another.
pub(crate) fn may_be_of(one: &Place, place: &Place) -> bool {
    if one.pod.is_some() || one.pod_uid.is_some() {
        return one.is_same_pod(place);
    }
    if one.workload.is_some() && place.workload.is_some() {
        return one.is_same_workload(place);
    }
    one.service.as_ref().zip(place.service_name()).is_some_and(|(one, own)| one == own)
}

/// Says how it shows.
pub(crate) fn describe(event: &Event) -> String {
    if event.kind == Kind::ProbeFailed {
        let probe = event.attributes.text(keys::PROBE).unwrap_or("a");
        return format!("the {probe} probe got no answer in time{}", quoted(event));
    }
    let number = |key| event.attributes.get(key).map(ToString::to_string);
    match number(keys::ANOMALY_BEFORE).zip(number(keys::ANOMALY_AFTER)) {
        Some((was, is)) => format!("it takes longer than it did: {is} after {was}"),
        None => "it takes longer than it did".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::events;

    #[test]
    fn slow_is_late_and_not_refused() {
        let at = events("0s shop/web-1/web@n1%web CpuThrottled").unwrap();
        let cases = [
            ("shop/web-1/web ProbeFailed msg=\"context deadline exceeded\"", true),
            ("shop/web-1/web ProbeFailed msg=\"Client.Timeout exceeded\"", true),
            ("shop/web-1/web ProbeFailed msg=\"connection refused\"", false),
            ("shop/web-2/web ProbeFailed msg=\"context deadline exceeded\"", false),
            ("svc:shop/web Anomaly anomaly=self_time how=rose", true),
            ("svc:shop/web%web Anomaly anomaly=self_time how=rose", true),
            ("svc:shop/web Anomaly anomaly=self_time how=fell", false),
            ("svc:shop/web Anomaly anomaly=edge_latency how=rose", false),
            ("svc:shop/db Anomaly anomaly=self_time how=rose", false),
            ("node:n1 Anomaly anomaly=self_time how=rose", false),
        ];
        for (event, want) in cases {
            let told = events(&format!("0s {event}")).unwrap();
            assert_eq!(is_slow(&told[0], &at[0].place), want, "{event}");
        }
    }
}
