//! Lines of real loggers.

use proptest::prelude::*;

use super::*;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const SPAN: &str = "00f067aa0ba902b7";

#[test]
fn levels_are_read_in_the_spellings_loggers_use() {
    let lines = [
        (r#"{"level":"error","msg":"x"}"#, Some(Severity::Error)),
        (r#"{"severity":"WARNING","message":"x"}"#, Some(Severity::Warn)),
        (r#"{"level":50,"msg":"x"}"#, Some(Severity::Error)),
        (r#"{"log":{"level":"fatal"},"message":"x"}"#, Some(Severity::Fatal)),
        ("2026-01-02 03:04:05,123 ERROR [main] c.e.shop.Cart - boom", Some(Severity::Error)),
        ("2026-01-02T03:04:05Z  WARN shop::cart: slow", Some(Severity::Warn)),
        ("2026/01/02 03:04:05 [error] 31#31: *1 connect() failed", Some(Severity::Error)),
        ("E0102 15:04:05.000000       1 reflector.go:12] failed to list", Some(Severity::Error)),
        ("W0102 15:04:05.000000       1 x.go:1] odd", Some(Severity::Warn)),
        ("time=\"2026-01-02T03:04:05Z\" level=fatal msg=\"x\"", Some(Severity::Fatal)),
        ("ERROR:root:boom", Some(Severity::Error)),
        ("error: no such thing", Some(Severity::Error)),
        (
            "[2026-01-02 03:04:05 +0000] [7] [CRITICAL] WORKER TIMEOUT (pid:9)",
            Some(Severity::Fatal),
        ),
        ("there was an error in the cart", None),
        ("Listening on :8080", None),
    ];
    for (line, want) in lines {
        assert_eq!(translate_line(line.as_bytes()).severity, want, "{line}");
    }
}

#[test]
fn a_structured_line_gives_all_it_has() {
    let line = format!(
        r#"{{"ts":1767323045.5,"level":"error","logger":"cart","msg":"pay failed","error":"dial tcp 10.0.0.1:5432: connect: connection refused","trace_id":"{TRACE}","spanId":"{SPAN}"}}"#
    );
    let said = translate_line(line.as_bytes());
    assert_eq!(said.time, Some(Timestamp::from_millis(1_767_323_045_500)));
    assert_eq!(said.logger.as_deref(), Some("cart"));
    assert_eq!(said.message, "pay failed: dial tcp 10.0.0.1:5432: connect: connection refused");
    assert_eq!(
        (said.kind, said.error_type.as_deref()),
        (Kind::ConnectRefused, Some("ECONNREFUSED"))
    );
    assert_eq!(said.peer, Some(Peer { address: "10.0.0.1".into(), port: Some(5_432) }));
    let trace = said.trace.unwrap();
    assert_eq!(trace.trace_id.to_string(), TRACE);
    assert_eq!(trace.span_id.unwrap().to_string(), SPAN);
}

#[test]
fn traces_are_found_under_every_name() {
    for line in [
        format!(r#"{{"msg":"x","traceId":"{TRACE}"}}"#),
        format!(r#"{{"msg":"x","trace.id":"{TRACE}"}}"#),
        format!(r#"{{"msg":"x","trace":{{"id":"{TRACE}"}}}}"#),
        format!(r#"{{"msg":"x","traceparent":"00-{TRACE}-{SPAN}-01"}}"#),
        format!("INFO [trace_id={TRACE}] paid"),
        format!("2026-01-02T03:04:05Z stdout F GET / traceparent=00-{TRACE}-{SPAN}-01"),
    ] {
        let found = translate_line(line.as_bytes()).trace.expect(&line);
        assert_eq!(found.trace_id.to_string(), TRACE, "{line}");
    }
}

#[test]
fn an_error_object_is_an_exception() {
    let line = r#"{"level":"error","msg":"boom","exception":{"type":"KeyError","message":"sku","stacktrace":"Traceback ..."}}"#;
    let said = translate_line(line.as_bytes());
    assert_eq!(said.kind, Kind::Exception);
    assert_eq!(said.error_type.as_deref(), Some("KeyError"));
    assert_eq!(said.stacktrace.as_deref(), Some("Traceback ..."));
    assert_eq!(said.message, "boom: sku");
}

#[test]
fn what_failed_is_read_wherever_a_logger_puts_it() {
    let cases = [
        (
            r#"{"@t":"2026-01-02T03:04:05Z","@l":"Warning","@mt":"{Peer} said {Status:0} {What}","Peer":"geo","Status":429}"#,
            Some(Severity::Warn),
            "geo said 429 {What}",
        ),
        (
            r#"{"@l":"Error","@m":"no stop","@x":"Polly.BrokenCircuitException: it is open\n   at Polly.Run()"}"#,
            Some(Severity::Error),
            "no stop: Polly.BrokenCircuitException: it is open",
        ),
        (
            r#"{"LogLevel":"Error","Category":"Shop","Message":"no","Exception":"System.X: why\n   at A"}"#,
            Some(Severity::Error),
            "no: System.X: why",
        ),
        (
            r#"{"level":"error","message":"boom","stack_trace":"Traceback\n  File 1\nKeyError: 'sku'"}"#,
            Some(Severity::Error),
            "boom: KeyError: 'sku'",
        ),
        (
            r#"{"level":"ERROR","message":"bulk failed","failed":3,"firstError":"index is read-only"}"#,
            Some(Severity::Error),
            "bulk failed: index is read-only",
        ),
        (
            r#"{"level":"error","msg":"boom","stack":"at pay (/app/cart.js:3)"}"#,
            Some(Severity::Error),
            "boom",
        ),
        (
            r#"{"level":"ERROR","msg":"bulk failed","first_error":{"type":"block","reason":"index is read-only"}}"#,
            Some(Severity::Error),
            "bulk failed: index is read-only",
        ),
        (
            r#"{"level":"error","message":"request failed","detail":"No such intent"}"#,
            Some(Severity::Error),
            "request failed: No such intent",
        ),
        (r#"{"level":"info","message":"done","detail":"all"}"#, Some(Severity::Info), "done"),
        (
            r#"{"t":{"$date":"2026-01-02T03:00:16.663+00:00"},"s":"I","c":"REPL","ctx":"a","msg":"Heartbeat failed","attr":{"error":{"code":6,"errmsg":"refused"}}}"#,
            Some(Severity::Info),
            "Heartbeat failed: refused",
        ),
        (
            r#"{"@t":"2026-01-02T03:04:05Z","@mt":"last failure {Last}","Last":"connection refused db:5432"}"#,
            Some(Severity::Info),
            "last failure connection refused db:5432",
        ),
        (r#"{"@mt":"open { and {Name"}"#, None, "open { and {Name"),
    ];
    for (line, severity, message) in cases {
        let said = translate_line(line.as_bytes());
        assert_eq!((said.severity, said.message.as_str()), (severity, message), "{line}");
    }
}

#[test]
fn what_only_looks_like_an_error_is_left_alone() {
    let cases = [
        (r#"{"@l":"Verbose","@m":"x"}"#, Some(Severity::Trace), "x"),
        (r#"{"msg":"health ok","last_error":"connection refused"}"#, None, "health ok"),
        (
            r#"{"level":"info","msg":"set up","on_error":"continue"}"#,
            Some(Severity::Info),
            "set up",
        ),
        (
            r#"{"level":"error","msg":"could not pay","stacktrace":"main.(*Server).handle\n\t/app/main.go:42"}"#,
            Some(Severity::Error),
            "could not pay",
        ),
        (r#"{"level":"info","msg":"deployed","stack":"prod"}"#, Some(Severity::Info), "deployed"),
        (r#"{"Level":"Info","Message":"ok","Exception":"None"}"#, Some(Severity::Info), "ok"),
        (r#"{"s":"pay","c":"edge","ctx":"req-7","msg":"cannot reach"}"#, None, "cannot reach"),
    ];
    for (line, severity, message) in cases {
        let said = translate_line(line.as_bytes());
        assert_eq!((said.severity, said.message.as_str()), (severity, message), "{line}");
    }
}

#[test]
fn a_template_of_many_holes_is_no_flood() {
    let holes = "{A}".repeat(10_000);
    let line = format!(r#"{{"@mt":"{holes}","A":"{}"}}"#, "x".repeat(30_000));
    assert!(json::read(&line).is_some_and(|line| line.message.len() < 100_000));
}

#[test]
fn the_runtimes_time_is_the_lines_time() {
    let time = Some(Timestamp::from_secs(1_767_323_045));
    for line in [
        r#"{"log":"1999-01-01T00:00:00Z ERROR no such host\n","stream":"stderr","time":"2026-01-02T03:04:05Z"}"#,
        "2026-01-02T03:04:05Z stderr F 1999-01-01T00:00:00Z ERROR no such host",
    ] {
        let said = translate_line(line.as_bytes());
        assert_eq!((said.time, said.severity), (time, Some(Severity::Error)), "{line}");
        assert_eq!((said.kind, said.dns_rcode), (Kind::DnsFailure, Some("nxdomain")));
        assert_eq!(said.message, "1999-01-01T00:00:00Z ERROR no such host");
    }
}

#[test]
fn what_is_said_calmly_is_no_failure() {
    for (line, kind) in [
        ("INFO retrying after connection refused", Kind::Log),
        ("WARN retrying after connection refused", Kind::ConnectRefused),
        ("retrying after connection refused", Kind::ConnectRefused),
    ] {
        assert_eq!(translate_line(line.as_bytes()).kind, kind, "{line}");
    }
}

#[test]
fn a_limit_is_told_with_its_resource_and_errno_whatever_the_exception() {
    let line = r#"{"level":"error","msg":"boom","exception":{"type":"java.lang.OutOfMemoryError","message":"unable to create native thread"}}"#;
    let id = EventId::from_bytes([1; 16]);
    let event =
        translate_line(line.as_bytes()).into_event(id, Timestamp::from_secs(5), Source::App);
    assert_eq!((event.kind, event.class), (Kind::LimitReached, Class::Lifecycle));
    assert_eq!(event.severity, Severity::Error);
    let said = tapio_model::Attributes::new(event.attributes.iter().cloned());
    assert_eq!(said.text(keys::RESOURCE), Some("processes"));
    assert_eq!(said.text(keys::ERROR_TYPE), Some("EAGAIN"));
}

#[test]
fn loggers_are_named() {
    for (line, want) in [
        ("2026-01-02 03:04:05,123 ERROR [main] c.e.shop.Cart - boom", Some("c.e.shop.Cart")),
        (
            "2026-01-02 03:04:05.123 ERROR 1 --- [exec-1] c.e.shop.Cart : boom",
            Some("c.e.shop.Cart"),
        ),
        ("ts=1 level=info logger=tsdb msg=ok", Some("tsdb")),
        ("ERROR boom", None),
    ] {
        assert_eq!(translate_line(line.as_bytes()).logger.as_deref(), want, "{line}");
    }
}

#[test]
fn long_messages_are_cut_and_future_times_are_not_believed() {
    let line = format!("2999-01-01T00:00:00Z ERROR {}", "é".repeat(MESSAGE_BYTES_MAX));
    let said = translate_line(line.as_bytes());
    assert!(said.message.len() <= MESSAGE_BYTES_MAX);
    let now = Timestamp::from_secs(5);
    let id = EventId::from_bytes([1; 16]);
    assert_eq!(said.into_event(id, now, Source::App).time, now);
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        drop(translate_line(&bytes));
    }

    #[test]
    fn no_text_of_words_that_mean_something_panics(words in proptest::collection::vec(prop_oneof![
        Just("{\"log\":\""), Just("\"stream\":\"stderr\""), Just("}"), Just("connection refused"),
        Just("dial tcp "), Just("[::1]:80"), Just("2026-01-02T03:04:05Z "), Just("é"), Just("ERROR"),
        Just("lookup "), Just(":99999"), Just("{"), Just("\"level\":"), Just("E0102 15:04"), Just(" stderr F "),
    ], 0..24)) {
        drop(translate_line(words.concat().as_bytes()));
    }
}
