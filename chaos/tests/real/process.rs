//! Programs of ours.

use std::error::Error;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use tapio_chaos::real::{Need, NodeCommand, NodeProcess, RealError};
use tokio::time::{Instant, interval};

use crate::{Case, Outcome, cases, ensure};

/// The argument that has this program start a child, name it and wait to be killed.
pub(crate) const HOLD_A_CHILD: &str = "--hold-a-child";

/// How long something may take that should be at once.
const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) fn cases() -> Vec<Case> {
    cases![
        None;
        a_process_keeps_its_state_over_restarts,
        a_killed_process_is_reaped_and_a_terminated_one_tells_how_it_ended,
        a_paused_process_stands_still,
        the_memory_of_a_process_is_known_while_it_runs,
        a_program_that_is_not_there_is_an_error,
    ]
}

pub(crate) fn parent_cases() -> Vec<Case> {
    cases![Some(Need::ParentDeathSignal); children_die_with_a_killed_parent]
}

fn shell(script: &str) -> NodeCommand {
    NodeCommand {
        program: PathBuf::from("/bin/sh"),
        args: vec!["-c".into(), script.into()],
        env: Vec::new(),
    }
}

/// Waits until `holds`, which is asked often.
async fn eventually(what: &str, mut holds: impl FnMut() -> bool) -> Outcome {
    let deadline = Instant::now() + PATIENCE;
    let mut ticks = interval(Duration::from_millis(10));
    while Instant::now() < deadline {
        ticks.tick().await;
        if holds() {
            return Ok(());
        }
    }
    Err(format!("never: {what}").into())
}

fn exists(pid: u32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

async fn a_process_keeps_its_state_over_restarts() -> Outcome {
    let mut node = NodeProcess::prepare("n1")?;
    let mut command = shell("echo $WORD >> \"$STATE/seen\"; echo said >&2");
    command.env.push(("STATE".to_owned(), node.state_dir().into()));
    for word in ["one", "two"] {
        command.env.push(("WORD".to_owned(), word.into()));
        node.start(&command).await?;
        let status = node.exit(PATIENCE).await?;
        ensure(status.success(), node.stderr_tail())?;
    }
    let seen = fs::read_to_string(node.state_dir().join("seen"))?;
    ensure(seen == "one\ntwo\n" && node.stderr_tail() == "said\nsaid\n", seen)
}

async fn a_killed_process_is_reaped_and_a_terminated_one_tells_how_it_ended() -> Outcome {
    let mut node = NodeProcess::prepare("n1")?;
    node.start(&shell("exec sleep 600")).await?;
    let killed = node.pid().ok_or("no pid")?;
    node.kill().await?;
    ensure(!exists(killed) && node.pid().is_none(), "a killed process is left")?;
    node.start(&shell("trap 'exit 7' TERM; echo up; while :; do sleep 0.01; done")).await?;
    let log = node.stdout_path();
    eventually("up", || fs::read_to_string(&log).is_ok_and(|said| said == "up\n")).await?;
    let status = node.terminate(PATIENCE).await?;
    ensure(status.code() == Some(7), status.to_string())?;
    let refused = node.terminate(PATIENCE).await;
    ensure(matches!(refused, Err(RealError::NotRunning { .. })), format!("{refused:?}"))?;
    node.start(&shell("exec sleep 600")).await?;
    let dropped = node.pid().ok_or("no pid")?;
    drop(node);
    ensure(!exists(dropped), "a dropped process is left")
}

async fn a_paused_process_stands_still() -> Outcome {
    let mut node = NodeProcess::prepare("n1")?;
    node.start(&shell("while :; do echo tick; sleep 0.01; done")).await?;
    let log = node.stdout_path();
    let ticks = move || fs::metadata(&log).map_or(0, |log| log.len());
    eventually("a tick", || ticks() > 0).await?;
    node.pause()?;
    let before = ticks();
    ensure(node.exit(Duration::from_millis(200)).await.is_err(), "it ended")?;
    ensure(ticks() == before && node.is_running(), "it goes on while paused")?;
    node.resume()?;
    eventually("another tick", || ticks() > before).await
}

async fn the_memory_of_a_process_is_known_while_it_runs() -> Outcome {
    let mut node = NodeProcess::prepare("n1")?;
    node.start(&shell("exec sleep 600")).await?;
    let is_plausible = |bytes: u64| (10_000..1 << 30).contains(&bytes);
    // A program just started has hardly a page yet.
    eventually("a plausible size", || node.rss_bytes().is_some_and(is_plausible)).await?;
    node.kill().await?;
    ensure(node.rss_bytes().is_none(), "the dead hold memory")
}

async fn a_program_that_is_not_there_is_an_error() -> Outcome {
    let mut node = NodeProcess::prepare("n1")?;
    let command = NodeCommand { program: "/nowhere/tapio".into(), ..NodeCommand::default() };
    // With setpriv the program is looked for in the child, which then ends; without, at once.
    match node.start(&command).await {
        Err(error) => ensure(matches!(error, RealError::Io { .. }), error.to_string()),
        Ok(()) => {
            let status = node.exit(PATIENCE).await?;
            ensure(!status.success(), "it ran")?;
            ensure(node.stderr_tail().contains("/nowhere/tapio"), node.stderr_tail())
        }
    }
}

async fn children_die_with_a_killed_parent() -> Outcome {
    let mut parent = NodeProcess::prepare("parent")?;
    let command = NodeCommand {
        program: std::env::current_exe()?,
        args: vec![HOLD_A_CHILD.into()],
        // What the killed parent leaves goes with this test.
        env: vec![("TMPDIR".to_owned(), parent.state_dir().into())],
    };
    parent.start(&command).await?;
    let log = parent.stdout_path();
    let named = || fs::read_to_string(&log).ok().and_then(|said| said.trim().parse::<u32>().ok());
    eventually("a child", || named().is_some()).await?;
    let child = named().ok_or("no child")?;
    ensure(exists(child), "the child does not run")?;
    parent.kill().await?;
    eventually("the child's death", || !is_alive(child)).await
}

/// Whether a process runs; one that nobody has reaped yet does not.
fn is_alive(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"));
    stat.is_ok_and(|stat| !stat.contains(") Z "))
}

/// What this program does when called with [`HOLD_A_CHILD`].
pub(crate) fn hold_a_child() -> ExitCode {
    let hold = || -> Result<(), Box<dyn Error>> {
        // The child is started from a thread that ends: the child must not end with that.
        let node = std::thread::spawn(|| start_a_child().map_err(|error| error.to_string()));
        let mut node = node.join().map_err(|_panic| "the thread panicked")??;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let early = runtime.block_on(node.exit(Duration::from_millis(100)));
        if early.is_err() {
            writeln!(std::io::stdout(), "{}", node.pid().unwrap_or(0))?;
            runtime.block_on(std::future::pending::<()>());
        }
        Ok(())
    };
    match hold() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            drop(writeln!(std::io::stderr(), "{error}"));
            ExitCode::FAILURE
        }
    }
}

fn start_a_child() -> Result<NodeProcess, Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut node = NodeProcess::prepare("child")?;
    runtime.block_on(node.start(&shell("echo up; exec sleep 600")))?;
    let log = node.stdout_path();
    // Only once it runs is it bound to whatever it is bound to.
    let is_up = || fs::read_to_string(&log).is_ok_and(|said| said == "up\n");
    runtime.block_on(eventually("up", is_up))?;
    Ok(node)
}
