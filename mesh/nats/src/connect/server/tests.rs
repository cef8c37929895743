use async_nats::ConnectErrorKind;

use super::*;

#[test]
fn what_is_before_2_10_is_too_old() {
    let table = [
        ("2.9.10", true),
        ("2.9.99-beta.1", true),
        ("1.4.1", true),
        ("2.10.0", false),
        ("v2.10.22", false),
        ("2.11.0-RC.2", false),
        ("2.15", false),
        ("3.0.0", false),
        ("", true),
        ("two", true),
        ("2", true),
    ];
    for (version, should_be) in table {
        assert_eq!(is_too_old(version), should_be, "{version}");
    }
}

#[test]
fn what_keeps_us_out_is_named_with_its_cure() {
    let config = NatsConfig::to("nats://a:4222");
    let table = [
        (ConnectErrorKind::Io, "no NATS server answers at nats://a:4222 within 15s: "),
        (ConnectErrorKind::Dns, "no NATS server answers at nats://a:4222 within 15s: "),
        (ConnectErrorKind::TimedOut, "no NATS server answers at nats://a:4222 within 15s: "),
        (
            ConnectErrorKind::AuthorizationViolation,
            "the NATS server at nats://a:4222 does not take us as nobody in particular: ",
        ),
        (ConnectErrorKind::Authentication, "cannot use nobody in particular: "),
        (ConnectErrorKind::Tls, "no TLS connection to the NATS server at nats://a:4222: "),
    ];
    for (kind, should_say) in table {
        let why = async_nats::ConnectError::new(kind);
        let said = explain(&why, &config, "nats://a:4222".to_owned()).to_string();
        assert!(said.starts_with(should_say), "{said}");
    }
}

#[test]
fn an_account_without_jetstream_is_not_asked_again() {
    let table = [
        (AccountErrorKind::JetStreamUnavailable, false, true),
        (AccountErrorKind::JetStreamUnavailable, true, false),
        (AccountErrorKind::TimedOut, false, false),
        (AccountErrorKind::Other, false, false),
    ];
    for (why, is_promised, should_be) in table {
        assert_eq!(is_final(&why, is_promised), should_be, "{why} {is_promised}");
    }
}

#[test]
fn addresses_that_are_none_are_refused() {
    let none = NatsConfig { urls: Vec::new(), ..NatsConfig::default() };
    assert!(matches!(addresses(&none), Err(ConnectError::NoUrl)));
    for bad in ["nats://", "http://a:4222", "nats://a:port"] {
        let said = addresses(&NatsConfig::to(bad)).expect_err(bad).to_string();
        assert!(
            said.starts_with(&format!("`{bad}` is not the address of a NATS server")),
            "{said}"
        );
    }
}
