use std::{io, path::Path};

use super::ConfigError;
use crate::{Identity, NatsConfig};

/// Variables and files of a machine.
type Table<'a> = &'a [(&'a str, &'a str)];

fn find<'a>(table: Table<'a>, name: &str) -> Option<&'a str> {
    table.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
}

fn parse(variables: Table<'_>, files: Table<'_>) -> Result<NatsConfig, ConfigError> {
    NatsConfig::from_parts(
        |name| find(variables, name).map(str::to_owned),
        |path: &Path| {
            let text = path.to_str().and_then(|path| find(files, path));
            text.map(str::to_owned).ok_or_else(|| io::ErrorKind::NotFound.into())
        },
    )
}

/// What `nats context save` writes, with more than is read here.
const CONTEXT: &str = r#"{
    "description": "the cluster", "url": "nats://a:4222, nats://b:4222", "token": "",
    "user": "u", "password": "p", "creds": "", "nkey": "", "cert": "/c.pem", "key": "/k.pem",
    "ca": "/ca.pem", "nsc": "", "jetstream_domain": "hub", "jetstream_api_prefix": "",
    "jetstream_event_prefix": "", "inbox_prefix": "", "user_jwt": "", "color_scheme": "",
    "tls_first": true
}"#;

const HOME: (&str, &str) = ("HOME", "/home/me");
const CONTEXT_PATH: &str = "/home/me/.config/nats/context/prod.json";
const SEED: &str = "SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY";

#[test]
fn nothing_set_is_the_default() {
    let config = parse(&[("NATS_URL", " "), ("NATS_TOKEN", "")], &[]).expect("nothing");
    assert_eq!(config, NatsConfig::default());
    assert_eq!(config.urls, ["nats://127.0.0.1:4222"]);
}

#[test]
fn variables_say_who_we_are() {
    let table: [(Table<'_>, &str); 7] = [
        (&[("NATS_CREDS", "/u.creds")], "Credentials(\"/u.creds\")"),
        (&[("NATS_NKEY", SEED)], "Nkey(***)"),
        (&[("NATS_NKEY", "/seed")], "Nkey(***)"),
        (&[("NATS_USER", "u"), ("NATS_PASSWORD", "p")], "Password { user: \"u\", password: *** }"),
        (&[("NATS_USER", "lone")], "Token(***)"),
        (&[("NATS_TOKEN", "t")], "Token(***)"),
        (&[], "Anonymous"),
    ];
    for (variables, identity) in table {
        let config = parse(variables, &[("/seed", SEED)]).expect("one identity");
        assert_eq!(format!("{:?}", config.identity), identity, "no secret is shown");
    }
    let config = parse(&[("NATS_NKEY", "/seed")], &[("/seed", &format!("{SEED}\n"))]);
    let Identity::Nkey(seed) = config.expect("a seed").identity else { panic!("an nkey") };
    assert_eq!(seed.reveal(), SEED);
}

#[test]
fn a_context_fills_in_what_no_variable_says() {
    let files: Table<'_> = &[(CONTEXT_PATH, CONTEXT)];
    let config = parse(&[HOME, ("NATS_CONTEXT", "prod")], files).expect("a context");
    assert_eq!(config.urls, ["nats://a:4222", "nats://b:4222"]);
    assert_eq!(config.identity.name(), "the user with the password");
    assert_eq!(config.tls.ca.as_deref(), Some(Path::new("/ca.pem")));
    assert!(config.tls.client.is_some() && config.tls.first && config.tls.required);
    assert_eq!(config.domain.as_deref(), Some("hub"));

    let variables = [HOME, ("NATS_CONTEXT", "prod"), ("NATS_URL", "nats://c"), ("NATS_TOKEN", "t")];
    let config = parse(&variables, files).expect("variables over a context");
    assert_eq!(config.urls, ["nats://c"]);
    assert_eq!(config.identity.name(), "the bearer of the token");

    let xdg = [HOME, ("XDG_CONFIG_HOME", "/x"), ("NATS_CONTEXT", "prod")];
    let files: Table<'_> = &[("/x/nats/context/prod.json", r#"{"url": "nats://x"}"#)];
    assert_eq!(parse(&xdg, files).expect("elsewhere").urls, ["nats://x"]);
}

#[test]
fn the_prefix_replaces_ours() {
    let config = parse(&[("NATS_SUBJECT_PREFIX", "staging")], &[]).expect("a token");
    assert_eq!((config.subjects.prefix(), config.subjects.generation()), ("staging", "1"));
}

#[test]
fn what_makes_no_sense_is_explained() {
    let table: [(Table<'_>, &str); 9] = [
        (
            &[("NATS_CREDS", "/c"), ("NATS_TOKEN", "t")],
            "NATS_CREDS and NATS_TOKEN both say who we are: keep one",
        ),
        (&[("NATS_PASSWORD", "p")], "NATS_PASSWORD is set and NATS_USER is not: they go together"),
        (&[("NATS_CERT", "/c")], "NATS_CERT is set and NATS_KEY is not: they go together"),
        (&[("NATS_KEY", "/k")], "NATS_KEY is set and NATS_CERT is not: they go together"),
        (&[("NATS_NKEY", "/none")], "cannot read the nkey /none: entity not found"),
        (
            &[HOME, ("NATS_CONTEXT", "none")],
            "cannot read the context /home/me/.config/nats/context/none.json: entity not found",
        ),
        (&[("NATS_CONTEXT", "prod")], "NATS_CONTEXT is set, and neither XDG_CONFIG_HOME nor HOME"),
        (&[HOME, ("NATS_CONTEXT", "../prod")], "`../prod` is not the name of a context"),
        (&[("NATS_SUBJECT_PREFIX", "a.b")], "NATS_SUBJECT_PREFIX: `a.b` cannot be a subject"),
    ];
    for (variables, should_say) in table {
        let said = parse(variables, &[]).expect_err(should_say).to_string();
        assert!(said.starts_with(should_say), "{said}");
    }
    let files: Table<'_> = &[(CONTEXT_PATH, "url: nats://a")];
    let said = parse(&[HOME, ("NATS_CONTEXT", "prod")], files).expect_err("no JSON").to_string();
    assert!(said.starts_with("/home/me/.config/nats/context/prod.json is no context"), "{said}");
}
