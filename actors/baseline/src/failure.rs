//! Which requests failed, and whose failure it was: of those of a trace, the deepest.

use std::collections::{BTreeMap, BTreeSet};

use tapio_model::{Event, SpanId, Text, TraceId, Value, keys};

/// A chain of failed spans is followed so far: a broken trace may go round in circles.
const DEPTH_MAX: usize = 64;

/// Status codes of gRPC that are the server's failure.
///
/// # Source
/// OpenTelemetry semantic conventions for gRPC, server spans: `UNKNOWN`, `DEADLINE_EXCEEDED`,
/// `UNIMPLEMENTED`, `INTERNAL`, `UNAVAILABLE`, `DATA_LOSS`.
const GRPC_FAILURES: [i64; 6] = [2, 4, 12, 13, 14, 15];

/// Says whether a span is a request that its service was asked to serve. Where nobody says what
/// kind a span is, each is.
pub(crate) fn is_request(span: &Event) -> bool {
    matches!(span.attributes.text(keys::SPAN_KIND), None | Some("server" | "consumer"))
}

/// Says whether a span failed, by its own account. What the client did wrong is no failure.
pub(crate) fn is_failed(span: &Event) -> bool {
    let attributes = &span.attributes;
    if let Some(status) = attributes.int(keys::HTTP_STATUS) {
        return status >= 500;
    }
    let grpc = attributes.get("rpc.grpc.status_code").and_then(|code| match code {
        Value::Int(code) => Some(*code),
        Value::Text(code) => code.parse().ok(),
        Value::Float(_) | Value::Bool(_) => None,
    });
    match grpc {
        Some(code) => GRPC_FAILURES.contains(&code),
        None => attributes.text(keys::SPAN_STATUS) == Some("error"),
    }
}

/// A span that failed.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    pub(crate) trace: TraceId,
    pub(crate) span: Option<SpanId>,
    pub(crate) parent: Option<SpanId>,
    pub(crate) service: Text,
    pub(crate) operation: Text,
    pub(crate) is_request: bool,
}

/// The spans that called failed spans.
pub(crate) type Callers = BTreeSet<(TraceId, SpanId)>;

/// Returns the callers of failures.
pub(crate) fn callers(failures: &[Failure]) -> Callers {
    failures.iter().filter_map(|failure| Some((failure.trace, failure.parent?))).collect()
}

/// Returns the service and the operation of each request that failed with nothing below it that had
/// failed: what fails because somebody else did has an excuse. A failure that the request survived
/// counts nothing, and a trace counts once for a service. `earlier` are callers of failures that
/// ended before, for a call ends before its caller.
pub(crate) fn own<'a>(failures: &'a [Failure], earlier: &Callers) -> Vec<(&'a Text, &'a Text)> {
    let callers = callers(failures);
    let at: BTreeMap<_, _> =
        failures.iter().filter_map(|it| Some(((it.trace, it.span?), it))).collect();
    let mut own: BTreeMap<(TraceId, &Text), &Text> = BTreeMap::new();
    for failure in failures {
        let key = failure.span.map(|span| (failure.trace, span));
        if key.is_some_and(|key| callers.contains(&key) || earlier.contains(&key)) {
            continue;
        }
        let above = |failure: &&'a Failure| {
            let caller = at.get(&(failure.trace, failure.parent?)).copied()?;
            (caller.service == failure.service).then_some(caller)
        };
        let outermost = std::iter::successors(Some(failure), above).take(DEPTH_MAX).last();
        if let Some(request) = outermost.filter(|it| it.is_request) {
            own.entry((request.trace, &request.service)).or_insert(&request.operation);
        }
    }
    own.into_iter().map(|((_, service), operation)| (service, operation)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(service: &str, ids: (u8, u64, Option<u64>), is_request: bool) -> Failure {
        let (trace, span, parent) = ids;
        let id = |number: u64| SpanId::from_bytes(number.to_be_bytes());
        Failure {
            trace: TraceId::from_bytes([trace; 16]),
            span: Some(id(span)),
            parent: parent.map(id),
            service: service.into(),
            operation: format!("{service} {span}").into(),
            is_request,
        }
    }

    fn told(failures: &[Failure], earlier: &[Failure]) -> Vec<String> {
        own(failures, &callers(earlier))
            .iter()
            .map(|(_, operation)| operation.to_string())
            .collect()
    }

    #[test]
    fn of_the_failures_of_a_trace_the_deepest_is_somebodys_own() {
        let web = failure("web", (1, 1, None), true);
        let call = failure("web", (1, 2, Some(1)), false);
        let pay = failure("pay", (1, 3, Some(2)), true);
        let query = failure("pay", (1, 4, Some(3)), false);
        let elsewhere = failure("web", (2, 1, None), true);
        let all = [web.clone(), call.clone(), pay.clone(), query, elsewhere];
        assert_eq!(told(&all, &[]), ["pay 3", "web 1"]);
        // The callee sends no spans.
        assert_eq!(told(&[web.clone(), call.clone()], &[]), ["web 1"]);
        // It ended just before this look.
        assert_eq!(told(std::slice::from_ref(&web), std::slice::from_ref(&call)), [""; 0]);
        // The request went well all the same.
        assert_eq!(told(std::slice::from_ref(&call), &[]), [""; 0]);
        // Two failures of one service in one trace are one.
        assert_eq!(told(&[pay, failure("pay", (1, 5, None), true)], &[]).len(), 1);
        // Round in circles.
        let ring = [failure("a", (1, 1, Some(2)), true), failure("a", (1, 2, Some(1)), true)];
        assert_eq!(told(&ring, &[]), [""; 0]);
    }
}
