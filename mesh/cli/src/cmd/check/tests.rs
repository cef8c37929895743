//! Reports over facts that were made up, and one over this machine.

use tapio_model::Timestamp;

use super::{
    cluster::ClusterFacts,
    host::{self, Cgroup, HostFacts},
    report::{Facts, Report, render},
    server::{MeshFacts, ServerFacts, StreamFacts, ahead_ms},
};
use crate::out::{Color, Out, Shape};

/// A machine on which all is well.
fn sound() -> HostFacts {
    HostFacts {
        kernel: "6.12.9".into(),
        tier: "tp_btf",
        hindrance: None,
        capabilities: u64::MAX,
        has_btf: true,
        has_tracefs: true,
        cgroup: Cgroup::Unified,
        kmsg: Ok(()),
        journal: Ok("/var/log/journal".into()),
        pods: Ok(()),
        is_synchronised: true,
        spool: "/var/lib/tapio/spool".into(),
        spool_free: Ok(8 << 30),
        memory: Some(4 << 30),
        open_files: Some(65_536),
    }
}

/// A machine on which an ordinary user sees little.
fn poor() -> HostFacts {
    HostFacts {
        kernel: "4.19.0-27-amd64".into(),
        tier: "none",
        hindrance: Some((
            "CAP_BPF and CAP_PERFMON missing".into(),
            "run as root, or grant CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN".into(),
        )),
        capabilities: 1 << 21,
        has_btf: false,
        has_tracefs: false,
        cgroup: Cgroup::Legacy,
        kmsg: Err("/dev/kmsg: Operation not permitted (os error 1)".into()),
        journal: Err("/var/log/journal: no journal".into()),
        pods: Err("/var/log/pods: No such file or directory (os error 2)".into()),
        is_synchronised: false,
        spool: "/var/lib/tapio/spool".into(),
        spool_free: Ok(10 << 20),
        memory: Some(32 << 20),
        open_files: Some(256),
    }
}

fn server() -> ServerFacts {
    ServerFacts {
        version: "2.12.1".into(),
        payload_bytes_max: 1 << 20,
        servers: 3,
        streams: Ok(StreamFacts::default()),
        replicas: Some(3),
        clock_ahead_ms: Some(-4),
    }
}

/// A mesh with something wrong in each place.
fn crooked() -> ServerFacts {
    let differs = (
        "TAPIO_EVENTS has duplicate_window 1s instead of 120s".to_owned(),
        "nats stream edit TAPIO_EVENTS --dupe-window 2m".to_owned(),
    );
    ServerFacts {
        payload_bytes_max: 65_536,
        servers: 1,
        streams: Ok(StreamFacts {
            differing: vec![differs],
            missing: vec!["TAPIO_STORIES".into()],
        }),
        replicas: Some(1),
        clock_ahead_ms: Some(2_500),
        ..server()
    }
}

fn plain() -> Out {
    Out::new(Shape::Table, Color::Never, false)
}

#[test]
fn all_is_well() {
    let rules = vec![("apiGroups: [\"\"], resources: [\"pods\"]".to_owned(), true)];
    let facts = Facts {
        host: sound(),
        mesh: Some(MeshFacts::There(server())),
        cluster: Some(ClusterFacts::Rules(rules)),
    };
    let report = Report::of(&facts);
    assert_eq!(report.missing().count(), 0);
    insta::assert_snapshot!(render(&report, plain()));
}

#[test]
fn little_is_well() {
    let rules = vec![("apiGroups: [\"apps\"], resources: [\"deployments\"]".to_owned(), false)];
    let facts = Facts {
        host: poor(),
        mesh: Some(MeshFacts::There(crooked())),
        cluster: Some(ClusterFacts::Rules(rules)),
    };
    let report = Report::of(&facts);
    insta::assert_snapshot!(render(&report, plain()));
    insta::assert_json_snapshot!(report);
}

#[test]
fn nobody_is_there() {
    let why = "no NATS server answers at nats://a:4222 within 3s: refused; is it running, and is \
               NATS_URL right?";
    let facts = Facts {
        host: sound(),
        mesh: Some(MeshFacts::Away { is_without_jetstream: false, why: why.into() }),
        cluster: Some(ClusterFacts::None),
    };
    let report = Report::of(&facts);
    assert_eq!(report.missing().collect::<Vec<_>>(), ["nats"]);
    let page = render(&report, plain());
    let lines = page.lines().filter(|line| !line.starts_with("ok")).collect::<Vec<_>>();
    insta::assert_snapshot!(lines.join("\n"));
}

#[test]
fn before_installing_nothing_is_said_of_what_comes_later() {
    let page = render(&Report::of(&Facts { host: sound(), mesh: None, cluster: None }), plain());
    for later in ["nats", "jetstream", "cluster", "rbac"] {
        assert!(!page.contains(later), "{later}: {page}");
    }
    assert!(page.ends_with("17 ok, 0 degraded, 0 missing\n"), "{page}");
}

#[test]
fn this_machine_is_reported_whatever_it_is() {
    let spool = tempfile::tempdir().expect("a directory");
    let host = host::gather(spool.path());
    assert_eq!(host.spool_free.as_ref().map(|free| *free > 0), Ok(true));
    let report = Report::of(&Facts { host, mesh: None, cluster: None });
    let json = serde_json::to_value(&report).expect("plain values");
    let tier = json["kernel_tier"].as_str().expect("a name");
    assert!(["tp_btf", "raw_tp", "tracepoint", "none"].contains(&tier), "{tier}");
    assert!(json["ok"].is_boolean());
    let checks = json["checks"].as_array().expect("a list");
    assert_eq!(checks.len(), 17);
    for check in checks {
        assert!(check["name"].is_string() && check["why"].is_string(), "{check}");
        let state = check["state"].as_str().expect("a name");
        assert!(["ok", "degraded", "missing"].contains(&state), "{state}");
        assert_eq!(check["cure"].is_null(), state == "ok", "{check}");
    }
}

#[test]
fn what_the_kernel_says_is_read() {
    let table = [
        ("Name:\tx\nCapEff:\t000001ffffffffff\n", 0x1ff_ffff_ffff),
        ("CapEff:\t0000000000000000", 0),
        ("CapEff:\tnonsense", 0),
        ("", 0),
    ];
    for (status, held) in table {
        assert_eq!(host::capabilities(status), held, "{status}");
    }
    let (v1, v2) = ("cgroup /c/cpu cgroup rw 0 0\n", "cgroup2 /c cgroup2 rw 0 0\n");
    let both = format!("{v1}{v2}");
    let table = [
        (v1, Cgroup::Legacy),
        (v2, Cgroup::Unified),
        (&both, Cgroup::Hybrid),
        ("tmpfs /cgroup tmpfs rw 0 0", Cgroup::None),
    ];
    for (mounts, kind) in table {
        assert_eq!(host::cgroup(mounts), kind, "{mounts}");
    }
    let meminfo = "MemTotal: 8 kB\nMemAvailable:    2048 kB\n";
    let table = [("max", Some(2_048 << 10)), ("1048576", Some(1 << 20)), ("", Some(2_048 << 10))];
    for (limit, bytes) in table {
        assert_eq!(host::memory(meminfo, limit), bytes, "{limit}");
    }
    assert_eq!(host::memory("", "1"), None);
}

#[test]
fn the_server_s_clock_is_compared_with_the_middle_of_the_question() {
    let [before, after] = [Timestamp::from_secs(100), Timestamp::from_secs(102)];
    let ahead = ahead_ms("1970-01-01T00:01:43.5Z", before, after);
    assert_eq!(ahead, Some(2_500));
    assert_eq!(ahead_ms("yesterday", before, after), None);
}
