//! The probes on a real kernel: what is done to it comes out as the right event at the right place.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test fails by panicking"
)]

#[path = "senses/net.rs"]
mod net;
#[path = "senses/world.rs"]
mod world;

use std::{
    io::Write as _,
    process::{Command, ExitCode},
};

use libtest_mimic::{Arguments, Failed, Trial};
use tapio_collect::DropReason;
use tapio_collect_kernel::{FloodConfig, Tier, flood, probe_tier};
use tapio_model::{Kind, Severity, Source, keys};

use crate::world::{Cgroup, Need, Tmpfs, Watch, is_ci, said};

/// A test and what it needs besides the kernel's permission.
type Test = (&'static str, fn() -> Result<(), Need>, fn());

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let tier = probe_tier();
    let mut err = std::io::stderr();
    drop(writeln!(err, "kernel tier {}", tier.tier));
    let blind = tier.blindness().map(|it| format!("{}: {}", it.reason, it.cure));
    let tests: [Test; 10] = [
        ("an_oom_kill_names_victim_group_and_constraint", world::memory, oom_kill),
        ("a_program_that_ends_is_told_with_its_code", world::memory, exec_and_exit),
        ("a_killed_process_names_its_sender", || Ok(()), killed),
        ("a_full_filesystem_is_told_by_who_wrote", world::mounts, full_filesystem),
        ("refused_and_dropped_are_told_apart", net::drops, net::refused_and_dropped),
        ("a_name_that_does_not_exist_is_told", net::spaces, net::nxdomain),
        ("a_name_server_that_is_silent_is_told", net::spaces, net::silent_server),
        ("a_full_ring_counts_every_record", || Ok(()), full_ring),
        ("a_worse_tier_tells_the_same", || Ok(()), worse_tier),
        ("a_program_that_is_refused_leaves_the_others", || Ok(()), refused),
    ];
    let trials = tests.into_iter().map(|(name, need, test)| {
        let lack = blind.clone().or_else(|| need().err().map(|Need(why)| why));
        let is_ignored = lack.is_some() && !is_ci();
        if let Some(why) = lack.as_ref().filter(|_| is_ignored) {
            drop(writeln!(err, "ignored {name}: {why}"));
        }
        Trial::test(name, move || {
            lack.map_or(Ok(()), |why| Err(Failed::from(why)))?;
            test();
            Ok(())
        })
        .with_ignored_flag(is_ignored)
    });
    let trials = trials.collect();
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn oom_kill() {
    let group = Cgroup::make("oom");
    let watch = Watch::begin(&["oom_kill", "process_exit", "signal"]);
    let status = group.run("tail /dev/zero");
    assert!(!status.success(), "the process outlived its limit");
    let (told, accounts) = watch.until(|told| {
        told.iter().any(|event| {
            event.kind == Kind::OomKill && event.place.cgroup.as_deref() == Some(&*group.path())
        })
    });
    let kill = told.iter().find(|event| {
        event.kind == Kind::OomKill && event.place.cgroup.as_deref() == Some(&*group.path())
    });
    let kill = kill.unwrap();
    let words = said(kill);
    assert_eq!((kill.source, kill.severity), (Source::Kernel, Severity::Fatal));
    assert_eq!(words.text(keys::OOM_CONSTRAINT), Some("memcg"), "{kill:?}");
    assert_eq!(words.text(keys::OOM_CGROUP), Some(&*group.path()), "{kill:?}");
    assert_eq!(words.text(keys::PROCESS_NAME), Some("tail"));
    assert_eq!(words.int(keys::MEMORY_LIMIT), Some(world::LIMIT_BYTES));
    assert!(words.int(keys::OOM_ANON_RSS_KIB) > Some(8_192), "{kill:?}");
    let pid = words.int(keys::PROCESS_PID);
    assert!(pid > Some(1));
    assert_eq!(accounts.dropped(DropReason::Malformed), 0);
}

fn exec_and_exit() {
    let group = Cgroup::make("exit");
    let watch = Watch::begin(&["process_exec", "process_exit"]);
    assert_eq!(group.run("sh -c 'exit 7'").code(), Some(7));
    let is_here = |event: &tapio_collect::Unbound, kind| {
        event.kind == kind && event.place.cgroup.as_deref() == Some(&*group.path())
    };
    let is_end = |event: &tapio_collect::Unbound| is_here(event, Kind::ProcessExit);
    let (told, _) = watch.until(|told| told.iter().any(is_end));
    let end = told.iter().find(|event| is_end(event)).unwrap();
    assert_eq!(end.source, Source::Kernel);
    let end = said(end);
    assert_eq!(end.int(keys::EXIT_CODE), Some(7));
    assert_eq!(end.text(keys::PROCESS_NAME), Some("sh"));
    let pid = end.int(keys::PROCESS_PID);
    assert!(pid > Some(1), "{end:?}");
    let start = told.iter().find(|event| {
        is_here(event, Kind::ProcessStarted) && said(event).int(keys::PROCESS_PID) == pid
    });
    let path = said(start.expect("the start was told")).text(keys::PATH).map(str::to_owned);
    assert!(path.is_some_and(|path| path.ends_with("/sh")));
}

fn killed() {
    let watch = Watch::begin(&["signal", "process_exit"]);
    let mut victim = Command::new("sleep").arg("60").spawn().unwrap();
    let pid = i64::from(victim.id());
    let killer = Command::new("kill").args(["-9", &pid.to_string()]).status().unwrap();
    assert!(killer.success());
    victim.wait().unwrap();
    let of = |event: &tapio_collect::Unbound, kind| {
        event.kind == kind && said(event).int(keys::PROCESS_PID) == Some(pid)
    };
    let (told, _) = watch.until(|told| told.iter().any(|event| of(event, Kind::ProcessExit)));
    let end = told.iter().find(|event| of(event, Kind::ProcessExit)).unwrap();
    assert_eq!(said(end).int(keys::EXIT_SIGNAL), Some(9));
    let sent = told.iter().find(|event| of(event, Kind::ProcessSignalled));
    let sent = said(sent.expect("the signal was told"));
    assert_eq!(sent.int(keys::EXIT_SIGNAL), Some(9));
    assert_eq!(sent.text(keys::SIGNAL_SENDER), Some("kill"));
}

fn full_filesystem() {
    let disk = Tmpfs::mount("full");
    let group = Cgroup::make("full");
    let watch = Watch::begin(&["syscall_errno"]);
    let status = group.run(&format!("dd if=/dev/zero of={}/file bs=64k", disk.path().display()));
    assert!(!status.success(), "the disk held more than it has");
    let is_full = |event: &tapio_collect::Unbound| {
        event.kind == Kind::StorageFull && event.place.cgroup.as_deref() == Some(&*group.path())
    };
    let (told, _) = watch.until(|told| told.iter().any(is_full));
    let words = said(told.iter().find(|event| is_full(event)).unwrap());
    assert_eq!(words.text(keys::ERROR_TYPE), Some("ENOSPC"));
    assert_eq!(words.text(keys::SYSCALL), Some("write"));
    assert_eq!(words.text(keys::PROCESS_NAME), Some("dd"));
    assert!(words.int(keys::PROCESS_PID) > Some(1), "{words:?}");
}

fn full_ring() {
    let config = FloodConfig {
        ring_bytes: 64 << 10,
        threads: 1,
        duration: std::time::Duration::from_millis(300),
        pause: std::time::Duration::from_millis(50),
        ..FloodConfig::default()
    };
    let report = flood(config).unwrap();
    assert!(report.counts.refused > 0, "the ring was never full: {report:?}");
    assert!(report.is_exact(), "{report:?}");
    let accounted = report.counts.written + report.counts.refused;
    assert!(accounted >= report.made, "{accounted} of {}", report.made);
}

/// Two programs with each other's names: one reads an argument that the other's place does not have,
/// and the verifier refuses it.
fn refused() {
    let object = concat!(env!("CARGO_MANIFEST_DIR"), "/../../ebpf/probes.o");
    let mut bytes = std::fs::read(object).unwrap();
    let names: [&[u8; 13]; 2] = [b"oom_kill_btf\0", b"block_io_btf\0"];
    for at in 0..bytes.len() - 13 {
        let other = match &bytes[at..at + 13] {
            name if name == names[0] => names[1],
            name if name == names[1] => names[0],
            _ => continue,
        };
        bytes[at..at + 13].copy_from_slice(other);
    }
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("swapped.o");
    std::fs::write(&path, bytes).unwrap();
    let slugs = ["oom_kill", "process_exit"];
    let watch = Watch::begin_with(Tier::TpBtf, Some(path), &slugs);
    let (oom, exit) = (&watch.report().probes[0], &watch.report().probes[1]);
    assert_eq!((exit.slug, exit.tier()), ("process_exit", Tier::TpBtf));
    // Told by the next tier, and why the better one is not.
    assert_eq!((oom.slug, oom.tier()), ("oom_kill", Tier::RawTp));
    assert_eq!(oom.refused.len(), 1, "{:?}", oom.refused);
    assert_eq!(oom.refused[0].program, "oom_kill_btf");
    let mut child = Command::new("sh").args(["-c", "exit 5"]).spawn().unwrap();
    let pid = i64::from(child.id());
    child.wait().unwrap();
    watch.until(|told| told.iter().any(|event| said(event).int(keys::PROCESS_PID) == Some(pid)));
}

fn worse_tier() {
    let watch = Watch::begin_with(Tier::RawTp, None, &["process_exit", "oom_kill"]);
    assert!(watch.report().probes.iter().all(|probe| probe.tier() == Tier::RawTp));
    let mut child = Command::new("sh").args(["-c", "exit 9"]).spawn().unwrap();
    let pid = i64::from(child.id());
    child.wait().unwrap();
    let (told, _) = watch
        .until(|told| told.iter().any(|event| said(event).int(keys::PROCESS_PID) == Some(pid)));
    let end = told.iter().find(|event| said(event).int(keys::PROCESS_PID) == Some(pid)).unwrap();
    assert_eq!(said(end).int(keys::EXIT_CODE), Some(9));
}
