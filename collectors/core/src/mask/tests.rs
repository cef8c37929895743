use proptest::prelude::*;
use tapio_model::{Attributes, EventId, Kind, Source, Timestamp};

use super::*;
use crate::{Binder, Home};

const JWT: &str =
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U";

fn own(name: &str, pattern: &str, replacement: &str) -> MaskRule {
    MaskRule { name: name.into(), pattern: pattern.into(), replacement: replacement.into() }
}

#[test]
fn what_is_secret_goes_and_what_tells_the_story_stays() {
    let masks = Masks::default();
    let jwt = format!("session {JWT} expired");
    let lines = [
        ("mail to ann.lee+x@shop.example.com failed", "mail to <email> failed"),
        (jwt.as_str(), "session <jwt> expired"),
        ("Authorization: Bearer abcdef0123456789abcdef", "Authorization: Bearer <token>"),
        ("authorization: Basic dXNlcjpwYXNzd29yZDEyMw==", "authorization: Basic <token>"),
        ("key AKIAIOSFODNN7EXAMPLE denied", "key <aws key> denied"),
        ("login?user=ann&password=hunter2&x=1", "login?user=ann&password=<secret>&x=1"),
        ("DB_PASSWORD: hunter2", "DB_PASSWORD: <secret>"),
        (r#"{"password":"hun \" ter","x":1}"#, r#"{"password":"<secret>","x":1}"#),
        (r#"{\"token\":\"abc\",\"x\":1}"#, r#"{\"token\":\"<secret>\",\"x\":1}"#),
        (
            "token=abc secret='a b' api-key=\"k\"",
            "token=<secret> secret='<secret>' api-key=\"<secret>\"",
        ),
        ("aws_secret_access_key = wJalrXUtnFEMI/K7MDENG", "aws_secret_access_key = <secret>"),
        ("paid with 4111 1111 1111 1111 today", "paid with <card> today"),
        ("paid with 378282246310005", "paid with <card>"),
        (
            "dial postgres://ann:pa55@db.shop.svc:5432/x",
            "dial postgres://<credentials>@db.shop.svc:5432/x",
        ),
        (
            "-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY----- loaded",
            "<private key> loaded",
        ),
        ("-----BEGIN PRIVATE KEY-----\nMIIE cut", "<private key>"),
        ("push with ghp_0123456789abcdefghijABCDEFGHIJ012345", "push with <token>"),
    ];
    for (line, want) in lines {
        assert_eq!(masks.mask(line), want);
    }
}

#[test]
fn look_alikes_stay() {
    let masks = Masks::default();
    for line in [
        "user@1000.service: Failed with result 'oom-kill'.",
        "image registry/cart@sha256:0123456789abcdef",
        "order 4111 1111 1111 1112 is no card",
        "at 1767323045123456789 ns, after 4000000000000 ns",
        "Unexpected token: } in JSON at position 3",
        "tokens: 512, prompt_tokens=12",
        "secrets \"db\" not found in namespace shop",
        "password authentication failed for user ann",
        "http://db.shop.svc:5432/x@y is away",
        "dial tcp 10.0.0.1:5432: connect: connection refused",
        "a basic configuration and the bearer of news",
        "",
    ] {
        assert_eq!(masks.mask(line), line);
        assert!(matches!(masks.mask(line), Cow::Borrowed(_)), "{line}");
    }
}

#[test]
fn addresses_go_when_asked() {
    let masks = Masks::new(true, &[]).unwrap();
    for (line, want) in [
        ("dial tcp 10.0.0.1:5432: refused", "dial tcp <ip>:5432: refused"),
        ("from fe80::1 to 2001:db8::8a2e:370:7334.", "from <ip> to <ip>."),
        ("version 1.2.3.400 at 12:04:05", "version 1.2.3.400 at 12:04:05"),
    ] {
        assert_eq!(masks.mask(line), want);
    }
}

#[test]
fn an_event_is_masked_but_for_its_identity() {
    let masks = Masks::default();
    let mut event = Unbound::new(EventId::default(), Timestamp::ZERO, Source::App, Kind::Log)
        .message("ann@shop.com paid")
        .with(keys::STACKTRACE, "at pay(password=x)")
        .with(keys::UNIT, "token=abc.service")
        .with("http.request.header.authorization", "whatever this is")
        .with("count", 4_111_111_111_111_111_i64);
    masks.apply(&mut event);
    masks.apply(&mut event);
    let said = Attributes::new(event.attributes);
    assert_eq!(said.text(keys::MESSAGE), Some("<email> paid"));
    assert_eq!(said.text(keys::STACKTRACE), Some("at pay(password=<secret>)"));
    assert_eq!(said.text(keys::UNIT), Some("token=abc.service"));
    assert_eq!(said.text("http.request.header.authorization"), Some("<secret>"));
    let counted: Vec<_> = masks.counts().into_iter().filter(|(_, count)| *count > 0).collect();
    let want = [("password", 1), ("email", 1), ("secret_key", 1)];
    assert_eq!(counted, want.map(|(name, count)| (Text::from(name), count)));
    assert!(!format!("{masks:?}").contains("ann"));
}

#[test]
fn a_binder_with_masks_binds_as_one_without() {
    let event = Unbound::new(EventId::default(), Timestamp::ZERO, Source::App, Kind::Log)
        .message("token=abc");
    let masks = Masks::default();
    let bare = Binder::new(Home::default()).bind(event.clone());
    let masked = Binder::new(Home::default()).with_masks(masks.clone()).bind(event);
    assert_eq!((bare.message(), masked.message()), ("token=abc", "token=<secret>"));
    assert_eq!((bare.id, bare.trace), (masked.id, masked.trace));
    assert!(masks.counts().contains(&("secret".into(), 1)));
}

#[test]
fn an_operators_rule_is_run_or_refused_by_name() {
    let rule = own("customer", r"\bC-\d{6}\b", "<customer>");
    let masks = Masks::new(false, &[rule]).unwrap();
    assert_eq!(masks.mask("order of C-123456 for a@b.com"), "order of <customer> for <email>");
    for (bad, want) in [
        (own("", "x", ""), "name is empty or taken"),
        (own("email", "x", ""), "name is empty or taken"),
        (own("a", "(", ""), "unclosed group"),
        (own("a", "x*", ""), "matches nothing at all"),
        (own("a", r"\w{1000}{1000}", ""), "size limit"),
        (own("a", "x", "axb"), "would be replaced itself"),
        (own("a", "x", &"y".repeat(33)), "is too long"),
    ] {
        let error = Masks::new(false, &[bad]).unwrap_err().to_string();
        assert!(error.contains(want), "{error}");
    }
    let many: Vec<_> = (0..65).map(|number| own(&format!("r{number}"), "x", "")).collect();
    assert!(matches!(Masks::new(false, &many), Err(MaskError::TooMany { count: 65 })));
}

/// Pieces that the rules look for, in any order.
fn pieces() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("password"),
        Just("="),
        Just(":"),
        Just(" "),
        Just("\""),
        Just("\\\""),
        Just("'"),
        Just("token"),
        Just("secret_"),
        Just("@"),
        Just("a.b.com"),
        Just("://"),
        Just("u:p"),
        Just("Bearer "),
        Just("0123456789abcdef"),
        Just("eyJabcdefgh.abcdefgh."),
        Just("é"),
        Just("-----BEGIN PRIVATE KEY-----"),
        Just("AKIAIOSFODNN7EXAMPLE"),
        Just("\n"),
        Just("<"),
        Just("4111111111111111"),
        Just("10.0.0.1"),
        Just("::1"),
        Just(".service"),
        Just(","),
        Just(">"),
    ];
    proptest::collection::vec(piece, 0..16).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn masking_twice_is_masking_once(text in prop_oneof![pieces(), any::<String>()], has_addresses: bool) {
        let masks = Masks::new(has_addresses, &[]).unwrap();
        let once = masks.mask(&text).into_owned();
        prop_assert_eq!(masks.mask(&once), once.as_str());
        // The shortest match of all is `pwd=x`, the longest replacement 12 bytes longer than its.
        prop_assert!(once.len() <= text.len() * 3);
    }
}
