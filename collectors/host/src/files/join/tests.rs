//! Stack traces of five languages.

use super::*;

/// Joins a log and shows each event as (lines, error type, first line).
fn join(log: &str) -> Vec<(u64, Option<String>, String)> {
    let mut joiner = Joiner::default();
    let mut joined = Vec::new();
    for line in log.lines() {
        joined.extend(joiner.push(Piece { offset: 0, text: line.into(), time: None, records: 1 }));
    }
    joined.extend(joiner.flush());
    let show = |joined: Joined| {
        (joined.records, joined.trace.and_then(|trace| trace.error_type), joined.head.text)
    };
    joined.into_iter().map(show).collect()
}

fn event(lines: u64, error_type: Option<&str>, head: &str) -> (u64, Option<String>, String) {
    (lines, error_type.map(str::to_owned), head.into())
}

#[test]
fn java_traces_belong_to_their_log_line() {
    let log = "\
2026-01-02 03:04:05,123 INFO  [main] c.e.Cart - starting
2026-01-02 03:04:06,123 ERROR [main] c.e.Cart - boom
java.lang.IllegalStateException: no cart
\tat c.e.Cart.pay(Cart.java:10)
\tat c.e.Main.main(Main.java:3)
Caused by: java.net.ConnectException: Connection refused
\tat java.base/sun.nio.ch.Net.connect0(Native Method)
\t... 12 more
2026-01-02 03:04:07,123 INFO  [main] c.e.Cart - going on
Exception in thread \"main\" java.lang.OutOfMemoryError: Java heap space
\tat c.e.Main.main(Main.java:4)";
    assert_eq!(
        join(log),
        [
            event(1, None, "2026-01-02 03:04:05,123 INFO  [main] c.e.Cart - starting"),
            event(
                7,
                Some("java.lang.IllegalStateException"),
                "2026-01-02 03:04:06,123 ERROR [main] c.e.Cart - boom"
            ),
            event(1, None, "2026-01-02 03:04:07,123 INFO  [main] c.e.Cart - going on"),
            event(
                2,
                Some("java.lang.OutOfMemoryError"),
                "Exception in thread \"main\" java.lang.OutOfMemoryError: Java heap space"
            ),
        ]
    );
}

#[test]
fn python_traces_end_with_the_exception_and_may_be_chained() {
    let log = "\
ERROR:root:boom
Traceback (most recent call last):
  File \"a.py\", line 3, in pay
    x[sku]
KeyError: 'sku'

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File \"a.py\", line 5, in pay
    raise PayError()
shop.errors.PayError: no
INFO:root:going on";
    assert_eq!(
        join(log),
        [
            event(12, Some("shop.errors.PayError"), "ERROR:root:boom"),
            event(1, None, "INFO:root:going on"),
        ]
    );
}

#[test]
fn a_go_panic_ends_with_its_frames() {
    let log = "\
panic: runtime error: invalid memory address or nil pointer dereference
[signal SIGSEGV: segmentation violation code=0x1 addr=0x0 pc=0x48]

goroutine 1 [running]:
main.(*Cart).Pay(0x0, {0x1, 0x2})
\t/src/main.go:12 +0x1d
created by main.main in goroutine 1
\t/src/main.go:3 +0x2
exit status 2
level=info msg=\"restarted\"";
    assert_eq!(
        join(log),
        [
            event(
                9,
                Some("panic"),
                "panic: runtime error: invalid memory address or nil pointer dereference"
            ),
            event(1, None, "level=info msg=\"restarted\""),
        ]
    );
}

#[test]
fn a_rust_panic_says_where_and_why() {
    let log = "\
thread 'worker' panicked at src/tiers.rs:87:44:
called `Option::unwrap()` on a `None` value
stack backtrace:
   0: rust_begin_unwind
             at /rustc/9fc6b43/library/std/src/panicking.rs:665:5
   1: repricer::tiers::TierTable::lookup
             at ./src/tiers.rs:87:44
note: Some details are omitted, run with `RUST_BACKTRACE=full` for a verbose backtrace.
INFO restarted";
    let head = "thread 'worker' panicked at src/tiers.rs:87:44:";
    assert_eq!(join(log), [event(8, Some("panic"), head), event(1, None, "INFO restarted")]);
    let head = "thread 'worker' (16202) panicked at src/tiers.rs:87:44:";
    let mut joiner = Joiner::default();
    for line in std::iter::once(head).chain(log.lines().skip(1).take(2)) {
        assert_eq!(joiner.push(Piece { offset: 0, text: line.into(), time: None, records: 1 }), []);
    }
    let trace = joiner.flush().and_then(|joined| joined.trace).unwrap();
    let why = "thread 'worker' panicked at src/tiers.rs:87:44: called `Option::unwrap()` on a `None` value";
    assert_eq!(trace.headline(head), Some(why));
    assert_eq!(trace.headline("ERROR lost"), None);
}

#[test]
fn javascript_frames_belong_to_their_error() {
    let log = "\
TypeError: Cannot read properties of undefined
    at pay (/app/cart.js:3:9)
    at node:internal/main:1:1
{\"level\":\"info\"}";
    assert_eq!(
        join(log),
        [
            event(3, Some("TypeError"), "TypeError: Cannot read properties of undefined"),
            event(1, None, "{\"level\":\"info\"}"),
        ]
    );
}

#[test]
fn plain_lines_stay_apart() {
    let log = "one\ntwo\nERROR three\nWARN four\nError: no such file";
    let joined = join(log);
    assert_eq!(joined.len(), 5);
    assert!(joined.iter().all(|(lines, error_type, _)| *lines == 1 && error_type.is_none()));
}

#[test]
fn a_trace_without_end_is_kept_within_limits() {
    let mut log = String::from("ERROR boom\n");
    for _ in 0..1_000 {
        log.push_str("\tat c.e.Cart.pay(Cart.java:10)\n");
    }
    let mut joiner = Joiner::default();
    for line in log.lines() {
        let piece = Piece { offset: 0, text: line.into(), time: None, records: 1 };
        assert_eq!(joiner.push(piece), []);
    }
    let joined = joiner.flush().unwrap();
    assert_eq!(joined.records, 1_001);
    assert_eq!(joined.trace.unwrap().text.lines().count(), STACK_LINES_MAX);
}
