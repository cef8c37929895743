//! What only root may do to the machine.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::net::Ipv4Addr;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tapio_chaos::real::{Cut, FullDisk, Namespace, Need, NodeCommand, NodeProcess};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::time::timeout;

use crate::{Case, Outcome, cases, ensure};

/// How long something may take; TCP repeats what was lost within a few seconds.
const PATIENCE: Duration = Duration::from_secs(20);

/// How long nothing must happen to be believed.
const SILENCE: Duration = Duration::from_millis(500);

pub(crate) fn namespace_cases() -> Vec<Case> {
    cases![
        Some(Need::NetworkNamespace);
        a_partition_loses_packets_and_healing_brings_them,
        a_namespace_that_is_cut_off_reaches_nobody,
        a_dropped_namespace_leaves_nothing,
    ]
}

pub(crate) fn disk_cases() -> Vec<Case> {
    cases![Some(Need::Mount); a_full_disk_is_full_until_freed]
}

/// A program that sends back whatever comes from `port` of the machine.
fn echo(namespace: &Namespace, port: u16) -> NodeCommand {
    let script = format!("exec 3<>/dev/tcp/{}/{port}; exec cat <&3 >&3", namespace.host_addr());
    NodeCommand {
        program: PathBuf::from("bash"),
        args: vec!["-c".into(), script.into()],
        env: Vec::new(),
    }
}

async fn a_partition_loses_packets_and_healing_brings_them() -> Outcome {
    let namespace = Namespace::create()?;
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).await?;
    let mut node = NodeProcess::prepare("inside")?.inside(&namespace);
    node.start(&echo(&namespace, listener.local_addr()?.port())).await?;
    let (mut inside, peer) = timeout(PATIENCE, listener.accept()).await??;
    ensure(peer.ip() == namespace.inner_addr(), peer.to_string())?;
    inside.write_all(b"a").await?;
    ensure(timeout(PATIENCE, inside.read_u8()).await?? == b'a', "no echo")?;
    for cut in [Cut::Both, Cut::Outbound, Cut::Inbound] {
        namespace.cut(cut)?;
        inside.write_all(b"b").await?;
        let silent = timeout(SILENCE, inside.read_u8()).await;
        ensure(silent.is_err(), format!("{cut:?}: {silent:?}"))?;
        namespace.heal()?;
        let late = timeout(PATIENCE, inside.read_u8()).await??;
        ensure(late == b'b', format!("{cut:?}: {late}"))?;
    }
    ensure(node.is_running(), node.stderr_tail())
}

async fn a_namespace_that_is_cut_off_reaches_nobody() -> Outcome {
    let namespace = Namespace::create()?;
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).await?;
    let command = echo(&namespace, listener.local_addr()?.port());
    let mut node = NodeProcess::prepare("inside")?.inside(&namespace);
    namespace.partition()?;
    node.start(&command).await?;
    ensure(timeout(SILENCE, listener.accept()).await.is_err(), "a partition lets in")?;
    // Told of nothing, the program still tries to connect.
    ensure(node.is_running(), node.stderr_tail())?;
    namespace.heal()?;
    timeout(PATIENCE, listener.accept()).await??;
    Ok(())
}

async fn a_dropped_namespace_leaves_nothing() -> Outcome {
    let namespace = Namespace::create()?;
    let name = namespace.command_prefix().pop().ok_or("no name")?;
    let handle = Path::new("/run/netns").join(name);
    // Held open, so that the kernel gives its number to no other.
    let held = File::open(&handle)?;
    let number = held.metadata()?.ino();
    drop(namespace);
    // Another test may have taken the same name since, for a namespace of another number.
    let is_gone = fs::metadata(&handle).map_or(true, |now| now.ino() != number);
    ensure(is_gone, "a dropped namespace is left")
}

async fn a_full_disk_is_full_until_freed() -> Outcome {
    let disk = FullDisk::mount(1 << 20)?;
    let file = disk.path().join("file");
    fs::write(&file, [1; 1000])?;
    let taken = disk.fill()?;
    ensure((900_000..1 << 20).contains(&taken), format!("{taken} bytes"))?;
    let refused = fs::write(disk.path().join("more"), [1; 10_000]);
    let kind = refused.as_ref().err().map(std::io::Error::kind);
    ensure(kind == Some(ErrorKind::StorageFull), format!("{refused:?}"))?;
    disk.free()?;
    fs::write(disk.path().join("more"), [1; 10_000])?;
    let place = disk.path().to_owned();
    drop(disk);
    ensure(!place.exists(), "a dropped disk is left")
}
