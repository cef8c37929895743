use std::{collections::BTreeMap, fs, sync::Arc};

use tapio_config::{Origin, load};
use tempfile::tempdir;

use super::*;

#[expect(clippy::unwrap_in_result, reason = "a test that cannot be set up has failed")]
fn load_text(text: &str, variables: &[(&str, &str)]) -> Result<AgentConfig, String> {
    let folder = tempdir().expect("a folder");
    let path = folder.path().join("agent.yaml");
    fs::write(&path, text).expect("a file");
    let variables: BTreeMap<String, String> =
        variables.iter().map(|(name, text)| ((*name).into(), (*text).into())).collect();
    let origin =
        Origin { path: Some(path), lookup: Arc::new(move |name| variables.get(name).cloned()) };
    load(&origin)
        .map_err(|why| why.to_string().replace(&format!("{}/", folder.path().display()), ""))
}

#[test]
fn an_empty_file_is_the_default_and_the_default_is_good() {
    assert_eq!(load_text("", &[]), Ok(AgentConfig::default()));
}

#[test]
fn every_section_is_read() {
    let text = "\
cluster: prod
node: worker-1
shards: 32
log_level: debug
output:
  mode: direct
  nats: { url: 'nats://a:4222,nats://b:4222', subject_prefix: acme }
  direct: { url: https://node:4320 }
spool: { path: /var/lib/tapio/spool, bytes_max: 1048576, sync_each: true }
collectors:
  kernel: { enabled: false }
  host: { journal: { enabled: false }, files: [/var/log/*.log] }
  otlp: { grpc: '0.0.0.0:4317' }
masks: { ips: true, rules: [{ name: order, pattern: 'O-[0-9]+', replacement: <order> }] }
";
    let config = load_text(text, &[]).expect("good");
    assert_eq!(config.home().node.as_deref(), Some("worker-1"));
    assert_eq!(config.output.mode, OutputMode::Direct);
    assert_eq!(config.spool_limits(1).bytes_max, 1 << 20);
    assert!(config.spool_limits(1).sync_each && config.masks.ips && config.masks().is_ok());
    assert!(!config.collectors.kernel.enabled && config.collectors.kubernetes.enabled);
    assert!(!config.collectors.host.journal.enabled && config.collectors.host.kmsg.enabled);
}

#[test]
fn variables_take_precedence() {
    let variables = [
        ("NATS_URL", "nats://env:4222"),
        ("NATS_SUBJECT_PREFIX", "env"),
        ("LOG_LEVEL", "trace"),
        ("NODE_NAME", "n"),
        ("CLUSTER_NAME", "c"),
        ("POD_NAME", "p"),
        ("TAPIO_OUTPUT", "direct"),
        ("TAPIO_DIRECT_URL", "http://env:1"),
        ("TAPIO_SPOOL_PATH", "/spool"),
        ("TAPIO_SPOOL_BYTES_MAX", "2097152"),
    ];
    assert_eq!(variables.len(), variables::ALL.len(), "every variable is in the table");
    let config = load_text("node: file\noutput: {nats: {url: 'nats://file:1'}}\n", &variables);
    let expected = AgentConfig {
        cluster: Some("c".into()),
        node: Some("n".into()),
        pod: Some("p".into()),
        log_level: "trace".into(),
        output: OutputConfig {
            mode: OutputMode::Direct,
            nats: NatsOutput { url: "nats://env:4222".into(), subject_prefix: "env".into() },
            direct: DirectOutput { url: "http://env:1".into() },
        },
        spool: SpoolConfig { path: Some("/spool".into()), bytes_max: 2 << 20, sync_each: false },
        ..AgentConfig::default()
    };
    assert_eq!(config, Ok(expected));
}

#[test]
fn every_bad_value_is_refused_by_name() {
    for (text, begins) in [
        ("cluster: ' '\n", "agent.yaml:1: cluster: is blank"),
        ("node: ''\n", "agent.yaml:1: node: is blank"),
        ("shards: 0\n", "agent.yaml:1: shards: is 0"),
        ("log_level: ''\n", "agent.yaml:1: log_level: is blank"),
        ("output:\n  mode: kafka\n", "agent.yaml:2: output.mode: `kafka` is none of its values"),
        (
            "output:\n  nats:\n    url: http://me:secret@x\n",
            "agent.yaml:3: output.nats.url: `x` names a server that is not NATS; write nats://",
        ),
        ("output:\n  nats: {url: ''}\n", "agent.yaml:2: output.nats.url: "),
        (
            "output: {nats: {subject_prefix: 'a.b'}}\n",
            "agent.yaml:1: output.nats.subject_prefix: `a.b` is no part of a subject",
        ),
        ("output: {direct: {url: 'node:1'}}\n", "agent.yaml:1: output.direct.url: "),
        ("spool: {bytes_max: 5}\n", "agent.yaml:1: spool.bytes_max: 5 bytes"),
        ("colectors: {}\n", "agent.yaml:1: colectors: there is no such field; did you mean"),
        ("collectors:\n  otlp: {grpc: here}\n", "agent.yaml:2: collectors.otlp"),
        ("masks: {ip: true}\n", "agent.yaml:1: masks.ip: there is no such field; did you"),
        (
            "masks: {rules: [{name: a, pattern: '(', replacement: b}]}\n",
            "agent.yaml:1: masks.rules: ",
        ),
    ] {
        let why = load_text(text, &[]).unwrap_err();
        assert!(why.starts_with(begins), "{text}: {why}");
    }
    let why = load_text("", &[("TAPIO_OUTPUT", "driect")]).unwrap_err();
    let expected = "variable TAPIO_OUTPUT: output.mode: `driect` is none of its values; did you mean `direct`?";
    assert_eq!(why, expected);
}

#[test]
fn what_needs_a_restart_is_named() {
    let now = AgentConfig::default();
    let live = AgentConfig {
        log_level: "debug".into(),
        output: OutputConfig { mode: OutputMode::Direct, ..OutputConfig::default() },
        ..now.clone()
    };
    assert!(now.needs_restart(&live).is_empty());
    let fixed = AgentConfig {
        node: Some("other".into()),
        shards: 1,
        spool: SpoolConfig { bytes_max: 1 << 20, ..SpoolConfig::default() },
        ..now.clone()
    };
    assert_eq!(now.needs_restart(&fixed), ["node", "shards", "spool.bytes_max"]);
}

#[test]
fn nodes_are_named_by_urls_and_reached_by_addresses() {
    // The address, and whether over TLS with the hosts; none where it is no address.
    let table = [
        ("http://tapio:4320", Some((false, "tapio:4320"))),
        ("http://a:1/, http://[::1]:2", Some((false, "a:1 [::1]:2"))),
        ("https://node:4320", Some((true, "node:4320"))),
        ("https://a:1,http://b:1", None),
        ("http://a:1,", None),
        ("http://a", None),
        ("http://:1", None),
        ("http://a/b:1", None),
        ("a:1", None),
    ];
    for (url, expected) in table {
        let nodes = DirectOutput { url: url.to_owned() }.nodes();
        let seen = nodes.map(|nodes| (nodes.is_tls, nodes.addresses.join(" ")));
        assert_eq!(seen, expected.map(|(is_tls, hosts)| (is_tls, hosts.to_owned())), "{url}");
    }
    assert!(DirectOutput::default().nodes().is_some(), "the default is an address");
}
