//! A child process that is signalled safely, awaited without polling and never left behind.

use std::fs::File;
use std::io;
use std::io::{BufRead as _, BufReader, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, pidfd_open, pidfd_send_signal, waitid,
};
use tokio::sync::{oneshot, watch};

use crate::real::{Need, NeedError, RealError};

/// How long a killed process may take to disappear; the kernel needs a few milliseconds.
const KILL_PATIENCE: Duration = Duration::from_secs(10);

/// How much of a log's end an error shows, in bytes.
const TAIL_BYTES_MAX: u64 = 4096;

/// A running child.
///
/// # Invariant
/// Dropping it kills and reaps it; signals go through a pid descriptor, so they never reach another
/// process that got the same number.
#[derive(Debug)]
pub(crate) struct OwnedProcess {
    child: Child,
    descriptor: OwnedFd,
}

impl OwnedProcess {
    /// Starts `command` from a thread that lives as long as this process.
    ///
    /// The kernel sends the parent-death signal when the *thread* that spawned ends, and a test's
    /// thread, or a runtime's, may end long before the process does.
    pub(crate) async fn spawn(command: Command) -> io::Result<Self> {
        let (answer, spawned) = oneshot::channel();
        let gone = || io::Error::other("the spawning thread is gone");
        spawner()?.try_send(SpawnOrder { command, answer }).map_err(io::Error::other)?;
        let child = spawned.await.map_err(|_gone| gone())??;
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let pid = pid.ok_or_else(|| io::Error::other("a pid out of range"))?;
        let mut child = child;
        match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(descriptor) => Ok(Self { child, descriptor }),
            Err(error) => {
                child.kill()?;
                child.wait()?;
                Err(error.into())
            }
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: Signal) -> io::Result<()> {
        Ok(pidfd_send_signal(&self.descriptor, signal)?)
    }

    /// Stops the child and waits until all of it stands: until then it may go on answering.
    ///
    /// The wait blocks for as long as the kernel takes, microseconds unless the disk hangs.
    pub(crate) fn pause(&self) -> io::Result<()> {
        self.signal(Signal::STOP)?;
        // Also the end is waited for, which must not be missed; nothing is taken from either.
        let states = WaitIdOptions::STOPPED | WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        loop {
            match waitid(WaitId::PidFd(self.descriptor.as_fd()), states) {
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
                Ok(_state) => return Ok(()),
            }
        }
    }

    /// The stream of the child's standard error, if it was piped; once.
    pub(crate) fn take_stderr(&mut self) -> Option<ChildStderr> {
        self.child.stderr.take()
    }

    /// Returns how the child ended, if it did.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Waits until the child ended and reaps it.
    ///
    /// # Cancel safety
    /// Safe: nothing is reaped before it ended. A thread may go on watching until `patience` ends.
    pub(crate) async fn exit(&mut self, patience: Duration) -> Result<ExitStatus, RealError> {
        let pid = self.pid();
        let what = || RealError::io(format!("wait for process {pid}"));
        let descriptor = self.descriptor.try_clone().map_err(what())?;
        // A blocking thread: tokio's own wait for descriptors wants unsafe code.
        let has_ended = tokio::task::spawn_blocking(move || wait_readable(&descriptor, patience));
        match has_ended.await.map_err(io::Error::other).and_then(|ended| ended).map_err(what())? {
            true => self.child.wait().map_err(what()),
            false => Err(RealError::StillRuns { pid, patience }),
        }
    }

    /// Kills the child and waits until it is gone.
    pub(crate) async fn kill(&mut self) -> Result<ExitStatus, RealError> {
        if let Some(status) = self.ended() {
            return Ok(status);
        }
        let pid = self.pid();
        self.signal(Signal::KILL).map_err(RealError::io(format!("kill process {pid}")))?;
        self.exit(KILL_PATIENCE).await
    }
}

impl Drop for OwnedProcess {
    fn drop(&mut self) {
        // A child that is gone already refuses the kill and is reaped by the wait all the same.
        if let Err(error) = self.child.kill().and_then(|()| self.child.wait()) {
            tracing::warn!(pid = self.child.id(), %error, "a child could not be reaped");
        }
    }
}

/// Waits until the process behind a pid descriptor ended; tells whether it did.
fn wait_readable(descriptor: &OwnedFd, patience: Duration) -> io::Result<bool> {
    let timeout = Timespec::try_from(patience).map_err(io::Error::other)?;
    let mut waited = [PollFd::new(descriptor, PollFlags::IN)];
    loop {
        match poll(&mut waited, Some(&timeout)) {
            Ok(ready) => return Ok(ready > 0),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

struct SpawnOrder {
    command: Command,
    answer: oneshot::Sender<io::Result<Child>>,
}

fn spawner() -> io::Result<&'static SyncSender<SpawnOrder>> {
    static SPAWNER: OnceLock<SyncSender<SpawnOrder>> = OnceLock::new();
    if let Some(orders) = SPAWNER.get() {
        return Ok(orders);
    }
    let (orders, received) = sync_channel::<SpawnOrder>(64);
    std::thread::Builder::new().name("chaos-spawner".to_owned()).spawn(move || {
        for SpawnOrder { mut command, answer } in received {
            if let Err(Ok(mut unwanted)) = answer.send(command.spawn()) {
                // The caller went away while the child started: nobody else would end it.
                drop(unwanted.kill().and_then(|()| unwanted.wait()));
            }
        }
    })?;
    // A loser of this race drops its sender, which ends its thread before it spawned anything.
    Ok(SPAWNER.get_or_init(|| orders))
}

/// Tells whether children end with this process even if it is killed.
///
/// Setting the parent-death signal from here would take unsafe code; `setpriv` of util-linux 2.33
/// or later does it in the child. Without it, what was started outlives a process that is killed.
///
/// # Errors
/// [`Need::ParentDeathSignal`] when there is no such `setpriv`.
pub fn parent_death_signal() -> Result<(), NeedError> {
    static WORKS: OnceLock<bool> = OnceLock::new();
    let works = WORKS.get_or_init(|| {
        let mut probe = Command::new("setpriv");
        let probe = probe.args(["--pdeathsig", "KILL", "--", "true"]);
        let probe = probe.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        probe.status().is_ok_and(|status| status.success())
    });
    let missing = || NeedError::new(Need::ParentDeathSignal, "no setpriv of util-linux 2.33 on");
    works.then_some(()).ok_or_else(missing)
}

/// Builds the command of a program that, where possible, the kernel kills when this process dies.
pub(crate) fn mortal_command(program: &Path) -> Command {
    let mut command = if parent_death_signal().is_ok() {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]).arg(program);
        command
    } else {
        Command::new(program)
    };
    command.stdin(Stdio::null());
    command
}

/// What is known of a program from the lines it wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// No such line yet.
    Starting,
    /// The line that says so was seen.
    Ready,
}

/// Appends what `stderr` says to `log` until its end, and tells when a line contains `ready`.
///
/// A thread of its own rather than a task: the program would block on a full pipe if the runtime
/// that started it stood still or ended. It ends with the program.
pub(crate) fn follow(
    stderr: ChildStderr,
    mut log: File,
    ready: &'static str,
) -> io::Result<watch::Receiver<Progress>> {
    let (progress, seen) = watch::channel(Progress::Starting);
    std::thread::Builder::new().name("chaos-log".to_owned()).spawn(move || {
        let mut lines = BufReader::new(stderr);
        let mut line = Vec::new();
        loop {
            line.clear();
            match lines.read_until(b'\n', &mut line) {
                Ok(0) | Err(_) => break,
                Ok(_) => {}
            }
            if let Err(error) = log.write_all(&line) {
                tracing::warn!(%error, "a line of a child's log is lost");
            }
            if String::from_utf8_lossy(&line).contains(ready) {
                progress.send_replace(Progress::Ready);
            }
        }
    })?;
    Ok(seen)
}

/// Returns the end of a log, as far as it can be read.
pub(crate) fn log_tail(log: &Path) -> String {
    let read = || -> io::Result<String> {
        let mut file = File::open(log)?;
        let bytes = file.metadata()?.len();
        file.seek(SeekFrom::Start(bytes.saturating_sub(TAIL_BYTES_MAX)))?;
        let mut tail = Vec::new();
        file.take(TAIL_BYTES_MAX).read_to_end(&mut tail)?;
        Ok(String::from_utf8_lossy(&tail).into_owned())
    };
    read().unwrap_or_else(|error| format!("({}: {error})", log.display()))
}
